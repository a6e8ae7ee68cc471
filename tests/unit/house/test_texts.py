"""Whatever a person may be told has a text in both languages, with the same placeholders, and no text is dead."""

from __future__ import annotations

import ast
import re
from string import Formatter

import pytest

from edxml.crashpoints import POINTS
from edxml.errors import TrucError
from edxml.messages import PACKAGES, Language, catalogue
from gateway.model.chain import Reason
from gateway.model.errors import Refusal
from gateway.model.events import EventKind
from monitoring.alerts import AlertCode
from tests.unit.house.sources import HOUSE, import_all, modules

_CODE = re.compile(r"[a-z]+\.[a-z0-9_]+")
_KINDS = frozenset(map(str, EventKind))
NOT_TOLD = {"packet.taken_in", "truc.db", "truc.dump"}  # a log line whose name is handed on, and files
PUT_TOGETHER = ("configuration.added_", "configuration.changed_")  # from the noun of what changed


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


def families() -> set[str]:
    """Nouns of codes, as the runbook has them; other texts are words of screens."""
    return {page.stem for page in (HOUSE / "docs/runbook").glob("*.md")} - {"index", "codes"}


def logged() -> set[str]:
    """Names of loggers and of log lines."""
    makers = ("get", "debug", "info", "warning", "error", "exception")
    first = [call.args[0] for module in modules() for name, call in module.calls() if name in makers and call.args]
    return {str(node.value) for node in first if isinstance(node, ast.Constant)}


def test_every_code_in_the_source_has_a_text() -> None:
    """A code in quotes of a known family must be one of it: a misspelt code would reach a person as itself."""
    import_all()
    known = everything(Language.EN).keys() | _KINDS | POINTS.keys() | logged() | NOT_TOLD
    said = {
        (module.path, node.value)
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _CODE.fullmatch(node.value)
    }
    nouns = families()
    assert sorted((path, code) for path, code in said if code.split(".")[0] in nouns and code not in known) == []


def test_no_text_of_a_code_is_dead() -> None:
    """The reason of every code stands somewhere in the source, as a code, a word or a member of a closed list."""
    stand_ins = (HOUSE / "tests/service").glob("test_*sinks.py")  # reasons of channels to come
    source = "\n".join([*(module.text for module in modules()), *(path.read_text("utf-8") for path in stand_ins)])
    words = set(re.findall(r"[a-z][a-z0-9_]*", source))
    mine = [code for code in everything(Language.EN) if code.split(".")[0] in families()]
    assert [code for code in mine if code.split(".")[1] not in words and not code.startswith(PUT_TOGETHER)] == []


def given_params(call: ast.Call) -> set[str] | None:
    """Names of the parameters that an error, refusal or finding is made with; None where they are not written out."""
    if any(word.arg is None for word in call.keywords):
        return None
    for word in call.keywords:
        if word.arg == "params":
            if not isinstance(word.value, ast.Dict) or not all(isinstance(k, ast.Constant) for k in word.value.keys):
                return None
            return {str(key.value) for key in word.value.keys if isinstance(key, ast.Constant)}
    return {str(word.arg) for word in call.keywords}


def code_of(name: str, call: ast.Call, errors: dict[str, str], refusals: set[str]) -> str | None:
    """The code that a call makes something with, where it is written out."""
    if name == "Finding":
        said = next((word.value for word in call.keywords if word.arg == "code"), None)
    elif name in refusals:
        said = call.args[0] if call.args else None
    else:
        return errors.get(name)
    return str(said.value) if isinstance(said, ast.Constant) else None


def test_every_placeholder_is_given_where_a_code_is_used() -> None:
    """A sentence with a gap in braces must never reach a person."""
    import_all()
    refusals = {c.__name__ for c in subclasses(Refusal)}
    own_way = {c.__name__ for c in subclasses(TrucError) if "__init__" in vars(c)}
    errors = {c.__name__: c.code for c in subclasses(TrucError) if c.__name__ not in refusals | own_way}
    texts, gaps = everything(Language.EN), []
    for module in modules():
        for name, call in module.calls():
            code = code_of(name, call, errors, refusals)
            given = given_params(call)
            if code in texts and given is not None and (gap := placeholders(texts[code]) - given):
                gaps.append((module.path, call.lineno, code, sorted(gap)))
    assert gaps == []


def test_every_code_of_an_error_or_refusal_has_a_page_in_the_runbook() -> None:
    import_all()
    errors = {c.code for c in subclasses(TrucError) if not c.__module__.startswith("tests")}
    nouns = {code.split(".")[0] for code in errors | refusal_codes() | set(map(str, AlertCode))}
    assert {noun for noun in nouns if not (HOUSE / f"docs/runbook/{noun}.md").exists()} == set()
