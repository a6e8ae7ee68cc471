"""JSON bodies (RFC 8259): read once and strictly, and every fault told with its place.

Stricter than Python: a member that comes twice is refused, because a reader before us may have believed the other one.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from gateway.api.faults import BadFields, FieldFault, body_faults, shown
from gateway.api.problems import NotAcceptedKind
from gateway.model.errors import BadRequest

__all__ = ["read_json"]

Kind = TypeVar("Kind", bound=BaseModel)

_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^\s;"]+)', re.IGNORECASE)
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_NEAR = 20


def read_json(kind: type[Kind], body: bytes, *, content_type: str = "", content_encoding: str = "") -> Kind:
    """The body as an object of this shape. What kind of content it is said to be is not asked: these routes take JSON
    alone; but a charset or a coding that is named must be one that is read here.

    Raises NotAcceptedKind for such a one, BadRequest for what is no JSON in UTF-8 (line and column, what stood there),
    BadFields for members that are wrong, missing, unknown or there twice.
    """
    charset = _CHARSET.search(content_type)
    if charset is not None and charset[1].lower() not in _CHARSETS:
        raise NotAcceptedKind("api.bad_charset", charset=shown(charset[1]))
    if content_encoding.strip().lower() not in ("", "identity"):
        raise NotAcceptedKind("api.bad_encoding")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as why:
        raise BadRequest("api.not_utf8", at=why.start + 1, byte=f"0x{body[why.start]:02x}") from None
    try:
        return kind.model_validate(_parsed(text), strict=True)
    except ValidationError as why:
        raise BadFields(body_faults(why.errors(include_url=False), kind)) from None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_integer)
    except json.JSONDecodeError as why:
        before = shown(text[max(0, why.pos - _NEAR) : why.pos])
        if why.pos >= len(text):
            raise BadRequest("api.json_ends", line=why.lineno, column=why.colno, before=before) from None
        found = shown(text[why.pos : why.pos + _NEAR])
        raise BadRequest("api.bad_json", line=why.lineno, column=why.colno, found=found, before=before) from None
    except RecursionError:
        raise BadRequest("api.json_too_deep") from None


def _integer(digits: str) -> int | Decimal:
    """Python makes no whole number of more than 4,300 digits: such a one is kept as it is written, to be shown."""
    return int(digits) if len(digits) < 1_000 else Decimal(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise BadFields([FieldFault(code="twice", part="body", steps=(name,), value=shown(value))])
        made[name] = value
    return made
