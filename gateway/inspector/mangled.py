"""Whether a file's bytes went through a text encoding on their way, which no PDF with compressed content survives.

Software that reads a file as UTF-8 text puts U+FFFD in place of each byte that is none.  What is left is UTF-8 from
its first byte to its last, and longer: three bytes stand for each foreign one.  So the place that its end names as
that of its table of objects (startxref, ISO 32000-2, 7.5.5) is another one now.  Where it still is right, a U+FFFD
was put there by whoever made the file, and says nothing of its signatures.
"""

from __future__ import annotations

import codecs
import re
from os import SEEK_END
from typing import BinaryIO, Final

__all__ = ["Mangling", "is_displaced"]

_REPLACED: Final = "\N{REPLACEMENT CHARACTER}"
_EDGE: Final = 2048
_START: Final = re.compile(rb"startxref\s+(\d{1,12})\s")
_TABLE: Final = re.compile(rb"\s*(?:xref|\d+\s+\d+\s+obj)")


class Mangling:
    """Looks at one file whose bytes come in pieces, in order and cut anywhere. One pass, constant memory."""

    __slots__ = ("_decoder", "_is_replaced", "_is_text")

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._is_text = True
        self._is_replaced = False

    def feed(self, piece: bytes) -> None:
        """The next bytes; after the first that is no UTF-8 they cost nothing."""
        if not self._is_text:
            return
        try:
            self._is_replaced |= _REPLACED in self._decoder.decode(piece)
        except UnicodeDecodeError:
            self._is_text = False

    @property
    def is_found(self) -> bool:
        """Once all bytes came: whether foreign bytes may have been replaced in this file."""
        return self._is_text and self._is_replaced


def is_displaced(file: BinaryIO) -> bool:
    """Whether the table of objects does not lie where the end of this PDF says, from its first byte or its header."""
    header = max(0, file.read(_EDGE).find(b"%PDF-"))
    file.seek(max(0, file.seek(0, SEEK_END) - _EDGE))
    named = _START.findall(file.read(_EDGE))
    return not named or not any(_has_table(file, start + int(named[-1])) for start in {0, header})


def _has_table(file: BinaryIO, at: int) -> bool:
    file.seek(at)
    return _TABLE.match(file.read(_EDGE)) is not None
