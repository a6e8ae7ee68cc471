"""Base64 as it comes: any blanks and line ends, character references to blanks, padding perhaps missing."""

from __future__ import annotations

import binascii
import re
from typing import ClassVar

__all__ = ["Base64Decoder", "Base64Garbage", "Garbage"]

_BLANKS = b" \t\r\n"
_PAD = ord("=")
_BLANK_REFERENCES = re.compile(rb"&#(?:0*(?:9|10|13|32)|x0*(?:9|[aA]|[dD]|20));")
_REFERENCE_START = re.compile(rb"&[#0-9a-zA-Z]{0,10}\Z")


class Garbage(ValueError):
    """The text is not what its encoding says; `code` is that of the finding."""

    code: ClassVar[str]


class Base64Garbage(Garbage):
    """The text is not base64."""

    code = "edxml.base64_garbage"


class Base64Decoder:
    """Decodes text in pieces of any size. Both methods raise Base64Garbage."""

    __slots__ = ("_held", "_is_padded", "lacked_padding")

    def __init__(self) -> None:
        self._held = b""
        self._is_padded = False
        self.lacked_padding = False  #: after `finish`: whether "=" had to be added

    def decode(self, text: bytes) -> bytes:
        """The bytes that `text` and what was held back before it give."""
        if self._held:
            text = self._held + text
            self._held = b""
        elif not len(text) & 3 and text and not self._is_padded:
            try:  # most senders write no blanks at all, and where there are some this ends at the first
                decoded = binascii.a2b_base64(text, strict_mode=True)
            except binascii.Error:
                pass
            else:
                self._is_padded = text[-1] == _PAD
                return decoded
        if b"&" in text:
            text = _BLANK_REFERENCES.sub(b"", text)
            if cut := _REFERENCE_START.search(text):
                self._held = cut[0]
                text = text[: cut.start()]
        if b"\n" in text or b" " in text or b"\r" in text or b"\t" in text:
            text = text.translate(None, _BLANKS)
        whole = len(text) & ~3
        if whole != len(text):
            self._held = text[whole:] + self._held
            text = text[:whole]
        return self._convert(text) if text else b""

    def finish(self) -> bytes:
        """The last bytes, once all text came."""
        text, self._held = self._held, b""
        if not text:
            return b""
        if len(text) == 1 or len(text) > 3 or self._is_padded:
            raise Base64Garbage
        self.lacked_padding = True
        return self._convert(text + b"=" * (4 - len(text)))

    def _convert(self, text: bytes) -> bytes:
        if self._is_padded:
            raise Base64Garbage
        try:
            decoded = binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error:
            raise Base64Garbage from None
        self._is_padded = text.endswith(b"=")
        return decoded
