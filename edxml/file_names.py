"""Names for files that strangers named: safe in every folder, and no two alike.

Names on disk are bytes; here they are `str` with surrogate escapes (PEP 383).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterator
from typing import Final

__all__ = ["number_names", "safe_name"]

_LONGEST: Final = 200
_LONGEST_ENDING: Final = 20
_UNSAFE = re.compile(r"""[\x00-\x1f\x7f-\x9f/\\:*?"'<>|`$\u2018-\u201f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]""")
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


def number_names(name: str) -> Iterator[str]:
    """`a.edxml`, `a (2).edxml`, `a (3).edxml`, …: never the same twice, of at most 200 bytes, and 10,000 of them.

    So that a report beside it has room for its own ending in a name of 255 bytes.
    """
    stem, dot, suffix = name.rpartition(".")
    stem, suffix = (stem, dot + suffix) if stem and _size(suffix) <= _LONGEST_ENDING else (name, "")
    for number in range(1, 10_001):
        tail = suffix if number == 1 else f" ({number}){suffix}"
        yield _cut(stem, _LONGEST - _size(tail)) + tail


def safe_name(wanted: str, taken: Container[str]) -> str:
    """A name for an attachment that is safe in every folder, and whose `casefold()` is not in `taken`.

    Vietnamese letters are kept and composed (NFC); path separators, quotes, control and direction characters,
    reserved device names, leading dots and trailing blanks are made harmless; at most 200 bytes of UTF-8, cut
    between characters, the suffix kept.
    """
    name = unicodedata.normalize("NFC", wanted.encode("utf-8", "replace").decode("utf-8"))
    name = _UNSAFE.sub("_", name).strip().rstrip(". ").lstrip(".~- ")
    if not name.strip("_") or _DEVICES.match(name):
        name = f"tep-{name}" if name else "tep"
    stem, dot, suffix = name.rpartition(".")
    if stem and _size(suffix) <= _LONGEST_ENDING:
        name = _cut(stem, _LONGEST - len((dot + suffix).encode())) + dot + suffix
    else:
        name = _cut(name, _LONGEST)
    return next(each for each in number_names(name) if each.casefold() not in taken)


def _size(text: str) -> int:
    """Bytes of a name on disk."""
    return len(text.encode("utf-8", "surrogateescape"))


def _cut(text: str, longest: int) -> str:
    """At most `longest` bytes of UTF-8, never in the middle of a character or before its combining marks."""
    if _size(text) <= longest:
        return text
    size = end = 0
    for position, character in enumerate(text):
        if not unicodedata.combining(character):
            end = position
        size += len(character.encode("utf-8", "surrogateescape"))
        if size > longest:
            break
    return text[:end].rstrip()
