"""A small node on disk and everybody who uses it: senders and pollers over REST, folder software, clerks.

    home = make_home(tmp_path)                         data folder, rows, tokens, folders; no process runs
    with NodeProcesses(home.data, FAST) as node, Users(home) as users:
        node.start("serve")
        users.begin(node.url)                          pollers and folder software, until the end
        users.work(rounds=3)                           every road once a round
        users.settle()                                 until nothing moves by itself
        users.assert_all_is_well()                     account, exactly once, byte by byte, statuses, first answers

Agencies: `don` sends and polls; `hop-1`, `hop-2` poll; `tm-1`, `tm-2` have folders (the node speaks for them); codes
are of the province group H99, which nobody has.
"""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx2

from gateway.account import close_books
from gateway.configuration import apply, parse
from gateway.identity import rotate_token
from gateway.keys import make_keys
from gateway.model.instants import wall_now
from gateway.store import Store, open_store
from gateway.trial.clients import FolderSoftware, Polling, Sending, ask
from gateway.trial.ledger import Arrival, Ledger, Sent, digest
from gateway.trial.letters import Letter, compose_letter, recall_of
from gateway.trial.province import Place
from tests.support.leaving import folder_of_this_process
from tests.support.packets import build_status
from tests.support.stores import tell

__all__ = ["FAST", "HANGS", "NAMES", "NODE", "TODAY", "Home", "Users", "letter", "make_home"]

HANGS: Final = 300.0
"""Seconds after which what has not come will not come, on a machine however busy."""
TODAY: Final = date(2025, 10, 1)
NAMES: Final = {
    "don": "Sở Gửi Văn bản", "hop-1": "Xã Hộp Một", "hop-2": "Xã Hộp Hai", "tm-1": "Xã Thư Mục Một",
    "tm-2": "Xã Thư Mục Hai",
}  # fmt: skip
NODE: Final = "nut-thu"
FAST: Final = {
    "node": NODE, "today": str(TODAY), "disk_reserve_mib": "1", "lease": "2", "announce_again": "1.5", "sweep": "0.3",
    "look": "0.3", "first_wait": "0.2", "longest_wait": "1", "orphan_wait": "1", "fetched_wait": "2", "slots": "2",
    "log_level": "warning", "long_poll": "1",
}  # fmt: skip
"""Settings under which what takes minutes in production takes seconds."""


def organ(agency: str) -> str:
    """The code of an agency."""
    return f"000.00.{list(NAMES).index(agency) + 1:02d}.H99"


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A node's data folder, and what its users know."""

    data: Path
    places: dict[str, Place]
    tokens: dict[str, str]
    database: str = ""

    def open(self) -> Store:
        """The store, beside whatever runs. Close it."""
        return open_store(self.data, node=NODE, database=self.database, reserve=1)


@cache
def _template() -> Path:
    """Schema and keys once per test process."""
    folder = folder_of_this_process("fault")
    store = open_store(folder, node=NODE, reserve=1)
    make_keys(folder / "keys", NODE)
    with store.read() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    return folder


def make_home(folder: Path, database: str = "") -> Home:
    """A node with its agencies, systems and channels in `folder`, or in an empty `database`; nothing runs."""
    data = folder / "data"
    shutil.copytree(_template(), data, ignore=lambda _folder, names: [n for n in names if n in ("blobs", "run")])
    places = {}
    for agency, name in NAMES.items():
        root = folder / agency if agency.startswith("tm") else None
        if root is not None:
            root.mkdir()
        places[agency] = Place(id=agency, organ=organ(agency), name=name, system=f"s-{agency}", folder=root)
    store = open_store(data, node=NODE, database=database, reserve=1)
    apply(store, parse(_configuration(places)), actor="test", on=TODAY)
    tokens = {agency: rotate_token(store, f"s-{agency}", actor="test").token for agency in places}
    store.close()
    return Home(data=data, places=places, tokens=tokens, database=database)


def _configuration(places: dict[str, Place]) -> str:
    tables = []
    for place in places.values():
        tables.append(f'[[agency]]\nid = "{place.id}"\nname = "{place.name}"\ncodes = ["{place.organ}"]')
        tables.append(f'[[system]]\nname = "{place.system}"\nspeaks_for = ["{place.id}"]')
        kind = "inbox" if place.folder is None else "folder"
        channel = f'[[channel]]\nid = "k-{place.id}"\nkind = "{kind}"\nserves = ["{place.id}"]\n'
        if place.folder is not None:
            channel += (
                f'system = "{place.system}"\nspeaks_for_agency = true\n[channel.settings]\nroot = "{place.folder}"\n'
                "settle = 0\nsending_limit = 1\nsettle_time = 0"
            )
        tables.append(channel)
    return "\n\n".join(tables)


def letter(number: int, to: tuple[str, ...], *, sender: str = "don", size: int = 3_000) -> Letter:
    """A right document; the same number gives the same bytes."""
    return compose_letter(
        name=f"letter-{number}", sender=sender, sender_organ=organ(sender), sender_name=NAMES[sender],
        recipients=tuple((organ(one), NAMES[one]) for one in to), number=number, day=TODAY, attachment_bytes=size,
        seed=number,
    )  # fmt: skip


@dataclass(slots=True)
class Users:
    """All users of one node. What they were told and what they saw stands in `ledger`, outside the product."""

    home: Home
    ledger: Ledger = field(default_factory=Ledger)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)  #: letter's name → its first answer
    statuses_due: int = 0
    orphans: int = 0
    enough: threading.Event = field(default_factory=threading.Event)  #: told to `work_until_told`
    _number: int = 0
    _done: threading.Event = field(default_factory=threading.Event)
    _threads: list[Polling | FolderSoftware] = field(default_factory=list)
    _sending: Sending | None = None
    _client: httpx2.Client | None = None
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "users"))
    _by_folder: dict[str, str] = field(default_factory=dict)  #: file name in `di` → digest of what was put there

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def begin(self, url: str) -> None:
        """Start everybody. They stand a node that is away for up to a minute."""
        places, tokens = self.home.places, self.home.tokens
        self._sending = Sending(url, tokens["don"], self.ledger)
        self._client = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {tokens['hop-1']}"}, timeout=20)
        for agency in ("don", "hop-1", "hop-2"):
            self._threads.append(Polling(url, tokens[agency], [places[agency]], self.ledger, self._done))
        folders = tuple(place for place in places.values() if place.folder is not None)
        self._threads.append(FolderSoftware(folders, self.ledger, self._done))
        for thread in self._threads:
            thread.start()

    # --- what they do ---------------------------------------------------------------------------------------

    def work(self, rounds: int, *, pause: float = 0.0, dice: random.Random | None = None) -> None:
        """Send over every road, `rounds` times."""
        for _ in range(rounds):
            self.send(("hop-1", "tm-1"))
            self.send(("hop-1", "hop-2", "tm-1", "tm-2"), size=(dice or random).choice([900, 40_000, 300_000]))
            self.put_file("tm-2", ("don", "hop-2"))
            time.sleep(pause)

    def work_until_told(self) -> None:
        """Every road, again and again, until `enough`."""
        while not self.enough.is_set():
            about = self.send(("hop-1", "tm-1"))
            self.tell_status(about)
            self.refuse_file(about)
            self.work(rounds=1, pause=0.2)

    def in_background(self, work: Callable[[Users], None]) -> Future[None]:
        """Do it in a thread, while the test looks after the node."""
        return self._pool.submit(work, self)

    def send(self, to: tuple[str, ...], *, size: int = 3_000) -> Letter:
        """Submit a letter, and once more: the repeat must get the first answer."""
        self._number += 1
        one = letter(self._number, to, size=size)
        assert self._sending is not None
        key = f"khoa-{one.name}" if self._number % 2 else ""
        first, second = self._sending.send(one, key=key), self._sending.send(one, key=key)
        assert first is not None, self.ledger.refused
        assert second is not None, self.ledger.refused
        assert second["packet_id"] == first["packet_id"]
        assert second["is_repeat"], "the repeated submission was taken for a new one"
        self.answers[one.name] = first
        self.statuses_due += sum(agency.startswith("tm") for agency in to)
        return one

    def take_over(self, one: Letter, answer: dict[str, Any], to: tuple[str, ...]) -> None:
        """Count a letter that the test itself submitted for `don`."""
        self.ledger.note_sent(
            Sent(packet_id=answer["packet_id"], digest=digest(one.body), agencies=frozenset(to), name=one.name),
            is_repeat=False,
        )
        self.statuses_due += sum(agency.startswith("tm") for agency in to)

    def put_file(self, agency: str, to: tuple[str, ...]) -> Letter:
        """A folder agency's software writes a packet into `di`, as careful software does: temporary name, rename."""
        self._number += 1
        one = letter(self._number, to, sender=agency)
        folder = self.home.places[agency].folder
        assert folder is not None
        (folder / "di").mkdir(exist_ok=True)
        (folder / "di" / f"{one.name}.part").write_bytes(one.body)
        os.rename(folder / "di" / f"{one.name}.part", folder / "di" / f"{one.name}.edxml")
        self._by_folder[f"{agency}/{one.name}.edxml"] = digest(one.body)
        self.ledger.note_sent(
            Sent(packet_id=one.name, digest=digest(one.body), agencies=frozenset(to), name=one.name), is_repeat=False
        )
        return one

    def tell_status(self, about: Letter, code: str = "03") -> None:
        """`hop-1` reports a status of a letter that it was sent, by REST; twice, as clients do."""
        assert self._client is not None
        number = about.document_id.rsplit(",", 1)[1].split("/")[0]
        body = build_status(
            sender=organ("hop-1"), issuer=organ("don"), code=code, number=number, notation="CV-TH",
            document_id=about.document_id,
        )  # fmt: skip
        headers = {"Content-Type": "application/xml"}
        for _ in range(2):
            said = ask(self._client, self.ledger, "POST", "/v1/packets", content=body, headers=headers)
            assert said.status_code == 202, said.text
        self.statuses_due += 1

    def refuse_file(self, about: Letter, agency: str = "tm-1", reason: str = "Gửi nhầm đơn vị") -> None:
        """The clerk of a folder agency writes a refusal for a letter that arrived: status 02 to the sender."""
        root = self.home.places[agency].folder
        assert root is not None
        key = next(a.key for a in self._await_arrival(agency, digest(about.body)))
        (root / "den" / f"{key}.tu-choi.txt.tmp").write_text(reason, "utf-8")
        os.rename(root / "den" / f"{key}.tu-choi.txt.tmp", root / "den" / f"{key}.tu-choi.txt")
        self.statuses_due += 1

    def _await_arrival(self, agency: str, wanted: str, seconds: float = HANGS) -> list[Arrival]:
        deadline = time.monotonic() + seconds
        while not (found := [a for a in self.ledger.arrivals if (a.agency, a.digest) == (agency, wanted)]):
            assert time.monotonic() < deadline, f"the letter did not come to {agency} in {seconds:.0f} s"
            time.sleep(0.05)
        return found

    def recall_nothing(self) -> None:
        """A recall of a document that never came waits, then goes on by itself (rule 6: orphans look again)."""
        self._number += 1
        orphan = recall_of(
            sender="don", sender_organ=organ("don"), sender_name=NAMES["don"],
            recipients=((organ("hop-2"), NAMES["hop-2"]),), number=self._number, day=TODAY,
        )  # fmt: skip
        assert self._sending is not None
        assert self._sending.send(orphan) is not None, self.ledger.refused
        self.orphans += 1

    # --- the end --------------------------------------------------------------------------------------------

    def settle(self, seconds: float = HANGS) -> None:
        """Wait until every delivery is final and every user has what it waits for."""
        deadline = time.monotonic() + seconds
        while why := self._unsettled():
            for thread in self._threads:
                assert thread.failure is None, thread.failure
            assert time.monotonic() < deadline, f"not settled after {seconds:.0f} s: {why}"
            time.sleep(0.2)
        time.sleep(0.3)  # what would come twice comes now

    def _unsettled(self) -> str:
        missing = self.ledger.missing(frozenset())
        if missing:
            return f"missing {sorted((sent.name, agency) for sent, agency in missing)} of {len(self.ledger.sent)}"
        due = self._due()
        if self.ledger.statuses < due:
            return f"{self.ledger.statuses} of {due} statuses"
        waiting = [p for p in self._files() if not (p[0] / "di" / "da-gui" / f"{p[1]}.json").exists()]
        return f"files in di: {waiting}" if waiting else self._open_deliveries()

    def _due(self) -> int:
        """Statuses that come back: not the 01 of a letter whose refusal was read before the hand-over was written down,
        because the worker died in between. A refusal is proof of arrival, and a later receipt adds nothing."""
        store = self.home.open()
        try:
            with store.read() as connection:
                refused = tell(
                    connection, "SELECT count(*) FROM deliveries WHERE state = 'refused' AND agency_id LIKE 'tm-%'"
                ).scalar_one()
        finally:
            store.close()
        return self.statuses_due - int(refused)

    def _files(self) -> list[tuple[Path, str]]:
        found = []
        for place in self._by_folder:
            agency, name = place.split("/")
            folder = self.home.places[agency].folder
            assert folder is not None
            found.append((folder, name))
        return found

    def _open_deliveries(self) -> str:
        store = self.home.open()
        try:
            with store.read() as connection:
                rows = connection.exec_driver_sql(
                    "SELECT d.id, d.agency_id, d.state, d.reason, d.owes FROM deliveries d"
                    " WHERE d.state NOT IN ('delivered', 'refused', 'withdrawn', 'expired') OR d.owes <> ''"
                ).all()
        finally:
            store.close()
        return f"open deliveries {[tuple(row) for row in rows]}" if rows else ""

    def _end(self) -> None:
        self._done.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for thread in self._threads:
            thread.join(30)
        for client in (self._sending, self._client):
            if client is not None:
                client.close()
        self._sending = self._client = None

    def assert_all_is_well(self) -> None:
        """Account closed; each recipient saw each document exactly once, byte by byte; statuses are back."""
        self._end()
        failures = [repr(thread.failure) for thread in self._threads if thread.failure is not None]
        assert not failures, failures
        assert not self.ledger.refused, self.ledger.refused
        seen = Counter((arrival.agency, arrival.digest) for arrival in self.ledger.arrivals)
        wanted = Counter({(agency, sent.digest): 1 for sent in self.ledger.sent.values() for agency in sent.agencies})
        assert {pair: n for pair, n in seen.items() if n > 1} == {}, "seen more than once"
        orphans = self.ledger.altered()
        assert len(orphans) <= self.orphans, f"copies whose bytes nobody sent: {orphans}"
        assert set(wanted) <= set(seen), f"never arrived: {set(wanted) - set(seen)}"
        assert self.ledger.statuses == self._due()
        self._assert_folders()
        store = self.home.open()
        try:
            account = close_books(store, 0, wall_now() + 1)
        finally:
            store.close()
        assert account.closes, account.gaps
        assert account.packets > 0

    def _assert_folders(self) -> None:
        """One file of each name, byte-equal; nothing left of what was given; nothing half-made visible."""
        for place in self.home.places.values():
            if place.folder is None:
                continue
            kept = sorted((place.folder / "vao-so").glob("*.edxml")) if (place.folder / "vao-so").is_dir() else []
            mine = [arrival for arrival in self.ledger.arrivals if arrival.agency == place.id]
            assert Counter(digest(path.read_bytes()) for path in kept) == Counter(one.digest for one in mine)
            assert not list((place.folder / "den").glob("*.edxml"))
        for folder, name in self._files():
            gone = folder / "di" / "da-gui" / name
            assert not (folder / "di" / name).exists()
            assert digest(gone.read_bytes()) in self._by_folder.values()
