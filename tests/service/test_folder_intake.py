"""Folders wake the intake: what is dropped is seen at once where the file system tells, else by the look by time."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from adapters.contract import Incoming, Source, Verdict
from adapters.folder import open_folder
from gateway.channels import Channels
from gateway.channels.kinds import KINDS, Kind, Opened
from gateway.store.versions import raise_configuration
from gateway.workers.intake_round import intake_once, start_intake
from gateway.workers.watching import FolderWatches
from tests.support.nodes import House, build_house, document_id, organ
from tests.support.packets import build_status
from tests.support.patience import PATIENCE
from tests.support.recipients import memory_kind

LONG = 600.0
"""Seconds from look to look in which no test would see anything by time."""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = build_house(tmp_path, folders=True)
    made.node.channels.sink("folder").probe()
    yield made
    made.close()


@contextmanager
def running(house: House, look: float) -> Iterator[None]:
    loop, watches = start_intake(house.node, look)
    try:
        yield
    finally:
        watches.close()
        loop.close()


def drop(house: House, number: int) -> Path:
    """A right packet, written as careful software does: under another name first."""
    path = house.root / "di" / f"van-ban-{number}.edxml"
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_bytes(house.packet(["check"], str(number), sender="folder-a"))
    unfinished.rename(path)
    return path


def wait_until(done: Callable[[], bool], seconds: float) -> bool:
    limit = time.monotonic() + seconds
    while not done() and time.monotonic() < limit:
        time.sleep(0.02)
    return done()


def is_seen_soon(house: House, within: float, *, tries: int = 10) -> bool:
    """Drop one packet after the other, since a watch takes a moment to begin; whether one was taken within seconds."""
    dropped = (drop(house, number) for number in range(1, tries + 1))
    return any(wait_until(lambda path=path: not path.exists(), within) for path in dropped)  # type: ignore[misc]


def watching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("watch ")]


def test_a_dropped_packet_is_seen_at_once(house: House) -> None:
    with running(house, LONG):
        assert is_seen_soon(house, 1.5)
        assert wait_until(lambda: not list((house.root / "di").glob("*.edxml")), PATIENCE)
    sent = len(list((house.root / "di" / "da-gui").glob("*.edxml")))
    assert len(house.rows("SELECT id FROM packets")) == sent >= 1


def test_what_is_still_settling_is_taken_when_it_has_settled_and_not_at_the_next_look(tmp_path: Path) -> None:
    house = build_house(tmp_path, folders=True, settle=0.7)
    house.node.channels.sink("folder").probe()
    with running(house, LONG):
        assert is_seen_soon(house, 3.0)
    house.close()


def test_a_folder_that_tells_nothing_is_looked_at_by_time(house: House) -> None:
    """A disk mounted over the watched folder: as on a network share, nobody tells of what happens there."""
    di = house.root / "di"
    with running(house, 0.3):
        assert is_seen_soon(house, 1.5)
        assert wait_until(lambda: not list(di.glob("*.edxml")), PATIENCE)
        subprocess.run(["mount", "-t", "tmpfs", "truc-test", house.root], check=True)
        try:
            assert wait_until(di.is_dir, PATIENCE), "the look makes what is missing"
            path = drop(house, 99)
            assert wait_until(lambda: not path.exists(), PATIENCE)
            assert (di / "da-gui" / path.name).exists()
        finally:
            subprocess.run(["umount", "-l", house.root], check=True)


def is_told(house: House, woken: threading.Event, first: int) -> bool:
    """Whether a packet that is dropped now wakes the intake; a watch may need a moment until it stands."""
    for number in range(first, first + 30):
        drop(house, number)
        if woken.wait(1.0):
            return True
    return False


def test_a_watch_of_a_folder_that_is_another_now_is_begun_anew(house: House) -> None:
    """Made anew, as a share that was taken away and came back: the old watch lives on and tells nothing."""
    woken = threading.Event()
    with (
        closing(house.node.transport.on_wake(["intake"], lambda _topic: woken.set())),
        closing(FolderWatches(house.node, again=0)) as watches,
    ):
        watches.renew()
        [first] = watching()
        assert is_told(house, woken, 0)
        watches.renew()
        assert watching() == [first], "a watch that tells of changes was ended"
        shutil.move(house.root / "di", house.root / "di-cu")
        (house.root / "di").mkdir()
        assert wait_until(lambda: not first.is_alive(), PATIENCE), "a watch of what nobody means goes on"
        woken.clear()
        watches.renew()
        [second] = watching()
        assert second is not first
        assert is_told(house, woken, 100)


def test_a_folder_that_was_missing_is_watched_once_it_is_there(house: House) -> None:
    shutil.rmtree(house.root / "di")
    with closing(FolderWatches(house.node, again=0)) as watches:
        watches.renew()
        assert wait_until(lambda: not watching(), PATIENCE), "a watch of nothing goes on"
        assert intake_once(house.node) == 0  # its look makes the folders
        watches.renew()
        time.sleep(0.5)
        assert len(watching()) == 1


def test_watches_follow_the_channels_and_end_with_the_process(house: House) -> None:
    watches = FolderWatches(house.node)
    watches.renew()
    assert len(watching()) == 1
    with house.node.store.write() as connection:
        connection.exec_driver_sql("UPDATE channels SET state = 'paused' WHERE id = 'folder'")
        raise_configuration(connection)
    house.node.channels.refresh()
    watches.renew()
    assert not watching(), "a paused channel is watched"
    watches.close()
    watches.close()
    watches.renew()
    assert not watching()


# --- order within one look -------------------------------------------------------------------------------------------


def test_a_taking_back_in_the_same_look_is_heard_after_what_it_takes_back(house: House) -> None:
    first = house.root / "di" / "b-cong-van.edxml"
    second = house.root / "di" / "a-lay-lai.edxml"
    first.write_bytes(house.packet(["inbox-a"], sender="folder-a"))
    about = document_id("1", "folder-a")
    second.write_bytes(
        build_status(sender=organ("folder-a"), issuer=organ("inbox-a"), code="13", number="1", document_id=about)
    )
    now = time.time()
    os.utime(first, (now - 60, now - 60))
    os.utime(second, (now - 30, now - 30))
    assert intake_once(house.node) == 2
    assert not list((house.root / "di" / "khong-gui").glob("*.edxml"))
    sent = house.rows("SELECT state FROM deliveries WHERE agency_id = 'inbox-a' ORDER BY rowid")[0]
    assert sent["state"] == "withdrawn"


def test_one_bad_file_never_fails_its_neighbours_and_each_is_told_its_own_verdict(house: House) -> None:
    di = house.root / "di"
    right = {f"dung-{number}.edxml": house.packet(["check"], str(number), sender="folder-a") for number in range(1, 8)}
    wrong = {
        "cut.edxml": right["dung-1.edxml"][:300],
        "empty.edxml": b"",
        "foreign.edxml": house.packet(["check"], "9"),
    }
    for name, body in (right | wrong).items():
        (di / name).write_bytes(body)
    (di / "lap-lai.edxml").write_bytes(right["dung-3.edxml"])
    assert intake_once(house.node) == 11
    assert {path.name for path in (di / "da-gui").glob("*.edxml")} == {*right, "lap-lai.edxml"}
    assert {path.name for path in (di / "khong-gui").glob("*.edxml")} == {*wrong}
    assert len(house.rows("SELECT id FROM packets")) == 7


class _Poisoned:
    """The source of a folder, with things whose reading meets a defect of ours."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def look(self, limit: int) -> Iterator[Incoming]:
        def meet_a_defect() -> NoReturn:
            raise ZeroDivisionError

        for item in self._source.look(limit):
            yield replace(item, open=meet_a_defect) if "van-ban-2" in item.token else item

    def acknowledge(self, item: Incoming, verdict: Verdict) -> None:
        self._source.acknowledge(item, verdict)


def test_rule_8_a_defect_that_one_file_meets_stops_no_other(house: House) -> None:
    def open_poisoned(settings: Mapping[str, object], channel_id: str) -> Opened:
        opened = open_folder(settings, channel_id)
        return replace(opened, source=_Poisoned(opened.source))  # type: ignore[arg-type]

    kinds: Mapping[str, Kind] = {**KINDS, "folder": open_poisoned, "memory": memory_kind(house.recipients)}
    node = replace(house.node, channels=Channels(house.node.store, kinds))
    dropped = [drop(house, number) for number in (1, 2, 3)]
    for number, path in enumerate(dropped):
        os.utime(path, (number, number))  # in this order
    for _ in range(4):
        intake_once(node)
    assert len(house.rows("SELECT id FROM packets")) == 2
    assert sorted(path.name for path in (house.root / "di" / "khong-gui").iterdir()) == [
        "van-ban-2.edxml", "van-ban-2.edxml.txt"
    ]  # fmt: skip
    assert house.rows("SELECT key FROM intake_faults") == []


def test_what_the_disk_has_no_room_for_stays_where_it_is(house: House) -> None:
    """Nobody has taken it in: told as refused it would never come again."""
    blobs = house.node.store.blobs
    full = replace(house.node, store=replace(house.node.store, blobs=replace(blobs, reserve=1 << 60)))
    path = drop(house, 1)
    assert intake_once(full) == 0
    assert path.exists()
    assert house.rows("SELECT key FROM intake_faults") == [], "that killed nobody"
    assert intake_once(house.node) == 1
    assert len(house.rows("SELECT id FROM packets")) == 1
    assert not path.exists()
