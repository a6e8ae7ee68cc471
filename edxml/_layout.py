"""Laying out a packet's header as text: elements in the order of either dialect, two blanks of indentation a level."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime

from edxml._notes import NAMESPACE
from edxml.characters import is_xml_text
from edxml.codes import BusinessKind, Dialect
from edxml.errors import WriteRefused
from edxml.ids import OrganId
from edxml.messages import Term
from edxml.packet import (
    Attachment,
    Organization,
    Packet,
    ResponseFor,
    StaffInfo,
    StatusPacket,
)
from edxml.zone import VIETNAM

__all__ = ["Sheet", "lay_out_envelope", "lay_out_status"]

_SPECIAL = re.compile(r"[&<>\r]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_XLINK = ' xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="cid:{id}" xlink:role="XLinkRole" xlink:type="simple"'
_TRACE_B = ' id="trace" version="1.0" mustUnderstand="1" actor="http://schemas.xmlsoap.org/soap/actor/next"'


def escape(text: str, what: str) -> str:
    """`text` as XML character data. Raises WriteRefused where it holds what XML cannot carry."""
    if not is_xml_text(text):
        raise WriteRefused(what=what, why=Term("write.character"))
    return _SPECIAL.sub(lambda found: _ESCAPES[found[0]], text) if _SPECIAL.search(text) else text


class Sheet:
    """Lines of XML under construction."""

    def __init__(self, dialect: Dialect) -> None:
        if dialect not in (Dialect.A, Dialect.B):
            raise WriteRefused(what="dialect", why=Term("write.dialect"))
        self.is_standard_order = dialect is Dialect.B
        self._lines: list[str] = []
        self._indent = ""

    def line(self, text: str) -> None:
        """One line as it is."""
        self._lines.append(self._indent + text)

    @contextmanager
    def inside(self, name: str, attributes: str = "") -> Iterator[None]:
        """What is laid out meanwhile stands within element `name`."""
        self.line(f"<{name}{attributes}>")
        with self.indented():
            yield
        self.line(f"</{name}>")

    @contextmanager
    def indented(self) -> Iterator[None]:
        """What is laid out meanwhile stands one level deeper."""
        self._indent += "  "
        yield
        self._indent = self._indent[:-2]

    def leaf(self, name: str, text: str) -> None:
        """Element `name` with `text`; nothing where the text is empty."""
        if text := text.strip():
            self.line(f"<edXML:{name}>{escape(text, name)}</edXML:{name}>")

    def leaves(self, *pairs: tuple[str, str]) -> None:
        """Several leaves in order."""
        for name, text in pairs:
            self.leaf(name, text)

    def take(self) -> bytes:
        """What was laid out since the last call, as UTF-8."""
        text = "\n".join(self._lines) + "\n" if self._lines else ""
        self._lines.clear()
        return text.encode("utf-8")


@contextmanager
def envelope(sheet: Sheet) -> Iterator[None]:
    """XML declaration, root and envelope opened; the envelope is closed after, the root is the caller's to close."""
    extra = ""
    if sheet.is_standard_order:
        extra = ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
    sheet.line('<?xml version="1.0" encoding="UTF-8"?>')
    sheet.line(f'<edXML{extra} xmlns="{NAMESPACE}">')
    with sheet.indented(), sheet.inside("edXML:edXMLEnvelope", f' xmlns:edXML="{NAMESPACE}"'):
        yield


def lay_out_envelope(sheet: Sheet, packet: Packet) -> None:
    """The document packet up to the end of its envelope."""
    with envelope(sheet):
        with sheet.inside("edXML:edXMLHeader"):
            with sheet.inside("edXML:MessageHeader"):
                _message(sheet, packet)
            with sheet.inside("edXML:TraceHeaderList", _TRACE_B if sheet.is_standard_order else ""):
                for hop in packet.trace:
                    with sheet.inside("edXML:TraceHeader"):
                        sheet.leaf("OrganId", _organ(hop.organ_id, "TraceHeader/OrganId"))
                        sheet.leaf("Timestamp", _moment(hop.timestamp))
                with sheet.inside("edXML:Bussiness"):
                    _business(sheet, packet)
            if sheet.is_standard_order:
                sheet.line("<edXML:DigitalSignature/>")
        with sheet.inside("edXML:edXMLBody"), sheet.inside("edXML:edXMLManifest", ' version="1.0"'):
            for attachment in packet.attachments:
                _reference(sheet, attachment)


def lay_out_status(sheet: Sheet, status: StatusPacket) -> None:
    """The status packet up to the end of its envelope."""
    with envelope(sheet), sheet.inside("edXML:edXMLHeader"), sheet.inside("edXML:MessageHeader"):
        _organization(sheet, "From", status.sender)
        _response(sheet, status.response_for)
        _staff(sheet, status.staff)
        sheet.leaf("StatusCode", status.status_code)
        sheet.leaf("Description", status.description)
        sheet.leaf("Timestamp", _moment(status.timestamp))


def _message(sheet: Sheet, packet: Packet) -> None:
    late = sheet.is_standard_order
    _organization(sheet, "From", packet.sender)
    if not packet.recipients:
        raise WriteRefused(what="To", why=Term("write.no_recipient"))
    for recipient in packet.recipients:
        _organization(sheet, "To", recipient)
    if not late:
        sheet.leaf("DocumentId", packet.document_id.text)
    with sheet.inside("edXML:Code"):
        sheet.leaves(("CodeNumber", packet.code_number), ("CodeNotation", packet.code_notation))
    with sheet.inside("edXML:PromulgationInfo"):
        sheet.leaf("Place", packet.promulgation_place)
        sheet.leaf("PromulgationDate", _day(packet.promulgation_date))
    with sheet.inside("edXML:DocumentType"):
        sheet.leaves(("Type", packet.type), ("TypeDetail", packet.type_detail), ("TypeName", packet.type_name))
    sheet.leaves(("Subject", packet.subject), ("Content", packet.content))
    with sheet.inside("edXML:SignerInfo"):
        sheet.leaves(
            ("Competence", packet.signer_competence),
            ("Position", packet.signer_position),
            ("FullName", packet.signer_name),
        )
    sheet.leaf("DueDate", _day(packet.due_date))
    if late:
        _places(sheet, packet)
    _other(sheet, packet)
    for answered in packet.response_for:
        _response(sheet, answered)
    if packet.tasks:
        with sheet.inside("edXML:ResponseForTask"):
            for task in packet.tasks:
                sheet.leaf("TaskCode", task)
    if packet.steering_type is not None:
        sheet.leaf("SteeringType", str(int(packet.steering_type)))
    sheet.leaf("ApplicationType", packet.application_type)
    if late:
        sheet.leaf("DocumentId", packet.document_id.text)
    else:
        _places(sheet, packet)


def _organization(sheet: Sheet, name: str, organization: Organization) -> None:
    with sheet.inside(f"edXML:{name}"):
        sheet.leaves(
            ("OrganId", _organ(organization.organ_id, f"{name}/OrganId")),
            ("OrganizationInCharge", organization.in_charge),
            ("OrganName", organization.name),
            ("OrganAdd", organization.address),
            ("Email", organization.email),
            ("Telephone", organization.telephone),
            ("Fax", organization.fax),
            ("Website", organization.website),
        )


def _places(sheet: Sheet, packet: Packet) -> None:
    if packet.to_places:
        with sheet.inside("edXML:ToPlaces"):
            for place in packet.to_places:
                sheet.leaf("Place", place)


def _other(sheet: Sheet, packet: Packet) -> None:
    other = packet.other
    with sheet.inside("edXML:OtherInfo"):
        sheet.leaves(
            ("Priority", str(int(packet.priority))),
            ("SphereOfPromulgation", other.sphere),
            ("TyperNotation", other.typer_notation),
            ("PromulgationAmount", _number(other.promulgation_amount)),
            ("PageAmount", _number(other.page_amount)),
            ("Direction", "true" if other.direction else "false"),
        )
        if other.appendixes:
            with sheet.inside("edXML:Appendixes"):
                for line in other.appendixes:
                    sheet.leaf("Appendix", line)
        sheet.leaves(("ReplyFors", other.reply_fors), ("ReferenceCodes", other.reference_codes))


def _response(sheet: Sheet, answered: ResponseFor) -> None:
    document = "" if answered.document_id is None else answered.document_id.text
    last = [("DocumentId", document), ("PromulgationDate", _day(answered.promulgation_date))]
    with sheet.inside("edXML:ResponseFor"):
        sheet.leaf("OrganId", "" if answered.organ_id is None else answered.organ_id.text)
        sheet.leaf("Code", answered.code)
        sheet.leaves(*(reversed(last) if sheet.is_standard_order else last))


def _staff(sheet: Sheet, staff: StaffInfo) -> None:
    last = [("Email", staff.email), ("Mobile", staff.mobile)]
    with sheet.inside("edXML:StaffInfo"):
        sheet.leaves(("Department", staff.department), ("Staff", staff.staff))
        sheet.leaves(*(reversed(last) if sheet.is_standard_order else last))


def _business(sheet: Sheet, packet: Packet) -> None:
    document = "" if packet.business_document_id is None else packet.business_document_id.text
    if not sheet.is_standard_order:
        sheet.leaf("DocumentId", document)
    sheet.leaf("BussinessDocType", packet.business_kind.wire)
    sheet.leaf("BussinessDocReason", packet.business_reason)
    if sheet.is_standard_order:
        _document_info(sheet, packet)
        sheet.leaf("DocumentId", document)
        _staff(sheet, packet.staff)
        sheet.leaf("Paper", "1" if packet.paper else "0")
        _replacements(sheet, packet)
    else:
        sheet.leaf("Paper", "1" if packet.paper else "0")
        _document_info(sheet, packet)
        _replacements(sheet, packet)
        _staff(sheet, packet.staff)


def _document_info(sheet: Sheet, packet: Packet) -> None:
    says_something = packet.document_changed or packet.receivers_changed or packet.receiver_changes
    if packet.business_kind is not BusinessKind.UPDATE and not says_something:
        return
    with sheet.inside("edXML:BussinessDocumentInfo"):
        sheet.leaf("DocumentInfo", "1" if packet.document_changed else "0")
        sheet.leaf("DocumentReceiver", "1" if packet.receivers_changed else "0")
        if packet.receiver_changes:
            with sheet.inside("edXML:ReceiverList"):
                for change in packet.receiver_changes:
                    with sheet.inside("edXML:Receiver"):
                        sheet.leaf("OrganId", change.organ_id.text)
                        sheet.leaf("ReceiverType", "1" if change.added else "0")


def _replacements(sheet: Sheet, packet: Packet) -> None:
    if not packet.replacements:
        return
    with sheet.inside("edXML:ReplacementInfoList"):
        for replaced in packet.replacements:
            with sheet.inside("edXML:ReplacementInfo"):
                sheet.leaf("DocumentId", replaced.document_id.text)
                with sheet.inside("edXML:OrganIdList"):
                    for organ in replaced.organ_ids:
                        sheet.leaf("OrganId", organ.text)


def _reference(sheet: Sheet, attachment: Attachment) -> None:
    fields = [
        ("ContentId", f"cid:{attachment.content_id}"),
        ("ContentType", attachment.content_type),
        ("Description", attachment.description),
        ("AttachmentName", attachment.name),
    ]
    attributes = ""
    if sheet.is_standard_order:
        quoted = escape(attachment.content_id, "ContentId").replace('"', "&quot;")
        attributes = _XLINK.format(id=quoted)
        fields = [fields[2], fields[3], fields[1], fields[0]]
    with sheet.inside("edXML:Reference", attributes):
        sheet.leaves(*fields)


def _organ(organ: OrganId | None, what: str) -> str:
    if organ is None:
        raise WriteRefused(what=what, why=Term("write.no_organ_id"))
    return organ.text


def _day(day: date | None) -> str:
    return "" if day is None else f"{day.year:04}/{day.month:02}/{day.day:02}"


def _moment(moment: datetime | None) -> str:
    if moment is None:
        return ""
    local = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(VIETNAM)
    return f"{_day(local)} {local.hour:02}:{local.minute:02}:{local.second:02}"


def _number(number: int | None) -> str:
    return "" if number is None else str(number)
