"""Whatever a person may be told has a text in both languages, with the same placeholders, and no text is dead."""

from __future__ import annotations

import ast
import re
from string import Formatter

import pytest

from edxml.errors import TrucError
from edxml.messages import PACKAGES, Language, catalogue
from gateway.model.chain import Reason
from gateway.model.errors import Refusal
from gateway.model.events import EventKind
from monitoring.alerts import AlertCode
from tests.unit.house.sources import HOUSE, import_all, modules

_CODE = re.compile(r"[a-z]+\.[a-z0-9_]+")
_KINDS = frozenset(map(str, EventKind))


def everything(language: Language) -> dict[str, str]:
    """Every text of one language."""
    return {code: text for package in PACKAGES for code, text in catalogue(package, language).items()}


def subclasses(root: type[TrucError]) -> set[type[TrucError]]:
    """A class and all below it."""
    return {root}.union(*(subclasses(child) for child in root.__subclasses__()))


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def refusal_codes() -> set[str]:
    """Codes in quotes with which a refusal is made, anywhere."""
    import_all()
    refusals = {c.__name__ for c in subclasses(Refusal)}
    return {
        str(call.args[0].value)
        for module in modules()
        for name, call in module.calls()
        if name in refusals and call.args and isinstance(call.args[0], ast.Constant)
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_both_languages_say_the_same_codes_with_the_same_placeholders(package: str) -> None:
    vi, en = catalogue(package, Language.VI), catalogue(package, Language.EN)
    assert vi.keys() == en.keys()
    assert {code for code in vi if placeholders(vi[code]) != placeholders(en[code])} == set()
    assert {code for code, text in (*vi.items(), *en.items()) if not text.strip()} == set()


def test_a_code_lives_in_one_package() -> None:
    codes = [code for package in PACKAGES for code in catalogue(package, Language.EN)]
    assert sorted({code for code in codes if codes.count(code) > 1}) == []


def test_every_error_has_a_text() -> None:
    import_all()
    ours = {c for c in subclasses(TrucError) if not c.__module__.startswith("tests")}
    assert sorted({c.code for c in ours} - everything(Language.EN).keys()) == []


def test_every_refusal_has_a_text() -> None:
    said = refusal_codes()
    assert len(said) > 10
    assert sorted(said - everything(Language.EN).keys()) == []


def test_every_reason_and_alert_has_a_text() -> None:
    wanted = {f"delivery.{reason}" for reason in Reason} | set(map(str, AlertCode))
    assert sorted(wanted - everything(Language.EN).keys()) == []


def test_every_code_in_the_source_has_a_text() -> None:
    """A code in quotes whose noun has texts must be one of them: a misspelt code would reach a person as itself."""
    codes = everything(Language.EN).keys()
    nouns = {code.split(".")[0] for code in codes}
    import_all()
    from edxml.crashpoints import POINTS

    log_events = {
        call.args[0].value
        for module in modules()
        for name, call in module.calls()
        if name in ("debug", "info", "warning", "error", "exception")
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }
    said = {
        (module.path, node.value)
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and _CODE.fullmatch(node.value)
        and node.value.split(".")[0] in nouns
    }
    known = codes | _KINDS | POINTS.keys() | log_events
    assert sorted((path, code) for path, code in said if code not in known and not is_file(code)) == []


def is_file(text: str) -> bool:
    return text.endswith((".toml", ".json", ".db", ".lock", ".pem", ".key", ".py", ".sock"))


def test_no_text_is_dead() -> None:
    """The reason of every code stands somewhere in the source, as a code, a word or a member of a closed list."""
    source = "\n".join(module.text for module in modules())
    words = set(re.findall(r"[a-z][a-z0-9_]*", source))
    dead = [code for code in everything(Language.EN) if code.split(".")[1] not in words]
    assert dead == []


def test_every_code_of_an_error_or_refusal_has_a_page_in_the_runbook() -> None:
    import_all()
    errors = {c.code for c in subclasses(TrucError) if not c.__module__.startswith("tests")}
    nouns = {code.split(".")[0] for code in errors | refusal_codes() | set(map(str, AlertCode))}
    assert {noun for noun in nouns if not (HOUSE / f"docs/runbook/{noun}.md").exists()} == set()
