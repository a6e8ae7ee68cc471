"""Whether a PDF plainly holds no signature, told from its bytes: most of what agencies send need not be taken apart.

Every signature has its `ByteRange` (ISO 32000-2, 12.8.1), and the range is one of the file's own bytes around the
signature's value: neither can stand within something compressed.  Names may be written with escapes (7.3.5).  What
only looks like a signature, and lacks its range, is left to the closer look too.
"""

from __future__ import annotations

import mmap
import re
from typing import BinaryIO, Final

__all__ = ["is_plainly_unsigned"]

_EDGE: Final = 1024
"""Bytes at either end within which viewers look for the header and for the end (ISO 32000-1, annex H, 3 and 18)."""


def _name(text: str) -> bytes:
    """A pattern for one name of PDF, each of its characters plain or as an escape."""
    return b"/" + b"".join(b"(?:%c|#(?i:%02x))" % (ord(letter), ord(letter)) for letter in text)


_TELLING: Final = re.compile(b"|".join(map(_name, ("ByteRange", "Sig", "SubFilter", "Encrypt"))))


def is_plainly_unsigned(file: BinaryIO) -> bool:
    """Whether this is a whole PDF, not encrypted, in which nothing says that it is signed. False says nothing.

    `file` is a real one of any length; its position does not matter and is kept.
    """
    if not file.seekable() or _length(file) < len(b"%PDF-1.0"):
        return False
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
        end = max(0, len(held) - _EDGE)
        is_whole = held.find(b"%PDF-", 0, _EDGE) >= 0 and 0 <= held.find(b"startxref", end) < held.rfind(b"%%EOF", end)
        return is_whole and _TELLING.search(held) is None


def _length(file: BinaryIO) -> int:
    before = file.tell()
    length = file.seek(0, 2)
    file.seek(before)
    return length
