"""Profiles are data: which repair is allowed, for whom, until when; and what a wrong one is told."""

from __future__ import annotations

import io
import re
from datetime import date

import pytest

from edxml import LENIENT, REPAIRS, STRICT, OrganId, Profile, ProfileInvalid, load_profile, read
from edxml.messages import Language, catalogue, text
from edxml.profiles import REPAIR_KINDS
from tests.support.packets import SENDER, build_packet

GRACE = f"""
[[profile.grace]]
repairs = ["bom", "date_form"]
why = "everyone"

[[profile.grace]]
repairs = ["root_case"]
senders = ["{SENDER}", "H98.01"]
until = 2026-12-31
why = "letter of 2 November 2026"
"""


def test_lenient_allows_every_repair_and_strict_none() -> None:
    assert all(LENIENT.allows(name) for name in REPAIRS)
    assert not any(STRICT.allows(name, OrganId.parse(SENDER), date(2026, 1, 1)) for name in REPAIRS)


def test_each_repair_says_where_it_was_met_and_has_its_texts() -> None:
    for name, kind in REPAIR_KINDS.items():
        assert kind.name == name
        assert kind.seen
        assert kind.breaks
        assert text(f"repair.{name}", Language.VI, {}) != text(f"repair.{name}", Language.EN, {}) != f"repair.{name}"


def test_lenient_names_each_repair_once_with_its_reason() -> None:
    named = [name for allowance in LENIENT.allowances for name in allowance.repairs]
    assert sorted(named) == sorted(REPAIRS)
    assert all(allowance.why for allowance in (*LENIENT.allowances, *STRICT.allowances))


def test_allowance_for_some_until_a_day() -> None:
    grace = load_profile(GRACE, "grace")
    named, other, day = OrganId.parse("000.00.01.H98"), OrganId.parse("H97"), date(2026, 12, 31)
    assert grace.allows("bom")
    assert grace.allows("root_case", named, day)
    assert not grace.allows("root_case", named, date(2027, 1, 1))
    assert not grace.allows("root_case", named, None)
    assert not grace.allows("root_case", other, day)
    assert not grace.allows("root_case", None, day)
    assert not grace.allows("trace_missing", named, day)


def test_reading_asks_the_profile_for_this_sender_on_this_day() -> None:
    data = build_packet().replace(b"<edXML xmlns=", b"<EDXML xmlns=").replace(b"</edXML>", b"</EDXML>")
    grace = load_profile(GRACE, "grace")
    kept = read(io.BytesIO(data), profile=grace, today=date(2026, 12, 31))
    assert ([repair.name for repair in kept.repairs], kept.findings) == (["root_case"], ())
    for day in (date(2027, 1, 1), None):
        late = read(io.BytesIO(data), profile=grace, today=day)
        assert [finding.code for finding in late.findings] == ["edxml.repair_ended"]
        assert "31/12/2026" in late.findings[0].text(Language.VI)
        assert "2026-12-31" in late.findings[0].text(Language.EN)
    foreign = build_packet(sender="H97").replace(b"<edXML xmlns=", b"<EDXML xmlns=").replace(b"</edXML>", b"</EDXML>")
    assert read(io.BytesIO(foreign), profile=grace, today=date(2026, 1, 1)).is_refused


def test_a_refusal_names_the_repair_its_source_and_what_to_do() -> None:
    (finding,) = read(io.BytesIO(b"\xef\xbb\xbf" + build_packet()), profile=Profile(name="none")).findings
    assert finding.code == "edxml.repair_forbidden"
    for language in Language:
        said = finding.text(language)
        assert "{" not in said
        for part in ("“bom”", "“none”", text("remedy.bom", language, {}), text("practice.bom", language, {})):
            assert part in said


def test_every_repair_has_a_remedy_in_both_languages_and_no_other_has() -> None:
    for language in Language:
        known = {code.removeprefix("remedy.") for code in catalogue("edxml", language) if code.startswith("remedy.")}
        assert known == REPAIRS


def test_a_practice_is_told_in_the_readers_language_as_the_registry_says_it() -> None:
    practices = {name: kind.breaks for name, kind in REPAIR_KINDS.items() if kind.breaks.startswith("practice: ")}
    for language in Language:
        codes = catalogue("edxml", language)
        known = {code.removeprefix("practice.") for code in codes if code.startswith("practice.")}
        assert known == practices.keys()
    for name, said in practices.items():
        assert text("practice." + name, Language.EN, {}) == said
        assert text("practice." + name, Language.VI, {}).startswith("thông lệ: ")
    assert REPAIR_KINDS["date_form"].source == REPAIR_KINDS["date_form"].breaks


def test_the_last_day_of_a_repair() -> None:
    grace = load_profile(GRACE, "grace")
    named, other = OrganId.parse("000.00.01.H98"), OrganId.parse("H97")
    assert grace.last_day("bom", other) == date.max
    assert grace.last_day("root_case", named) == date(2026, 12, 31)
    assert grace.last_day("root_case", other) is None


def test_all_but_some_is_said_with_a_star() -> None:
    starred = load_profile(STARRED, "starred")
    assert {name for name in REPAIRS if not starred.allows(name)} == {"bom", "date_form"}
    assert starred.allows("bom", day=date(2026, 12, 31))


STARRED = """
[[profile.starred]]
repairs = ["*"]
but = ["bom", "date_form"]

[[profile.starred]]
repairs = ["bom"]
until = 2026-12-31
"""


def test_strict_holds_packets_to_the_schema_too() -> None:
    """The XSD fixes the order of elements; lenient reading does not mind it, and no repair is needed for it."""
    subject = re.search(rb"<edXML:Subject>.*?</edXML:Subject>", packet := build_packet(), re.DOTALL)
    assert subject is not None
    turned = packet.replace(subject[0], b"").replace(b"</edXML:MessageHeader>", subject[0] + b"</edXML:MessageHeader>")
    assert STRICT.checks_schema
    assert not LENIENT.checks_schema
    assert not read(io.BytesIO(turned), profile=Profile(name="none")).is_refused
    strict = read(io.BytesIO(turned), profile=STRICT)
    assert {finding.code.startswith("edxml.schema_") for finding in strict.findings} == {True}


WRONG = {
    "absent": ("", "no [[profile.grace]]"),
    "no TOML": ("[[profile", "Expected"),
    "a table": ("[profile.grace]\nrepairs = []", "no [[profile.grace]]"),
    "no table": ("profile = 3", "attribute"),
    "unknown repair": ("[[profile.grace]]\nrepairs = ['bomb']", "no such repair: bomb"),
    "unknown key": ("[[profile.grace]]\nrepair = ['bom']", "unknown: repair"),
    "one text": ("[[profile.grace]]\nrepairs = 'bom'", "lists"),
    "nobody": ("[[profile.grace]]\nrepairs = ['bom']\nsenders = []", "names nobody"),
    "no organ": ("[[profile.grace]]\nrepairs = ['bom']\nsenders = ['Sở']", "no organ id: Sở"),
    "star with names": ("[[profile.grace]]\nrepairs = ['*', 'bom']", "no such repair: *"),
    "but without star": ("[[profile.grace]]\nrepairs = ['bom']\nbut = ['bom']", "but goes with"),
    "schema and repairs": ("[[profile.grace]]\nrepairs = ['bom']\nschema = true", "allows no repair"),
    "schema no flag": ("[[profile.grace]]\nrepairs = []\nschema = 1", "true or false"),
    "no date": ("[[profile.grace]]\nrepairs = ['bom']\nuntil = 2026-12-31T00:00:00", "is a date"),
}


@pytest.mark.parametrize(("wrong", "why"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_profile_is_told_why(wrong: str, why: str) -> None:
    with pytest.raises(ProfileInvalid) as caught:
        load_profile(wrong, "grace")
    assert why in caught.value.params["why"]
    assert "{" not in caught.value.text(Language.VI)
