"""What a row remembers of a packet's attachments: where each stands in the blob, so that it can be taken out again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from edxml.packet import Attachment

__all__ = ["read_attachments", "write_attachments"]

_KEPT: Final = ("position", "name", "content_type", "encoding", "digest", "length", "span", "transfer", "sniffed")
_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(list[dict[str, str | int | list[int]]]).decode


def write_attachments(attachments: Sequence[Attachment]) -> str:
    """As JSON for the row; ids and descriptions stay in the packet alone."""
    return _ENCODE([{name: getattr(one, name) for name in _KEPT} for one in attachments]).decode()


def read_attachments(text: str) -> tuple[Attachment, ...]:
    """The attachments of a stored packet, without ids and descriptions. Rows of 0.1.0 say of no transfer: base64."""
    return tuple(msgspec.convert({"content_id": "", **told}, Attachment) for told in _DECODE(text))
