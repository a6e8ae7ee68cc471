"""Texts for people: one file per package and language, keyed by code.

A code is `<package or noun>.<reason>`; its text stands in `messages/vi.toml` and `messages/en.toml` of
exactly one of the project's packages, with `{placeholders}` filled from the parameters of the error or
finding.  A test compares keys and placeholders of the two languages, so neither can fall behind.

The files are looked up as data, never by importing the package, so `edxml` speaks alone where it is alone.
"""

from __future__ import annotations

import errno
import os
import re
import tomllib
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any, Final

from edxml.zone import in_vietnam

__all__ = [
    "PACKAGES", "Evidence", "Language", "SystemWords", "Term", "catalogue", "say_day", "say_moment", "say_span",
    "system_words", "text",
]  # fmt: skip

PACKAGES = ("edxml", "routing", "adapters", "monitoring", "gateway")
"""Packages that may carry a message file, in order of search."""


class Language(StrEnum):
    """The two languages that every text exists in; Vietnamese first."""

    VI = "vi"
    EN = "en"


class Term(str):
    """A parameter that is itself a code: whoever reads the sentence gets its text in the same language."""

    __slots__ = ()


class Evidence(str):
    """A parameter that is stored the same for every language ("CN=…: 2026-12-31"): whoever reads the sentence gets its
    days as the language writes them."""

    __slots__ = ()

    def said(self, language: Language) -> str:
        """Its words with the days of `language`."""
        return re.sub(r"\b(\d{4})-(\d\d)-(\d\d)\b", r"\3/\2/\1", self) if language is Language.VI else str(self)


class SystemWords(str):
    """A parameter in the operating system's English ("No space left on device"), as it is stored and logged: whoever
    reads the sentence gets a common one in the same language."""

    __slots__ = ()

    def said(self, language: Language) -> str:
        """In `language`, where it is a common one; else as the system says it."""
        code = _system_codes().get(str(self), "")
        found = text(code, language, {})
        return str(self) if found == code else found


def system_words(error: BaseException) -> SystemWords:
    """What the operating system said when it refused; of what is no refusal of its own, what it is.

    Of a file that is no text none of its bytes: it may be a password.
    """
    if isinstance(error, UnicodeDecodeError):
        return SystemWords(f"not in {error.encoding}")
    said = getattr(error, "strerror", None)
    return SystemWords(said or str(error) or type(error).__name__)


_WITHOUT_NUMBER: Final = {
    "timed out": "os_error.etimedout",
    "Name or service not known": "os_error.no_name",
    "No address associated with hostname": "os_error.no_name",
    "Temporary failure in name resolution": "os_error.no_name_server",
    "not in utf-8": "os_error.no_utf8",
    "not in ascii": "os_error.no_ascii",
}
"""What sockets and the C library's resolver say, and who reads a file that is to be a text."""


@cache
def _system_codes() -> Mapping[str, str]:
    """The system's sentence → the code of ours."""
    by_number = {os.strerror(number): f"os_error.{name.lower()}" for number, name in errno.errorcode.items()}
    return by_number | _WITHOUT_NUMBER


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
    if isinstance(value, (SystemWords, Evidence)):
        return value.said(language)
    if isinstance(value, datetime):
        return say_moment(value, language)
    if isinstance(value, date):
        return say_day(value, language)
    if isinstance(value, timedelta):
        return say_span(value.total_seconds(), language)
    return _Count(value) if type(value) is int else value


def say_day(day: date, language: Language) -> str:
    """A calendar day as `language` writes it: 31/12/2026, or 2026-12-31."""
    return f"{day:%d/%m/%Y}" if language is Language.VI else day.isoformat()


def say_moment(moment: datetime, language: Language) -> str:
    """A moment of Việt Nam's clocks as `language` writes it: 31/12/2026 08:15:00, or 2026-12-31 08:15:00 +07:00."""
    local = in_vietnam(moment)
    return f"{local:%d/%m/%Y %H:%M:%S}" if language is Language.VI else local.isoformat(sep=" ", timespec="seconds")


def say_span(seconds: float, language: Language) -> str:
    """A span of time as people say it: the two largest units."""
    whole = int(seconds)
    for size, rest, code in ((86_400, 3600, "days"), (3600, 60, "hours"), (60, 1, "minutes")):
        if whole >= size:
            return text(f"span.{code}", language, {"n": whole // size, "rest": whole % size // rest})
    return text("span.seconds", language, {"n": f"{max(seconds, 0):.1f}".rstrip("0").rstrip(".")})


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
