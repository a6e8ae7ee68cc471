"""Whether a file's bytes went through a text encoding on their way, which no PDF with compressed content survives.

Software that reads a file as UTF-8 text puts U+FFFD in place of each byte that is none.  What is left is UTF-8 from
its first byte to its last, with as many U+FFFD as there were foreign bytes: four at least where the second line marks
the file as binary (ISO 32000-2, 7.5.2), thousands where a stream was compressed.  A few in a text that its author
wrote are no damage.
"""

from __future__ import annotations

import codecs
from typing import Final

__all__ = ["Mangling"]

_REPLACED: Final = "\N{REPLACEMENT CHARACTER}"
_LEAST: Final = 4


class Mangling:
    """Looks at one file whose bytes come in pieces, in order and cut anywhere. One pass, constant memory."""

    __slots__ = ("_decoder", "_is_text", "_replaced")

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._is_text = True
        self._replaced = 0

    def feed(self, piece: bytes) -> None:
        """The next bytes; after the first that is no UTF-8 they cost nothing."""
        if not self._is_text:
            return
        try:
            self._replaced += self._decoder.decode(piece).count(_REPLACED)
        except UnicodeDecodeError:
            self._is_text = False

    @property
    def is_found(self) -> bool:
        """Once all bytes came: whether foreign bytes were replaced in this file."""
        return self._is_text and self._replaced >= _LEAST
