"""Defects that were once possible, each planted by one replacement: the tests named with it must fail then.

A check that nobody has seen fail is no check.  `row` is the row of the protocol's table "what breaks without the
rule", or the rule that the defect breaks.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFECTS", "Defect"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """`old` stands exactly once in `file`; with `new` in its place, every one of `tests` fails."""

    name: str
    row: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    needs_strace: bool = False


_WORK = "tests/service/test_rules_work.py::test_rule_"
_ATTEMPTS = "tests/service/test_rules_attempts.py::test_rule_"
_WRITERS = "tests/service/test_postgres_writers.py::test_"
_ORDER = "tests/service/test_rules_order.py::test_rule_"
_LIMITS = "tests/service/test_rules_limits.py::test_rule_"
_POLLED = "tests/service/test_rules_polled.py::test_rule_"
_REPEATS = "tests/service/test_rules_repeats.py::test_rule_"
_STATUSES = "tests/service/test_rules_statuses.py::test_"
_MACHINE = "tests/unit/gateway/model/test_machine.py::test_"
_MACHINE_TIME = "tests/unit/gateway/model/test_machine_time.py::test_"
_PLAY = "tests/property/test_machine_protocol.py::test_every_short_play_keeps_the_promises"
_DISK = "tests/fault/test_durability_order.py::test_everything_is_on_disk_before_it_is_told"

_TRACES = (
    Defect(
        name="a recall withdraws what is in doubt",
        row="§6 nor has an open or unsure attempt",
        file="gateway/model/chain.py",
        old="return not self.state.is_final and not held and not self.is_in_doubt()",
        new="return not self.state.is_final and not held",
        tests=(_ORDER + "6_recall_waits_for_an_open_or_unsure_attempt[sqlite-check]", _PLAY),
    ),
    Defect(
        name="an attempt without a claim",
        row="§4 attempt only while claimed",
        file="gateway/store/attempts.py",
        old="ours = [b for b in begun if (b.transfer_id, b.turn) in held.turns]",
        new="ours = [b for b in begun if held.turns]",
        tests=(_ATTEMPTS + "4_a_worker_that_was_stolen_from_cannot_send_while_the_next_one_works",),
    ),
    Defect(
        name="a worker takes the turn that it finds, not the one that it claimed",
        row="§3 two workers hold one turn",
        file="gateway/exchange/claims.py",
        old="turn=ours[row.id].turn,",
        new="turn=row.turn,",
        tests=(_WORK + "3_a_worker_that_stalls_between_its_claim_and_its_look_does_not_get_the_next_ones_turn",),
    ),
    Defect(
        name="a no counts though an attempt is open",
        row="§5 a no counts only when none is open",
        file="gateway/model/machine.py",
        old="    if open_until is not None:\n",
        new="    if open_until is not None and now < 0:\n",
        tests=(_ATTEMPTS + "5_a_no_of_find_counts_only_when_no_attempt_is_open",),
    ),
    Defect(
        name="an unknown end closes the attempt at once",
        row="§5 a no counts only when none is open",
        file="gateway/model/chain.py",
        old="return self.is_in_doubt and now - ago < self.open_until(now)",
        new="return self.end is None and now - ago < self.open_until(now)",
        tests=(_ATTEMPTS + "5_an_unknown_end_stays_open_until_nothing_can_land_any_more",),
    ),
    Defect(
        name="receipts are fenced by the turn",
        row="§4 receipts are facts",
        file="gateway/model/machine.py",
        old="    if report.arrived:\n",
        new="    if report.arrived and link.turn == turn:\n",
        tests=(_ATTEMPTS + "4_receipts_are_facts_a_late_one_unparks",),
    ),
    Defect(
        name="a return keeps its turn",
        row="§3 every return and close adds a turn",
        file="gateway/store/transfers.py",
        old='"more": int(returns),',
        new='"more": 0,',
        tests=(
            _WORK + "3_every_return_and_every_close_adds_a_turn",
            _WORK + "3_a_repeated_retry_does_not_free_the_next_workers_claim",
        ),
    ),
    Defect(
        name="no row lock",
        row="§6 the row lock: accepted together, each sees nothing",
        file="gateway/store/engines.py",
        old='"BEGIN IMMEDIATE" if writes else "BEGIN"',
        new='"BEGIN"',
        tests=(_ORDER + "6_what_a_hop_has_read_no_other_process_changes_before_it_writes",),
    ),
    Defect(
        name="rows are read without a lock beside other writers",
        row="§6 the row lock, on PostgreSQL",
        file="gateway/store/chains.py",
        old="_LINKS_LOCKED = _LINKS.with_for_update(of=transfers)",
        new="_LINKS_LOCKED = _LINKS",
        tests=(_ORDER + "6_what_a_hop_has_read_no_other_process_changes_before_it_writes[postgresql]",),
    ),
    Defect(
        name="a follower reads what is not certain yet",
        row="§13 nothing reads by a serial cursor: transactions commit out of order",
        file="gateway/store/dialect.py",
        old="return int(connection.exec_driver_sql(_SETTLED).scalar_one())",
        new="return _EVER",
        tests=(_WRITERS + "a_follower_waits_for_what_began_earlier_and_passes_nothing_over",),
    ),
    Defect(
        name="a relay picks for channels in another's hands",
        row="§3 the cap is exact where the channel row is locked while picking",
        file="gateway/store/picking.py",
        old="statement = announcing.LOCK_IN_TURN if waits else announcing.LOCK_FREE",
        new="statement = announcing._LOCKED",
        tests=(_WRITERS + "a_channel_in_another_relays_hands_is_left_to_it",),
    ),
    Defect(
        name="completion looks for no successor",
        row="§6 the row lock: the recall commits as waiting for ever",
        file="gateway/exchange/advance.py",
        old="for move in settle(chain, now, pace)]",
        new="for move in settle(chain, now, pace)[:0]]",
        tests=(_ORDER + "6_completion_finds_the_recall_that_came_meanwhile",),
    ),
    Defect(
        name="a recall withdraws only the packet before it",
        row="§6 every earlier packet",
        file="gateway/model/machine.py",
        old="Reason.RECALLED) for link in earlier if link.is_untouched()]",
        new="Reason.RECALLED) for link in earlier[-1:] if link.is_untouched()]",
        tests=(_ORDER + "6_recall_withdraws_every_earlier_untouched_packet",),
    ),
    Defect(
        name="nobody looks whether the recall came first",
        row="§6 orphans look again",
        file="gateway/model/machine.py",
        old="if link.kind is not LinkKind.RECALL and _are_recalls(own) and not chain.is_archived:",
        new="if link.kind is LinkKind.RECALL and earlier and not documents:",
        tests=(_ORDER + "6_a_document_in_minute_sixteen_after_its_recall_never_arrives",),
    ),
    Defect(
        name="expiry closes open attempts",
        row="§7 expiry spares open attempts",
        file="gateway/model/machine.py",
        old="link.state in (S.WAITING, S.CLAIMED) or link.has_open_attempt(now):",
        new="link.state in (S.WAITING, S.CLAIMED):",
        tests=(_MACHINE_TIME + "expiry_spares_open_attempts[open]",),
    ),
    Defect(
        name="a frozen document is released",
        row="§2 may have arrived is computed, §9 frozen",
        file="gateway/model/machine.py",
        old="if link.is_in_doubt() and any(other.kind is LinkKind.RECALL for other in later):",
        new="if now < 0:",
        tests=(_LIMITS + "9_release_is_refused_of_what_is_frozen",),
    ),
    Defect(
        name="a no of find erases the doubt of another key",
        row="§2 may have arrived is never erased",
        file="gateway/model/step.py",
        old="return attempt.is_in_doubt and in_turn and step.end_key in (None, attempt.transfer_id)",
        new="return attempt.is_in_doubt and in_turn",
        tests=(_MACHINE + "absent_tells_nothing_about_another_key",),
    ),
    Defect(
        name="the original is resent after its update",
        row="§9 resend only the newest",
        file="gateway/model/machine.py",
        old="    if any(_is_newer(chain, other, link) or _is_newer(chain, link, other) for other in",
        new="    if any(now < 0 for other in",
        tests=(_LIMITS + "9_resend_only_of_the_newest",),
    ),
    Defect(
        name="any head moves its whole shared transfer",
        row="§1 shared transfers: any head overtakes",
        file="gateway/store/transfers.py",
        old="elif not reopened and not closed and alike and len(stays) == change.members:",
        new="elif not reopened and not closed and alike:",
        tests=(_WORK + "1_update_behind_a_shared_transfer_shares_until_one_is_promoted",),
    ),
    Defect(
        name="fetched is not written before the bytes",
        row="§10 fetched first: a withdrawn item arrives",
        file="gateway/exchange/collect.py",
        old="first[outcome.delivery_id] = _fetched(outcome, want.caller)",
        new="_fetched(outcome, want.caller)",
        tests=(_POLLED + "10_fetched_is_committed_before_the_first_byte",),
    ),
    Defect(
        name="a recall is listed while a response runs",
        row="§10 fetched first: the recall overtakes the response",
        file="gateway/model/machine.py",
        old="return link.state.is_final or (link.state is S.PARKED and not link.has_open_attempt(now))",
        new="return link.state.is_final or link.state in (S.PARKED, S.FETCHED)",
        tests=(_POLLED + "10_fetched_is_committed_before_the_first_byte",),
    ),
    Defect(
        name="a late confirmation is refused",
        row="§10 fetched first: a true receipt is lost",
        file="gateway/exchange/collect.py",
        old="    if not link.may_have_arrived():  #",
        new="    if not link.may_have_arrived() or link.state is DeliveryState.EXPIRED:  #",
        tests=(_POLLED + "10_a_late_confirmation_of_a_fetched_item_is_always_taken",),
    ),
)

_OTHERS = (
    Defect(
        name="doubled sink",
        row="promise 2",
        file="gateway/exchange/deliver.py",
        old="        work.outcome = work.staged.hand_over(work.until)\n",
        new="        work.staged.hand_over(work.until)\n        work.outcome = work.staged.hand_over(work.until)\n",
        tests=(_WORK + "1_recipients_of_one_channel_share_a_transfer_and_one_hand_over",),
    ),
    Defect(
        name="lost fsync",
        row="§13 blob put",
        file="gateway/store/blobs.py",
        old="            os.fsync(descriptor)\n",
        new="            pass\n",
        tests=(_DISK + "[accept]",),
        needs_strace=True,
    ),
    Defect(
        name="ack before commit",
        row="§13 sources acknowledge only after our commit",
        file="gateway/workers/intake.py",
        old="    try:\n        for one, outcome in zip(run, _outcomes(",
        new="    import dataclasses, io\n    from adapters.contract import Verdict\n"
        "    def keep(item): return dataclasses.replace(item, open=lambda b=item.open().read(): io.BytesIO(b))\n"
        "    run = [dataclasses.replace(one, item=keep(one.item)) for one in run]\n"
        "    for one in run:\n"
        "        source.acknowledge(one.item, Verdict(accepted=True, reference='{}'))\n"
        "    try:\n        for one, outcome in zip(run, _outcomes(",
        tests=(_DISK + "[intake]",),
        needs_strace=True,
    ),
    Defect(
        name="a database that forgets",
        row="promise 1: accepted means on disk",
        file="gateway/store/engines.py",
        old='"synchronous=FULL",',
        new='"synchronous=OFF",',
        tests=(_WORK + "2_roll_ups_change_with_the_states",),
    ),
    Defect(
        name="a status of anybody is taken",
        row="§12 statuses only from who was sent the document",
        file="gateway/exchange/acknowledge.py",
        old="may_speak = was_sent(connection, document.root, reporter_id)",
        new="may_speak = True",
        tests=(_STATUSES + "status_from_somebody_who_was_never_sent_the_document_is_refused",),
    ),
    Defect(
        name="channel faults are counted against documents",
        row="§8 scope",
        file="gateway/model/machine.py",
        old="tries = link.tries + report.counts",
        new="tries = link.tries + 1",
        tests=(_ATTEMPTS + "8_faults_of_the_channel_are_not_counted_and_open_the_breaker_once",),
    ),
    Defect(
        name="a dead worker's claim is forgotten",
        row="§8 three dead workers park",
        file="gateway/store/claims.py",
        old="unreported=transfers.c.unreported + 1",
        new="unreported=transfers.c.unreported",
        tests=(_ATTEMPTS + "8_a_packet_that_kills_its_worker_is_parked_after_three[sqlite-idem]",),
    ),
    Defect(
        name="looking gives the count of dead workers back",
        row="§8 only claims whose worker never reported count",
        file="gateway/model/machine.py",
        old="end=AttemptEnd.SURELY_NOT, end_key=link.transfer_id, is_report=False)",
        new="end=AttemptEnd.SURELY_NOT, end_key=link.transfer_id)",
        tests=(_ATTEMPTS + "8_a_packet_that_kills_its_worker_is_parked_after_three[sqlite-check]",),
    ),
    Defect(
        name="a permit lasts for ever",
        row="§9 release permits one attempt",
        file="gateway/store/attempts.py",
        old=".values(permits=0)",
        new=".values(permits=1)",
        tests=(_LIMITS + "9_on_a_blind_sink_release_permits_exactly_one_attempt",),
    ),
    Defect(
        name="a resend is closed by the next sweep",
        row="§7, §9",
        file="gateway/store/deliveries.py",
        old="move.after is not DeliveryState.WAITING) or move.reason in _ANEW",
        new="move.after is not DeliveryState.WAITING)",
        tests=(_LIMITS + "9_resend_of_an_expired_delivery_starts_its_limit_anew",),
    ),
    Defect(
        name="what said nothing new leaves a key to nowhere",
        row="§12 repeats get the first answer",
        file="gateway/exchange/accept.py",
        old="        packets.hand_claims(connection, {i: answer.packet_id for i, answer in done.repeats.items()})\n",
        new="",
        tests=(_REPEATS + "12_the_same_document_under_other_bytes_is_the_first_packet_whenever_it_comes",),
    ),
    Defect(
        name="a conflict is accepted",
        row="§12 document.conflict",
        file="gateway/store/packets.py",
        old="        deliveries.c.state.not_in(_GONE),\n",
        new="        deliveries.c.state.in_(_GONE),\n",
        tests=(_REPEATS + "12_same_document_other_content_is_a_conflict",),
    ),
    Defect(
        name="listed items are not rotated",
        row="§10 500 poison items cannot hide the 501st",
        file="gateway/store/inbox.py",
        old='.values(polled_at=bindparam("now"))',
        new='.values(polled_at=bindparam("now") * 0)',
        tests=(_POLLED + "10_urgent_poison_hides_no_ordinary_item",),
    ),
)

_RESTS = (
    Defect(
        name="what may have arrived moves to another channel",
        row="§9 keys do not cross channels",
        file="gateway/model/machine.py",
        old="    if link.is_in_doubt():\n        if link.state is S.PARKED:",
        new="    if link.is_in_doubt() and link.state is S.PARKED:\n        if link.state is S.PARKED:",
        tests=(
            "tests/service/test_channel_rests.py::"
            "test_rule_9_what_may_have_arrived_goes_to_a_person_and_never_to_the_other_channel",
        ),
    ),
    Defect(
        name="a ticket from before the pause hands over",
        row="§3",
        file="gateway/store/claims.py",
        old=".where(NOT_RECOVERING, _IS_OPEN)",
        new=".where(NOT_RECOVERING)",
        tests=("tests/service/test_channel_rests.py::test_a_ticket_that_was_out_before_the_pause_hands_nothing_over",),
    ),
    Defect(
        name="a resend goes to where the agency was",
        row="§9 resend by the channel of today",
        file="gateway/exchange/release.py",
        old="if today is None:",
        new="if today:",
        tests=("tests/service/test_channel_rests.py::test_rule_9_a_resend_goes_by_the_channel_of_today",),
    ),
)

_RESTORES = (
    Defect(
        name="a node works on a database that was put back",
        row="§13 what was sent since is not asked for",
        file="gateway/store/remembered.py",
        old="if position <= (0 if newest is None else newest.position):",
        new="if position:",
        tests=("tests/service/test_recovering.py::test_a_database_that_knows_less_than_its_folder_is_refused",),
    ),
    Defect(
        name="after a restore nothing is in doubt",
        row="§13 the lost window's attempts are unsure",
        file="gateway/store/recoveries.py",
        old="doubted = _doubt(connection, recovery, landing)",
        new="doubted = 0",
        tests=("tests/service/test_recovering.py::test_what_waited_behind_and_went_out_as_well_is_found_too",),
    ),
    Defect(
        name="a claim that was not answered ends the doubt of the lost time",
        row="§13, §5",
        file="gateway/store/recoveries.py",
        old='"turn": row.turn - 1,',
        new='"turn": row.turn,',
        tests=(
            "tests/service/test_recovering.py::"
            "test_a_silent_recipient_keeps_the_node_recovering_until_an_operator_ends_it",
        ),
    ),
)

DEFECTS = _TRACES + _OTHERS + _RESTS + _RESTORES
