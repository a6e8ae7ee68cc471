"""Writing TOML: the standard library only reads it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

__all__ = ["as_table", "as_value"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_UNSAFE = re.compile(r"\x7f")


def as_table(section: str, values: Mapping[str, Any]) -> str:
    """One `[[section]]` with a line per value; None is left out. Lists of tables get a line per table."""
    lines = [f"[[{section}]]"]
    lines += [f"{_key(name)} = {_broken(value)}" for name, value in values.items() if value is not None]
    return "\n".join(lines) + "\n"


def as_value(value: object) -> str:
    """A value on one line. Raises TypeError for what TOML has no word for."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        quoted = json.dumps(str(value), ensure_ascii=False)
        return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(name)} = {as_value(item)}" for name, item in value.items() if item is not None)
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(as_value, value)) + "]"
    raise TypeError(f"TOML cannot hold a {type(value).__name__}")


def _broken(value: object) -> str:
    is_long = isinstance(value, list | tuple) and (len(value) > 8 or any(isinstance(item, Mapping) for item in value))
    if not is_long:
        return as_value(value)
    assert isinstance(value, list | tuple)
    return "[\n" + "".join(f"    {as_value(item)},\n" for item in value) + "]"


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else as_value(name)
