"""Rules beyond the form: what a packet's values must be. All findings, not the first.

Errors refuse, warnings tell the sender.  Sources: QCVN 102:2016/BTTTT (which elements are required), NĐ 30/2020/NĐ-CP
(number, notation, date, signer), and the practice of running systems where no text of the standard is at hand:
the lengths are those of their databases and were never enforced, so they only warn.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from edxml.codes import BusinessKind, StatusCode, document_type
from edxml.findings import Finding, Place, Severity
from edxml.ids import fold_code
from edxml.packet import Packet, StatusPacket

__all__ = ["validate"]

_HEADER = "edXML/edXMLEnvelope/edXMLHeader/MessageHeader"
_TRACE = "edXML/edXMLEnvelope/edXMLHeader/TraceHeaderList"
_MANIFEST = "edXML/edXMLEnvelope/edXMLBody/edXMLManifest"

_LENGTHS = (
    ("subject", "Subject", 500),
    ("content", "Content", 500),
    ("code_number", "Code/CodeNumber", 75),
    ("code_notation", "Code/CodeNotation", 75),
    ("promulgation_place", "PromulgationInfo/Place", 75),
    ("type_name", "DocumentType/TypeName", 100),
    ("signer_competence", "SignerInfo/Competence", 100),
    ("signer_position", "SignerInfo/Position", 100),
    ("signer_name", "SignerInfo/FullName", 255),
)
_REASON_MAX = 500


def validate(packet: Packet | StatusPacket, *, today: date) -> tuple[Finding, ...]:
    """Every rule that `packet` breaks, errors and warnings; `today` is the calendar day in Việt Nam."""
    if isinstance(packet, StatusPacket):
        return tuple(_status(packet))
    return (
        *_required(packet),
        *_dates(packet, today),
        *_lengths(packet),
        *_agencies(packet),
        *_document_id(packet),
        *_manifest(packet),
        *_business(packet),
    )


def _error(code: str, path: str, **params: Any) -> Finding:
    return Finding(code=code, place=Place(path=path), params=params)


def _warning(code: str, path: str, **params: Any) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, place=Place(path=path), params=params)


def _required(packet: Packet) -> Iterator[Finding]:
    if not packet.subject:
        yield _error("edxml.subject_missing", f"{_HEADER}/Subject")
    if not packet.code_number:
        yield _error("edxml.code_number_missing", f"{_HEADER}/Code/CodeNumber")
    if not packet.code_notation:
        yield _error("edxml.code_notation_missing", f"{_HEADER}/Code/CodeNotation")
    if not packet.signer_name:
        yield _warning("edxml.signer_missing", f"{_HEADER}/SignerInfo/FullName")
    path = f"{_HEADER}/DocumentType/TypeName"
    if not packet.type_name:
        yield _warning("edxml.type_name_missing", path)
    elif document_type(packet.type_name) is None:
        yield _warning("edxml.type_name_unknown", path, text=packet.type_name[:80])


def _dates(packet: Packet, today: date) -> Iterator[Finding]:
    path = f"{_HEADER}/PromulgationInfo/PromulgationDate"
    if packet.promulgation_date is None:
        yield _error("edxml.promulgation_date_missing", path)
    elif packet.promulgation_date > today:
        yield _error("edxml.promulgation_date_future", path, date=packet.promulgation_date.isoformat())


def _lengths(packet: Packet) -> Iterator[Finding]:
    for field, element, limit in _LENGTHS:
        length = len(getattr(packet, field))
        if length > limit:
            yield _warning("edxml.value_too_long", f"{_HEADER}/{element}", field=element, length=length, limit=limit)
    if len(packet.business_reason) > _REASON_MAX:
        yield _warning(
            "edxml.value_too_long",
            f"{_TRACE}/Bussiness/BussinessDocReason",
            field="BussinessDocReason",
            length=len(packet.business_reason),
            limit=_REASON_MAX,
        )


def _agencies(packet: Packet) -> Iterator[Finding]:
    if not packet.sender.name:
        yield _warning("edxml.organ_name_missing", f"{_HEADER}/From/OrganName")
    seen = set()
    for position, recipient in enumerate(packet.recipients, 1):
        path = f"{_HEADER}/To[{position}]"
        if not recipient.name:
            yield _warning("edxml.organ_name_missing", f"{path}/OrganName")
        if recipient.organ_id is None:
            continue
        if recipient.organ_id in seen:
            yield _error("edxml.recipient_repeated", f"{path}/OrganId", organ=recipient.organ_id.text)
        seen.add(recipient.organ_id)


def _document_id(packet: Packet) -> Iterator[Finding]:
    """An id written in three parts should say what the header says; senders often copy a stale one."""
    parts = packet.document_id.parts
    if parts is None:
        return
    path = f"{_HEADER}/DocumentId"
    if packet.sender.organ_id is not None and parts.organ != packet.sender.organ_id:
        yield _warning("edxml.document_id_differs", path, field="From/OrganId")
    if parts.date is not None and packet.promulgation_date not in (None, parts.date):
        yield _warning("edxml.document_id_differs", path, field="PromulgationDate")
    if fold_code(parts.code) != fold_code(packet.number_notation):
        yield _warning("edxml.document_id_differs", path, field="Code")


def _manifest(packet: Packet) -> Iterator[Finding]:
    ids = {reference.content_id.removeprefix("cid:") for reference in packet.references}
    names = {reference.name for reference in packet.references}
    own_ids = {attachment.content_id for attachment in packet.attachments}
    own_names = {attachment.name for attachment in packet.attachments}
    for attachment in packet.attachments:
        if attachment.content_id not in ids and attachment.name not in names:
            path = f"edXML/AttachmentEncoded/Attachment[{attachment.position}]"
            yield _warning("edxml.reference_missing", path, name=attachment.name[:200])
    for position, reference in enumerate(packet.references, 1):
        if reference.content_id.removeprefix("cid:") not in own_ids and reference.name not in own_names:
            path = f"{_MANIFEST}/Reference[{position}]"
            yield _error("edxml.reference_dangling", path, name=reference.name[:200])


def _business(packet: Packet) -> Iterator[Finding]:
    path = f"{_TRACE}/Bussiness"
    kind = packet.business_kind
    if kind is BusinessKind.NEW:
        return
    if not packet.business_reason:
        yield _warning("edxml.reason_missing", f"{path}/BussinessDocReason")
    says_nothing = not (packet.document_changed or packet.receivers_changed or packet.receiver_changes)
    if kind is BusinessKind.UPDATE and says_nothing:
        yield _warning("edxml.update_empty", f"{path}/BussinessDocumentInfo")
    if kind is BusinessKind.REPLACEMENT and not packet.replacements:
        yield _error("edxml.replacement_empty", f"{path}/ReplacementInfoList")


_WITH_REASON = (StatusCode.REFUSED, StatusCode.TAKE_BACK, StatusCode.CHANGE_REFUSED)


def _status(status: StatusPacket) -> Iterator[Finding]:
    answered = status.response_for
    if answered.document_id is None and not answered.code:
        yield _error("edxml.status_document_missing", f"{_HEADER}/ResponseFor")
    if status.status_code in _WITH_REASON and not status.description:
        yield _warning("edxml.refusal_reason_missing", f"{_HEADER}/Description", status=str(status.status_code))
    if status.timestamp is None:
        yield _warning("edxml.timestamp_missing", f"{_HEADER}/Timestamp")
