"""UTF-16 on its way to the parser, which knows UTF-8 alone: recognised, recoded as it comes, measured as sent."""

from __future__ import annotations

import codecs
from typing import Final, NamedTuple

__all__ = ["BIG", "LITTLE", "Recoder", "Wide", "is_named_rightly", "look_for_utf16", "reads_ascii", "width"]

LITTLE: Final = "utf-16-le"
BIG: Final = "utf-16-be"

_DECODE: Final = {LITTLE: codecs.utf_16_le_decode, BIG: codecs.utf_16_be_decode}
_NAMES: Final = frozenset({"utf-16", "utf16", "iso-10646-ucs-2", "ucs-2"})
_CONTINUING: Final = bytes(range(0x80, 0xC0))  # bytes of UTF-8 that begin no character
_FOUR: Final = bytes(range(0xF0, 0xF8))  # bytes of UTF-8 that begin one of two units
_APPENDED: Final = b"\r\n"


class Wide(NamedTuple):
    """How a packet in UTF-16 begins: its byte order, and the bytes of its mark (none or two)."""

    encoding: str
    mark: int


def look_for_utf16(opening: bytes) -> Wide | None:
    """Whether bytes that begin so (four are enough) are UTF-16: by their mark, or by `<` and a letter, two bytes each.

    A mark of UTF-32 begins as one of UTF-16 does and is none.
    """
    if opening.startswith(codecs.BOM_UTF16_LE) and opening[2:4] != b"\0\0":
        return Wide(LITTLE, 2)
    if opening.startswith(codecs.BOM_UTF16_BE):
        return Wide(BIG, 2)
    if opening[:2] == b"<\0" and opening[2:3] not in (b"", b"\0"):
        return Wide(LITTLE, 0)
    if opening[:3] == b"\0<\0" and opening[3:4] not in (b"", b"\0"):
        return Wide(BIG, 0)
    return None


def is_named_rightly(declared: str, encoding: str) -> bool:
    """Whether a declaration's name (any case) is one of an encoding that bytes in `encoding` are in."""
    name = declared.lower()
    return name in _NAMES or name.replace("utf-16", "utf-16-") == encoding or name == encoding


def reads_ascii(declared: str) -> bool:
    """Whether the declared encoding is a known one that reads ASCII as ASCII."""
    try:
        return b"<?xml".decode(declared) == "<?xml"
    except (LookupError, ValueError):
        return False


class Recoder:
    """Takes UTF-16 in pieces of any size and gives UTF-8 in whole characters.

    The two bytes CR LF that the national client appends to whatever it carries are no character of the packet, as they
    do not count in its wire digest.
    """

    __slots__ = ("_decode", "_held", "is_broken")

    def __init__(self, encoding: str) -> None:
        self._decode = _DECODE[encoding]
        self._held = b""
        self.is_broken = False  #: bytes came that are no UTF-16; nothing behind them is given

    @property
    def is_cut(self) -> bool:
        """Whether a character is unfinished, once all bytes came."""
        return self._held not in (b"", _APPENDED)

    def recode(self, piece: bytes) -> bytes:
        """The characters that `piece` and what was held back before it give."""
        if self.is_broken:
            return b""
        raw = self._held + piece if self._held else piece
        end = len(raw) & ~1
        if raw[end - 2 : end] == _APPENDED:
            end -= 2
        try:
            text, taken = self._decode(raw[:end], "strict", False)
        except UnicodeDecodeError as why:
            self.is_broken = True
            text, taken = self._decode(raw[: why.start], "strict", False)
        self._held = raw[taken:]
        return text.encode()


def width(text: bytes) -> int:
    """How many bytes of UTF-16 this UTF-8 was; of a character that is cut apart the first byte counts for all."""
    if text.isascii():
        return 2 * len(text)
    units = len(text.translate(None, _CONTINUING)) + len(text) - len(text.translate(None, _FOUR))
    return 2 * units
