"""A whole node in a temporary folder, a clock that the test turns, agencies on all channels, short ways to do anything.

    house = build_house(tmp_path)
    sent = house.send(to=["check", "inbox-a"])
    house.recipient("check").next(Does.TAKE_SILENTLY)
    house.work()                                     the relay picks, workers hand over, nobody else runs
    assert house.state(sent, "check") == "ready"
    house.pass_time(MINUTE); house.run()             until nothing more happens by itself
    house.assert_books_close()

Agencies (their ids; `organ(id)` is the code): `sender`, `sender-2`; polled `inbox-a`, `inbox-b`; pushed to by memory
channels `idem`, `check`, `blind`, the pair `pair-a` and `pair-b` on one checkable channel `pair`; `old`, abolished
with the one successor `check`; `nowhere`, without a channel; with `folders=True` also `folder-a` and `folder-b` on
one folder channel `folder` (root `house.root`).  System `s-<agency>` speaks for each.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from edxml import BusinessKind, DocumentId, OrganId
from edxml.packet import ReceiverChange, Replacement
from gateway.account import close_books
from gateway.channels import KINDS
from gateway.compose import build_node
from gateway.configuration import apply, parse
from gateway.exchange import collect, release
from gateway.exchange.accept import accept
from gateway.exchange.deliver import deliver
from gateway.exchange.examine import prepare
from gateway.exchange.submission import Answer, Outcome, Submission
from gateway.exchange.sweep import sweep_once
from gateway.identity import Caller
from gateway.model.errors import GatewayError, Refusal
from gateway.model.instants import DAY, SECOND
from gateway.model.states import DeliveryState
from gateway.node import Node
from gateway.settings import read_settings
from gateway.store import Store, open_store, picking
from gateway.store.homes import MARK
from gateway.transport.contract import Ticket
from routing.plan import RecipientsMode
from tests.support.house_rows import AGENCIES, TODAY, document_id, folder_rows, house_rows, organ
from tests.support.leaving import folder_of_this_process
from tests.support.packets import build_packet, build_status
from tests.support.postgres import cluster
from tests.support.recipients import Does, MemoryRecipient, WorkerDied, memory_kind
from tests.support.stores import Database, HandClock, tell

__all__ = ["AGENCIES", "TODAY", "Database", "Does", "House", "WorkerDied", "build_house", "document_id", "organ"]

_TEMPLATE = "khuon_nha"


def _settings(folder: Path, **changes: Any) -> dict[str, str]:
    values = {"data": folder, "node": "thu", "today": TODAY, "disk_reserve_mib": 1, **changes}
    return {f"TRUC_{name.upper()}": str(value) for name, value in values.items()}


@cache
def _template(database: Database) -> Path:
    """A data folder, with its database, that this process's others are copied from: migrations are made once."""
    folder = folder_of_this_process("template")
    kinds = {**KINDS, "memory": memory_kind({})}
    address = cluster().create(_TEMPLATE) if database is Database.POSTGRESQL else ""
    node = build_node(read_settings(_settings(folder, database=address)), clock=HandClock(), kinds=kinds)
    apply(node.store, parse(house_rows()), actor="test", on=date.fromisoformat(TODAY), kinds=kinds)
    node.transport.close()
    if not address:
        with node.store.read() as connection:
            connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    node.store.close()
    return folder


def _ignore(folder: str, names: list[str]) -> list[str]:
    """Blob folders are made anew but for whose they are, sockets belong to nobody any more."""
    return [name for name in names if name == "run" or (Path(folder).name == "blobs" and name != MARK)]


def build_house(
    folder: Path, *, database: Database = Database.SQLITE, folders: bool = False, settle: float = 0,
    clock: HandClock | None = None, **settings: Any,
) -> House:  # fmt: skip
    """A node of its own in `folder`; `settings` are fields of gateway.settings.Settings. Close it, or let tests end."""
    data, root = folder / "data", folder / "channel"
    shutil.copytree(_template(database), data, ignore=_ignore)
    if database is Database.POSTGRESQL:
        settings["database"] = cluster().create(template=_TEMPLATE)
    root.mkdir(exist_ok=True)
    recipients: dict[str, MemoryRecipient] = {}
    kinds = {**KINDS, "memory": memory_kind(recipients)}
    clock = clock or HandClock()
    node = build_node(read_settings(_settings(data, **settings)), clock=clock, kinds=kinds)
    if folders:
        rows = parse(folder_rows(root, settle))
        apply(node.store, rows, actor="test", on=date.fromisoformat(TODAY), kinds=kinds)
        node.channels.refresh()
    return House(node=node, clock=clock, recipients=recipients, root=root, database=settings.get("database", ""))


@dataclass(slots=True)
class House:
    """The node, its clock and its agencies' sides."""

    node: Node
    clock: HandClock
    recipients: dict[str, MemoryRecipient]
    root: Path
    database: str = ""  #: where the rows are, as the setting says it
    served: dict[str, str] = field(default_factory=dict)  #: delivery → the response that runs
    last_lists: collect.Shown = field(default_factory=collect.Shown)
    known: collect.Known = field(default_factory=collect.Known)

    def close(self) -> None:
        """Let go of sockets and connections."""
        self.node.transport.close()
        self.node.store.close()

    def another_store(self) -> Store:
        """The same rows as another process has them. Close it."""
        return open_store(self.root.parent / "data", node="thu", database=self.database, clock=self.clock, reserve=1)

    def recipient(self, channel: str) -> MemoryRecipient:
        """The other side of a memory channel."""
        self.node.channels.sink(channel)
        return self.recipients[channel]

    def now(self) -> int:
        """The store's clock."""
        return self.clock.now()

    def pass_time(self, micros: int) -> None:
        """Turn the clock; nothing happens by that alone."""
        self.clock.turn(micros)

    def worker(self, name: str) -> House:
        """The same node as another process sees it: events and claims carry its name."""
        return replace(self, node=replace(self.node, worker=f"thu/{name}/1"))

    # --- submitting ------------------------------------------------------------------------------------------

    def caller(self, agency: str) -> Caller:
        """The system of an agency."""
        return Caller(system_id=f"s-{agency}", name=f"s-{agency}", agency_ids=frozenset({agency}), is_operator=False)

    def submission(self, body: bytes, sender: str = "sender", **fields: Any) -> Submission:
        """A body as the API has taken it in: spooled and hashed. `fields` are those of Submission."""
        spooled = self.node.store.blobs.spool()
        spooled.write_bytes(body)
        digest = hashlib.sha256(body).hexdigest()
        caller = fields.pop("caller", None) or self.caller(sender)
        return Submission(
            caller=caller, spooled=spooled, digest=digest, size=len(body), received_at=self.node.now(), **fields
        )

    def submit(self, body: bytes, sender: str = "sender", **fields: Any) -> Outcome:
        """Prepare and accept one body: an answer, or the refusal that the caller would be told."""
        try:
            return accept(self.node, [prepare(self.node, self.submission(body, sender, **fields))])[0]
        except GatewayError as why:
            return why

    def packet(self, to: Iterable[str], number: str = "1", sender: str = "sender", **overrides: Any) -> bytes:
        """The bytes of a document packet; `overrides` are fields of edxml.Packet."""
        overrides.setdefault("document_id", document_id(number, sender))
        return build_packet(sender=organ(sender), recipients=[organ(one) for one in to], number=number, **overrides)

    def send(self, to: Iterable[str], number: str = "1", *, sender: str = "sender", **overrides: Any) -> Answer:
        """Submit a new document, expecting that it is accepted."""
        fields = {name: overrides.pop(name) for name in ("mode", "only", "idempotency_key") if name in overrides}
        return accepted(self.submit(self.packet(to, number, sender, **overrides), sender, **fields))

    def send_some(self, to: Iterable[str], number: str = "1", **overrides: Any) -> Answer:
        """Submit with recipients=some."""
        return self.send(to, number, mode=RecipientsMode.SOME, **overrides)

    def recall(self, to: Iterable[str], number: str = "1", **overrides: Any) -> Answer:
        """Submit a recall (thu hồi) of the document with that number."""
        return self.send(to, number, **_about(number, BusinessKind.RECALL, overrides))

    def recall_packet(self, to: Iterable[str], number: str = "1", **overrides: Any) -> bytes:
        """The bytes of a recall."""
        return self.packet(to, number, **_about(number, BusinessKind.RECALL, overrides))

    def update(
        self,
        to: Iterable[str],
        number: str = "1",
        *,
        adds: Sequence[str] = (),
        removes: Sequence[str] = (),
        **more: Any,
    ) -> Answer:
        """Submit an update (cập nhật), perhaps of the list of recipients."""
        changes = [(one, True) for one in adds] + [(one, False) for one in removes]
        fields: dict[str, Any] = {
            "document_changed": True,
            "receivers_changed": bool(changes),
            "receiver_changes": tuple(ReceiverChange(OrganId.parse(organ(one)), added) for one, added in changes),
        }
        return self.send(to, number, **_about(number, BusinessKind.UPDATE, fields | more))

    def replacement(self, to: Iterable[str], replaced: Sequence[str] = "1", number: str = "2", **more: Any) -> Answer:
        """Submit a replacement (thay thế): document `number` replaces each of `replaced`."""
        codes = tuple(OrganId.parse(organ(one)) for one in to)
        told = {
            "business_kind": BusinessKind.REPLACEMENT, "business_reason": "Thay thế",
            "replacements": tuple(Replacement(DocumentId(document_id(one)), codes) for one in replaced),
        }  # fmt: skip
        return self.send(to, number, **(told | more))

    def tell(
        self, reporter: str, code: str = "01", number: str = "1", *, sender: str = "sender", **more: Any
    ) -> Outcome:
        """Submit a status of `reporter` about the sender's document."""
        more.setdefault("document_id", document_id(number, sender))
        body = build_status(sender=organ(reporter), issuer=organ(sender), code=code, number=number, **more)
        return self.submit(body, reporter)

    def take_back(self, to: str, number: str = "1", *, sender: str = "sender") -> Outcome:
        """Submit status 13 (lấy lại) of the issuer, to one recipient."""
        body = build_status(
            sender=organ(sender), issuer=organ(to), code="13", number=number, document_id=document_id(number, sender)
        )
        return self.submit(body, sender)

    # --- working ---------------------------------------------------------------------------------------------

    def due(self) -> list[Ticket]:
        """What the relay would announce now; announced tickets come again after `announce_again`."""
        with self.node.store.read() as connection:
            now = self.node.store.now(connection)
            picked = picking.pick_due(connection, now=now, since=now - self.node.pace.announce_again, most=256)
        return [Ticket(one.transfer_id, one.turn) for one in picked]

    def ready(self) -> list[Ticket]:
        """A ticket for every transfer in state ready, whether due or not: what a delayed broker may still bring."""
        with self.node.store.read() as connection:
            rows = connection.exec_driver_sql("SELECT id, turn FROM transfers WHERE state = 'ready' ORDER BY id").all()
        return [Ticket(row[0], row[1]) for row in rows]

    def work(self, tickets: Sequence[Ticket] | None = None) -> int:
        """Hand over what is due (or these tickets), one by one; how many tickets were worked on."""
        taken = self.due() if tickets is None else tickets
        for ticket in taken:
            deliver(self.node, [ticket])
        return len(taken)

    def sweep(self) -> int:
        """Everything that time does by itself, until nothing is left."""
        moved = 0
        while step := sweep_once(self.node):
            moved += step
        return moved

    def run(self, *, until: int = 2 * DAY, step: int = 30 * SECOND, patience: int = 40) -> None:
        """Let time pass and workers work until nothing moves for `patience` steps, or `until` has passed."""
        end = self.now() + until
        quiet = 0
        while self.now() < end and quiet < patience:
            quiet = 0 if self.sweep() + self.work() else quiet + 1
            self.pass_time(step)

    # --- polled recipients ------------------------------------------------------------------------------------

    def shown(self, agency: str, limit: int = 100) -> list[str]:
        """Delivery ids that the agency's software is shown."""
        (items,) = collect.list_items(self.node, [collect.Listing(agency_id=agency, limit=limit)], self.last_lists)
        return [item.delivery_id for item in items]

    def fetch(self, agency: str, delivery: str) -> collect.Served | Refusal:
        """Begin a response."""
        want = collect.Fetch(caller=self.caller(agency), delivery_id=delivery)
        (served,) = collect.fetch(self.node, [want], self.known)
        if isinstance(served, collect.Served) and served.attempt_id:
            self.served[delivery] = served.attempt_id
        return served

    def end_response(self, delivery: str) -> None:
        """The response that runs has ended."""
        collect.end_responses(self.node, [self.served.pop(delivery)])

    def confirm(self, agency: str, delivery: str, *, arrived: bool = True) -> DeliveryState | Refusal:
        """`done`, or transport `fail`."""
        said = collect.Confirm(caller=self.caller(agency), delivery_id=delivery, arrived=arrived)
        return collect.confirm(self.node, [said], self.known)[0]

    def collect(self, agency: str, delivery: str) -> DeliveryState | Refusal:
        """Fetch, end the response, confirm."""
        self.fetch(agency, delivery)
        self.end_response(delivery)
        return self.confirm(agency, delivery)

    # --- operators --------------------------------------------------------------------------------------------

    def release(self, sent: Answer, agency: str, **more: Any) -> str:
        """Let a parked delivery go on; its state afterwards. Raises Conflict."""
        return self.release_delivery(self.delivery(sent, agency), **more)

    def release_delivery(self, delivery: str, **more: Any) -> str:
        """The same by the delivery's id."""
        return str(release.release(self.node, delivery, actor="operator", **more))

    def vouch(self, sent: Answer, agency: str, **more: Any) -> str:
        """Say that the recipient has it; its state afterwards. Raises Conflict."""
        return self.vouch_for(self.delivery(sent, agency), **more)

    def vouch_for(self, delivery: str, **more: Any) -> str:
        """The same by the delivery's id."""
        return str(release.vouch(self.node, delivery, actor="operator", **more))

    def resend(self, sent: Answer, agency: str, **more: Any) -> str:
        """Send it again under a new key; its state afterwards. Raises Conflict."""
        return self.resend_delivery(self.delivery(sent, agency), **more)

    def resend_delivery(self, delivery: str, **more: Any) -> str:
        """The same by the delivery's id."""
        return str(release.resend(self.node, delivery, actor="operator", **more))

    # --- looking ----------------------------------------------------------------------------------------------

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """What stands in the store (SQLite's dialect, `?` for values)."""
        with self.node.store.read() as connection:
            return [dict(row._mapping) for row in tell(connection, sql, *values)]

    def delivery(self, sent: Answer, agency: str) -> str:
        """The id of the delivery of one packet to one agency."""
        return next(str(line["delivery_id"]) for line in sent.recipients if line["agency_id"] == agency)

    def row(self, sent: Answer, agency: str) -> dict[str, Any]:
        """The delivery's row with its transfer's turn, tries, permits, unreported and due_at."""
        return self.rows(
            "SELECT d.*, t.turn, t.tries, t.permits, t.unreported, t.due_at, t.state AS transfer_state, t.members"
            " FROM deliveries d JOIN transfers t ON t.id = d.transfer_id WHERE d.id = ?",
            self.delivery(sent, agency),
        )[0]  # fmt: skip

    def state(self, sent: Answer, agency: str) -> str:
        """Today's state of the packet's delivery to one agency."""
        return str(self.row(sent, agency)["state"])

    def states(self, sent: Answer) -> dict[str, str]:
        """Today's states by agency."""
        rows = self.rows("SELECT agency_id, state FROM deliveries WHERE packet_id = ?", sent.packet_id)
        return {row["agency_id"]: row["state"] for row in rows}

    def reason(self, sent: Answer, agency: str) -> str:
        """Why it is in that state."""
        return str(self.row(sent, agency)["reason"])

    def ticket(self, sent: Answer, agency: str) -> Ticket:
        """A ticket for the transfer as it stands."""
        row = self.row(sent, agency)
        return Ticket(row["transfer_id"], row["turn"])

    def attempts(self, sent: Answer, agency: str) -> list[dict[str, Any]]:
        """The delivery's attempts, oldest first."""
        return self.rows("SELECT * FROM attempts WHERE delivery_id = ? ORDER BY id", self.delivery(sent, agency))

    def events(self, sent: Answer, agency: str) -> list[tuple[str, str]]:
        """(kind, reason) of the delivery's events, in order."""
        rows = self.rows("SELECT kind, reason FROM events WHERE delivery_id = ? ORDER BY rowid",
                         self.delivery(sent, agency))  # fmt: skip
        return [(row["kind"], row["reason"]) for row in rows]

    def notices(self, sent: Answer, agency: str) -> list[str]:
        """What the sender was told of the delivery."""
        rows = self.rows("SELECT code FROM notices WHERE delivery_id = ? ORDER BY rowid", self.delivery(sent, agency))
        return [row["code"] for row in rows]

    def assert_books_close(self) -> None:
        """The account from the events closes, and no gap is left."""
        account = close_books(self.node.store, 0, self.now() + 1)
        assert account.closes, account.gaps


def _about(number: str, kind: BusinessKind, more: dict[str, Any]) -> dict[str, Any]:
    """The business block of a packet that acts on document `number`, which it repeats (QCVN 102)."""
    return {
        "business_kind": kind,
        "business_reason": str(kind),
        "business_document_id": DocumentId(document_id(number, more.get("sender", "sender"))),
    } | more


def accepted(outcome: Outcome) -> Answer:
    """The answer; fails telling the refusal where there is none."""
    if isinstance(outcome, Answer):
        return outcome
    findings = [str(finding) for finding in getattr(outcome, "findings", ())]
    raise AssertionError(f"{getattr(outcome, 'reason', outcome.code)}: {outcome!r} {findings}")
