"""What is wrong with one field of a request: which it is, what stood there, and what may stand there.

The same words for a member of a JSON body, a query parameter and a part of the path, whoever found the fault.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, BeforeValidator
from pydantic_core import PydanticCustomError

from edxml.messages import Language, text
from gateway.model.errors import BadRequest

__all__ = [
    "MOST_FAULTS",
    "BadFields",
    "Choice",
    "FieldFault",
    "bad_query",
    "body_faults",
    "faults_of",
    "one_of",
    "shown",
]

MOST_FAULTS = 100
"""Faults in one problem: a body with ten thousand unknown members is no reason for a megabyte."""

_MOST_SHOWN = 80
_MOST_TOLD = 3
"""Faults whose sentences stand in the problem's `detail`; all of them stand in `errors`."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One value that a field may have, and what it means; no meaning where the value says it itself."""

    value: str
    vi: str = ""
    en: str = ""

    def text(self, language: Language) -> str:
        """The value with its meaning."""
        meaning = self.vi if language is Language.VI else self.en
        return f"{self.value} ({meaning})" if meaning else self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldFault:
    """One fault. `part` is `body`, `query` or `path`; `value` is what stood there as JSON writes it, bounded and
    without control characters, None where nothing stood there."""

    code: str
    part: str
    steps: tuple[str | int, ...] = ()
    value: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    allowed: tuple[Choice, ...] = ()

    @property
    def pointer(self) -> str:
        """The field as a JSON pointer (RFC 6901) within its part: `/code`, and "" for a whole body."""
        return "".join(f"/{_plain(str(step)).replace('~', '~0').replace('/', '~1')}" for step in self.steps)

    def text(self, language: Language) -> str:
        """The sentence: where, what stood there, what may stand there."""
        where = ".".join((self.part, *(_plain(str(step)) for step in self.steps)))
        allowed = ", ".join(choice.text(language) for choice in self.allowed)
        return text(
            f"field.{self.code}", language, {"where": where, "value": self.value, "allowed": allowed, **self.params}
        )

    def as_dict(self) -> dict[str, Any]:
        """As a problem tells it (`ErrorShape`)."""
        return {
            "code": f"field.{self.code}",
            "in": self.part,
            "pointer": self.pointer,
            "value": self.value,
            "allowed": [{"value": one.value, "vi": one.vi, "en": one.en} for one in self.allowed],
            "vi": self.text(Language.VI),
            "en": self.text(Language.EN),
        }


class BadFields(BadRequest):
    """Fields of the request are wrong; `faults` says each, the first `MOST_FAULTS` of them."""

    def __init__(self, faults: Sequence[FieldFault]) -> None:
        self.faults = tuple(faults[:MOST_FAULTS])
        super().__init__("api.bad_field", count=len(faults), faults=self._told(Language.EN))

    def _told(self, language: Language) -> str:
        return " ".join(fault.text(language) for fault in self.faults[:_MOST_TOLD])

    def text(self, language: Language) -> str:
        """How many there are, and the sentences of the first ones."""
        return text(self.reason, language, {**self.params, "faults": self._told(language)})


def bad_query(name: str, code: str, value: str, *, allowed: Sequence[str] = (), **params: Any) -> BadFields:
    """The refusal of one query parameter."""
    choices = tuple(Choice(each) for each in allowed)
    return BadFields(
        [FieldFault(code=code, part="query", steps=(name,), value=shown(value), params=params, allowed=choices)]
    )


def shown(value: object) -> str:
    """A value as JSON writes it, at most 80 characters of it, what no screen shows as `\\uXXXX`; of an object or list
    the brackets alone."""
    if isinstance(value, Mapping):
        return "{…}" if value else "{}"
    if isinstance(value, list | tuple):
        return "[…]" if value else "[]"
    cut = value[:_MOST_SHOWN] if isinstance(value, str) else value
    written = _plain(json.dumps(cut, ensure_ascii=False, default=str))
    is_whole = len(written) <= _MOST_SHOWN and not (isinstance(value, str) and len(value) > _MOST_SHOWN)
    return written if is_whole else f"{written[:_MOST_SHOWN]}…"


def _plain(text_: str) -> str:
    """Bounded, and without what no screen shows or what makes it show other things."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text_[: 2 * _MOST_SHOWN])


# --- what pydantic finds ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _OneOf:
    """A check that lets the choices pass and names them to whoever gave something else, or nothing."""

    choices: tuple[Choice, ...]

    def __call__(self, value: object) -> object:
        if isinstance(value, str) and any(value == choice.value for choice in self.choices):
            return value
        raise PydanticCustomError("not_allowed", "not one of the choices", {"allowed": self.choices})


def one_of(choices: Sequence[Choice]) -> BeforeValidator:
    """The check for a field whose values have a meaning; its type is the `Literal` of the same values."""
    return BeforeValidator(_OneOf(tuple(choices)))


_CODES: Mapping[str, str] = {
    "missing": "missing", "extra_forbidden": "unknown", "not_allowed": "not_allowed", "no_reason": "no_reason",
    "bad_text": "bad_text", "string_type": "not_text", "bool_type": "not_boolean", "model_type": "not_object",
    "int_parsing": "not_whole", "int_parsing_size": "not_whole", "string_pattern_mismatch": "not_id",
    "date_parsing": "not_day", "date_from_datetime_parsing": "not_day", "date_from_datetime_inexact": "not_day",
    "greater_than_equal": "too_small", "less_than_equal": "too_large", "string_too_short": "too_short",
    "string_too_long": "too_long", "too_short": "too_short", "too_long": "too_long",
}  # fmt: skip
"""What pydantic calls a fault → our code; what is not here is `wrong`."""

_PARAMS: Mapping[str, str] = {"ge": "least", "min_length": "least", "le": "most", "max_length": "most"}


def faults_of(errors: Sequence[Mapping[str, Any]], kind: type[BaseModel] | None = None) -> list[FieldFault]:
    """The faults that pydantic found, each with its part first in `loc`; `kind` is the shape of the body."""
    return [_fault_of(error, kind) for error in errors]


def body_faults(errors: Sequence[Mapping[str, Any]], kind: type[BaseModel]) -> list[FieldFault]:
    """The faults of a body of that shape."""
    return faults_of([{**error, "loc": ("body", *error["loc"])} for error in errors], kind)


def _fault_of(error: Mapping[str, Any], kind: type[BaseModel] | None) -> FieldFault:
    part, *steps = error["loc"]
    context = error.get("ctx", {})
    code = _CODES.get(error["type"], "wrong")
    allowed: tuple[Choice, ...] = tuple(context.get("allowed", ()))
    if code == "missing" and kind is not None:
        checks = (getattr(mark, "func", None) for mark in kind.model_fields[str(steps[-1])].metadata)
        allowed = next((check.choices for check in checks if isinstance(check, _OneOf)), ())
    if code == "unknown" and kind is not None:
        allowed = tuple(Choice(name) for name in kind.model_fields)
    return FieldFault(
        code="missing_choice" if code == "missing" and allowed else code,
        part=str(part),
        steps=tuple(steps),
        value=None if code == "missing" else shown(error["input"]),
        params={_PARAMS[name]: limit for name, limit in context.items() if name in _PARAMS},
        allowed=allowed,
    )
