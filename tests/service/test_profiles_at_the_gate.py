"""A system's profile decides what is put right for it, on the node's own day; nobody is refused who was not before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from edxml import REPAIRS, Language, Severity, StatusCode
from edxml.messages import text
from gateway.configuration import ConfigurationInvalid, apply, export, parse
from gateway.exchange.examine import examine
from gateway.exchange.report import report_status
from gateway.exchange.submission import Answer, Examined, PacketRefusal
from gateway.identity import Caller
from gateway.store import open_store, reports
from gateway.store.profiles import list_profiles
from gateway.store.systems import list_systems
from tests.support.nodes import Database, House, build_house

BOM = b"\xef\xbb\xbf"
GRACE = """
[[profile]]
name = "grace-2025"
allow = [
    {repairs = ["*"], but = ["bom", "root_case"], why = "as before"},
    {repairs = ["bom"], until = 2025-12-31, why = "letter of 2 October 2025"},
]

[[system]]
name = "s-sender"
profile = "grace-2025"
speaks_for = ["sender"]
"""
STRICT = '[[system]]\nname = "s-sender"\nprofile = "strict"\nspeaks_for = ["sender"]\n'


@pytest.fixture
def on_day(tmp_path: Path, database: Database) -> Iterator[Callable[..., House]]:
    built: list[House] = []

    def build(day: str, configuration: str = "") -> House:
        (tmp_path / day).mkdir()
        house = build_house(tmp_path / day, database=database, today=day)
        built.append(house)
        apply(house.node.store, parse(configuration), actor="test", on=date.fromisoformat(day))
        house.node.channels.refresh()
        return house

    yield build
    for house in built:
        house.close()


def caller(house: House, agency: str = "sender") -> Caller:
    with house.node.store.read() as connection:
        row = next(row for row in list_systems(connection) if row.name == f"s-{agency}")
    return Caller(system_id=row.id, name=row.name, agency_ids=row.agency_ids, is_operator=False)


def bom_packet(house: House, number: str, sender: str = "sender") -> bytes:
    return BOM + house.packet(["inbox-a"], number, sender)


def refused(house: House, body: bytes) -> PacketRefusal:
    outcome = house.submit(body, caller=caller(house))
    assert isinstance(outcome, PacketRefusal), outcome
    return outcome


def errors(outcome: PacketRefusal | Examined) -> list[str]:
    return [finding.code for finding in outcome.findings if finding.severity is Severity.ERROR]


def test_without_a_word_everything_is_put_right_as_before(on_day: Callable[..., House]) -> None:
    house = on_day("2025-10-01")
    answer = house.submit(bom_packet(house, "1"), caller=caller(house))
    assert isinstance(answer, Answer)
    assert list(answer.repairs) == ["bom"]
    with house.node.store.read() as connection:
        assert {row.profile for row in list_systems(connection)} == {"lenient"}
    lenient = house.node.channels.snapshot().profile_of(caller(house).system_id)
    assert all(lenient.allows(name) for name in REPAIRS)


def test_a_repair_ends_on_its_day_for_its_system_alone(on_day: Callable[..., House]) -> None:
    last = on_day("2025-12-31", GRACE)
    assert isinstance(last.submit(bom_packet(last, "1"), caller=caller(last)), Answer)
    after = on_day("2026-01-01", GRACE)
    finding = next(one for one in refused(after, bom_packet(after, "1")).findings if one.severity is Severity.ERROR)
    assert finding.code == "edxml.repair_ended"
    said = finding.text(Language.VI)
    for part in ("“bom”", "“grace-2025”", "31/12/2025", text("remedy.bom", Language.VI, {}), "Căn cứ: thông lệ"):
        assert part in said
    other = after.submit(bom_packet(after, "1", "sender-2"), "sender-2", caller=caller(after, "sender-2"))
    assert isinstance(other, Answer)


def test_a_strict_system_is_held_to_the_schema_and_gets_nothing_put_right(on_day: Callable[..., House]) -> None:
    house = on_day("2025-10-01", STRICT)
    assert isinstance(house.submit(house.packet(["inbox-a"], "1"), caller=caller(house)), Answer)
    assert errors(refused(house, bom_packet(house, "2"))) == ["edxml.repair_forbidden"]
    strange = house.packet(["inbox-a"], "3").replace(b"</edXML:Subject>", b"</edXML:Subject><edXML:Them/>")
    assert any(code.startswith("edxml.schema_") for code in errors(refused(house, strange)))


def test_what_the_node_itself_writes_passes_the_strictest_profile(on_day: Callable[..., House]) -> None:
    recipient = STRICT.replace("s-sender", "s-inbox-a").replace('"sender"', '"inbox-a"')
    house = on_day("2025-10-01", recipient)
    sent = house.send(["inbox-a"], "1")
    with house.node.store.read() as connection:
        owed = reports.of_delivery(connection, house.delivery(sent, "inbox-a"))
    assert owed is not None
    told = report_status(house.node, owed, StatusCode("03"), "Đã vào sổ", caller=caller(house, "inbox-a"))
    assert isinstance(told, Answer), told


def test_a_refusal_by_profile_leaves_its_event(on_day: Callable[..., House]) -> None:
    house = on_day("2025-10-01", STRICT)
    refused(house, bom_packet(house, "1"))
    (event,) = house.rows("SELECT reason, system_id FROM events WHERE kind = 'packet.refused'")
    assert event == {"reason": "edxml.repair_forbidden", "system_id": caller(house).system_id}


def test_a_look_ahead_says_the_same(on_day: Callable[..., House], tmp_path: Path) -> None:
    house = on_day("2025-10-01", STRICT)
    path = tmp_path / "a.edxml"
    path.write_bytes(bom_packet(house, "1"))
    looked = examine(house.node, path, system_id=caller(house).system_id)
    assert errors(looked) == ["edxml.repair_forbidden"]
    assert not examine(house.node, path).is_refused


def test_a_file_gives_profiles_and_gets_them_back(tmp_path: Path) -> None:
    store = open_store(tmp_path, node="t", reserve=1)
    apply(store, parse(GRACE.replace('speaks_for = ["sender"]', "")))
    with store.read() as connection:
        (row,) = list_profiles(connection)
    assert row.profile().last_day("bom") == date(2025, 12, 31)
    given_back = export(store)
    assert apply(store, parse(given_back)) == ()
    other = open_store(tmp_path / "other", node="t", reserve=1)
    apply(other, parse(given_back))
    assert export(other) == given_back
    other.close()
    assert 'profile = "grace-2025"' in given_back
    (change,) = apply(store, parse(given_back.replace("2025-12-31", "2026-06-30")))
    assert "grace-2025" in change.text(Language.VI)
    assert [one.field for one in apply(store, parse('[[system]]\nname = "s-sender"\nprofile = "strict"'))] == [
        "profile"
    ]
    assert apply(store, parse('[[system]]\nname = "s-sender"')) == ()
    store.close()


WRONG = {
    "no such profile": ('[[system]]\nname = "s-sender"\nprofile = "soft"\n', "configuration.no_profile"),
    "no such repair": ('[[profile]]\nname = "x"\nallow = [{repairs = ["bomb"]}]', "configuration.profile_wrong"),
    "a name that is taken": ('[[profile]]\nname = "strict"', "configuration.profile_taken"),
    "twice": ('[[profile]]\nname = "x"\n[[profile]]\nname = "x"', "configuration.twice"),
    "misspelt": ('[[profile]]\nname = "x"\nalow = []', "configuration.misspelt"),
    "no day": ('[[profile]]\nname = "x"\nallow = [{repairs = ["bom"], until = "2026"}]', "configuration.not_day"),
}


@pytest.mark.parametrize(("wrong", "code"), WRONG.values(), ids=WRONG.keys())
def test_what_a_file_cannot_say_is_a_fault_with_its_place(wrong: str, code: str, on_day: Callable[..., House]) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        apply(on_day("2025-10-01").node.store, parse(wrong))
    assert code in {finding.code for finding in caught.value.findings}
    for finding in caught.value.findings:
        assert "{" not in finding.text(Language.VI)
