"""The characters that XML 1.0 can carry (production Char, §2.2)."""

from __future__ import annotations

import re

__all__ = ["is_xml_text"]

_NO_CHAR = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def is_xml_text(text: str) -> bool:
    """Whether XML can carry every character of `text`: no NUL, no other controls, no half of a surrogate pair."""
    return _NO_CHAR.search(text) is None
