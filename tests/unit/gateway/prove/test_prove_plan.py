"""The generator of proofs: repeatable, right packets, every road; ledgers that survive a kill; only marked agencies."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edxml import read
from edxml.packet import Packet
from gateway.configuration import parse
from gateway.prove.ledger import Act, Ledger, Meant, Reported, Seen, Told, digest, read_record
from gateway.prove.marks import ECHO, MARK, SYSTEM, NotMarked, cast_of, configuration
from gateway.prove.plan import plan, refuses
from gateway.prove.run import Proof, read_proof
from tests.support.proofs import CAST, DAY, sendings


def test_a_seed_gives_the_same_bytes_again_and_another_run_other_documents() -> None:
    first = sendings(3, 60)
    assert first == sendings(3, 60)
    assert {one.body for one in first}.isdisjoint({one.body for one in sendings(3, 60, run=8)})
    assert first != sendings(4, 60)


def test_every_road_is_taken() -> None:
    made = sendings(5, 300)
    assert {one.meant.act for one in made} == {Act.NEW, Act.UPDATE, Act.RECALL, Act.REPLACEMENT}
    assert {len(one.meant.replaces) for one in made} == {0, 1, 2}
    by_name = {one.meant.name: one.meant for one in made}
    told = [set(one.meant.to) & set(by_name[one.meant.conflicts].to) for one in made if one.meant.conflicts]
    assert any(told), "contradictions go to those who have the first"
    assert not all(told), "contradictions go to others too"
    assert {len(one.meant.to) for one in made} == {1, 2, 3, 4}
    assert {one.times for one in made} == {1, 2, 3}
    assert any(one.meant.key for one in made)
    assert any(one.meant.conflicts and one.meant.key for one in made)
    assert any(one.meant.conflicts and not one.meant.key for one in made)
    assert max(len(one.body) for one in made) > 1_000_000


def test_every_packet_is_right_and_says_what_the_ledger_says() -> None:
    priorities = set()
    for one in sendings(6, 60):
        packet = read(io.BytesIO(one.body)).packet
        assert isinstance(packet, Packet)
        priorities.add(packet.is_urgent)
        assert packet.target_document_id.text == one.meant.document
        assert str(packet.business_kind) == str(one.meant.act)
        assert len(packet.replacements) == len(one.meant.replaces)
        assert digest(one.body) == one.meant.digest
        organs = {agency.id: agency.organ for agency in CAST}
        assert [to.raw_organ_id for to in packet.recipients] == [organs[agency] for agency in one.meant.to]
    assert priorities == {True, False}


def test_what_refers_comes_after_what_it_refers_to() -> None:
    names: list[str] = []
    for one in sendings(7, 300):
        for earlier in filter(None, (one.meant.about, one.meant.conflicts, *one.meant.replaces)):
            assert earlier in names
        names.append(one.meant.name)
    assert len(set(names)) == len(names)


def test_nobody_contradicts_a_document_that_somebody_refuses() -> None:
    made = {one.meant.name: one.meant for one in sendings(8, 600)}
    told = [made[meant.conflicts] for meant in made.values() if meant.conflicts]
    assert told
    assert not any(refuses(agency, meant.digest) for meant in told for agency in meant.to)
    assert any(refuses(agency, meant.digest) for meant in made.values() for agency in meant.to)


def test_a_plan_without_recipients_is_refused() -> None:
    with pytest.raises(ValueError, match="somebody"):
        plan(1, 1, CAST[0], (), DAY)


# --- ledgers ---------------------------------------------------------------------------------------------------------

LINES: tuple[Meant | Told | Seen | Reported, ...] = (
    Meant(name="a", act=Act.RECALL, sender="s", digest="d", document="x", to=("b", "c"), about="z", key="k"),
    Told(name="a", status=202, packet_id="p", is_repeat=True, deliveries={"b": "ready"}),
    Seen(agency="b", key="k", digest="d", is_copy=True, packet_id="p", document="x", refused=True),
    Reported(agency="b", about="p", packet_id="q"),
)


def _timeless(line: Told | Seen | Reported) -> Told | Seen | Reported:
    return replace(line, at=0.0)


def test_a_ledger_gives_back_what_was_written(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        for line in LINES:
            ledger.write(line)
    with Ledger(tmp_path) as ledger:
        ledger.write(LINES[2])
    record = read_record(tmp_path)
    assert record.meant == (LINES[0],)
    assert [*map(_timeless, record.told), *map(_timeless, record.seen)] == [LINES[1], LINES[2], LINES[2]]
    assert [*map(_timeless, record.reported)] == [LINES[3]]
    assert all(told.at > 0 for told in record.told)
    assert all(seen.at > 0 for seen in record.seen)


def test_a_line_that_a_kill_cut_short_is_left_out_and_the_next_one_is_whole(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.write(LINES[0])
    with (tmp_path / "told.jsonl").open("ab") as file:
        file.write(b'{"line": "told", "na')
    assert read_record(tmp_path).told == ()
    with Ledger(tmp_path) as ledger:
        ledger.write(LINES[1])
    assert [_timeless(line) for line in read_record(tmp_path).told] == [LINES[1]]


def test_a_ledger_of_something_else_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path).__exit__()
    (tmp_path / "seen.jsonl").write_text('{"line": "seen", "agency": 7}\n')
    with pytest.raises(ValueError, match="agency"):
        read_record(tmp_path)


def test_a_proof_is_read_as_it_was_written(tmp_path: Path) -> None:
    proof = Proof(seed=1, run=2, day="2026-11-27", agencies=CAST)
    proof.write(tmp_path)
    assert read_proof(tmp_path) == proof


# --- who takes part ---------------------------------------------------------------------------------------------------


def agency(agency_id: str, **more: Any) -> dict[str, Any]:
    """As `/v1/me` says it."""
    return {
        "agency_id": agency_id, "kind": "other", "name": agency_id, "organ_id": "H99.98.1", "is_in_force": True,
        "is_reachable": True, "codes": [{"assumed": True}], **more,
    }  # fmt: skip


def me(*agencies: dict[str, Any], is_operator: bool = False) -> dict[str, Any]:
    return {"name": SYSTEM, "is_operator": is_operator, "agencies": list(agencies)}


GOOD = (agency(f"{MARK}gui-1"), agency(f"{MARK}hop-1"))


def test_marked_agencies_take_part() -> None:
    cast = cast_of(me(*GOOD), [agency(ECHO)])
    assert [(one.id, one.sends) for one in cast] == [(f"{MARK}gui-1", True), (f"{MARK}hop-1", False), (ECHO, False)]


@pytest.mark.parametrize(
    "wrong",
    [
        me(*GOOD, agency("na-so-stc")),
        me(*GOOD, agency(f"{MARK}x", kind="commune")),
        me(*GOOD, agency(f"{MARK}x", codes=[{"assumed": True}, {"assumed": False}])),
        me(*GOOD, agency(f"{MARK}x", codes=[])),
        me(*GOOD, is_operator=True),
        me(GOOD[0]),
        me(GOOD[1]),
        me(GOOD[0], agency(f"{MARK}hop-1", is_reachable=False)),
    ],
    ids=["real", "kind", "code", "codeless", "operator", "no-recipient", "no-sender", "unreachable"],
)
def test_a_system_that_could_touch_a_real_agency_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(NotMarked):
        cast_of(wrong)
    with pytest.raises(NotMarked):
        cast_of(me(*GOOD), [agency("na-so-stc")])


def test_the_configuration_makes_marked_agencies() -> None:
    made = parse(configuration("H99"))
    assert all(one.id.startswith(MARK) and str(one.kind) == "other" for one in made.agencies)
    assert all(code.assumed for one in made.agencies for code in one.codes)
    (system,) = made.systems
    assert ECHO not in system.speaks_for
    assert {one for channel in made.channels for one in channel.serves} == {one.id for one in made.agencies}
