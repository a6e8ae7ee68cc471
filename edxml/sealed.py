"""A packet held against what was sealed of it, however large it is: two passes over the bytes, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from edxml.digests import WireHasher
from edxml.limits import DEFAULT_LIMITS, PIECE, Limits
from edxml.messages import Language, text
from edxml.packet import Attachment, Packet
from edxml.read import ReadResult, read
from edxml.seal import SealStatement

__all__ = ["SealDifference", "find_differences"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealDifference:
    """One thing that is not as it was sealed; `code` is that of its text."""

    code: str
    params: dict[str, Any] = field(default_factory=dict)

    def text(self, language: Language) -> str:
        """What differs, in `language`."""
        return text(self.code, language, self.params)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: code, params, vi, en."""
        return {
            "code": self.code, "params": dict(self.params),
            "vi": self.text(Language.VI), "en": self.text(Language.EN),
        }  # fmt: skip


def find_differences(
    sealed: SealStatement, stream: BinaryIO, *, limits: Limits = DEFAULT_LIMITS
) -> tuple[SealDifference, ...]:
    """Everything in which the packet in `stream` (which must be able to seek) is not the one that was sealed.

    The digest of all bytes decides; where it differs, the attachments tell what is still as it was.  An altered packet
    that can no longer be read gives one difference more.  Raises OSError.
    """
    return tuple(_differences(sealed, stream, limits))


def _differences(sealed: SealStatement, stream: BinaryIO, limits: Limits) -> Iterator[SealDifference]:
    hasher = WireHasher()
    stream.seek(0)
    while piece := stream.read(PIECE):
        hasher.update(piece)
    if hasher.hexdigest() != sealed.packet_digest:
        yield _differs("seal.packet_digest", sealed.packet_digest, hasher.hexdigest())
    if hasher.size != sealed.size:
        yield _differs("seal.packet_size", sealed.size, hasher.size)
    stream.seek(0)
    yield from _of_attachments(sealed, read(stream, limits=limits))


def _of_attachments(sealed: SealStatement, result: ReadResult) -> Iterator[SealDifference]:
    if result.packet is None:
        yield SealDifference(code="seal.packet_unreadable", params={"found": result.findings[0].code})
        return
    found: tuple[Attachment, ...] = result.packet.attachments if isinstance(result.packet, Packet) else ()
    if len(found) != len(sealed.attachments):
        yield _differs("seal.attachment_count", len(sealed.attachments), len(found))
    for position, ((digest, length), file) in enumerate(zip(sealed.attachments, found, strict=False), start=1):
        if file.digest != digest:
            yield _differs("seal.attachment", digest, file.digest, position=position)
        if file.length != length:
            yield _differs("seal.attachment_size", length, file.length, position=position)


def _differs(code: str, sealed: object, found: object, **more: Any) -> SealDifference:
    return SealDifference(code=code, params={"sealed": sealed, "found": found, **more})
