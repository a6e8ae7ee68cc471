"""Writing packets: byte-stable, streaming, in the order of VNPT's library (dialect A) or of the standard (B).

What is written here reads back with the same values and without a single repair.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO

from edxml._layout import Sheet, escape, lay_out_envelope, lay_out_status
from edxml._notes import NAMESPACE
from edxml._zip import zip_single
from edxml.attachments import ANY_TYPE, SNIFFED, content_type_of, extension, sniff
from edxml.codes import Dialect
from edxml.errors import WriteRefused
from edxml.limits import PIECE
from edxml.messages import Term
from edxml.packet import Attachment, Packet, StatusPacket

__all__ = ["OpenAttachment", "plan_attachment", "write", "write_status"]

OpenAttachment = Callable[[Attachment], BinaryIO | Iterable[bytes]]
"""Opens the decoded bytes of an attachment: a stream, or pieces as `open_decoded` gives them."""

_ZIP_TYPE = "application/zip"
_LINE = 3 * 32 * 1024  # bytes encoded at a time: a multiple of three, so that no "=" stands in the middle


def plan_attachment(
    name: str, stream: BinaryIO, *, position: int = 1, content_type: str = "", description: str = ""
) -> Attachment:
    """The Attachment value for a file, read once to its end for digest and length.

    Without `content_type` the type follows from name and content.  A ZIP under another file's name is wrapped, as
    readers would take it for a wrapping.
    """
    sha = hashlib.sha256()
    length = 0
    head = b""
    while piece := stream.read(PIECE):
        sha.update(piece)
        length += len(piece)
        if len(head) < SNIFFED:
            head += piece[: SNIFFED - len(head)]
    sniffed = sniff(head)
    known = content_type or content_type_of(name, sniffed)
    is_wrapped = sniffed == "zip" and known in (ANY_TYPE, _ZIP_TYPE) and extension(name) != "zip"
    return Attachment(
        position=position,
        name=name.strip(),
        content_id=str(position),
        content_type=_ZIP_TYPE if is_wrapped else known,
        description=description.strip(),
        encoding="zip" if is_wrapped else "base64",
        digest=sha.hexdigest(),
        length=length,
        sniffed=sniffed,
    )


def write(
    packet: Packet,
    out: BinaryIO,
    *,
    open_attachment: OpenAttachment | Sequence[BinaryIO | Iterable[bytes]] = (),
    dialect: Dialect = Dialect.A,
) -> None:
    """Write a document packet to `out`; attachments are opened one after the other and never held.

    Raises WriteRefused where a value cannot be written, or an attachment's bytes are not those of its digest
    (`out` then holds half a packet: throw it away).
    """
    sheet = Sheet(dialect)
    lay_out_envelope(sheet, packet)
    if packet.attachments:
        sheet.line("  <AttachmentEncoded>")
    out.write(sheet.take())
    for index, attachment in enumerate(packet.attachments):
        source = open_attachment(attachment) if callable(open_attachment) else open_attachment[index]
        _write_attachment(sheet, attachment, source, out)
    if packet.attachments:
        sheet.line("  </AttachmentEncoded>")
    sheet.line("</edXML>")
    out.write(sheet.take())


def write_status(status: StatusPacket, out: BinaryIO, *, dialect: Dialect = Dialect.A) -> None:
    """Write a status packet to `out`. Raises WriteRefused where a value cannot be written."""
    sheet = Sheet(dialect)
    lay_out_status(sheet, status)
    sheet.line("</edXML>")
    out.write(sheet.take())


def _write_attachment(sheet: Sheet, attachment: Attachment, source: BinaryIO | Iterable[bytes], out: BinaryIO) -> None:
    prefix = "" if sheet.is_standard_order else "cid:"
    sheet.line("    <Attachment>")
    for name, text in (
        ("ContentId", prefix + attachment.content_id),
        ("AttachmentName", attachment.name),
        ("Description", attachment.description),
        ("ContentType", attachment.content_type),
    ):
        if text:
            sheet.line(f"      <{name}>{escape(text, name)}</{name}>")
    opening = f'      <edXML:ContentTransferEncoded xmlns:edXML="{NAMESPACE}">'
    out.write(sheet.take() + opening.encode())
    pieces = _checked(_pieces(source), attachment)
    for piece in _in_lines(zip_single(pieces) if attachment.encoding == "zip" else pieces):
        out.write(binascii.b2a_base64(piece, newline=False))
    out.write(b"</edXML:ContentTransferEncoded>\n    </Attachment>\n")


def _pieces(source: BinaryIO | Iterable[bytes]) -> Iterator[bytes]:
    read = getattr(source, "read", None)
    if read is None:
        yield from source
        return
    while piece := read(PIECE):
        yield piece


def _checked(pieces: Iterable[bytes], attachment: Attachment) -> Iterator[bytes]:
    sha = hashlib.sha256()
    for piece in pieces:
        sha.update(piece)
        yield piece
    if sha.hexdigest() != attachment.digest:
        raise WriteRefused(what=attachment.name, why=Term("write.digest"))


def _in_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in lengths that are multiples of three, but for the last."""
    held = bytearray()
    for piece in pieces:
        held += piece
        whole = len(held) // _LINE * _LINE
        if whole:
            yield bytes(held[:whole])
            del held[:whole]
    if held:
        yield bytes(held)
