"""Repairs counted per day, system, sender and name: what is reported is what stands on the packets."""

from __future__ import annotations

import gzip
import json
import random
import sqlite3
from collections import Counter, defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, update

from edxml import REPAIRS, Language
from edxml.letters import Letter, LetterItem, write_letter
from edxml.messages import text
from gateway.configuration import apply, parse
from gateway.exchange.repaired import tell_repairs
from gateway.exchange.submission import Answer
from gateway.identity import Caller
from gateway.model.instants import HOUR, VIETNAM, Instant, as_datetime
from gateway.store import followers, open_store, repairs, schema
from gateway.store.repairs import By
from gateway.store.systems import list_systems
from gateway.workers.counting import count_all, count_once
from tests.support.edge import RunningApi, running_api
from tests.support.nodes import House
from tests.support.stored import FilledStore, fill_store
from tests.support.terminal import Terminal

RELEASES = sorted((Path(__file__).parent.parent / "support" / "releases").glob("*.sql.gz"))
ALWAYS: Any = {"since": date(2000, 1, 1), "until": date(2100, 1, 1)}
BOM = b"\xef\xbb\xbf"


def fill(folder: Path, seed: int) -> tuple[FilledStore, list[tuple[str, str, str, Instant, list[str]]]]:
    """Packets of three systems and senders over three days, each with some repairs; what each was."""
    dice, filled, told = random.Random(seed), fill_store(folder), []
    names = dice.sample(sorted(REPAIRS), 5)
    for _ in range(60):
        filled.clock.turn(dice.randrange(2 * HOUR))
        sender, system = dice.choice("abc"), dice.choice(("s-1", "s-2", "s-3"))
        packet_id = filled.send(["r"], sender=sender).packet_id
        made = dice.choices(names, k=dice.choice((0, 0, 1, 2, 5)))
        with filled.store.write() as connection:
            connection.execute(
                update(schema.packets)
                .where(schema.packets.c.id == packet_id)
                .values(repairs=json.dumps(made), system_id=system)
            )
        told.append((packet_id, system, sender, filled.clock.now(), made))
    return filled, told


def count_in_disorder(filled: FilledStore, dice: random.Random) -> None:
    """Steps of any size, by two processes that see the same beginning, some of which end before their commit."""
    while True:
        with filled.store.read() as connection:
            seen = followers.follow(connection, repairs.FOLLOWER, most=dice.randrange(1, 40))
            counted = repairs.sum_up(connection, seen)
        if seen.is_done:
            return
        for _ in range(2):
            try:
                with filled.store.write() as connection:
                    repairs.count(connection, counted)
                    if dice.random() < 0.4:
                        raise InterruptedError
            except InterruptedError:
                continue


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("by", list(By))
def test_what_is_counted_is_what_is_recorded(tmp_path: Path, by: By, seed: int) -> None:
    filled, told = fill(tmp_path, seed)
    count_in_disorder(filled, random.Random(seed))
    places: Counter[str] = Counter()
    wanted: dict[str, set[str]] = defaultdict(set)
    sent: Counter[str] = Counter()
    for packet_id, system, sender, _at, made in told:
        own = {By.SYSTEM: system, By.AGENCY: sender}.get(by)
        sent["" if own is None else own] += 1
        for name in made:
            places[own or name] += 1
            wanted[own or name].add(packet_id)
    with filled.store.read() as connection:
        lines = repairs.report(connection, by, **ALWAYS)
        seen = repairs.traffic(connection, **ALWAYS)
    filled.store.close()
    assert {line.key: line.count for line in lines} == places
    assert {line.key: line.packets for line in lines} == {key: len(ids) for key, ids in wanted.items()}
    assert {line.key: line.example for line in lines} == {key: max(ids) for key, ids in wanted.items()}
    for line in lines:
        assert line.accepted == sent["" if by is By.NAME else line.key]
    times = {packet_id: at for packet_id, *_, at, _ in told}
    for line in lines:
        moments = [times[packet_id] for packet_id in wanted[line.key]]
        assert (line.first_at, line.last_at) == (min(moments), max(moments))
    assert (seen.packets, seen.repaired) == (len(told), sum(bool(made) for *_, made in told))


def test_who_counts_holds_the_writer_for_what_is_written_alone(tmp_path: Path) -> None:
    filled, _ = fill(tmp_path, 7)
    said: list[str] = []

    def note(_connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        said.append(statement)

    with filled.store.read() as connection:
        engine = connection.engine
    event.listen(engine, "before_cursor_execute", note)
    count_all(filled.store)
    filled.store.close()
    begins = said.index("BEGIN IMMEDIATE")
    held = said[begins + 1 : said.index("BEGIN", begins)]
    assert any("FROM packets" in statement for statement in said[:begins])
    assert not any("FROM packets" in statement for statement in held), "packets are read before"
    assert len(held) <= 4, "one statement for each table, however many packets"


def test_days_are_those_of_vietnam_and_both_ends_count(tmp_path: Path) -> None:
    filled, told = fill(tmp_path, 99)
    count_all(filled.store)
    day_of = {row[0]: as_datetime(row[3]).astimezone(VIETNAM).date() for row in told}
    for day in sorted(set(day_of.values())):
        with filled.store.read() as connection:
            seen = repairs.traffic(connection, since=day, until=day)
        assert seen.packets == sum(one == day for one in day_of.values())
    filled.store.close()


@pytest.mark.parametrize("dump", RELEASES, ids=lambda path: path.name)
def test_packets_of_a_released_database_are_counted_too(dump: Path, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "truc.db")
    connection.executescript(gzip.decompress(dump.read_bytes()).decode())
    (some,) = connection.execute("SELECT min(id) FROM packets").fetchone()
    connection.execute("UPDATE packets SET repairs = ? WHERE id = ?", ('["bom", "bom", "date_form"]', some))
    connection.commit()
    ours = connection.execute("SELECT repairs FROM packets").fetchall()
    (node_name,) = connection.execute("SELECT name FROM node").fetchone()
    connection.close()
    store = open_store(tmp_path, node=node_name, reserve=1)
    count_all(store)
    with store.read() as rows:
        seen = repairs.traffic(rows, **ALWAYS)
        lines = repairs.report(rows, By.NAME, **ALWAYS)
        assert {system.profile for system in list_systems(rows)} == {"lenient"}
    store.close()
    assert seen.packets == len(ours) > 5
    recorded = Counter(name for (told,) in ours for name in json.loads(told))
    assert {line.key: line.count for line in lines} == recorded
    assert recorded["bom"] >= 2


def caller(house: House, agency: str = "sender") -> Caller:
    with house.node.store.read() as connection:
        row = next(row for row in list_systems(connection) if row.name == f"s-{agency}")
    return Caller(system_id=row.id, name=row.name, agency_ids=row.agency_ids, is_operator=False)


def send_with_bom(house: House, number: str, agency: str = "sender") -> Answer:
    answer = house.submit(BOM + house.packet(["inbox-a"], number, agency), agency, caller=caller(house, agency))
    assert isinstance(answer, Answer), answer
    return answer


def test_a_repeat_counts_once_and_a_status_counts_too(house: House) -> None:
    send_with_bom(house, "1")
    send_with_bom(house, "1")
    assert isinstance(house.submit(house.packet(["inbox-a"], "2"), caller=caller(house)), Answer)
    assert isinstance(house.tell("inbox-a", "03"), Answer)
    while count_once(house.node):
        pass
    with house.node.store.read() as connection:
        (line,) = repairs.report(connection, By.NAME, **ALWAYS)
        assert repairs.traffic(connection, **ALWAYS).packets == 3
    assert (line.key, line.packets, line.count, line.accepted) == ("bom", 1, 1, 3)
    assert line.document_id.endswith("1/UBND-VX")
    house.assert_books_close()


def test_the_metric_names_the_system_and_moves_once(house: House) -> None:
    send_with_bom(house, "1")
    send_with_bom(house, "2")
    while count_once(house.node):
        pass
    assert not count_once(house.node)
    shown = house.node.metrics.render().decode()
    assert 'truc_system_repairs_total{repair="bom",system="s-sender"} 2.0' in shown


def test_each_repair_is_told_with_its_end(house: House) -> None:
    grace = """
    [[profile]]
    name = "grace"
    allow = [{repairs = ["*"], but = ["bom"]}, {repairs = ["bom"], until = 2025-12-31}]
    [[system]]
    name = "s-sender"
    profile = "grace"
    speaks_for = ["sender"]
    """
    apply(house.node.store, parse(grace), actor="test", on=house.node.today())
    house.node.channels.refresh()
    send_with_bom(house, "1")
    count_all(house.node.store)
    with house.node.store.read() as connection:
        told = tell_repairs(connection, house.node.channels.snapshot(), caller(house).system_id, **ALWAYS,
                            today=house.node.today())  # fmt: skip
        other = tell_repairs(connection, house.node.channels.snapshot(), caller(house, "sender-2").system_id, **ALWAYS,
                             today=house.node.today())  # fmt: skip
    assert [(one.line.key, one.until) for one in told.repairs] == [("bom", date(2025, 12, 31))]
    assert (other.traffic.packets, other.repairs) == (0, ())


# --- as people see it ----------------------------------------------------------------------------------------


def test_the_command_reports_by_system_by_name_and_by_agency(truc: Terminal, house: House) -> None:
    send_with_bom(house, "1")
    send_with_bom(house, "2")
    house.pass_time(HOUR)
    send_with_bom(house, "3", "sender-2")
    days = ("--from", "2000-01-01", "--to", "2100-01-01")
    found = truc.json("repairs", *days)
    assert [(line["name"], line["packets"], line["accepted"]) for line in found] == [
        ("s-sender", 2, 2),
        ("s-sender-2", 1, 1),
    ]
    (line,) = truc.json("repairs", "--by", "name", *days)
    assert (line["name"], line["packets"], line["document_id"].endswith("3/UBND-VX")) == ("bom", 3, True)
    assert line["first_at"] < line["last_at"]
    assert [line["agency"] for line in truc.json("repairs", "--by", "agency", *days)] == ["sender", "sender-2"]
    assert "Cơ quan sender" in truc("repairs", "--by", "agency", *days)
    assert truc.json("repairs", "--from", "2000-01-01", "--to", "2000-01-02") == []
    truc("repairs", "--from", "2026-01-02", "--to", "2026-01-01", code=2)


def test_the_letter_is_written_in_both_languages(truc: Terminal, house: House) -> None:
    send_with_bom(house, "1")
    days = ("--from", "2000-01-01", "--to", "2100-01-01")
    both = truc("repairs", "letter", "s-sender", *days)
    for language in Language:
        assert text("letter.greeting", language, {"system": "s-sender"}) in both
        assert text("remedy.bom", language, {}) in both
        assert text("letter.tolerated", language, {}) in both
    assert "1/UBND-VX" in both
    assert truc("repairs", "letter", "s-sender", "--in", "en", *days).startswith("To the developers of s-sender")
    assert "không gói tin nào phải sửa giúp" in truc("repairs", "letter", "s-sender-2", *days)
    truc("repairs", "letter", "nobody", code=6)


def test_a_system_is_shown_with_its_profile(truc: Terminal, house: House, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('[[system]]\nname = "s-sender"\nprofile = "strict"\nspeaks_for = ["sender"]\n')
    assert {one["profile"] for one in truc.json("system", "list")} == {"lenient"}
    truc("apply", str(file))
    shown = truc.json("system", "show", "s-sender")
    assert (shown["profile"], shown["checks_schema"]) == ("strict", True)
    assert not any(one["is_made"] for one in shown["repairs"])
    assert text("system_told.schema", Language.VI, {}) in truc("system", "show", "s-sender")
    lenient = truc.json("system", "show", "s-sender-2")["repairs"]
    assert {one["name"] for one in lenient if one["is_made"] and one["until"] is None} == REPAIRS
    truc("system", "show", "nobody", code=6)


def test_a_vendor_sees_its_own_over_http(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        send_over_http(api)
        count_all(api.node.store)
        told = api.sender.get("/v1/repairs").json()
        assert [(one["name"], one["packets"], one["is_tolerated"]) for one in told["items"]] == [("bom", 1, True)]
        assert (told["profile"], told["packets"], told["repaired"]) == ("lenient", 1, 1)
        assert told["items"][0]["remedy_vi"] == text("remedy.bom", Language.VI, {})
        assert api.foreign.get("/v1/repairs").json()["items"] == []
        assert api.sender.get("/v1/repairs", params={"from": "x"}).status_code == 400
        reversed_days = api.sender.get("/v1/repairs", params={"from": "2026-11-02", "to": "2026-11-01"})
        assert (reversed_days.status_code, reversed_days.json()["code"]) == (400, "api.days_reversed")
        later = api.sender.get("/v1/repairs", params={"from": "2999-01-01"})
        assert later.json()["code"] == "api.days_reversed", "without an end it is today"


def test_a_repair_of_another_release_is_told_by_its_name(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        send_over_http(api)
        count_all(api.node.store)
        with api.node.store.write() as connection:
            connection.exec_driver_sql("UPDATE repair_days SET name = 'of_tomorrow'")
        (told,) = api.sender.get("/v1/repairs").json()["items"]
        assert (told["name"], told["breaks"]) == ("of_tomorrow", "?")
    letter = Letter(
        system="s", since=date(2026, 1, 1), until=date(2026, 2, 1), day=date(2026, 2, 1), packets=1, repaired=1,
        items=(LetterItem(name="of_tomorrow", packets=1, first=date(2026, 1, 1), last=date(2026, 1, 1)),),
    )  # fmt: skip
    assert "of_tomorrow" in write_letter(letter, Language.VI)


def send_over_http(api: RunningApi) -> None:
    assert api.sender.post("/v1/packets", content=BOM + api.packet()).status_code == 202
