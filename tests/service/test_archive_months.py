"""A month that is over: written out, read again, let go; what must stay stays, and the account still closes."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.archive import ArchiveDamaged, months, read_rows, verify
from gateway.cli.archive import parse_month
from gateway.model.errors import Conflict
from gateway.model.events import Event, EventKind
from gateway.model.instants import SECOND, id_floor, new_id, wall_now
from gateway.store import events, packets
from gateway.store.months import holds, periods
from gateway.store.months.holds import HoldKind
from gateway.store.months.partitions import PARTITIONED, month_of
from tests.support.archives import KEPT, account_of, archive, let_go, month_of_house, pass_month
from tests.support.nodes import Database, House, build_house
from tests.support.recipients import Does


@pytest.fixture(params=list(Database), ids=str)
def house(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    """A node on each database."""
    made = build_house(tmp_path, database=request.param)
    yield made
    made.close()


def send_and_deliver(house: House, numbers: int = 3) -> None:
    for number in range(1, numbers + 1):
        house.send(["idem", "check"], str(number))
    house.work()
    assert {row["state"] for row in house.rows("SELECT state FROM deliveries")} == {"delivered"}
    with house.node.store.write() as connection:  # statuses that the node owes for the agency are paid behind the hops
        connection.exec_driver_sql("UPDATE deliveries SET owes = ''")


def drop_parts(house: House) -> None:
    """This month has no tables of its own: its rows lie with all others', as those of an earlier release do."""
    month = month_of(wall_now())
    with house.node.store.write() as connection:
        for table in PARTITIONED:
            connection.exec_driver_sql(f"DROP TABLE {table}_{month.year:04}_{month.month:02}")


def count(house: House, table: str) -> int:
    return int(house.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"])


def test_a_month_is_written_read_again_and_goes_and_its_account_still_closes(house: House, tmp_path: Path) -> None:
    send_and_deliver(house)
    house.send(["idem", "check"], "1")  # a repeat: one event more of the first packet
    before = account_of(house)
    blobs = {row["blob"] for row in house.rows("SELECT blob FROM packets")}
    pass_month(house)
    file = archive(house, tmp_path)
    manifest = verify(file)
    assert manifest.rows["packets"] == 3
    assert manifest.rows["deliveries"] == manifest.rows["attempts"] == 6
    assert {row["blob"] for row in read_rows(file, "packets")} == blobs
    assert account_of(house).books == before.books, "writing lets nothing go"
    gone = let_go(house, file)
    assert gone.packets == 3
    assert gone.by_partition == (house.database != "")
    for table in ("packets", "deliveries", "transfers", "attempts"):
        assert count(house, table) == 0, table
    after = account_of(house)
    assert after.closes, after.gaps
    assert after.books == before.books
    assert sum(line.delivered for line in after.books) == 6
    with house.node.store.read() as connection:
        assert not any(packets.has_blob(connection, blob) for blob in blobs)
    assert let_go(house, file, month=parse_month(manifest.month)).packets == 0, "the second time there is nothing to do"


@pytest.mark.long
def test_a_month_without_a_part_of_its_own_goes_row_by_row(tmp_path: Path) -> None:
    """As what an earlier release stored does on PostgreSQL."""
    house = build_house(tmp_path, database=Database.POSTGRESQL)
    drop_parts(house)
    send_and_deliver(house)
    before = account_of(house)
    pass_month(house)
    gone = let_go(house, archive(house, tmp_path))
    assert (gone.packets, gone.by_partition) == (3, False)
    assert [count(house, table) for table in ("packets", "deliveries", "transfers", "attempts")] == [0] * 4
    after = account_of(house)
    assert after.closes, after.gaps
    assert after.books == before.books
    house.close()


@pytest.mark.long
@pytest.mark.parametrize("has_parts", [True, False], ids=["whole", "row-by-row"])
def test_what_goes_waits_for_a_hold_that_is_being_put_on(tmp_path: Path, has_parts: bool) -> None:
    """Whoever was told that it is held finds it there: a hold that was not committed yet was not seen."""
    house = build_house(tmp_path, database=Database.POSTGRESQL)
    if not has_parts:
        drop_parts(house)
    send_and_deliver(house)
    pass_month(house)
    file = archive(house, tmp_path)
    with ThreadPoolExecutor(1) as pool:
        with house.node.store.write() as connection:
            holds.add(
                connection, HoldKind.PERIOD, month_of_house(house).name, "vụ 15", actor="test", at=wall_now(),
                now=house.now(),
            )  # fmt: skip
            going = pool.submit(let_go, house, file)
            wait([going], timeout=1.0)
        with pytest.raises(Conflict, match=r"archive\.(kept|changed)"):
            going.result()
    assert count(house, "packets") > 0
    house.close()


@pytest.mark.long
def test_taking_in_goes_on_while_a_month_waits_for_its_tables(tmp_path: Path) -> None:
    """An open transaction keeps the tables from going; who writes meanwhile does not wait, and what came stays."""
    house = build_house(tmp_path, database=Database.POSTGRESQL)
    send_and_deliver(house, 1)
    pass_month(house)
    file, month = archive(house, tmp_path), month_of_house(house)
    other = house.another_store()
    outcomes: list[str] = []

    def go() -> None:
        with pytest.raises(Conflict) as refused:
            let_go(house, file, month)
        outcomes.append(refused.value.reason)

    going = threading.Thread(target=go)
    with other.write() as held:
        held.exec_driver_sql("UPDATE packets SET subject = subject")
        going.start()
        while not is_asking_for_tables(house):  # or is past asking: then it fails below
            assert going.is_alive(), outcomes
        for number in range(20, 24):  # of the same month: ids go by the wall's clock, the store by the hand's
            house.send(["idem"], str(number))
        assert not outcomes
    going.join(90)
    other.close()
    assert outcomes == ["archive.changed"]
    assert count(house, "packets") == 5
    house.close()


def is_asking_for_tables(house: House) -> bool:
    told = "SELECT count(*) AS n FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'packets'::regclass"
    return bool(house.rows(told)[0]["n"])


def test_a_repeat_of_what_is_gone_is_known_and_nothing_is_sent_again(house: House, tmp_path: Path) -> None:
    body = house.packet(["check"], "1")
    house.submit(body)
    house.work()
    with house.node.store.write() as connection:
        connection.exec_driver_sql("UPDATE deliveries SET owes = ''")
    pass_month(house)
    let_go(house, archive(house, tmp_path))
    same = house.submit(body)
    other_bytes = house.submit(house.packet(["check"], "1", subject="Trích yếu khác"))
    for outcome in (same, other_bytes):
        assert isinstance(outcome, Conflict)
        assert outcome.reason == "submission.archived"
    house.work()
    assert len(house.recipient("check").arrivals) == 1
    assert count(house, "packets") == 0


def test_a_month_of_which_events_alone_are_there_goes_like_any_other(house: House, tmp_path: Path) -> None:
    told = Event(kind=EventKind.PACKET_REPEATED, at=wall_now(), packet_id=new_id(), actor="test")
    with house.node.store.write() as connection:
        events.append(connection, [told], house.now())
    pass_month(house)
    (state,) = months(house.node.store, KEPT)
    assert state.obstacles.is_free
    file = archive(house, tmp_path)
    assert [row["packet_id"] for row in read_rows(file, "events")] == [told.packet_id]
    let_go(house, file)
    assert house.rows("SELECT id FROM events WHERE packet_id = ?", told.packet_id) == []
    assert account_of(house).closes
    with house.node.store.write() as connection:
        events.append(connection, [told], house.now())
    assert months(house.node.store, KEPT) == [], "it went; what is told of it afterwards is in no archive"


def test_what_a_delivery_of_a_later_month_needs_stays_where_a_clock_was_behind(house: House, tmp_path: Path) -> None:
    """Two machines at a month's turn: the one whose clock is behind makes the transfer and the attempt."""
    house.send(["idem"], "1")
    house.work()
    month = month_of(wall_now()).later(-1)
    stray = id_floor(month.end - SECOND)
    with house.node.store.write() as connection:
        for statement in (
            "UPDATE transfers SET id = '{0}'", "UPDATE deliveries SET transfer_id = '{0}'",
            "UPDATE attempts SET id = '{0}', transfer_id = '{0}'",
        ):  # fmt: skip
            connection.exec_driver_sql(statement.format(stray))
        assert not periods.delete_strays(connection, month)
    assert [count(house, table) for table in ("deliveries", "transfers", "attempts")] == [1, 1, 1]
    with house.node.store.write() as connection:
        connection.exec_driver_sql("DELETE FROM deliveries")
        assert periods.delete_strays(connection, month.later(1))
        assert not periods.delete_strays(connection, month.later(1))
    assert [count(house, table) for table in ("transfers", "attempts")] == [0, 0]


def test_what_is_open_or_parked_stays(house: House, tmp_path: Path) -> None:
    house.recipient("blind").next(Does.PARK)
    house.send(["blind"], "1")
    house.send(["inbox-a"], "2")
    house.work()
    pass_month(house)
    file = archive(house, tmp_path)
    (state,) = months(house.node.store, KEPT)
    why = state.obstacles
    assert (why.open, why.parked, why.is_free, state.is_due) == (2, 1, False, True)
    refuse(house, file, "archive.kept")


@pytest.mark.parametrize("figure", ["open", "going_on", "owing", "faults", "unread", "earlier"])
def test_each_thing_in_its_way_keeps_a_month(figure: str) -> None:
    free = periods.Obstacles(open=0, parked=0, going_on=0, owing=0, faults=0, unread=0, earlier=0, holds=())
    assert free.is_free
    assert not replace(free, **{figure: 1}).is_free


def test_what_is_held_stays_until_the_hold_is_ended(house: House, tmp_path: Path) -> None:
    send_and_deliver(house, 1)
    pass_month(house)
    file, month = archive(house, tmp_path), month_of_house(house)
    held = (
        (HoldKind.DOCUMENT, str(house.rows("SELECT root FROM packets")[0]["root"])),
        (HoldKind.AGENCY, "sender"),
        (HoldKind.AGENCY, "check"),
        (HoldKind.PERIOD, f"{month.later(-1).name}/{month.name}"),
    )
    for kind, value in held:
        with house.node.store.write() as connection:
            hold = holds.add(connection, kind, value, "vụ 12/2026", actor="test", at=wall_now(), now=house.now())
        assert months(house.node.store, KEPT)[0].obstacles.holds == (hold,)
        refuse(house, file, "archive.kept")
        with house.node.store.write() as connection:
            assert holds.end(connection, hold.id, actor="test", at=wall_now(), now=house.now())
            assert not holds.end(connection, hold.id, actor="test", at=wall_now(), now=house.now())
    with house.node.store.write() as connection:  # of another agency, and of another month
        holds.add(connection, HoldKind.AGENCY, "inbox-b", "vụ 13", actor="test", at=wall_now(), now=house.now())
        holds.add(connection, HoldKind.PERIOD, "2020-01/2020-12", "vụ 14", actor="test", at=wall_now(), now=house.now())
    assert let_go(house, file).packets == 1
    told = [row["kind"] for row in house.rows("SELECT kind FROM events WHERE kind LIKE 'hold.%'")]
    assert (told.count("hold.added"), told.count("hold.ended")) == (6, 4)


def refuse(house: House, file: Path, reason: str) -> None:
    """The month does not go, and all of it is still there."""
    before = {table: count(house, table) for table in ("packets", "deliveries", "events", "transfers", "attempts")}
    with pytest.raises(Conflict) as refused:
        let_go(house, file)
    assert refused.value.reason == reason
    assert {table: count(house, table) for table in before} == before


def test_only_the_archive_of_what_is_there_lets_a_month_go(house: House, tmp_path: Path) -> None:
    send_and_deliver(house, 1)
    assert months(house.node.store, KEPT) == []
    with pytest.raises(Conflict) as refused:
        archive(house, tmp_path, month_of(wall_now()))
    assert refused.value.reason == "archive.not_over"
    pass_month(house)
    refuse(house, tmp_path / "nothing.zip", "archive.none")
    file = archive(house, tmp_path)
    other = tmp_path / "other.zip"
    other.write_bytes(file.read_bytes() + b" ")
    refuse(house, other, "archive.other_file")
    house.submit(house.packet(["idem", "check"], "1"))  # a repeat: an event of the month's packet
    assert not months(house.node.store, KEPT)[0].is_current
    refuse(house, file, "archive.changed")
    old = file.read_bytes()
    assert let_go(house, archive(house, tmp_path)).packets == 1
    assert file.read_bytes() != old


def test_a_month_whose_packet_is_damaged_is_not_archived(house: House, tmp_path: Path) -> None:
    """What was written is read again before it has its name: later it would be all that is left."""
    send_and_deliver(house, 1)
    pass_month(house)
    [row] = house.rows("SELECT blob, size FROM packets WHERE book = 'documents'")
    house.node.store.blobs.path(row["blob"]).write_bytes(b"?" * row["size"])
    with pytest.raises(ArchiveDamaged, match=row["blob"]):
        archive(house, tmp_path)
    assert not list(tmp_path.glob("*.zip")) + list(tmp_path.glob("*.part"))
    assert house.rows("SELECT month FROM periods") == []


def test_an_archive_is_on_disk_before_the_store_says_that_it_is_there(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file with its bytes, then its name; a kill cannot show a lost fsync."""
    send_and_deliver(house, 1)
    pass_month(house)
    synced: list[tuple[str, list[str]]] = []

    def sync(descriptor: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}")).name
        synced.append((name, [path.name for path in tmp_path.glob("*.zip")]))
        really_sync(descriptor)

    really_sync = os.fsync
    monkeypatch.setattr(os, "fsync", sync)
    file = archive(house, tmp_path)
    monkeypatch.undo()
    assert synced[:2] == [(file.with_suffix(".part").name, []), (tmp_path.name, [file.name])]


def test_an_altered_archive_is_found_out_wherever_it_was_altered(tmp_path: Path) -> None:
    house = build_house(tmp_path)
    send_and_deliver(house, 1)
    pass_month(house)
    file = archive(house, tmp_path)
    house.close()
    with zipfile.ZipFile(file) as packed:
        contents = {name: packed.read(name) for name in packed.namelist()}
    assert {name.partition("/")[0] for name in contents} == {"DOC-TRUOC.txt", "manifest.json", "rows", "blobs"}
    for name, content in contents.items():
        for changed in (b"{}" if name == "manifest.json" else content + b" ", None):
            altered = tmp_path / "altered.zip"
            with zipfile.ZipFile(altered, "w") as packed:
                for each, bytes_ in contents.items():
                    if each != name:
                        packed.writestr(each, bytes_)
                    elif changed is not None:
                        packed.writestr(each, changed)
            with pytest.raises(ArchiveDamaged):
                verify(altered)
    for name in (next(each for each in contents if each.startswith("blobs/")), "rows/events.jsonl"):
        forged = tmp_path / "forged.zip"  # with a manifest that was made to fit
        changed = (
            contents[name].replace(b"e", b"E", 1)
            if name.startswith("blobs/")
            else contents[name].replace(b"idem", b"edim")
        )
        assert changed != contents[name]
        manifest = json.loads(contents["manifest.json"])
        manifest["files"][name] = {"sha256": hashlib.sha256(changed).hexdigest(), "size": len(changed)}
        with zipfile.ZipFile(forged, "w") as packed:
            for each, bytes_ in {**contents, name: changed, "manifest.json": json.dumps(manifest).encode()}.items():
                packed.writestr(each, bytes_)
        with pytest.raises(ArchiveDamaged, match=name.partition("/")[0] if name.startswith("blobs") else "events"):
            verify(forged)
    manifest = json.loads(contents["manifest.json"])
    manifest["rows"]["deliveries"] += 1  # one less is there than was written
    with zipfile.ZipFile(tmp_path / "less.zip", "w") as packed:
        for each, bytes_ in {**contents, "manifest.json": json.dumps(manifest).encode()}.items():
            packed.writestr(each, bytes_)
    with pytest.raises(ArchiveDamaged, match="deliveries"):
        verify(tmp_path / "less.zip")
    (tmp_path / "short.zip").write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ArchiveDamaged):
        verify(tmp_path / "short.zip")
