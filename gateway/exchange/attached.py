"""What a row remembers of a packet's attachments: where each stands in the blob, so that it can be taken out again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from edxml.packet import Attachment
from gateway.model.inspection import INSPECTOR_VERSION

__all__ = ["read_attachments", "unsigned_of", "write_attachments"]

_KEPT: Final = ("position", "name", "content_type", "encoding", "digest", "length", "span", "transfer", "sniffed")
_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(list[dict[str, str | int | list[int]]]).decode


_UNSIGNED: Final = "unsigned"
"""Which version of the inspector a file plainly bore no signature for, when it came; absent where it was not told."""


def write_attachments(attachments: Sequence[Attachment], unsigned: Collection[int] = ()) -> str:
    """As JSON for the row; ids and descriptions stay in the packet alone. `unsigned`: positions, for `unsigned_of`."""
    told: list[dict[str, object]] = [{name: getattr(one, name) for name in _KEPT} for one in attachments]
    for one in told:
        if one["position"] in unsigned:
            one[_UNSIGNED] = INSPECTOR_VERSION
    return _ENCODE(told).decode()


def unsigned_of(text: str) -> frozenset[int]:
    """Positions of the files that were found to bear no signature when they came; not what another version found."""
    if _UNSIGNED not in text:
        return frozenset()
    return frozenset(int(str(one["position"])) for one in _DECODE(text) if one.get(_UNSIGNED) == INSPECTOR_VERSION)


def read_attachments(text: str) -> tuple[Attachment, ...]:
    """The attachments of a stored packet, without ids and descriptions. Rows of 0.1.0 say of no transfer: base64."""
    return tuple(msgspec.convert({"content_id": "", **told}, Attachment) for told in _DECODE(text))
