"""Directories made by hand: look-ups, dates, contradictions, search."""

from __future__ import annotations

from datetime import date

import pytest

from edxml.ids import OrganId
from edxml.messages import Language
from routing.agency import Agency, AgencyKind, CodeScheme, DatedCode, DatedName, DatedParent, Succession
from routing.directory import Directory
from routing.errors import DirectoryInvalid
from routing.names import fold_accents, fold_tones
from routing.rows import agencies_from_rows, load_nghe_an

DAY = date(2025, 8, 1)


def agency(
    own: str,
    *codes: DatedCode,
    name: str = "",
    parent: str = "",
    since: date | None = None,
    until: date | None = None,
    successors: tuple[Succession, ...] = (),
) -> Agency:
    return Agency(
        id=own,
        kind=AgencyKind.OTHER,
        names=(DatedName(name=name or own, valid_from=since, valid_to=until),),
        parents=(DatedParent(agency_id=parent),) if parent else (),
        codes=codes,
        successors=successors,
        valid_from=since,
        valid_to=until,
    )


def code(text: str, since: date | None = None, until: date | None = None) -> DatedCode:
    return DatedCode(scheme=CodeScheme.QD2020, code=text, valid_from=since, valid_to=until)


@pytest.mark.parametrize("written", ["H99.12", " h99.12\n", "000.00.12.H99", "000.00.12.h99"])
def test_a_code_is_found_in_both_forms_whatever_its_case_and_blanks(written: str) -> None:
    directory = Directory.from_agencies([agency("a", code("H99.12")), agency("b", code("H99.13"))])
    found = directory.find(written, DAY)
    assert found is not None
    assert found.id == "a"
    assert directory.find(OrganId.parse(written), DAY) is found


@pytest.mark.parametrize("written", ["", "   ", "H99.14", "xã Nghi Phú", "H99.12; DROP", "\x00", "H" * 5000])
def test_what_nobody_has_is_nobody(written: str) -> None:
    directory = Directory.from_agencies([agency("a", code("H99.12"))])
    assert directory.find(written, DAY) is None
    assert directory.find_all(written) == ()


def test_a_code_given_on_means_who_holds_it_on_the_day() -> None:
    end = date(2020, 1, 31)
    first = agency("first", code("H99.12", until=end), until=end)
    second = agency("second", code("H99.12", since=date(2022, 1, 1)), since=date(2022, 1, 1))
    directory = Directory.from_agencies([second, first])
    holders = {
        date(2019, 1, 1): "first",
        date(2020, 1, 31): "first",
        date(2021, 1, 1): "first",  # in the gap: who had it last
        date(2022, 1, 1): "second",
    }
    for day, own in holders.items():
        found = directory.find("H99.12", day)
        assert found is not None
        assert found.id == own
    assert [found.id for found in directory.find_all("H99.12")] == ["second", "first"]


def test_the_last_day_is_part_of_the_life() -> None:
    mortal = agency("a", since=date(2020, 1, 1), until=date(2020, 12, 31))
    assert [mortal.in_force_on(day) for day in (date(2019, 12, 31), date(2020, 1, 1), date(2020, 12, 31))] == [
        False,
        True,
        True,
    ]
    assert not mortal.in_force_on(date(2021, 1, 1))


def test_names_outside_the_life_are_the_nearest() -> None:
    names = (
        DatedName(name="new", valid_from=date(2021, 1, 1), valid_to=date(2022, 1, 1)),
        DatedName(name="old", valid_from=date(2019, 1, 1), valid_to=date(2020, 12, 31)),
    )
    renamed = Agency(id="a", kind=AgencyKind.OTHER, names=names)
    days = (date(2018, 1, 1), date(2020, 12, 31), date(2021, 1, 1), date(2030, 1, 1))
    assert [renamed.name_on(day) for day in days] == ["old", "old", "new", "new"]


def test_successors_are_followed_until_they_live_and_each_named_once() -> None:
    def steps(*own: str, on: date) -> tuple[Succession, ...]:
        return tuple(Succession(agency_id=item, effective=on) for item in own)

    one, two = date(2020, 1, 1), date(2022, 1, 1)
    directory = Directory.from_agencies(
        [
            agency("a", until=date(2019, 12, 31), successors=steps("b", "c", on=one)),
            agency("b", since=one, until=date(2021, 12, 31), successors=steps("d", on=two)),
            agency("c", since=one, until=date(2021, 12, 31), successors=steps("d", "e", on=two)),
            agency("d", since=two),
            agency("e", since=two),
        ]
    )
    first = directory.agencies[0]
    heirs = {
        day: [heir.id for heir in directory.successors_on(first, day)]
        for day in (date(2019, 12, 31), one, date(2021, 12, 31), two)
    }
    assert list(heirs.values()) == [["a"], ["b", "c"], ["b", "c"], ["d", "e"]]


def test_nobody_succeeds_before_the_day_of_succession() -> None:
    later = Succession(agency_id="b", effective=date(2021, 1, 1))
    directory = Directory.from_agencies([agency("a", until=date(2019, 12, 31), successors=(later,)), agency("b")])
    first, second = directory.agencies
    assert directory.successors_on(first, date(2020, 12, 31)) == ()
    assert directory.successors_on(first, date(2021, 1, 1)) == (second,)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Thuỷ", "Thủy"),
        ("Hoà", "Hòa"),
        ("HOÀ", "hòa"),
        ("Quỳnh", "Quy\u0300nh"),
        ("Uỷ ban nhân dân xã", "UBND  xã"),
        ("Lao động - Thương binh", "lao động thương binh"),
    ],
)
def test_tone_marks_fold_to_one_place(one: str, other: str) -> None:
    assert fold_tones(one) == fold_tones(other)


@pytest.mark.parametrize(("one", "other"), [("Hòa", "Hóa"), ("Hòa", "Hoa"), ("Cắm", "Căm"), ("Đông", "Dông")])
def test_different_accents_stay_different(one: str, other: str) -> None:
    assert fold_tones(one) != fold_tones(other)
    assert fold_accents(one) == fold_accents(other)


def test_merging_adds_and_replaces() -> None:
    directory = Directory.from_agencies([agency("a", code("H99.12")), agency("b")])
    merged = directory.merged_with([agency("a", code("H99.12"), name="echo"), agency("c", parent="a")])
    assert [(item.id, item.name_on(DAY)) for item in merged.agencies] == [("a", "echo"), ("b", "b"), ("c", "c")]
    assert [child.id for child in merged.children("a", DAY)] == ["c"]
    assert directory.agencies[0].name_on(DAY) == "a", "the old value is as it was"


@pytest.mark.parametrize(
    ("agencies", "fault"),
    [
        ([agency("a"), agency("a")], "directory.id_twice"),
        ([Agency(id="a", kind=AgencyKind.OTHER, names=())], "directory.nameless"),
        ([agency("a", since=date(2021, 1, 1), until=date(2020, 1, 1))], "directory.dates_reversed"),
        ([agency("a", parent="gone")], "directory.parent_unknown"),
        ([agency("a", parent="a")], "directory.parent_unknown"),
        ([agency("a", code("H99.12")), agency("b", code("000.00.12.H99"))], "directory.code_taken"),
        (
            [agency("a", code("H99.1", until=DAY)), agency("b", code("H99.1", since=DAY))],
            "directory.code_taken",
        ),
        (
            [agency("a", until=DAY, successors=(Succession(agency_id="gone", effective=date(2025, 8, 2)),))],
            "directory.successor_unknown",
        ),
        (
            [agency("a", successors=(Succession(agency_id="b", effective=DAY),)), agency("b")],
            "directory.successor_of_living",
        ),
    ],
)
def test_a_contradiction_makes_no_directory(agencies: list[Agency], fault: str) -> None:
    with pytest.raises(DirectoryInvalid) as caught:
        Directory.from_agencies(agencies)
    assert fault in [finding.code for finding in caught.value.findings]
    for finding in caught.value.findings:
        for language in Language:
            assert finding.text(language) != finding.code
            assert "{" not in finding.text(language)


def test_every_contradiction_is_told_not_only_the_first() -> None:
    with pytest.raises(DirectoryInvalid) as caught:
        Directory.from_agencies([agency("a", parent="gone"), agency("b", parent="gone too")])
    assert len(caught.value.findings) == 2


def test_a_succession_without_a_day_is_no_row() -> None:
    rows = {
        "agencies": [{"id": "a", "kind": "other", "valid_from": "", "valid_to": ""}],
        "names": [],
        "parents": [],
        "codes": [],
        "successors": [{"agency_id": "a", "successor_id": "b", "effective": "", "share": "full", "act": ""}],
    }
    with pytest.raises(ValueError, match="without a day"):
        agencies_from_rows(rows)


class TestSearch:
    """Over the real names, because they are the hard ones."""

    DIRECTORY = load_nghe_an()
    OPENING = date(2016, 3, 15)

    def names(self, text: str, day: date = OPENING) -> list[str]:
        return [match.name for match in self.DIRECTORY.search(text, day)]

    @pytest.mark.parametrize("text", ["Thu Thuỷ", "Thu Thủy", "thu thuy", "THU THỦY", "Thu Thu\u0309y"])
    def test_tone_marks_may_sit_on_either_vowel_or_be_missing(self, text: str) -> None:
        assert self.names(text) == ["UBND phường Thu Thuỷ"]

    def test_same_names_are_told_apart_by_their_district(self) -> None:
        matches = self.DIRECTORY.search("xã Đồng Văn", self.OPENING)
        assert [match.within for match in matches] == [
            "UBND huyện Quế Phong",
            "UBND huyện Tân Kỳ",
            "UBND huyện Thanh Chương",
        ]

    def test_the_order_does_not_hang_on_that_of_the_data(self) -> None:
        backwards = Directory.from_agencies(reversed(self.DIRECTORY.agencies))
        for text in ("Đồng Văn", "son", "ubnd"):
            assert backwards.search(text, self.OPENING) == self.DIRECTORY.search(text, self.OPENING)

    def test_whole_names_come_before_parts_and_written_accents_before_bare_ones(self) -> None:
        assert self.names("Nam Sơn")[0] == "UBND xã Nam Sơn"
        found = self.names("Ngọc Sơn")
        assert found[:3] == ["UBND xã Ngọc Sơn"] * 3

    @pytest.mark.parametrize("text", ["Uỷ ban nhân dân xã Nghi Phú", "ubnd xa nghi phu", "ỦY BAN NHÂN DÂN XÃ NGHI PHÚ"])
    def test_the_committees_name_may_be_written_out(self, text: str) -> None:
        assert self.names(text) == ["UBND xã Nghi Phú", "UBND xã Nghi Phương"]

    def test_codes_are_searched_too(self) -> None:
        assert self.names("16702") == ["UBND xã Nghi Phú"]
        assert self.names("000.00.51.h99") == ["UBND thành phố Vinh"]

    def test_the_past_comes_only_when_asked_for(self) -> None:
        today = date(2025, 8, 1)
        assert self.DIRECTORY.search("Quế Sơn", today) == ()
        past = self.DIRECTORY.search("Quế Sơn", today, is_past_included=True)
        assert [match.name for match in past] == ["UBND xã Quế Sơn"]

    @pytest.mark.parametrize("text", ["", "  ", "…", "\u0309", "%", "không có đâu"])
    def test_nothing_is_found_by_nothing(self, text: str) -> None:
        assert self.names(text) == []
