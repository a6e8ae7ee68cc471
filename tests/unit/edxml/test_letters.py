"""The letter to a vendor: the commonest first, each with its rule, its remedy, an example and its time limit."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from edxml.letters import Letter, LetterItem, write_letter
from edxml.messages import Language, text
from edxml.profiles import REPAIR_KINDS

BOM = LetterItem(name="bom", packets=3, first=date(2026, 10, 2), last=date(2026, 10, 4), until=date(2027, 1, 31))
LETTER = Letter(
    system="QLVB Thử nghiệm",
    since=date(2026, 10, 1),
    until=date(2026, 10, 31),
    day=date(2026, 11, 2),
    packets=1200,
    repaired=903,
    items=(
        BOM,
        replace(BOM, name="date_form", packets=900, until=date.max, example="H99.01,2026/10/02,12/STC-VP"),
        replace(BOM, name="zip_unwrapped", until=None),
    ),
)


def test_the_commonest_comes_first_with_its_rule_its_remedy_and_an_example() -> None:
    said = write_letter(LETTER, Language.VI)
    assert "{" not in said
    paragraphs = said.split("\n\n")
    assert [paragraph.split(":")[0] for paragraph in paragraphs[2:5]] == ["1. date_form", "2. bom", "3. zip_unwrapped"]
    assert "900 gói tin, từ ngày 02/10/2026 đến ngày 04/10/2026" in paragraphs[2]
    assert "QCVN 102:2016/BTTTT: yyyy/MM/dd" in paragraphs[2]
    assert "văn bản H99.01,2026/10/02,12/STC-VP" in paragraphs[2]
    assert text("remedy.date_form", Language.VI, {}) in paragraphs[2]
    assert "Ví dụ" not in paragraphs[3]
    assert "1200 gói tin" in paragraphs[1]
    assert "903 gói tin" in paragraphs[1]


@pytest.mark.parametrize("language", list(Language))
def test_each_says_until_when_it_is_tolerated(language: Language) -> None:
    dates, bom, zipped = write_letter(LETTER, language).split("\n\n")[2:5]
    assert "edxml.repair" not in dates
    assert {Language.VI: "đến hết ngày 31/01/2027", Language.EN: "until 2027-01-31"}[language] in bom
    assert "edxml.repair_ended" in bom
    assert "edxml.repair_forbidden" in zipped


def test_what_ended_is_told_as_refused() -> None:
    late = write_letter(replace(LETTER, day=date(2027, 2, 1), items=(BOM,)), Language.EN)
    assert text("letter.refused_since", Language.EN, {"day": date(2027, 1, 31)}) in late
    on_the_day = write_letter(replace(LETTER, day=date(2027, 1, 31), items=(BOM,)), Language.EN)
    assert "puts it right until 2027-01-31" in on_the_day


def test_nothing_wrong_is_said_too() -> None:
    for language in Language:
        said = write_letter(replace(LETTER, repaired=0, items=()), language)
        days = {"since": LETTER.since, "until": LETTER.until, "packets": 1200}
        assert said.split("\n\n")[1:] == [
            text("letter.nothing", language, days),
            f"{text('letter.closing', language, {})}\n",
        ]


def test_a_repair_of_another_release_is_named_all_the_same() -> None:
    for language in Language:
        assert "bomb" in write_letter(replace(LETTER, items=(replace(BOM, name="bomb"),)), language)


def test_every_repair_can_be_written_of() -> None:
    items = tuple(replace(BOM, name=name) for name in REPAIR_KINDS)
    for language in Language:
        assert "{" not in write_letter(replace(LETTER, items=items), language)
