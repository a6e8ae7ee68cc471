"""The characters that XML 1.0 can carry (production Char, §2.2), and those that should not reach a screen."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["COMMANDING", "is_xml_text"]

_NO_CHAR = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

COMMANDING: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Characters that are obeyed and not seen: they move a cursor, break a line, turn the direction of writing.  XML
forbids some of them, names in certificates and in PDFs none."""


def is_xml_text(text: str) -> bool:
    """Whether XML can carry every character of `text`: no NUL, no other controls, no half of a surrogate pair."""
    return _NO_CHAR.search(text) is None
