"""Reading a packet: one pass over a stream that gives its values, every finding, every repair, and its digest.

    with open("van-ban.edxml", "rb") as stream:
        result = read(stream)
    if result.is_refused:
        for finding in result.findings: print(finding.place, finding.text(Language.VI))

Memory does not grow with the size of attachments: they are decoded, hashed and handed to the caller's sink as they
come.  Of the packet's own XML at most `limits.header` bytes are held.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, BinaryIO

from lxml import etree

from edxml._body import describe, read_attachments, read_references
from edxml._content import Contents
from edxml._header import read_business, read_document, read_status, read_trace
from edxml._notes import NAMESPACE, Notes, local_name
from edxml._xml import Element, Refusal, Splitter
from edxml.attachments import AttachmentSink
from edxml.codes import Dialect
from edxml.digests import WireHasher
from edxml.findings import Finding, Repair, Severity
from edxml.limits import DEFAULT_LIMITS, PIECE, Limits
from edxml.packet import Packet, StatusPacket
from edxml.profiles import LENIENT, Profile
from edxml.schema import check
from edxml.secrecy import CODE as SECRECY_CODE
from edxml.secrecy import find_marks, scan_texts

__all__ = ["ReadResult", "read"]

_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_XSD = "http://www.w3.org/2001/XMLSchema"
_SOAP = ("http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope")
_GO_VN = "http://www.go.vn/eDoc"
_E_DOC = "http://www.e-doc.vn/Schema/"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadResult:
    """What reading gave. `packet` is None where too much is missing; it may be there although `is_refused`.

    `size` and `wire_digest` are of all bytes; where reading stopped early (`is_complete` False) `size` is what was
    read and `wire_digest` is empty.
    """

    packet: Packet | StatusPacket | None
    findings: tuple[Finding, ...]
    repairs: tuple[Repair, ...]
    dialect: Dialect | None
    size: int
    wire_digest: str
    is_complete: bool

    @property
    def is_refused(self) -> bool:
        """Whether it may not go on: some finding is an error."""
        return self.packet is None or any(finding.severity is Severity.ERROR for finding in self.findings)

    @property
    def is_secret(self) -> bool:
        """Whether a mark of state secrecy was seen: keep no body, log no subject."""
        return any(finding.code == SECRECY_CODE for finding in self.findings)


def read(
    stream: BinaryIO,
    *,
    on_attachment: AttachmentSink | None = None,
    profile: Profile = LENIENT,
    today: date | None = None,
    check_schema: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> ReadResult:
    """Read one packet to the end of `stream`. With `check_schema`, or a profile that checks it (`STRICT` does), every
    violation of our XSD is an error too.

    `today` (a calendar day in Việt Nam) matters to a profile that allows a repair until a day; without it none of
    those allowances holds.

    Never raises for what the bytes are: everything wrong is a finding.  Only what the stream or the sink raise passes.
    Reading stops at the first finding after which nothing can be understood (not XML, a DTD, a limit).
    """
    notes = Notes(limits)
    hasher = WireHasher()
    contents = Contents(limits=limits, sink=on_attachment, describe=describe)
    splitter = Splitter(limits=limits, contents=contents, repaired=notes.repaired)
    notes.line_of = splitter.line_of
    packet: Packet | StatusPacket | None = None
    dialect: Dialect | None = None
    is_complete = False
    try:
        root = _take_in(stream, splitter, hasher, limits)
        is_complete = True
        dialect = _dialect(root, notes)
        if dialect not in (Dialect.A, Dialect.B):
            raise Refusal("edxml.dialect_unsupported", line=root.sourceline, dialect=str(dialect))
        _check_shape(root, splitter.tags, notes)
        packet = _build(root, dialect, contents, notes)
        if check_schema or profile.checks_schema:
            for finding in check(root, line_of=splitter.line_of, limits=limits):
                notes.add(finding)
    except Refusal as refusal:
        notes.add(refusal.finding)
    sender = None if packet is None else packet.sender.organ_id
    for finding in profile.refusals(notes.repairs, sender, today):
        notes.add(finding)
    return ReadResult(
        packet=packet,
        findings=tuple(notes.findings),
        repairs=tuple(notes.repairs),
        dialect=dialect,
        size=hasher.size,
        wire_digest=hasher.hexdigest() if is_complete else "",
        is_complete=is_complete,
    )


def _take_in(stream: BinaryIO, splitter: Splitter, hasher: WireHasher, limits: Limits) -> Element:
    while piece := stream.read(PIECE):
        hasher.update(piece)
        if hasher.size > limits.packet:
            raise Refusal("edxml.packet_too_large", limit=limits.packet)
        splitter.feed(piece)
    return splitter.close()


def _dialect(root: Element, notes: Notes) -> Dialect:
    """Which dialect the root shows."""
    name = etree.QName(root)
    local, namespace = name.localname, name.namespace or ""
    if local.lower() == "edxml" and namespace in (NAMESPACE, ""):
        if local != "edXML":
            notes.repaired("root_case", root)
        if not namespace:
            notes.repaired("namespace_missing", root)
        return Dialect.B if {_XSI, _XSD} & set(root.nsmap.values()) else Dialect.A
    unreadable: Dialect | None = None
    if namespace in _SOAP and local == "Envelope":
        unreadable = Dialect.D
    elif namespace == _E_DOC:
        unreadable = Dialect.E
    elif local.lower() == "edxmlenvelope":
        unreadable = {_GO_VN: Dialect.C, NAMESPACE: Dialect.F}.get(namespace)
    if unreadable is not None:
        return unreadable
    raise Refusal("edxml.root_unknown", line=root.sourceline, name=local[:80], namespace=namespace[:120])


_TOO_DEEP = {DEFAULT_LIMITS.depth: etree.XPath("boolean(" + "/*" * (DEFAULT_LIMITS.depth + 1) + ")")}


def _check_shape(root: Element, tags: int, notes: Notes) -> None:
    """Depth and number of elements, exactly; the splitter bounded both roughly (`tags` counts ends too)."""
    limits = notes.limits
    too_deep = _TOO_DEEP.get(limits.depth) or etree.XPath("boolean(" + "/*" * (limits.depth + 1) + ")")
    if too_deep(root):
        raise Refusal("edxml.too_deep", limit=limits.depth)
    if tags > limits.elements and _COUNT(root) > limits.elements:
        raise Refusal("edxml.too_many_elements", limit=limits.elements)


_COUNT = etree.XPath("count(//*)")


def _build(root: Element, dialect: Dialect, contents: Contents, notes: Notes) -> Packet | StatusPacket | None:
    envelope = _level(root, "edXMLEnvelope", notes)
    header = _level(envelope, "edXMLHeader", notes)
    message = _child(header, "MessageHeader")
    if message is None:
        notes.error("edxml.header_missing", header, "MessageHeader")
        return None
    fields = read_document(message, notes)
    if fields is not None and "status" in fields:
        return _build_status(fields["status"], message, dialect, notes)
    trace = _child(header, "TraceHeaderList")
    if trace is None:
        notes.repaired("trace_missing", header)
    business = read_business(trace, notes)
    hops = () if trace is None else read_trace(trace, notes)
    manifest = _child(_child(envelope, "edXMLBody"), "edXMLManifest")
    references = read_references(manifest, notes)
    attachments = read_attachments(root, contents.found, references, dialect, notes)
    if fields is None:
        _note_marks_anyway(root, notes)
        return None
    packet = Packet(dialect=dialect, trace=hops, references=references, attachments=attachments, **fields, **business)
    for finding in find_marks(packet):
        notes.add(finding)
    return packet


def _build_status(parts: dict[str, Any], message: Element, dialect: Dialect, notes: Notes) -> StatusPacket | None:
    fields = read_status(parts, message, notes)
    if fields is None:
        _note_marks_anyway(message, notes)
        return None
    status = StatusPacket(dialect=dialect, **fields)
    for finding in find_marks(status):
        notes.add(finding)
    return status


_MARKED_FIELDS = {
    "Subject": "subject",
    "Content": "content",
    "TypeName": "type_name",
    "SphereOfPromulgation": "sphere",
    "Secret": "secret",
    "Appendix": "appendix",
    "Description": "description",
    "BussinessDocReason": "business_reason",
    "AttachmentName": "attachment_name",
}


def _note_marks_anyway(root: Element, notes: Notes) -> None:
    """A packet that cannot be built may still be secret, and then nothing of it may be kept."""
    texts = ((_MARKED_FIELDS.get(local_name(element), ""), element.text or "") for element in root.iter("*"))
    for finding in scan_texts(pair for pair in texts if pair[0]):
        notes.add(finding)


def _child(parent: Element, name: str) -> Element:
    if parent is not None:
        for child in parent:
            if local_name(child) == name:
                return child
    return None


def _level(parent: Element, name: str, notes: Notes) -> Element:
    """The child `name`, or the parent itself where a wrapper was left out."""
    child = _child(parent, name)
    if child is None:
        notes.repaired("wrapper_missing", parent)
        return parent
    return child
