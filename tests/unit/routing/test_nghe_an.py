"""The package's own data: Nghệ An's agencies from 15/3/2016 on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from routing.agency import AgencyKind, CodeScheme
from routing.directory import Directory, organ_key
from routing.rows import COLUMNS, agencies_from_rows, as_rows, load_nghe_an

OPENING = date(2016, 3, 15)
FIRST_MERGERS = date(2020, 1, 1)
SECOND_MERGERS = date(2024, 12, 1)
TWO_TIERS = date(2025, 7, 1)
ROOT = Path(__file__).parents[3]
SOURCE = ROOT.parent / "shared" / "data" / "nghe_an"


@pytest.fixture(scope="module")
def directory() -> Directory:
    return load_nghe_an()


@pytest.mark.parametrize(
    ("first", "last", "districts", "communes"),
    [
        (OPENING, date(2019, 12, 31), 21, 480),
        (FIRST_MERGERS, date(2024, 11, 30), 21, 460),
        (SECOND_MERGERS, date(2025, 6, 30), 20, 412),
        (TWO_TIERS, date(2026, 12, 31), 0, 130),
    ],
)
def test_each_version_has_its_number_of_units(
    directory: Directory, first: date, last: date, districts: int, communes: int
) -> None:
    for day in (first, last):
        kinds = Counter(agency.kind for agency in directory.in_force(day))
        assert (kinds[AgencyKind.DISTRICT], kinds[AgencyKind.COMMUNE]) == (districts, communes)
        assert kinds[AgencyKind.PROVINCE] == 1


def test_communes_of_2025_are_119_xa_and_11_phuong_directly_under_the_province(directory: Directory) -> None:
    communes = [unit for unit in directory.children("na-tinh", TWO_TIERS) if unit.kind is AgencyKind.COMMUNE]
    assert Counter(unit.name_on(TWO_TIERS).split()[1] for unit in communes) == {"xã": 119, "phường": 11}


def test_pilot_districts_of_2016_have_72_communes(directory: Directory) -> None:
    assert len(directory.children("na-huyen-421-2016", OPENING)) == 33  # Quỳnh Lưu
    assert len(directory.children("na-huyen-426-2016", OPENING)) == 39  # Yên Thành


def test_children_are_those_of_the_day(directory: Directory) -> None:
    nghi_phong = directory.search("Nghi Phong", OPENING)[0].agency
    days = {day: directory.children("na-huyen-429-2016", day) for day in (OPENING, SECOND_MERGERS, TWO_TIERS)}
    assert nghi_phong in days[OPENING]
    assert nghi_phong not in days[SECOND_MERGERS], "moved to Vinh, and lives on"
    assert nghi_phong in directory.children("na-huyen-412-2016", SECOND_MERGERS)
    assert days[TWO_TIERS] == ()


def test_a_gso_code_is_no_identity(directory: Directory) -> None:
    xa = directory.find_gso("16702", OPENING)
    phuong = directory.find_gso("16702", SECOND_MERGERS)
    vinh_phu = directory.find_gso("16702", TWO_TIERS)
    assert xa is not None
    assert vinh_phu is not None
    assert xa is phuong, "a change of type keeps the body"
    assert xa.name_on(OPENING) == "UBND xã Nghi Phú"
    assert xa.name_on(SECOND_MERGERS) == "UBND phường Nghi Phú"
    assert vinh_phu.id != xa.id
    assert vinh_phu.name_on(TWO_TIERS) == "UBND phường Vinh Phú"
    assert directory.find("16702", TWO_TIERS) is None, "a GSO code is never an address"


def test_who_lives_on_keeps_its_id_and_changes_its_parent_and_code(directory: Directory) -> None:
    keng_du = directory.find_gso("16822", OPENING)
    assert keng_du is not None
    assert keng_du.in_force_on(TWO_TIERS)
    assert keng_du.parent_on(OPENING) == "na-huyen-417-2016"
    assert keng_du.parent_on(TWO_TIERS) == keng_du.parent_id == "na-tinh"
    old, new = (keng_du.code_on(day, CodeScheme.QD2020) for day in (OPENING, TWO_TIERS))
    assert old is not None
    assert new is not None
    assert old != new
    assert directory.find(old, TWO_TIERS) is directory.find(new, OPENING) is keng_du


def test_bodies_that_live_on_are_those_that_the_acts_left_alone(directory: Directory) -> None:
    before = {agency.id for agency in directory.in_force(date(2025, 6, 30)) if agency.kind is AgencyKind.COMMUNE}
    after = {agency.id for agency in directory.in_force(TWO_TIERS)}
    assert len(before & after) == 9
    renamed = [agency for agency in directory.agencies if len(agency.names) > 1]
    assert len(renamed) == 5, "four xã became phường in 2024, Lưỡng Minh is written Lượng Minh since 2025"


def test_departments_merge_in_march_2025(directory: Directory) -> None:
    (match,) = directory.search("STTTT", OPENING)
    assert not match.agency.in_force_on(date(2025, 3, 1))
    (heir,) = directory.successors_on(match.agency, date(2025, 3, 1))
    assert heir.name_on(TWO_TIERS) == "Sở Khoa học và Công nghệ"


def test_cua_lo_goes_to_vinh_and_then_to_several(directory: Directory) -> None:
    cua_lo = directory.by_id("na-huyen-413-2016")
    assert cua_lo is not None
    assert directory.successors_on(cua_lo, date(2024, 11, 30)) == (cua_lo,)
    assert [heir.id for heir in directory.successors_on(cua_lo, SECOND_MERGERS)] == ["na-huyen-412-2016"]
    assert len(directory.successors_on(cua_lo, TWO_TIERS)) == 6


def test_a_divided_commune_has_two_successors_until_they_merge(directory: Directory) -> None:
    quynh_ba = directory.find_gso("17185", OPENING)
    assert quynh_ba is not None
    heirs = directory.successors_on(quynh_ba, SECOND_MERGERS)
    assert {heir.name_on(SECOND_MERGERS) for heir in heirs} == {"UBND xã Bình Sơn", "UBND thị trấn Cầu Giát"}
    assert len(directory.successors_on(quynh_ba, TWO_TIERS)) == 1


def test_organ_codes_are_assumed_in_the_unassigned_group_and_never_collide(directory: Directory) -> None:
    seen: dict[str, str] = {}
    for agency in directory.agencies:
        organ_codes = [code for code in agency.codes if code.scheme.is_organ_code]
        assert organ_codes, agency.id
        for code in organ_codes:
            assert code.assumed
            assert "H99" in code.code.split(".")
            assert seen.setdefault(organ_key(code.code), agency.id) == agency.id, "no code is ever given twice"


def test_both_forms_mean_the_same_agency_where_the_2016_form_can_be_written(directory: Directory) -> None:
    for agency in directory.in_force(OPENING):
        old = agency.code_on(OPENING, CodeScheme.QCVN2016)
        new = agency.code_on(OPENING, CodeScheme.QD2020)
        assert new is not None
        assert (old is None) == (agency.kind is AgencyKind.PARTY)
        if old is not None:
            assert organ_key(old) == organ_key(new)


def test_every_agency_in_force_can_be_addressed(directory: Directory) -> None:
    for day in (OPENING, FIRST_MERGERS, SECOND_MERGERS, TWO_TIERS):
        for agency in directory.in_force(day):
            code = agency.organ_code_on(day)
            assert code is not None
            assert directory.find(code.code, day) is agency


def test_rows_and_agencies_are_the_same_thing(directory: Directory) -> None:
    rows = as_rows(directory.agencies)
    assert agencies_from_rows(rows) == directory.agencies
    assert agencies_from_rows(json.loads(json.dumps(rows))) == directory.agencies
    assert {table: set(rows[table][0]) for table in COLUMNS} == {
        table: set(columns) for table, columns in COLUMNS.items()
    }


@pytest.mark.shared
@pytest.mark.skipif(not SOURCE.exists(), reason="../shared/data/nghe_an is not there")
def test_the_script_makes_the_data_that_is_committed(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "make_directory_data"
    subprocess.run([sys.executable, script, SOURCE, tmp_path], check=True, capture_output=True)
    for made in tmp_path.iterdir():
        assert made.read_bytes() == (ROOT / "routing" / "data" / "nghe_an" / made.name).read_bytes(), made.name
