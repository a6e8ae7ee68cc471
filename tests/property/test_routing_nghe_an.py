"""Every commune and district of 2016, on any day since 1/7/2025, against a table made apart from the step data."""

from __future__ import annotations

from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from routing.agency import AgencyKind, CodeScheme
from routing.plan import Address, ProblemCode, Reach, RecipientsMode, RoutePlan, plan_route
from routing.rows import load_nghe_an
from tests.unit.routing.communes import read_passages

OPENING = date(2016, 3, 15)
LAST_DAY_OF_DISTRICTS = date(2025, 6, 30)
DIRECTORY = load_nghe_an()
PASSAGES = read_passages()
SINCE_2025 = st.dates(date(2025, 7, 1), date(2040, 1, 1))


def plan_to(organ_ids: list[str], on: date) -> RoutePlan:
    reach = {agency.id: Reach(channel_id=agency.id, kind="inbox") for agency in DIRECTORY.in_force(on)}
    addresses = tuple(Address(organ_id=text, position=place) for place, text in enumerate(organ_ids, 1))
    return plan_route(DIRECTORY, addresses, on=on, reach=reach, mode=RecipientsMode.SOME, sender_agency_id=None)


def test_the_table_names_all_480() -> None:
    assert len(PASSAGES) == 480
    assert len({passage.new_code for passage in PASSAGES}) == 130


@settings(deadline=None, max_examples=10)
@given(on=SINCE_2025, scheme=st.sampled_from([CodeScheme.QCVN2016, CodeScheme.QD2020]))
def test_each_commune_of_2016_leads_to_its_one_commune_of_2025(on: date, scheme: CodeScheme) -> None:
    organ_ids = []
    for passage in PASSAGES:
        old = DIRECTORY.find_gso(passage.old_code, OPENING)
        assert old is not None
        assert old.name_on(OPENING).removeprefix("UBND ").lower() == passage.old_name.lower()
        assert old.parent_on(OPENING) == f"na-huyen-{passage.old_district_code}-2016"
        organ_ids.append(old.code_on(OPENING, scheme) or "")
    plan = plan_to(organ_ids, on)
    assert plan.problems == ()
    assert len(plan.legs) == 130
    reached = {item.position: leg for leg in plan.legs for item in leg.covers}
    direct = 0
    for position, passage in enumerate(PASSAGES, 1):
        new = DIRECTORY.find_gso(passage.new_code, on)
        assert new is not None
        assert reached[position].agency_id == new.id
        assert new.name_on(on).removeprefix("UBND ").lower() == passage.new_name.lower()
        (item,) = (item for item in reached[position].covers if item.position == position)
        direct += item.readdressed_from is None
    assert direct == 9, "nine communes were left as they were; all others are told of the re-addressing"


@settings(deadline=None, max_examples=10)
@given(on=SINCE_2025)
def test_each_district_is_refused_with_its_communes_named(on: date) -> None:
    districts = [agency for agency in DIRECTORY.in_force(OPENING) if agency.kind is AgencyKind.DISTRICT]
    assert len(districts) == 21
    plan = plan_to([district.code_on(OPENING, CodeScheme.QD2020) or "" for district in districts], on)
    assert plan.legs == ()
    expected: dict[str, set[str]] = {}
    for commune in DIRECTORY.in_force(LAST_DAY_OF_DISTRICTS):
        if commune.kind is AgencyKind.COMMUNE:
            heirs = {heir.id for heir in DIRECTORY.successors_on(commune, on)}
            expected.setdefault(commune.parent_on(LAST_DAY_OF_DISTRICTS) or "", set()).update(heirs)
    expected["na-huyen-413-2016"] = expected["na-huyen-412-2016"]  # Cửa Lò had gone into Vinh
    for district, problem in zip(districts, plan.problems, strict=True):
        assert problem.code is ProblemCode.SEVERAL_SUCCESSORS
        assert problem.agency_id == district.id
        assert {candidate.agency_id for candidate in problem.candidates} == expected[district.id]
