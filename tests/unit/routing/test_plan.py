"""plan_route on the real directory: every reason and every problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from time import thread_time

import pytest

from edxml.findings import Severity
from edxml.messages import Language
from routing.agency import CodeScheme
from routing.plan import (
    Address,
    LegReason,
    ProblemCode,
    Reach,
    RecipientsMode,
    RoutePlan,
    plan_route,
)
from routing.rows import load_nghe_an

DIRECTORY = load_nghe_an()
DAY = date(2025, 8, 1)
ALL_REACHED = {agency.id: Reach(channel_id=f"ch-{agency.id}", kind="inbox") for agency in DIRECTORY.agencies}

VINH_PHU = "H99.203"
NGHI_PHU = "000.25.51.H99"  # merged into Vinh Phú
HA_HUY_TAP = "H99.51.11"  # merged into Vinh Phú as well
VINH = "H99.51"  # a district: six successors
FINANCE = "000.00.15.H99"
AGRICULTURE_NEW = "H99.32"  # since 1/3/2025
PLANNING_OLD = "H99.14"  # → Sở Tài chính


def plan(
    *organ_ids: str,
    on: date = DAY,
    mode: RecipientsMode = RecipientsMode.ALL,
    sender: str | None = None,
    reach: Mapping[str, Reach] = ALL_REACHED,
) -> RoutePlan:
    addresses = tuple(Address(organ_id=text, position=place) for place, text in enumerate(organ_ids, 1))
    return plan_route(DIRECTORY, addresses, on=on, reach=reach, mode=mode, sender_agency_id=sender)


def test_who_is_in_force_is_reached_directly() -> None:
    found = plan(VINH_PHU)
    (leg,) = found.legs
    assert not found.is_refused
    assert leg.agency_id == "na-xa-16702-2025"
    assert leg.channel_id == "ch-na-xa-16702-2025"
    assert (leg.reason, leg.readdressed_from, leg.note) == (LegReason.DIRECT, None, {})
    assert found.findings() == ()


def test_an_agency_is_reached_from_its_first_day_on() -> None:
    assert not plan(AGRICULTURE_NEW, on=date(2025, 3, 1)).is_refused
    assert not plan(VINH_PHU, on=date(2025, 7, 1)).is_refused
    assert plan(VINH_PHU, on=date(2025, 6, 30)).is_refused


def test_one_successor_is_readdressed_and_told_so() -> None:
    found = plan(NGHI_PHU)
    (leg,) = found.legs
    assert not found.is_refused
    assert leg.agency_id == "na-xa-16702-2025"
    assert leg.organ_ids == (NGHI_PHU,), "as written"
    assert (leg.reason, leg.readdressed_from) == (LegReason.SUCCESSOR, "na-xa-16702-2016")
    assert leg.note == {
        "reason": "route.received_for",
        "organ_ids": NGHI_PHU,
        "names": "UBND phường Nghi Phú",
    }
    (finding,) = found.findings()
    assert finding.severity is Severity.WARNING
    assert finding.text(Language.VI) == (
        "Nơi nhận thứ 1: UBND phường Nghi Phú (000.25.51.H99) đã ngừng hoạt động từ ngày 01/07/2025; văn bản được "
        "chuyển tới đơn vị kế thừa là UBND phường Vinh Phú (H99.203). Cập nhật danh bạ nơi nhận."
    )


def test_several_successors_are_refused_with_the_candidates_named() -> None:
    found = plan(VINH)
    (problem,) = found.problems
    assert found.is_refused
    assert found.legs == ()
    assert problem.code is ProblemCode.SEVERAL_SUCCESSORS
    assert problem.agency_id == "na-huyen-412-2016"
    assert len(problem.candidates) == 6
    assert all(candidate.organ_id.startswith("H99.") for candidate in problem.candidates)
    assert all(candidate.is_assumed for candidate in problem.candidates)
    told = problem.as_finding().text(Language.VI)
    for candidate in problem.candidates:
        assert f"{candidate.name} ({candidate.organ_id})" in told


@pytest.mark.parametrize(
    ("organ_id", "on", "code"),
    [
        ("H99.7777", DAY, ProblemCode.UNKNOWN_RECIPIENT),
        ("không phải mã", DAY, ProblemCode.UNKNOWN_RECIPIENT),
        ("16702", DAY, ProblemCode.UNKNOWN_RECIPIENT),
        (AGRICULTURE_NEW, date(2025, 2, 28), ProblemCode.NOT_YET_IN_FORCE),
        (VINH, DAY, ProblemCode.SEVERAL_SUCCESSORS),
    ],
)
def test_each_problem_has_its_code_its_place_and_texts(organ_id: str, on: date, code: ProblemCode) -> None:
    found = plan(FINANCE, organ_id, on=on)
    (problem,) = found.problems
    finding = problem.as_finding()
    assert problem.code is code
    assert (problem.position, problem.organ_id) == (2, organ_id)
    assert str(finding.place) == "edXML/…/To[2]/OrganId"
    for language in Language:
        told = finding.text(language)
        assert "{" not in told
        assert told != finding.code


def test_no_successor_is_a_problem_of_its_own() -> None:
    ends = {agency.id for agency in DIRECTORY.agencies if agency.valid_to and not agency.successors}
    assert ends == set(), "every ended agency of the data has successors"
    orphan = DIRECTORY.by_id("na-huyen-421-2016")
    assert orphan is not None
    bare = DIRECTORY.merged_with([replace(orphan, successors=())])
    found = plan_route(
        bare,
        (Address(organ_id="H99.60", position=1),),
        on=DAY,
        reach=ALL_REACHED,
        mode=RecipientsMode.ALL,
        sender_agency_id=None,
    )
    assert [problem.code for problem in found.problems] == [ProblemCode.NO_SUCCESSOR]
    assert "{" not in found.findings()[0].text(Language.VI)


def test_without_a_channel_nobody_is_reached() -> None:
    assert [problem.code for problem in plan(FINANCE, reach={}).problems] == [ProblemCode.NO_CHANNEL]


@pytest.mark.parametrize("organ_id", [FINANCE, PLANNING_OLD])
def test_nobody_sends_to_oneself_not_even_by_an_old_name(organ_id: str) -> None:
    found = plan(organ_id, sender="na-so-stc")
    assert [problem.code for problem in found.problems] == [ProblemCode.TO_ONESELF]


def test_addresses_that_mean_one_agency_share_a_leg() -> None:
    found = plan(HA_HUY_TAP, FINANCE, VINH_PHU, "h99.203 ", NGHI_PHU)
    vinh_phu, finance = found.legs
    assert vinh_phu.positions == (1, 3, 4, 5)
    assert vinh_phu.organ_ids == (HA_HUY_TAP, VINH_PHU, "h99.203 ", NGHI_PHU)
    assert vinh_phu.reason is LegReason.SUCCESSOR
    assert [item.readdressed_from for item in vinh_phu.covers] == [
        "na-xa-16666-2016",
        None,
        None,
        "na-xa-16702-2016",
    ]
    assert finance.positions == (2,)
    assert [str(finding.place) for finding in found.findings()] == [
        "edXML/…/To[1]/OrganId",
        "edXML/…/To[5]/OrganId",
    ]


def test_all_refuses_the_whole_and_some_lets_the_good_go() -> None:
    strict = plan(FINANCE, VINH, mode=RecipientsMode.ALL)
    lenient = plan(FINANCE, VINH, mode=RecipientsMode.SOME)
    assert strict.is_refused
    assert not lenient.is_refused
    assert strict.legs == lenient.legs, "a check without sending still shows the good ones"
    assert strict.problems == lenient.problems
    assert [finding.severity for finding in strict.findings()] == [Severity.ERROR]
    assert [finding.severity for finding in lenient.findings()] == [Severity.WARNING]


@pytest.mark.parametrize("mode", RecipientsMode)
def test_no_recipient_at_all_is_refused_in_either_mode(mode: RecipientsMode) -> None:
    found = plan(mode=mode)
    assert found.is_refused
    assert [problem.code for problem in found.problems] == [ProblemCode.NO_RECIPIENT]


def test_planning_costs_each_recipient_the_same_however_many_there_are() -> None:
    written = [
        code.code
        for agency in (*DIRECTORY.in_force(DAY), *DIRECTORY.in_force(date(2016, 3, 15)))
        for code in agency.codes
        if code.scheme is CodeScheme.QD2020
    ][:600]
    assert len(written) == 600

    def seconds(some: list[str]) -> float:
        start = thread_time()
        plan(*some, mode=RecipientsMode.SOME)
        return (thread_time() - start) / len(some)

    few, all_of_them = (min(seconds(some) for _ in range(7)) for some in (written[:60], written))
    assert all_of_them < 4 * few, "it grows faster than the list"
