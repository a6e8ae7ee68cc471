"""Files of a packet: who takes them while a packet is read, and how one is opened again from the packet's bytes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from edxml._base64 import Garbage
from edxml._transfer import new_decoder
from edxml._unzip import SingleEntry, ZipVerdict
from edxml.errors import EdxmlError
from edxml.limits import DEFAULT_LIMITS, PIECE, Limits
from edxml.packet import Attachment

__all__ = [
    "ANY_TYPE", "AttachmentDamaged", "AttachmentSink", "FileLook", "content_type_of", "extension", "open_decoded",
    "sniff",
]  # fmt: skip

SNIFFED = 1024
"""Bytes of a file that `sniff` wants to see."""

_SIGNATURES = (
    (b"%PDF-", "pdf"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
    (b"{\\rtf", "rtf"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"\x1f\x8b", "gzip"),
    (b"MZ", "exe"),
    (b"\x7fELF", "exe"),
)
_XML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|[A-Za-z])")
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


class AttachmentDamaged(EdxmlError):
    """The packet's bytes at the attachment's place no longer give what its digest says; parameter `name`."""

    code = "edxml.attachment_damaged"


class AttachmentSink(Protocol):
    """Takes the files of a packet while it is read, decoded and unzipped, one after the other.

    A file that was begun and not ended belongs to a packet that was refused in the middle: throw it away.
    """

    def begin(self, position: int, name: str, content_type: str) -> None:
        """File number `position` (from 1) begins; `name` is what is known so far, perhaps empty."""

    def write(self, data: bytes) -> None:
        """Its next bytes, at most some hundred KiB."""

    def end(self, attachment: Attachment) -> None:
        """It is complete. `attachment` has its digest, length and place; of its name and type what stood before its
        bytes (the packet's own `attachments` are final)."""


class FileLook(Protocol):
    """Looks at the bytes of one file while its packet is read: those that its digest and length are of."""

    def feed(self, piece: bytes, /) -> bool:
        """Its next bytes, at most some hundred KiB. Whether it wants more."""


def sniff(head: bytes) -> str:
    """The short name of what a file's first bytes look like (SNIFFED of them are enough)."""
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if not head:
        return "empty"
    if _BINARY.search(head):
        return "unknown"
    return "xml" if _XML.match(head) else "text"


def extension(name: str) -> str:
    """The extension of a file name, lower-case and without its dot; empty where there is none."""
    stem, dot, ending = (name if name.isascii() else unicodedata.normalize("NFC", name)).rpartition(".")
    return ending.strip().lower() if dot and stem else ""


_TYPES = {
    ("pdf", "pdf"): "application/pdf",
    ("doc", "ole"): "application/msword",
    ("docx", "zip"): "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ("xls", "ole"): "application/vnd.ms-excel",
    ("xlsx", "zip"): "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ("zip", "zip"): "application/zip",
    ("png", "png"): "image/png",
    ("jpg", "jpeg"): "image/jpeg",
    ("xml", "xml"): "application/xml",
    ("txt", "text"): "text/plain",
}
ANY_TYPE = "application/octet-stream"


def content_type_of(name: str, sniffed: str) -> str:
    """The content type of a file with this name that looks like `sniffed`; octet-stream where the two do not fit."""
    return _TYPES.get((extension(name), sniffed), ANY_TYPE)


def open_decoded(stream: BinaryIO, attachment: Attachment, *, limits: Limits = DEFAULT_LIMITS) -> Iterator[bytes]:
    """The file's bytes, decoded from its place in the packet while they are asked for, in constant memory.

    `stream` is the packet as received, can seek, and is not read by others meanwhile.  Raises AttachmentDamaged where
    the packet's bytes changed so that they cannot be decoded, at the latest at the end.  Check `attachment.digest` over
    what comes where that matters.
    """
    encoded = _decoded(stream, attachment)
    if attachment.encoding != "zip":
        return encoded
    return _unzipped(encoded, attachment, min(attachment.length, limits.unzipped))


def _decoded(stream: BinaryIO, attachment: Attachment) -> Iterator[bytes]:
    start, end = attachment.span
    stream.seek(start)
    decoder = new_decoder(attachment.transfer)
    left = end - start
    try:
        while left:
            text = stream.read(min(left, PIECE))
            if not text:
                raise AttachmentDamaged(name=attachment.name)
            left -= len(text)
            if data := decoder.decode(text):
                yield data
        if data := decoder.finish():
            yield data
    except Garbage:
        raise AttachmentDamaged(name=attachment.name) from None


def _unzipped(encoded: Iterator[bytes], attachment: Attachment, longest: int) -> Iterator[bytes]:
    pieces: list[bytes] = []
    entry = SingleEntry(pieces.append, max_size=longest, max_ratio=None)  # reading judged it
    for data in encoded:
        for start in range(0, len(data), _ZIP_STEP):
            entry.feed(data[start : start + _ZIP_STEP])
            yield from pieces
            pieces.clear()
    if entry.finish() is not ZipVerdict.SINGLE:
        raise AttachmentDamaged(name=attachment.name)


_ZIP_STEP = 8 * 1024
"""Zipped bytes unpacked at a time: at the greatest ratio of deflate they give 8 MiB."""
