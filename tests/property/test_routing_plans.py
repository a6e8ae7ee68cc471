"""Plans over any list of addresses, any day, any reach: every address ends in exactly one place."""

from __future__ import annotations

from collections import Counter
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from edxml.messages import Language
from routing.agency import CodeScheme
from routing.plan import Address, Reach, RecipientsMode, RoutePlan, plan_route
from routing.rows import load_nghe_an

DIRECTORY = load_nghe_an()
CODES = sorted({code.code for agency in DIRECTORY.agencies for code in agency.codes})
IDS = [agency.id for agency in DIRECTORY.agencies]
DAYS = st.dates(date(2016, 3, 15), date(2030, 1, 1)) | st.sampled_from(
    [date(2019, 12, 31), date(2020, 1, 1), date(2024, 12, 1), date(2025, 6, 30), date(2025, 7, 1)]
)
ORGAN_IDS = st.one_of(
    st.sampled_from(CODES),
    st.sampled_from(CODES).map(lambda code: f" {code.lower()}"),
    st.text(max_size=40),
)


def reach_without(missing: set[str]) -> dict[str, Reach]:
    return {own: Reach(channel_id=f"ch-{own}", kind="inbox") for own in IDS if own not in missing}


@settings(deadline=None, max_examples=200)
@given(
    organ_ids=st.lists(ORGAN_IDS, max_size=30),
    on=DAYS,
    mode=st.sampled_from(RecipientsMode),
    missing=st.sets(st.sampled_from(IDS), max_size=200),
    sender=st.none() | st.sampled_from(IDS),
)
def test_every_recipient_is_covered_exactly_once(
    organ_ids: list[str], on: date, mode: RecipientsMode, missing: set[str], sender: str | None
) -> None:
    addresses = tuple(Address(organ_id=text, position=place) for place, text in enumerate(organ_ids, 1))
    reach = reach_without(missing)
    plan = plan_route(DIRECTORY, addresses, on=on, reach=reach, mode=mode, sender_agency_id=sender)

    served = [(item.position, item.organ_id) for leg in plan.legs for item in leg.covers]
    failed = [(problem.position, problem.organ_id) for problem in plan.problems if problem.position]
    assert Counter(served + failed) == Counter((item.position, item.organ_id) for item in addresses)
    assert len({leg.agency_id for leg in plan.legs}) == len(plan.legs), "one leg per recipient"
    assert plan.is_refused == (not addresses or (mode is RecipientsMode.ALL and bool(plan.problems)))
    for leg in plan.legs:
        agency = DIRECTORY.by_id(leg.agency_id)
        assert agency is not None
        assert agency.in_force_on(on)
        assert leg.agency_id != sender
        assert leg.channel_id == reach[leg.agency_id].channel_id
        assert list(leg.positions) == sorted(leg.positions)
        assert_every_cover_is_true(plan, on)


def assert_every_cover_is_true(plan: RoutePlan, on: date) -> None:
    for leg in plan.legs:
        for item in leg.covers:
            written = DIRECTORY.find(item.organ_id, on)
            assert written is not None
            assert item.readdressed_from == (None if written.id == leg.agency_id else written.id)
            assert [heir.id for heir in DIRECTORY.successors_on(written, on)] == [leg.agency_id]
    for problem in plan.problems:
        assert len({candidate.agency_id for candidate in problem.candidates}) == len(problem.candidates) != 1
    for finding in plan.findings():
        for language in Language:
            assert finding.text(language) != finding.code


@settings(deadline=None, max_examples=60)
@given(on=DAYS)
def test_codes_never_collide_on_a_day(on: date) -> None:
    for scheme in CodeScheme:
        held = Counter(code for agency in DIRECTORY.in_force(on) if (code := agency.code_on(on, scheme)) is not None)
        assert [code for code, holders in held.items() if holders > 1] == []


@settings(deadline=None, max_examples=60)
@given(on=DAYS)
def test_communes_lie_within_a_living_body_of_the_right_kind(on: date) -> None:
    for agency in DIRECTORY.in_force(on):
        parent_id = agency.parent_on(on)
        if parent_id is not None:
            parent = DIRECTORY.by_id(parent_id)
            assert parent is not None
            assert parent.in_force_on(on)
            if agency.kind == "commune":
                assert parent.kind == ("district" if on < date(2025, 7, 1) else "province")
