"""What is done with the text of each attachment while the packet goes by: decode, hash, sniff, unwrap, hand on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from edxml._base64 import Garbage
from edxml._transfer import BASE64, BASE64_IN, Decoder, new_decoder
from edxml._unzip import LOCAL_HEADER, SingleEntry, ZipVerdict
from edxml._xml import Element
from edxml.attachments import SNIFFED, AttachmentSink, FileLook, extension, sniff
from edxml.findings import Refusal
from edxml.limits import PIECE, Limits
from edxml.packet import Attachment
from edxml.values import hasten

__all__ = ["Content", "Contents"]

_CONTAINERS = frozenset(
    ("docx", "docm", "dotx", "xlsx", "xlsm", "xltx", "pptx", "pptm", "odt", "ods", "odp", "odg", "epub", "jar", "kmz")
)
"""Extensions of files that are themselves ZIPs; taken out of a ZIP only if ContentType says so."""

_SPOOL_IN_MEMORY = 256 * 1024


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What one `ContentTransferEncoded` held. Digest, length, sniffed: of the file, unzipped if `is_unzipped`."""

    element: Element
    line: int
    digest: str
    length: int
    sniffed: str
    sniffed_as_sent: str  #: of the decoded bytes, before any unzipping
    is_unzipped: bool
    zip_verdict: ZipVerdict | None  #: None where it was not tried
    lacked_padding: bool
    span: tuple[int, int]
    transfer: str

    def as_attachment(
        self, position: int, *, name: str, content_id: str = "", content_type: str = "", description: str = ""
    ) -> Attachment:
        """The file as a packet's value, with what its element and the manifest say of it."""
        return Attachment(
            position=position,
            name=name,
            content_id=content_id,
            content_type=content_type,
            description=description,
            encoding="zip" if self.is_unzipped else "base64",
            digest=self.digest,
            length=self.length,
            sniffed=self.sniffed,
            span=self.span,
            transfer=self.transfer,
        )


class Contents:
    """Takes the text of all attachments of one packet, in order; `found` lists what they held."""

    def __init__(
        self,
        *,
        limits: Limits,
        sink: AttachmentSink | None,
        describe: Callable[[Element, int], tuple[str, str]],
        look: Callable[[int], FileLook] | None = None,
    ) -> None:
        """`describe(element, position)` gives the name and the content type as far as they were read.

        `look(position)` gives who looks at a file.
        """
        self.found: list[Content] = []
        self._limits = limits
        self._sink = sink
        self._describe = describe
        self._look = look
        self._file: _File | None = None
        self._said = ("", "")
        self._zipped = (0, 0)  # SingleEntry.sums of the files so far

    def begin(self, element: Element, offset: int, line: int, encoding: str = "") -> None:
        """The text of `element` begins at `offset`. It comes as ASCII; in the packet it stands in `encoding`."""
        self._begin(element, offset, line, BASE64_IN[encoding], new_decoder(BASE64))

    def begin_file(self, element: Element, offset: int, line: int, transfer: str) -> None:
        """The text of the file that `element` stands for begins at `offset`, encoded as `transfer` says."""
        self._begin(element, offset, line, transfer, new_decoder(transfer))

    def _begin(self, element: Element, offset: int, line: int, transfer: str, decoder: Decoder) -> None:
        position = len(self.found) + 1
        if position > self._limits.attachments:
            raise Refusal("edxml.too_many_attachments", line=line, limit=self._limits.attachments)
        name, content_type = self._said = self._describe(element, position)
        if self._sink is not None:
            self._sink.begin(position, name, content_type)
        self._file = _File(
            position=position,
            name=name,
            element=element,
            line=line,
            start=offset,
            transfer=transfer,
            decoder=decoder,
            may_be_zip=_may_be_zip(name, content_type),
            limits=self._limits,
            sink=self._sink,
            zipped=self._zipped,
            look=None if self._look is None else self._look(position),
        )

    def begin_section(self, offset: int) -> None:
        """The text stands in a CDATA section."""
        file = self._open
        if file.has_bytes:
            raise Refusal("edxml.attachment_mixed", line=file.line)
        file.start = offset

    def write(self, text: bytes) -> None:
        """The next part of the text."""
        self._open.take(text)

    def end(self, offset: int) -> None:
        """The text ended before `offset`."""
        content = self._open.finish(offset)
        self._zipped = self._open.zipped
        self._file = None
        self.found.append(content)
        if self._sink is not None:
            name, content_type = self._said
            self._sink.end(content.as_attachment(len(self.found), name=name, content_type=content_type))

    @property
    def _open(self) -> _File:
        assert self._file is not None
        return self._file


def _may_be_zip(name: str, content_type: str) -> bool:
    ending = extension(name)
    return ending != "zip" and (ending not in _CONTAINERS or content_type.strip().lower() == "application/zip")


class _File:
    """One attachment on its way."""

    def __init__(
        self,
        *,
        position: int,
        name: str,
        element: Element,
        line: int,
        start: int,
        transfer: str,
        decoder: Decoder,
        may_be_zip: bool,
        limits: Limits,
        sink: AttachmentSink | None,
        zipped: tuple[int, int],
        look: FileLook | None,
    ) -> None:
        self.line = line
        self._position = position
        self._name = name
        self._zipped = zipped
        self.start = start
        self._element = element
        self._limits = limits
        self._sink = sink
        self._transfer = transfer
        self._decoder = decoder
        self._may_be_zip = may_be_zip
        self._look = look
        self._sent = _Tally()
        self._entry: SingleEntry | None = None
        self._unzipped: _Tally | None = None
        self._spool: BinaryIO | None = None

    @property
    def has_bytes(self) -> bool:
        return self._sent.length > 0

    @property
    def zipped(self) -> tuple[int, int]:
        """`SingleEntry.sums` up to the end of this file."""
        return self._zipped if self._entry is None else self._entry.sums

    def take(self, text: bytes) -> None:
        if data := self._decoded(self._decoder.decode, text):
            self._pass_on(data)

    def finish(self, offset: int) -> Content:
        if data := self._decoded(self._decoder.finish):
            self._pass_on(data)
        verdict = self._entry.finish() if self._entry else None
        unzipped = self._unzipped if verdict is ZipVerdict.SINGLE else None
        if self._spool is not None:
            self._hand_on_spooled(self._spool, None if unzipped is None else unzipped.length)
        sniffed_as_sent = sniff(self._sent.head)
        file = unzipped or self._sent
        return Content(
            element=self._element,
            line=self.line,
            digest=file.hexdigest(),
            length=file.length,
            sniffed=sniffed_as_sent if unzipped is None else sniff(file.head),
            sniffed_as_sent=sniffed_as_sent,
            is_unzipped=unzipped is not None,
            zip_verdict=verdict,
            lacked_padding=self._decoder.lacked_padding,
            span=(self.start, offset),
            transfer=self._transfer,
        )

    def _decoded(self, decode: Callable[..., bytes], *text: bytes) -> bytes:
        try:
            return decode(*text)
        except Garbage as why:
            raise Refusal(why.code, line=self.line, position=self._position, name=self._name[:200]) from None

    def _pass_on(self, data: bytes) -> None:
        first = not self._sent.length
        self._sent.add(data)
        if first and self._may_be_zip and data.startswith(LOCAL_HEADER[: len(data)]):
            self._unzipped = _Tally()
            self._entry = SingleEntry(
                self._unzipped.add,
                max_size=self._limits.unzipped,
                max_ratio=self._limits.zip_ratio,
                before=self._zipped,
            )
            if self._sink is not None:
                self._spool = cast(BinaryIO, SpooledTemporaryFile(max_size=_SPOOL_IN_MEMORY))  # noqa: SIM115
        if self._look is not None and not self._look.feed(data):
            self._look = None
        if self._entry is not None:
            self._entry.feed(data)
        if self._spool is not None:
            self._spool.write(data)
        elif self._sink is not None:
            self._sink.write(data)

    def _hand_on_spooled(self, spool: BinaryIO, length: int | None) -> None:
        """Only now is it clear whether the sink gets the ZIP (None) or what was in it, of this length."""
        assert self._sink is not None
        with spool:
            spool.seek(0)
            entry = SingleEntry(self._sink.write, max_size=length, max_ratio=None) if length is not None else None
            while data := spool.read(PIECE):
                if entry is None:
                    self._sink.write(data)
                else:
                    entry.feed(data)


class _Tally:
    """Digest, length and first bytes of what goes by."""

    __slots__ = ("_sha", "head", "length")

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self.length = 0
        self.head = b""

    def add(self, data: bytes) -> None:
        self._sha.update(data)
        self.length += len(data)
        if len(self.head) < SNIFFED:
            self.head += data[: SNIFFED - len(self.head)]

    def hexdigest(self) -> str:
        return self._sha.hexdigest()
