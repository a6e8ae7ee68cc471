"""Whether a PDF plainly holds no signature, told from its bytes: most of what agencies send need not be taken apart.

Every signature has its `ByteRange` (ISO 32000-2, 12.8.1), and the range is one of the file's own bytes around the
signature's value: neither can stand within something compressed.  Names may be written with escapes (7.3.5).  What
only looks like a signature, and lacks its range, is left to the closer look too.

Nothing is understood here but the places of a few words, so it needs no cage: constant memory, one pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["is_plainly_unsigned"]

_EDGE: Final = 1024
"""Bytes at either end within which viewers look for the header and for the end (ISO 32000-1, annex H, 3 and 18)."""


def _name(text: str) -> bytes:
    """A pattern for one name of PDF, each of its characters plain or as an escape."""
    return b"/" + b"".join(b"(?:%c|#(?i:%02x))" % (ord(letter), ord(letter)) for letter in text)


_TELLING: Final = re.compile(b"|".join(map(_name, ("ByteRange", "Sig", "SubFilter", "Encrypt"))))


def is_plainly_unsigned(pieces: Iterable[bytes]) -> bool:
    """Whether this is a whole PDF, not encrypted, in which nothing says that it is signed. False says nothing.

    `pieces` are the file's bytes in order, cut anywhere; all of them are taken where the answer is True.
    """
    head = tail = b""
    for piece in pieces:
        held = tail + piece  # a name may be cut in two, and is far shorter than the tail
        if _TELLING.search(held) is not None:
            return False
        head += piece[: _EDGE - len(head)]
        tail = held[-_EDGE:]
    return b"%PDF-" in head and 0 <= tail.find(b"startxref") < tail.rfind(b"%%EOF")
