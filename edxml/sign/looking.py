"""A look at a packet's bytes: whether a signature could be in it at all, at the speed of memory."""

from __future__ import annotations

from typing import BinaryIO, Final

from edxml._mime import is_multipart
from edxml.limits import PIECE

__all__ = ["may_bear_signature"]

_NAME: Final = "Signature"
_FORMS: Final = (_NAME.encode(), _NAME.encode("utf-16-le"), _NAME.encode("utf-16-be"))
_LONGEST: Final = max(map(len, _FORMS))


def may_bear_signature(stream: BinaryIO) -> bool:
    """Whether `verify_packet` could find a signature in the rest of `stream`; False means that there is none.

    An element's name stands in XML as it is, whatever prefix it bears, so bytes without it hold no signature.  MIME
    messages (dialect D) sign in ways of their own, which nobody here computes: for them it is False too.
    """
    kept = b""
    is_first = True
    while piece := stream.read(PIECE):
        if is_first and is_multipart(piece):
            return False
        is_first = False
        seen = kept + piece
        if any(form in seen for form in _FORMS):
            return True
        kept = seen[-_LONGEST:]
    return False
