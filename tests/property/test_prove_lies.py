"""The checker of proofs: an honest world passes, and whatever lie is planted in it is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.prove.check import Copy, Judgement, WrongKind, judge
from gateway.prove.ledger import Act, Meant, Seen, Told
from gateway.prove.marks import ECHO
from gateway.prove.plan import run_of
from tests.support.proofs import World, honest

SEEDS = st.integers(0, 1 << 20)
Pick = Callable[[list[int]], int]


def judged(world: World) -> Judgement:
    return judge(world.record, world.said, unwatched=world.unwatched)


def packet_of(world: World, seen: Seen) -> str:
    name = next(meant.name for meant in world.meant if meant.digest == seen.digest)
    return next(told.packet_id for told in world.told if told.name == name and told.is_accepted)


# --- the lies: each changes an honest world, and says where -------------------------------------------------------


def a_delivered_copy_was_never_seen(world: World, place: int) -> WrongKind:
    copies = [(packet, agency) for packet, said in world.account.items() for agency in said if agency != ECHO]
    packet, agency = copies[place % len(copies)]
    world.account[packet][agency] = Copy(state="delivered", reason="confirmed")
    name = next(told.name for told in world.told if told.packet_id == packet)
    wanted = next(meant.digest for meant in world.meant if meant.name == name)
    world.seen = [seen for seen in world.seen if (seen.agency, seen.digest) != (agency, wanted)]
    return WrongKind.LOST


def an_accepted_packet_is_not_known(world: World, place: int) -> WrongKind:
    del world.account[list(world.account)[place % len(world.account)]]
    return WrongKind.LOST


def a_recipient_has_no_delivery(world: World, place: int) -> WrongKind:
    said = list(world.account.values())[place % len(world.account)]
    del said[next(iter(said))]
    return WrongKind.LOST


def a_copy_came_again_under_another_key(world: World, place: int) -> WrongKind:
    seen = world.seen[place % len(world.seen)]
    world.seen.append(replace(seen, key="again"))
    return WrongKind.TWICE


def a_byte_was_altered(world: World, place: int) -> WrongKind:
    place %= len(world.seen)
    world.seen[place] = replace(world.seen[place], digest="0" * 64)
    return WrongKind.ALTERED


def a_copy_came_to_somebody_else(world: World, place: int) -> WrongKind:
    world.seen.append(replace(world.seen[place % len(world.seen)], agency="kiem-chung-ai-khac"))
    return WrongKind.ALTERED


def a_repeat_got_another_answer(world: World, place: int) -> WrongKind:
    accepted = [told for told in world.told if told.is_accepted]
    world.told.append(replace(accepted[place % len(accepted)], packet_id="other", is_repeat=True))
    return WrongKind.BROKEN_WORD


def a_repeat_was_taken_for_new(world: World, place: int) -> WrongKind:
    accepted = [told for told in world.told if told.is_accepted]
    world.told.append(replace(accepted[place % len(accepted)], is_repeat=False))
    return WrongKind.BROKEN_WORD


def a_good_packet_was_refused(world: World, place: int) -> WrongKind:
    accepted = [told for told in world.told if told.is_accepted]
    name = accepted[place % len(accepted)].name
    world.told.append(Told(name=name, status=422, code="packet.refused"))
    return WrongKind.BROKEN_WORD


def a_contradiction_was_accepted(world: World, place: int) -> WrongKind:
    meant = world.meant[place % len(world.meant)]
    other = replace(meant, name=f"{meant.name}/lie", digest="1" * 64, conflicts=meant.name)
    world.meant.append(other)
    world.told.append(Told(name=other.name, status=202, packet_id="lie"))
    world.account["lie"] = {agency: Copy(state="delivered") for agency in other.to}
    return WrongKind.BROKEN_WORD


def a_copy_expired_without_a_recall(world: World, place: int) -> WrongKind:
    free = [seen for seen in world.seen if not _is_recalled(world, seen)]
    seen = free[place % len(free)]
    world.account[packet_of(world, seen)][seen.agency] = Copy(state="expired", may_have_arrived=True)
    return WrongKind.UNEXPLAINED


def a_copy_is_parked_for_a_fault_of_the_node(world: World, place: int) -> WrongKind:
    seen = world.seen[place % len(world.seen)]
    world.account[packet_of(world, seen)][seen.agency] = Copy(
        state="parked", reason="blob_missing", may_have_arrived=True
    )
    return WrongKind.UNEXPLAINED


def a_doubt_was_left_to_a_person_where_the_recipient_can_be_asked(world: World, place: int) -> WrongKind:
    seen = world.seen[place % len(world.seen)]
    world.account[packet_of(world, seen)][seen.agency] = Copy(
        state="parked", reason="outcome_unknown", may_have_arrived=True
    )
    return WrongKind.UNEXPLAINED


def a_withdrawn_copy_was_seen(world: World, place: int) -> WrongKind:
    seen = world.seen[place % len(world.seen)]
    world.account[packet_of(world, seen)][seen.agency] = Copy(state="withdrawn", reason="recalled")
    return WrongKind.OVERTAKEN


def a_recall_was_withdrawn_though_its_document_was_seen(world: World, place: int) -> WrongKind:
    meant, agency = _seen_recall(world, place)
    _forget(world, meant.digest, agency)
    world.account[packet_named(world, meant.name)][agency] = Copy(state="withdrawn", reason="nothing_to_recall")
    return WrongKind.LOST


def a_recall_expired(world: World, place: int) -> WrongKind:
    meant, agency = _seen_recall(world, place)
    _forget(world, meant.digest, agency)
    world.account[packet_named(world, meant.name)][agency] = Copy(state="expired", reason="time_limit")
    return WrongKind.UNEXPLAINED


def a_refusal_was_taken_for_a_receipt(world: World, place: int) -> WrongKind:
    refused = [seen for seen in world.seen if seen.refused]
    seen = refused[place % len(refused)]
    world.account[packet_of(world, seen)][seen.agency] = Copy(state="delivered", reason="confirmed")
    return WrongKind.BROKEN_WORD


def what_refers_came_first(world: World, place: int) -> WrongKind:
    pairs = [(a, b) for a, b in _families(world) if a != b]
    first, second = pairs[place % len(pairs)]
    world.seen[first], world.seen[second] = world.seen[second], world.seen[first]
    return WrongKind.OVERTAKEN


def what_was_replaced_came_after_its_replacement(world: World, place: int) -> WrongKind:
    meant = {one.digest: one for one in world.meant}
    where = {(seen.agency, meant[seen.digest].name): at for at, seen in enumerate(world.seen)}
    pairs = [
        (where[seen.agency, name], at)
        for at, seen in enumerate(world.seen)
        for name in meant[seen.digest].replaces
        if (seen.agency, name) in where
    ]
    first, second = pairs[place % len(pairs)]
    world.seen.insert(second, world.seen.pop(first))
    return WrongKind.OVERTAKEN


def a_copy_was_superseded_by_nothing(world: World, place: int) -> WrongKind:
    meant = {one.digest: one for one in world.meant}
    tied = {name for one in world.meant for name in (*one.replaces, one.name if one.replaces else "", one.about)}
    alone = [seen for seen in world.seen if meant[seen.digest].act is Act.NEW and meant[seen.digest].name not in tied]
    seen = alone[place % len(alone)]
    _forget(world, seen.digest, seen.agency)
    world.account[packet_of(world, seen)][seen.agency] = Copy(state="withdrawn", reason="superseded")
    return WrongKind.UNEXPLAINED


def what_refers_came_alone(world: World, place: int) -> WrongKind:
    pairs = _families(world)
    first, _ = pairs[place % len(pairs)]
    seen = world.seen.pop(first)
    world.account[packet_of(world, seen)][seen.agency] = Copy(state="withdrawn", reason="recalled")
    return WrongKind.OVERTAKEN


def a_reported_status_was_never_seen(world: World, place: int) -> WrongKind:
    del world.heard[place % len(world.heard)]
    return WrongKind.LOST


def a_status_that_the_node_speaks_of_was_never_seen(world: World, place: int) -> WrongKind:
    place %= len(world.heard)
    del world.heard[place], world.reported[place]
    return WrongKind.LOST


def a_reported_status_is_not_known(world: World, place: int) -> WrongKind:
    del world.statuses[list(world.statuses)[place % len(world.statuses)]]
    return WrongKind.LOST


def a_reported_status_goes_to_nobody(world: World, place: int) -> WrongKind:
    world.statuses[list(world.statuses)[place % len(world.statuses)]] = {}
    return WrongKind.LOST


def a_status_came_twice(world: World, place: int) -> WrongKind:
    world.heard.append(replace(world.heard[place % len(world.heard)], key="again"))
    return WrongKind.TWICE


def a_status_expired(world: World, place: int) -> WrongKind:
    heard = world.heard[place % len(world.heard)]
    world.statuses[heard.packet_id][heard.agency] = Copy(state="expired", reason="time_limit", may_have_arrived=True)
    return WrongKind.UNEXPLAINED


def a_status_that_was_seen_is_parked_as_surely_not_arrived(world: World, place: int) -> WrongKind:
    heard = world.heard[place % len(world.heard)]
    world.statuses[heard.packet_id][heard.agency] = Copy(state="parked", reason="tried_too_often")
    return WrongKind.LOST


def packet_named(world: World, name: str) -> str:
    return next(told.packet_id for told in world.told if told.name == name and told.is_accepted)


def _seen_recall(world: World, place: int) -> tuple[Meant, str]:
    """A recall that came to an agency which had seen its document."""
    meant = {one.digest: one for one in world.meant}
    names = {(seen.agency, meant[seen.digest].name) for seen in world.seen}
    recalls = [
        (meant[seen.digest], seen.agency)
        for seen in world.seen
        if meant[seen.digest].act is Act.RECALL and (seen.agency, meant[seen.digest].about) in names
    ]
    return recalls[place % len(recalls)]


def _forget(world: World, digest: str, agency: str) -> None:
    world.seen = [seen for seen in world.seen if (seen.agency, seen.digest) != (agency, digest)]


def _is_recalled(world: World, seen: Seen) -> bool:
    document = next(meant.document for meant in world.meant if meant.digest == seen.digest)
    return any(meant.act is Act.RECALL for meant in world.meant if meant.document == document)


def _families(world: World) -> list[tuple[int, int]]:
    """Places of a document and of what refers to it, at one agency."""
    meant = {one.digest: one for one in world.meant}
    where = {(seen.agency, meant[seen.digest].name): place for place, seen in enumerate(world.seen)}
    return [
        (where[seen.agency, meant[seen.digest].about], place)
        for place, seen in enumerate(world.seen)
        if (seen.agency, meant[seen.digest].about) in where
    ]


LIES = (
    a_delivered_copy_was_never_seen, an_accepted_packet_is_not_known, a_recipient_has_no_delivery,
    a_copy_came_again_under_another_key, a_byte_was_altered, a_copy_came_to_somebody_else,
    a_repeat_got_another_answer, a_repeat_was_taken_for_new, a_good_packet_was_refused,
    a_contradiction_was_accepted, a_copy_expired_without_a_recall, a_copy_is_parked_for_a_fault_of_the_node,
    a_withdrawn_copy_was_seen, what_refers_came_first, what_refers_came_alone,
    what_was_replaced_came_after_its_replacement, a_copy_was_superseded_by_nothing,
    a_recall_was_withdrawn_though_its_document_was_seen, a_recall_expired, a_refusal_was_taken_for_a_receipt,
    a_doubt_was_left_to_a_person_where_the_recipient_can_be_asked, a_reported_status_was_never_seen,
    a_status_that_the_node_speaks_of_was_never_seen, a_reported_status_is_not_known, a_reported_status_goes_to_nobody,
    a_status_came_twice, a_status_expired, a_status_that_was_seen_is_parked_as_surely_not_arrived,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS)
def test_an_honest_world_is_a_proof(seed: int) -> None:
    world = honest(seed, 25)
    found = judged(world)
    assert found.wrongs == ()
    assert found.is_proof
    assert found.accepted == sum(found.fates.values()) == sum(len(said) for said in world.account.values())


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, place=st.integers(0, 1 << 16))
def test_a_planted_lie_is_named(lie: Callable[[World, int], WrongKind], seed: int, place: int) -> None:
    world = honest(seed, 60)
    kind = lie(world, place)
    found = judged(world)
    assert kind in {wrong.kind for wrong in found.wrongs}
    assert not found.is_proof


def test_what_is_under_way_is_no_proof() -> None:
    world = honest(1)
    said = next(iter(world.account.values()))
    said[ECHO] = Copy(state="claimed")
    found = judged(world)
    assert found.fates["open"] == 1
    assert not found.is_proof


def test_a_reported_status_that_is_under_way_is_no_proof_and_no_wrong_either() -> None:
    world = honest(1)
    heard = world.heard.pop()
    world.statuses[heard.packet_id][heard.agency] = Copy(state="available")
    found = judged(world)
    assert (found.wrongs, found.open_statuses, found.is_proof) == ((), 1, False)
    assert found.statuses == len(world.reported) > 1
    world.reported.pop()
    assert judged(world).is_proof, "what the node says in somebody's place may still be under way"


def test_what_an_earlier_proof_left_in_an_inbox_is_none_of_this_ones() -> None:
    """An interrupted proof's last packets come to the next one's recipients, who never heard of them."""
    before, world = honest(5), honest(6)
    left = next(seen for seen in before.seen if seen.document and not seen.is_status)
    world.seen.append(replace(left, key="left"))
    run = run_of(left.document)
    assert run > 0
    for own, is_proof in ((run + 1, True), (run, False), (run - 1, False), (0, False)):
        found = judge(world.record, world.said, unwatched=world.unwatched, run=own)
        assert found.is_proof is is_proof, f"run {own}: {found.wrongs}"


def _of_three(order: str) -> Judgement:
    """A world of documents 1 and 2 and of 3, which replaces both; they came in this order."""
    meant = [Meant(name=one, act=Act.NEW, sender="s", digest=one * 3, document=one, to=("a",)) for one in "123"]
    meant[2] = replace(meant[2], act=Act.REPLACEMENT, replaces=("1", "2"))
    world = World(
        meant=meant, told=[Told(name=one.name, status=202, packet_id=one.name) for one in meant],
        seen=[Seen(agency="a", key=name, digest=name * 3, is_copy=True, document=name) for name in order],
        account={one.name: {"a": Copy(state="delivered", reason="confirmed")} for one in meant},
    )  # fmt: skip
    return judged(world)


@pytest.mark.parametrize(("order", "is_proof"), [("123", True), ("213", True), ("132", False), ("312", False)])
def test_what_replaces_two_comes_after_both_which_nothing_tied_before(order: str, is_proof: bool) -> None:
    found = _of_three(order)
    assert found.is_proof is is_proof, found.wrongs
    assert {wrong.kind for wrong in found.wrongs} == (set() if is_proof else {WrongKind.OVERTAKEN})


def test_a_repeat_of_a_known_key_is_no_second_copy() -> None:
    world = honest(2)
    world.seen += [replace(seen, is_copy=False) for seen in world.seen[:3]]
    assert judged(world).is_proof


def test_a_doubt_at_a_blind_recipient_is_seen_once_or_never_and_not_twice() -> None:
    world = honest(3)
    seen = world.seen[0]
    world.account[packet_of(world, seen)][seen.agency] = Copy(
        state="parked", reason="outcome_unknown", may_have_arrived=True
    )

    def wrongs() -> set[WrongKind]:
        found = judge(world.record, world.said, unwatched=world.unwatched, blind=[seen.agency])
        return {wrong.kind for wrong in found.wrongs if (wrong.agency, wrong.name) == (seen.agency, name)}

    name = next(meant.name for meant in world.meant if meant.digest == seen.digest)
    assert wrongs() == set(), "seen once"
    world.seen.append(replace(seen, key="again"))
    assert wrongs() == {WrongKind.TWICE}
    world.seen = [one for one in world.seen if (one.agency, one.digest) != (seen.agency, seen.digest)]
    assert WrongKind.TWICE not in wrongs()
    assert WrongKind.LOST not in wrongs(), "nobody saw it"
