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

from gateway.inspector.mangled import Mangling

__all__ = ["Look", "is_plainly_unsigned"]

_EDGE: Final = 1024
"""Bytes at either end within which viewers look for the header and for the end (ISO 32000-1, annex H, 3 and 18)."""


def _name(text: str) -> bytes:
    """A pattern for one name of PDF, each of its characters plain or as an escape."""
    return b"/" + b"".join(b"(?:%c|#(?i:%02x))" % (ord(letter), ord(letter)) for letter in text)


_TELLING: Final = re.compile(b"|".join(map(_name, ("ByteRange", "Sig", "SubFilter", "Encrypt"))))


class Look:
    """Looks at one file whose bytes come in pieces, in order and cut anywhere."""

    __slots__ = ("_head", "_is_open", "_mangling", "_tail")

    def __init__(self) -> None:
        self._head = self._tail = b""
        self._is_open = True
        self._mangling = Mangling()

    def feed(self, piece: bytes) -> bool:
        """The next bytes. Whether it wants more: after a no, nothing changes its answer, which is no."""
        if not self._is_open:
            return False
        self._mangling.feed(piece)
        held = self._tail + piece  # a name may be cut in two, and is far shorter than the tail
        if len(self._head) < _EDGE:
            self._head += piece[: _EDGE - len(self._head)]
            self._is_open = len(self._head) < _EDGE or b"%PDF-" in self._head
        self._is_open = self._is_open and _TELLING.search(held) is None
        self._tail = held[-_EDGE:]
        return self._is_open

    @property
    def is_plain(self) -> bool:
        """Once all bytes came: whether this is a whole PDF, not encrypted, in which nothing says that it is signed,
        and whose bytes are its own. False says nothing."""
        is_whole = b"%PDF-" in self._head and 0 <= self._tail.find(b"startxref") < self._tail.rfind(b"%%EOF")
        return self._is_open and is_whole and not self._mangling.is_found


def is_plainly_unsigned(pieces: Iterable[bytes]) -> bool:
    """What a `Look` at these pieces says; all of them are taken where the answer is True."""
    look = Look()
    return all(look.feed(piece) for piece in pieces) and look.is_plain
