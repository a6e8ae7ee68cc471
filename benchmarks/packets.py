"""Packets to submit: edXML of about 20 KB, each its own document, made by joining a few byte strings."""

from __future__ import annotations

import base64
import random
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["PacketMaker", "Party"]

_NS = "http://www.mic.gov.vn/TBT/QCVN_102_2016"
_ATTACHMENT_BYTES = 12_960  # gives a packet of 20 KB, a one-page notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """An agency as it stands in a packet: its organ code and its name."""

    code: str
    name: str


class PacketMaker:
    """Makes packets from one sender. The attachment is the same in all (a PDF with a picture that does not
    compress); number, DocumentId and recipient differ. `run` tells the documents of one run from another's."""

    def __init__(self, sender: Party, *, run: str, seed: int = 1) -> None:
        self._sender = sender
        self._run = run
        content = _pdf(random.Random(seed).randbytes(_ATTACHMENT_BYTES))
        self._tail = _tail(base64.b64encode(content).decode()).encode()

    def make(self, number: int, *recipients: Party, priority: int = 0) -> bytes:
        """The packet of document `number` for these recipients: the same bytes each time. `priority`: 0 is usual."""
        return _head(self._sender, recipients, number, self._run, priority).encode() + self._tail


def _pdf(picture: bytes) -> bytes:
    """A PDF of one page that shows a picture, as a scanned notice is; unsigned."""
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /XObject << /P 4 0 R >> >> >>",
        b"<< /Type /XObject /Subtype /Image /Width 120 /Height %d /ColorSpace /DeviceGray /BitsPerComponent 8 "
        b"/Length %d >>\nstream\n%b\nendstream" % (len(picture) // 120, len(picture), picture),
    )
    written, places = b"%PDF-1.7\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(written))
        written += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    lines = b"".join(b"%010d 00000 n \n" % place for place in places)
    return written + (
        b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (len(objects) + 1, lines, len(objects) + 1, len(written))
    )


def _organization(element: str, party: Party) -> str:
    return (
        f"<edXML:{element}><edXML:OrganId>{party.code}</edXML:OrganId>"
        f"<edXML:OrganName>{party.name}</edXML:OrganName></edXML:{element}>"
    )


def _head(sender: Party, recipients: Sequence[Party], number: int, run: str, priority: int) -> str:
    document_id = f"{sender.code},2026/11/02,{number}/{run}"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<edXML xmlns="{_NS}"><edXML:edXMLEnvelope xmlns:edXML="{_NS}">'
        f"<edXML:edXMLHeader><edXML:MessageHeader>{_organization('From', sender)}"
        f"{''.join(_organization('To', to) for to in recipients)}<edXML:DocumentId>{document_id}</edXML:DocumentId>"
        f"<edXML:Code><edXML:CodeNumber>{number}</edXML:CodeNumber><edXML:CodeNotation>{run}</edXML:CodeNotation>"
        "</edXML:Code><edXML:PromulgationInfo><edXML:Place>Nghệ An</edXML:Place>"
        "<edXML:PromulgationDate>2026/11/02</edXML:PromulgationDate></edXML:PromulgationInfo>"
        "<edXML:DocumentType><edXML:Type>2</edXML:Type><edXML:TypeDetail>0</edXML:TypeDetail>"
        "<edXML:TypeName>Công văn</edXML:TypeName></edXML:DocumentType>"
        f"<edXML:Subject>V/v đo tốc độ liên thông văn bản, lần {number}</edXML:Subject>"
        "<edXML:Content>V/v đo tốc độ liên thông văn bản</edXML:Content>"
        "<edXML:SignerInfo><edXML:Competence>KT. CHỦ TỊCH</edXML:Competence>"
        "<edXML:Position>Phó Chủ tịch</edXML:Position><edXML:FullName>Nguyễn Văn A</edXML:FullName></edXML:SignerInfo>"
        f"<edXML:OtherInfo><edXML:Priority>{priority}</edXML:Priority><edXML:PromulgationAmount>1</edXML:PromulgationAmount>"
        "<edXML:PageAmount>1</edXML:PageAmount><edXML:Direction>false</edXML:Direction></edXML:OtherInfo>"
        "<edXML:ToPlaces><edXML:Place>Lưu: VT</edXML:Place></edXML:ToPlaces>"
        "</edXML:MessageHeader><edXML:TraceHeaderList><edXML:TraceHeader>"
        f"<edXML:OrganId>{sender.code}</edXML:OrganId><edXML:Timestamp>2026/11/02 08:00:00</edXML:Timestamp>"
        f"</edXML:TraceHeader><edXML:Bussiness><edXML:DocumentId>{document_id}</edXML:DocumentId>"
        "<edXML:BussinessDocType>0</edXML:BussinessDocType>"
        "<edXML:BussinessDocReason>Văn bản điện tử mới</edXML:BussinessDocReason><edXML:Paper>0</edXML:Paper>"
        "</edXML:Bussiness></edXML:TraceHeaderList></edXML:edXMLHeader>"
    )


def _tail(content: str) -> str:
    name = "cong-van.pdf"
    return (
        '<edXML:edXMLBody><edXML:edXMLManifest version="1.0"><edXML:Reference>'
        "<edXML:ContentId>cid:1</edXML:ContentId><edXML:ContentType>application/pdf</edXML:ContentType>"
        f"<edXML:Description>{name}</edXML:Description><edXML:AttachmentName>{name}</edXML:AttachmentName>"
        "</edXML:Reference></edXML:edXMLManifest></edXML:edXMLBody></edXML:edXMLEnvelope>"
        "<AttachmentEncoded><Attachment><ContentId>cid:1</ContentId>"
        f"<AttachmentName>{name}</AttachmentName><Description>{name}</Description>"
        f'<ContentType>application/pdf</ContentType><edXML:ContentTransferEncoded xmlns:edXML="{_NS}">'
        f"{content}</edXML:ContentTransferEncoded></Attachment></AttachmentEncoded></edXML>\n"
    )
