"""Reading a configuration file: every fault, each with its place, in both languages."""

from __future__ import annotations

from datetime import date

import pytest

from edxml.messages import Language
from gateway.configuration import ConfigurationInvalid, decode, parse
from routing.agency import CodeScheme

GOOD = """
[[agency]]
id = "echo-nhan"
name = "Cơ quan thử (tiếp nhận)"
parent = "na-tinh"
codes = ["H99.99.1", "000.01.99.H99", { code = "echo@truc", scheme = "other", assumed = true }]
valid_from = 2025-07-01

[[system]]
name = "Phần mềm A"
speaks_for = ["H99.12"]

[[channel]]
id = "hop-thu-a"
kind = "inbox"
serves = ["na-so-snv"]
"""


def faults(text: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigurationInvalid) as why:
        parse(text)
    for finding in why.value.findings:
        for language in Language:  # a text in each language, every gap filled
            said = finding.text(language)
            assert said != finding.code
            assert "{" not in said
    return [(finding.code.removeprefix("configuration."), finding.place.path) for finding in why.value.findings]


def test_a_good_file_is_read() -> None:
    found = parse(GOOD)
    (agency,) = found.agencies
    assert agency.names[0].name == "Cơ quan thử (tiếp nhận)"
    assert agency.parent_id == "na-tinh"
    assert agency.valid_from == date(2025, 7, 1)
    assert [code.scheme for code in agency.codes] == [CodeScheme.QD2020, CodeScheme.QCVN2016, CodeScheme.OTHER]
    assert [code.assumed for code in agency.codes] == [False, False, True]
    assert found.systems[0].speaks_for == ("H99.12",)
    assert found.channels[0].serves == ("na-so-snv",)
    assert found.channels[0].is_paused is None


def test_an_empty_file_says_nothing() -> None:
    assert parse("") == parse("# chỉ có chú thích")


def test_every_fault_is_said_at_once_with_its_place() -> None:
    text = """
[[agency]]
id = "Cơ quan"
kind = "ministry"
codes = [3]
valid_from = "2025-07-01"

[[system]]
name = ""
operator = "yes"

[[channel]]
id = "k1"
in_flight = 0
speaks_for_agencies = true
setings = {}
settings = { root = 2025-07-01 }

[[chanel]]
id = "k2"

[[channel]]
id = "k3"
kind = "inbox"
serves = "a"
in_flight = 4.5
whatever = 1
"""
    assert sorted(faults(text)) == [
        ("missing", "[[channel]] 1 k1: kind"),
        ("missing", "[[system]] 1: name"),
        ("misspelt", "[[channel]] 1 k1: setings"),
        ("misspelt", "[[channel]] 1 k1: speaks_for_agencies"),
        ("misspelt", "chanel"),
        ("not_day", "[[agency]] 1 Cơ quan: valid_from"),
        ("not_flag", "[[system]] 1: operator"),
        ("not_integer", "[[channel]] 2 k3: in_flight"),
        ("not_list", "[[channel]] 2 k3: serves"),
        ("not_one_of", "[[agency]] 1 Cơ quan: kind"),
        ("not_plain", "[[channel]] 1 k1: settings"),
        ("not_table", "[[agency]] 1 Cơ quan: codes[1]"),
        ("out_of_range", "[[channel]] 1 k1: in_flight"),
        ("unknown_field", "[[channel]] 2 k3: whatever"),
        ("wrong_form", "[[agency]] 1 Cơ quan: id"),
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[[agency]]\nid = "a"', ("name_or_names", "[[agency]] 1 a")),
        ('[[agency]]\nid = "a"\nname = "A"\nnames = [{name = "B"}]', ("name_or_names", "[[agency]] 1 a")),
        ('[[agency]]\nid = "a"\nname = "A"\nparent = "p"\nparents = [{id = "q"}]',
         ("parent_or_parents", "[[agency]] 1 a")),
        ("[[channel]]\nid = 'k'\nkind = 'inbox'\n" * 2, ("twice", "[[channel]] k")),
        ("agency = 3", ("not_list", "agency")),
        ("[agency]\nid = 'a'", ("not_list", "agency")),
        ("[[system]]\nname = \n", ("not_toml", "TOML:2")),
        ("a = [", ("not_toml", "TOML:EOF")),
    ],
)  # fmt: skip
def test_single_faults(text: str, fault: tuple[str, str]) -> None:
    assert faults(text) == [fault]


def test_a_file_in_another_encoding_is_told_its_line_and_a_byte_order_mark_is_passed_over() -> None:
    assert decode("\ufeff# Sở".encode()) == "# Sở"
    for written in ("# x\n# S\xe9".encode("latin-1"), "# x\n".encode("utf-16")):
        with pytest.raises(ConfigurationInvalid) as why:
            decode(written)
        (found,) = why.value.findings
        assert found.code == "configuration.not_utf8"
