"""How a file's bytes stand in a packet: base64, also in UTF-16, and what MIME parts may be in (dialect D, RFC 2045)."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from typing import Final, Protocol

from edxml._base64 import Base64Decoder, Base64Garbage, Garbage
from edxml._utf16 import BIG, LITTLE

__all__ = ["BASE64", "BASE64_IN", "BINARY", "QUOTED_PRINTABLE", "Decoder", "QuotedPrintableGarbage", "new_decoder"]

BASE64: Final = "base64"
BINARY: Final = "binary"
QUOTED_PRINTABLE: Final = "quoted-printable"
BASE64_IN: Final = {"": BASE64, LITTLE: f"{BASE64}-{LITTLE}", BIG: f"{BASE64}-{BIG}"}
"""Base64 in a packet of that encoding; "" is UTF-8."""

_LONGEST_LINE = 64 * 1024  # RFC 2045 allows 76
_NO_ESCAPE = re.compile(rb"=(?![0-9A-Fa-f]{2}|\r?\n)")


class QuotedPrintableGarbage(Garbage):
    """The text is not quoted-printable."""

    code = "edxml.quoted_printable_garbage"


class Decoder(Protocol):
    """Decodes text in pieces of any size. Both methods raise Garbage."""

    @property
    def lacked_padding(self) -> bool:
        """After `finish`: whether the end of the text had to be put right."""

    def decode(self, text: bytes) -> bytes:
        """The bytes that `text` and what was held back before it give."""

    def finish(self) -> bytes:
        """The last bytes, once all text came."""


def new_decoder(transfer: str) -> Decoder:
    """The decoder of one of the encodings above."""
    return _DECODERS[transfer]()


class _Plain:
    """What is encoded in no way."""

    __slots__ = ()
    lacked_padding = False

    def decode(self, text: bytes) -> bytes:
        return text

    def finish(self) -> bytes:
        return b""


class _Wide:
    """Base64 in two bytes a letter; `first` is where the letter stands in them."""

    __slots__ = ("_decoder", "_first", "_held")

    def __init__(self, first: int) -> None:
        self._decoder = Base64Decoder()
        self._first = first
        self._held = b""

    @property
    def lacked_padding(self) -> bool:
        return self._decoder.lacked_padding

    def decode(self, text: bytes) -> bytes:
        text = self._held + text if self._held else text
        end = len(text) & ~1
        self._held = text[end:]
        if text[1 - self._first : end : 2].strip(b"\0"):
            raise Base64Garbage
        return self._decoder.decode(text[self._first : end : 2])

    def finish(self) -> bytes:
        if self._held:
            raise Base64Garbage
        return self._decoder.finish()


class _QuotedPrintable:
    """RFC 2045 §6.7, strict about escapes; line ends are kept as they are written."""

    __slots__ = ("_held",)
    lacked_padding = False

    def __init__(self) -> None:
        self._held = b""

    def decode(self, text: bytes) -> bytes:
        text = self._held + text
        end = text.rfind(b"\n") + 1
        self._held = text[end:]
        if len(self._held) > _LONGEST_LINE:
            raise QuotedPrintableGarbage
        return _unquote(text[:end])

    def finish(self) -> bytes:
        text, self._held = self._held.rstrip(b" \t"), b""
        return _unquote(text.removesuffix(b"="))


def _unquote(lines: bytes) -> bytes:
    lines = b"\n".join(map(_trim, lines.split(b"\n")))
    if _NO_ESCAPE.search(lines):
        raise QuotedPrintableGarbage
    return binascii.a2b_qp(lines)


def _trim(line: bytes) -> bytes:
    """Without the blanks that transports append."""
    if line.endswith(b"\r"):
        return line[:-1].rstrip(b" \t") + b"\r"
    return line.rstrip(b" \t")


_DECODERS: Final[dict[str, Callable[[], Decoder]]] = {
    BASE64: Base64Decoder,
    BASE64_IN[LITTLE]: lambda: _Wide(0),
    BASE64_IN[BIG]: lambda: _Wide(1),
    BINARY: _Plain,
    QUOTED_PRINTABLE: _QuotedPrintable,
}
