"""The letter to a vendor: the commonest first, each with its rule, a deadline where there is one."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from edxml.letters import Letter, write_letter
from edxml.messages import Language

LETTER = Letter(
    system="QLVB Thử nghiệm",
    since=date(2026, 10, 1),
    until=date(2026, 10, 31),
    packets=1200,
    repairs=(("bom", 3), ("date_form", 900), ("zip_unwrapped", 3)),
    deadline=date(2027, 1, 31),
)


def test_the_commonest_comes_first_with_its_rule() -> None:
    said = write_letter(LETTER, Language.VI)
    assert "{" not in said
    paragraphs = said.split("\n\n")
    assert [paragraph.split(":")[0] for paragraph in paragraphs[2:5]] == ["1. date_form", "2. bom", "3. zip_unwrapped"]
    assert "900 gói tin" in paragraphs[2]
    assert "QCVN 102:2016/BTTTT: yyyy/MM/dd" in paragraphs[2]
    assert "01/10/2026" in paragraphs[1]
    assert "31/01/2027" in paragraphs[5]


def test_without_a_deadline_nothing_is_threatened() -> None:
    for language in Language:
        said = write_letter(replace(LETTER, deadline=None), language)
        assert "repair_forbidden" not in said
        assert "repair_forbidden" in write_letter(LETTER, language)


def test_in_english_days_are_written_the_other_way() -> None:
    said = write_letter(LETTER, Language.EN)
    assert "From 2026-10-01 to 2026-10-31" in said
    assert "{" not in said


def test_a_repair_that_does_not_exist_is_a_defect() -> None:
    with pytest.raises(KeyError):
        write_letter(replace(LETTER, repairs=(("bomb", 1),)), Language.VI)
