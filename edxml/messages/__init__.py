"""Texts for people: one file per package and language, keyed by code.

A code is `<package or noun>.<reason>`; its text stands in `messages/vi.toml` and `messages/en.toml` of
exactly one of the project's packages, with `{placeholders}` filled from the parameters of the error or
finding.  A test compares keys and placeholders of the two languages, so neither can fall behind.

The files are looked up as data, never by importing the package, so `edxml` speaks alone where it is alone.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any

__all__ = ["PACKAGES", "Language", "Term", "catalogue", "say_day", "text"]

PACKAGES = ("edxml", "routing", "adapters", "monitoring", "gateway")
"""Packages that may carry a message file, in order of search."""


class Language(StrEnum):
    """The two languages that every text exists in; Vietnamese first."""

    VI = "vi"
    EN = "en"


class Term(str):
    """A parameter that is itself a code: whoever reads the sentence gets its text in the same language."""

    __slots__ = ()


@cache
def catalogue(package: str, language: Language) -> Mapping[str, str]:
    """All texts of one package in one language; empty where the package has none.

    Raises tomllib.TOMLDecodeError if the file is broken (a defect: a test reads them all).
    """
    spec = util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return {}
    path = Path(next(iter(spec.submodule_search_locations))) / "messages" / f"{language}.toml"
    if not path.exists():
        return {}
    return {
        f"{noun}.{reason}": text
        for noun, reasons in tomllib.loads(path.read_text("utf-8")).items()
        for reason, text in reasons.items()
    }


@cache
def _template(code: str, language: Language) -> str | None:
    for package in PACKAGES:
        found = catalogue(package, language).get(code)
        if found is not None:
            return found
    return None


def text(code: str, language: Language, params: Mapping[str, Any]) -> str:
    """The sentence for `code` in `language`, its placeholders filled from `params`; days are written as it does.

    A code without a text comes back as itself, and a missing parameter as its own name in braces: a person
    who is being told of a fault must never meet a second one.
    """
    template = _template(code, language)
    if template is None:
        return code
    return template.format_map(_Gaps({name: _said(value, language) for name, value in params.items()}))


def _said(value: Any, language: Language) -> Any:
    if isinstance(value, Term):
        return text(value, language, {})
    if type(value) is date:
        return say_day(value, language)
    return _Count(value) if type(value) is int else value


def say_day(day: date, language: Language) -> str:
    """A calendar day as `language` writes it: 31/12/2026, or 2026-12-31."""
    return f"{day:%d/%m/%Y}" if language is Language.VI else day.isoformat()


class _Count(int):
    """A number that knows its noun: `{count:packet|packets}`. Vietnamese has one form and says `{count}`."""

    def __format__(self, forms: str) -> str:
        one, bar, many = forms.partition("|")
        return f"{int(self)} {one if self == 1 else many}" if bar else format(int(self), forms)


class _Gap(str):
    """A parameter that nobody gave, whatever form it was to have."""

    def __format__(self, forms: str) -> str:
        return str(self)


class _Gaps(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return _Gap("{" + key + "}")
