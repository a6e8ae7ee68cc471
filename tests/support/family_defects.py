"""Defects of what belongs to one document and what to its family (rule 6a), and of what moved to an inbox, planted as
`tests.support.defects`.
"""

from __future__ import annotations

from tests.support.defects import Defect

__all__ = ["FAMILY_DEFECTS"]

_FAMILIES = "tests/service/test_rules_families.py::test_rule_6a_"
_OPERATORS = "tests/service/test_rules_united.py::test_rule_9_"

FAMILY_DEFECTS = (
    Defect(
        name="a recall takes back the whole family",
        row="§6a one document's fate",
        file="gateway/model/chain.py",
        old="            return self.document == earlier.document\n",
        new="            return True\n",
        tests=(_FAMILIES + "recalling_the_first_leaves_what_replaced_it[sqlite]",),
    ),
    Defect(
        name="a refusal concerns the newest document of the family",
        row="§6a one document's fate",
        file="gateway/exchange/acknowledge.py",
        old="live = [k for k in chain.packets_of(document) if ",
        new="live = [k for k in chain if k.kind is not LinkKind.RECALL and ",
        tests=(_FAMILIES + "a_refusal_of_the_first_leaves_what_replaced_it[sqlite]",),
    ),
    Defect(
        name="an old packet follows its update",
        row="§6a nothing old follows the new",
        file="gateway/model/machine.py",
        old="    return any(_arrived_or_may_have(newer) for newer in chain.newer(link))\n",
        new="    return False\n",
        tests=(_FAMILIES + "a_document_never_follows_its_update[sqlite]",),
    ),
    Defect(
        name="a document waits behind its parked update",
        row="§6a nobody waits behind a parked orphan",
        file="gateway/model/chain.py",
        old="        return tuple(other for other in earlier if not self.is_orphan(other))\n",
        new="        return earlier\n",
        tests=(_FAMILIES + "nobody_waits_behind_a_parked_orphan_and_released_it_goes_last[sqlite]",),
    ),
    Defect(
        name="an update that is released by hand overtakes",
        row="§6a released, it goes last",
        file="gateway/model/machine.py",
        old="    own = move_of(link, S.WAITING if waits else first_state(link), reason",
        new="    own = move_of(link, first_state(link), reason",
        tests=(_FAMILIES + "nobody_waits_behind_a_parked_orphan_and_released_it_goes_last[sqlite]",),
    ),
    Defect(
        name="what is in doubt waits behind another, and no refusal of it counts",
        row="§9 what is in doubt never waits",
        file="gateway/model/machine.py",
        old="    if waits and link.is_in_doubt():\n",
        new="    if now < 0:\n",
        tests=(_OPERATORS + "the_refusal_of_what_is_in_doubt_behind_another_counts[sqlite]",),
    ),
    Defect(
        name="a parked orphan holds up whatever ties its family later",
        row="§6a nobody waits behind a parked orphan",
        file="gateway/model/chain.py",
        old="not self.adds_recipient and came.isdisjoint(self.replaces)\n",
        new="not self.adds_recipient and not came\n",
        tests=(_FAMILIES + "a_parked_orphan_holds_nobody_up_whatever_ties_its_family_later[sqlite]",),
    ),
    Defect(
        name="a later packet of another document keeps what expired from being sent again",
        row="§9 resend only the newest",
        file="gateway/model/machine.py",
        old="    return later.document == link.document or later in chain.newer(link)\n",
        new="    return True\n",
        tests=(_OPERATORS + "what_expired_before_its_family_was_united_may_be_sent_again[sqlite]",),
    ),
    Defect(
        name="a replacement waits behind the first of those that it replaces alone",
        row="§6a behind every document it replaces",
        file="gateway/exchange/accept.py",
        old="    if others:\n",
        new="    if not tied:\n",
        tests=(_FAMILIES + "a_replacement_waits_behind_every_document_that_it_replaces[sqlite]",),
    ),
    Defect(
        name="what is handed over while its family is united is lost",
        row="§4 receipts are facts",
        file="gateway/store/chains.py",
        old="    gone = set(of) - loaded.facts.keys()\n",
        new="    gone = set(of) & set()\n",
        tests=(_FAMILIES + "what_is_handed_over_while_its_family_is_united_ends_there[sqlite]",),
    ),
    Defect(
        name="what an earlier channel surely did not bring is confirmed before any fetch",
        row="§10 done before any fetch is refused",
        file="gateway/exchange/collect.py",
        old="    if not link.may_have_arrived():",
        new="    if not link.attempts:",
        tests=(
            "tests/service/test_channel_rests.py::"
            "test_rule_10_what_moved_to_an_inbox_is_confirmed_only_once_it_was_fetched",
        ),
    ),
)
