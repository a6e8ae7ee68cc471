"""From the header's elements to values: organizations, document data, trace, business block, status."""

from __future__ import annotations

from typing import Any

from edxml._notes import Notes, fields_of, local_name
from edxml._xml import Element
from edxml.codes import BusinessKind, Priority, StatusCode, SteeringType, fold_name
from edxml.ids import DocumentId, DocumentIdMalformed, OrganId, OrganIdMalformed
from edxml.messages import Language
from edxml.packet import (
    Organization,
    OtherInfo,
    ReceiverChange,
    Replacement,
    ResponseFor,
    StaffInfo,
    TraceHeader,
)

__all__ = ["read_business", "read_document", "read_status", "read_trace"]

_ORGANIZATION = fields_of(
    {
        "OrganId": "raw_organ_id",
        "OrganName": "name",
        "OrganizationInCharge": "in_charge",
        "OrganAdd": "address",
        "Email": "email",
        "Telephone": "telephone",
        "Fax": "fax",
        "Website": "website",
    }
)
_CODE = fields_of({"CodeNumber": "code_number", "CodeNotation": "code_notation"})
_PROMULGATION = fields_of({"Place": "place", "PromulgationDate": "date"})
_DOCUMENT_TYPE = fields_of({"Type": "type", "TypeDetail": "type_detail", "TypeName": "type_name"})
_SIGNER = fields_of(
    {
        "Competence": "signer_competence",
        "Position": "signer_position",
        "FullName": "signer_name",
        "Signer": "signer_name",
    }
)
_STAFF = {"Department": "department", "Staff": "staff", "Email": "email", "Mobile": "mobile"}
_STAFF_READ = fields_of(_STAFF | {"DepartmentId": "department_id", "StaffId": "staff_id"})
_RESPONSE = fields_of({"OrganId": "organ_id", "Code": "code", "PromulgationDate": "date", "DocumentId": "document_id"})
_TRACE = fields_of({"OrganId": "organ_id", "Timestamp": "timestamp"})
_RECEIVER = fields_of({"OrganId": "organ_id", "ReceiverType": "type"})
_OTHER = fields_of(
    {
        "Priority": "priority",
        "SphereOfPromulgation": "sphere",
        "TyperNotation": "typer_notation",
        "PromulgationAmount": "promulgation_amount",
        "PageAmount": "page_amount",
        "Direction": "direction",
        "Appendixes": "appendixes",
        "ReplyFors": "reply_fors",
        "ReferenceCodes": "reference_codes",
        "Secret": "secret",
    }
)
_MESSAGE = {"From", "DocumentId", "Code", "PromulgationInfo", "DocumentType", "Subject", "Content", "SignerInfo"}
_MESSAGE |= {"DueDate", "OtherInfo", "SteeringType", "ApplicationType", "ToPlaces"}
_STATUS = {"StatusCode", "Description", "Timestamp", "StaffInfo"}
_HEADER_ONCE = frozenset(_MESSAGE | _STATUS)
_HEADER_MANY = frozenset(("To", "ResponseFor", "ResponseForTask"))
_BUSINESS = {"DocumentId", "BussinessDocType", "BussinessDocReason", "Paper", "StaffInfo"}
_BUSINESS_ONCE = frozenset(_BUSINESS | {"BussinessDocumentInfo", "ReplacementInfoList"})
_PRIORITIES = {str(int(priority)): priority for priority in Priority}
_PRIORITY_WORDS = {fold_name(priority.gloss(Language.VI)): priority for priority in Priority}
_TRUE = frozenset(("1", "true", "True", "TRUE"))


def read_document(header: Element, notes: Notes) -> dict[str, Any] | None:
    """The fields of a Packet that MessageHeader gives; None where sender, recipients or document id are missing.

    A status header gives `status_code` and is read by `read_status` instead.
    """
    parts = notes.parts(header, _HEADER_ONCE, _HEADER_MANY)
    if "StatusCode" in parts:
        return {"status": parts}
    fields: dict[str, Any] = {
        "sender": _required_sender(parts, header, notes),
        "recipients": tuple([_organization(to, notes) for to in parts.get("To", ())[: notes.limits.recipients]]),
        "document_id": _own_document_id(parts, header, notes),
        "subject": notes.text(parts.get("Subject")),
        "content": notes.text(parts.get("Content")),
        "application_type": notes.text(parts.get("ApplicationType")),
    }
    if not fields["recipients"]:
        notes.error("edxml.recipient_missing", header, "To")
    elif len(parts["To"]) > notes.limits.recipients:
        notes.error("edxml.too_many_recipients", header, "To", limit=notes.limits.recipients)
    for name, known in (("Code", _CODE), ("DocumentType", _DOCUMENT_TYPE), ("SignerInfo", _SIGNER)):
        if name in parts:
            fields |= notes.texts(parts[name], known)
    if "PromulgationInfo" in parts:
        promulgation = notes.texts(parts["PromulgationInfo"], _PROMULGATION)
        fields["promulgation_place"] = promulgation.get("place", "")
        fields["promulgation_date"] = notes.day(promulgation.get("date", ""), parts["PromulgationInfo"])
    if "DueDate" in parts:
        fields["due_date"] = notes.day(notes.text(parts["DueDate"]), parts["DueDate"])
    if "ToPlaces" in parts:
        fields["to_places"] = _lines(parts["ToPlaces"], notes)
    if "OtherInfo" in parts:
        fields |= _other(parts["OtherInfo"], notes)
    if "SteeringType" in parts:
        fields["steering_type"] = _steering(parts["SteeringType"], notes)
    answered = [_response(element, notes) for element in parts.get("ResponseFor", ())]
    fields["response_for"] = tuple([response for response in answered if response is not None])
    fields["tasks"] = tuple([line for element in parts.get("ResponseForTask", ()) for line in _lines(element, notes)])
    if not (fields["sender"] and fields["recipients"] and fields["document_id"]):
        return None
    return fields


def read_status(parts: dict[str, Any], header: Element, notes: Notes) -> dict[str, Any] | None:
    """The fields of a StatusPacket; None where sender, answered document or code are missing or unknown."""
    responses = parts.get("ResponseFor", ())
    if len(responses) > 1:
        notes.error("edxml.element_repeated", responses[1], name="ResponseFor")
    response = _response(responses[0], notes) if responses else None
    if response is None:
        notes.error("edxml.response_for_missing", header, "ResponseFor")
    elif response.organ_id is None and not response.raw_organ_id:
        notes.error("edxml.organ_id_missing", responses[0])
    code = _status_code(parts["StatusCode"], notes)
    sender = _required_sender(parts, header, notes)
    if sender is None or response is None or code is None:
        return None
    timestamp = parts.get("Timestamp")
    return {
        "sender": sender,
        "response_for": response,
        "status_code": code,
        "staff": _staff(parts.get("StaffInfo"), notes),
        "description": notes.text(parts.get("Description")),
        "timestamp": notes.moment(notes.text(timestamp), timestamp),
    }


def _status_code(element: Element, notes: Notes) -> StatusCode | None:
    text = notes.text(element)
    if len(text) == 1:
        text = "0" + text
        notes.repaired("status_code_short", element)
    if text == "14":  # one .NET client sends 14 where it means 15
        text = "15"
        notes.repaired("status_code_14", element)
    try:
        return StatusCode(text)
    except ValueError:
        notes.error("edxml.status_code_unknown", element, text=text[:40])
        return None


def _required_sender(parts: dict[str, Any], header: Element, notes: Notes) -> Organization | None:
    if "From" not in parts:
        notes.error("edxml.sender_missing", header, "From")
        return None
    return _organization(parts["From"], notes)


def _organization(element: Element, notes: Notes) -> Organization:
    fields = notes.texts(element, _ORGANIZATION)
    return Organization(organ_id=notes.organ(fields.get("raw_organ_id", ""), element), **fields)


def _own_document_id(parts: dict[str, Any], header: Element, notes: Notes) -> DocumentId | None:
    if not (text := notes.text(parts.get("DocumentId"))):
        notes.error("edxml.document_id_missing", header, "DocumentId")
        return None
    return _document_id(text, parts["DocumentId"], notes)


def _document_id(text: str, element: Element, notes: Notes) -> DocumentId | None:
    if not text:
        return None
    try:
        return DocumentId(text)
    except DocumentIdMalformed:
        notes.error("edxml.document_id_malformed", element, text=text[:80])
        return None


def _lines(parent: Element, notes: Notes) -> tuple[str, ...]:
    return tuple([text for child in parent if (text := notes.text(child))])


def _other(element: Element, notes: Notes) -> dict[str, Any]:
    texts = notes.texts(element, _OTHER)
    written = texts.pop("priority", "") or "0"
    priority = _PRIORITIES.get(written)
    if priority is None:
        priority = _priority_in_words(written, element, notes)
    appendixes: tuple[str, ...] = ()
    if texts.pop("appendixes", None) is not None:
        appendixes = tuple(
            line for child in element if local_name(child) == "Appendixes" for line in _lines(child, notes)
        )
    other = OtherInfo(
        promulgation_amount=notes.number(texts.pop("promulgation_amount", ""), element),
        page_amount=notes.number(texts.pop("page_amount", ""), element),
        direction=texts.pop("direction", "") in _TRUE,
        appendixes=appendixes,
        **texts,
    )
    return {"priority": priority, "other": other}


def _priority_in_words(written: str, element: Element, notes: Notes) -> Priority:
    """The code whose name stands there instead of it, as clerks know it; anything else counts as normal."""
    priority = _PRIORITY_WORDS.get(fold_name(written[:40]))
    if priority is None:
        notes.warn("edxml.priority_unknown", element, text=written[:40])
        return Priority.NORMAL
    notes.repaired("priority_words", element)
    return priority


def _steering(element: Element, notes: Notes) -> SteeringType | None:
    text = notes.text(element)
    if text in ("0", "1", "2"):
        return SteeringType(int(text))
    if text:
        notes.warn("edxml.steering_type_unknown", element, text=text[:40])
    return None


def _response(element: Element, notes: Notes) -> ResponseFor | None:
    texts = notes.texts(element, _RESPONSE)
    if not any(texts.values()):
        notes.repaired("empty_response_for", element)
        return None
    raw = texts.get("organ_id", "")
    return ResponseFor(
        organ_id=notes.organ(raw, element) if raw else None,
        raw_organ_id=raw,
        code=texts.get("code", ""),
        promulgation_date=notes.day(texts.get("date", ""), element),
        document_id=_document_id(texts.get("document_id", ""), element, notes),
    )


def _staff(element: Element, notes: Notes) -> StaffInfo:
    if element is None:
        return StaffInfo()
    texts = notes.texts(element, _STAFF_READ)
    return StaffInfo(**{key: texts[key] for key in _STAFF.values() if key in texts})


def read_trace(trace: Element, notes: Notes) -> tuple[TraceHeader, ...]:
    """The hops of a TraceHeaderList, as they stand there."""
    return tuple([_hop(child, notes) for child in trace if local_name(child) == "TraceHeader"])


def _hop(element: Element, notes: Notes) -> TraceHeader:
    texts = notes.texts(element, _TRACE)
    raw = texts.get("organ_id", "")
    organ: OrganId | None = None
    try:
        organ = OrganId.parse(raw)
    except OrganIdMalformed:
        if not raw:
            notes.repaired("trace_organ_missing", element)
        elif raw.lower() == "null":
            notes.repaired("trace_organ_null", element)
        else:
            notes.repaired("trace_organ_unreadable", element)
    return TraceHeader(organ_id=organ, timestamp=notes.moment(texts.get("timestamp", ""), element))


def read_business(trace: Element, notes: Notes) -> dict[str, Any]:
    """The business fields of a Packet. A missing block means "new": the national axis drops it."""
    names = [] if trace is None else [local_name(child) for child in trace]
    for name in names:
        if name not in ("TraceHeader", "Bussiness", "Business"):
            notes.warn("edxml.element_unknown", trace, name=name[:80])
    blocks = [child for child in (() if trace is None else trace) if local_name(child) in ("Bussiness", "Business")]
    if not blocks:
        notes.repaired("business_missing", trace)
        return {}
    if len(blocks) > 1:
        notes.error("edxml.element_repeated", blocks[1], name="Bussiness")
    block = blocks[0]
    if "Business" in names:
        notes.repaired("business_spelling", block)
    if "TraceHeader" in names[names.index(local_name(block)) :]:
        notes.repaired("business_before_trace", block)
    return _business(block, notes)


def _business(block: Element, notes: Notes) -> dict[str, Any]:
    parts = notes.parts(block, _BUSINESS_ONCE)
    fields: dict[str, Any] = {
        "business_kind": _business_kind(parts, block, notes),
        "business_reason": notes.text(parts.get("BussinessDocReason")),
        "paper": notes.text(parts.get("Paper")) in _TRUE,
        "staff": _staff(parts.get("StaffInfo"), notes),
    }
    if "DocumentId" in parts:
        element = parts["DocumentId"]
        fields["business_document_id"] = _document_id(notes.text(element), element, notes)
    if "BussinessDocumentInfo" in parts:
        fields |= _document_info(parts["BussinessDocumentInfo"], notes)
    if "ReplacementInfoList" in parts:
        replaced = (_replacement(child, notes) for child in parts["ReplacementInfoList"])
        fields["replacements"] = tuple(one for one in replaced if one is not None)
    return fields


def _business_kind(parts: dict[str, Any], block: Element, notes: Notes) -> BusinessKind:
    text = notes.text(parts.get("BussinessDocType"))
    if not text:
        notes.repaired("business_kind_missing", block)
        return BusinessKind.NEW
    kind = BusinessKind.from_wire(text)
    if kind is None:
        notes.error("edxml.business_kind_unknown", parts["BussinessDocType"], text=text[:40])
        return BusinessKind.NEW
    return kind


_INFO_ONCE = frozenset(("DocumentInfo", "DocumentReceiver", "ReceiverList"))


def _document_info(element: Element, notes: Notes) -> dict[str, Any]:
    parts = notes.parts(element, _INFO_ONCE)
    changes: list[ReceiverChange] = []
    for receiver in parts.get("ReceiverList", ()):
        texts = notes.texts(receiver, _RECEIVER)
        organ = notes.organ(texts.get("organ_id", ""), receiver)
        kind = texts.get("type", "")
        if kind not in ("0", "1"):
            notes.error("edxml.receiver_type_unknown", receiver, text=kind[:40])
        elif organ is not None:
            changes.append(ReceiverChange(organ, kind == "1"))
    return {
        "document_changed": notes.text(parts.get("DocumentInfo")) in _TRUE,
        "receivers_changed": notes.text(parts.get("DocumentReceiver")) in _TRUE,
        "receiver_changes": tuple(changes),
    }


_REPLACEMENT_ONCE = frozenset(("DocumentId", "OrganIdList"))


def _replacement(element: Element, notes: Notes) -> Replacement | None:
    parts = notes.parts(element, _REPLACEMENT_ONCE)
    document = _own_document_id(parts, element, notes)
    organs = (notes.organ(notes.text(child), child) for child in parts.get("OrganIdList", ()))
    listed = tuple(organ for organ in organs if organ is not None)
    return None if document is None else Replacement(document, listed)
