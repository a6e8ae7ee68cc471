"""Reading a packet: one pass over a stream that gives its values, every finding, every repair, and its digest.

    with open("van-ban.edxml", "rb") as stream:
        result = read(stream)
    if result.is_refused:
        for finding in result.findings: print(finding.place, finding.text(Language.VI))

Memory does not grow with the size of attachments: they are decoded, hashed and handed to the caller's sink as they
come.  Of the packet's own XML at most `limits.header` bytes are held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import chain
from typing import Any, BinaryIO

from lxml import etree

from edxml._body import describe, read_attachments, read_references
from edxml._content import Contents
from edxml._header import read_business, read_document, read_status, read_trace
from edxml._lines import with_lines
from edxml._mime import is_multipart, take_opening
from edxml._notes import NAMESPACE, Notes, local_name
from edxml._soap import E_DOC, SOAP, Blocks, Message, is_pair, unwrap
from edxml._xml import Element, Splitter
from edxml.attachments import AttachmentSink, FileLook
from edxml.codes import Dialect
from edxml.digests import WireHasher
from edxml.findings import Finding, Refusal, Repair, Severity
from edxml.limits import DEFAULT_LIMITS, PIECE, Limits
from edxml.packet import Packet, StatusPacket
from edxml.profiles import LENIENT, Profile
from edxml.schema import check
from edxml.secrecy import CODE as SECRECY_CODE
from edxml.secrecy import find_marks, scan_texts
from edxml.validate import validate
from edxml.values import hasten

__all__ = ["ReadResult", "read"]

_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_XSD = "http://www.w3.org/2001/XMLSchema"
_GO_VN = "http://www.go.vn/eDoc"
_READ = (Dialect.A, Dialect.B, Dialect.D)


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class ReadResult:
    """What reading gave. `packet` is None where too much is missing; it may be there although `is_refused`.

    Findings that are errors stand first. `size`, `digest` (SHA-256) and `wire_digest` are of all bytes; where reading
    stopped early (`is_complete` False) `size` is what was read and both digests are empty.
    """

    packet: Packet | StatusPacket | None
    findings: tuple[Finding, ...]
    repairs: tuple[Repair, ...]
    dialect: Dialect | None
    size: int
    digest: str
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
    look: Callable[[int], FileLook] | None = None,
    profile: Profile = LENIENT,
    today: date | None = None,
    check_schema: bool = False,
    check_rules: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> ReadResult:
    """Read one packet to the end of `stream`. With `check_schema`, or a profile that checks it (`STRICT` does), every
    violation of our XSD is an error too.

    `today` (a calendar day in Việt Nam) matters to a profile that allows a repair until a day; without it none of
    those allowances holds.  With `check_rules` the findings of `edxml.validate` on that day stand last, each with its
    line, which `validate` alone cannot know; a packet that is secret is not judged.  Needs `today`.

    `look` is asked for somebody who looks at file number so-and-so (from 1) as it goes by; a file that stands in a ZIP,
    or in a part of dialect D, is seen by nobody to its end.

    Never raises for what the bytes are: everything wrong is a finding.  Only what the stream or the sink raise passes.
    Reading stops at the first finding after which nothing can be understood (not XML, a DTD, a limit).
    """
    if check_rules and today is None:
        raise ValueError("rules are judged on a day: today is missing")
    notes = Notes(limits)
    contents = Contents(limits=limits, sink=on_attachment, describe=describe, look=look)
    opened = _Opened(notes=notes, contents=contents, sink=on_attachment)
    packet: Packet | StatusPacket | None = None
    try:
        _open(opened, iter(lambda: stream.read(PIECE), b""))
        assert opened.dialect is not None
        packet = _build(opened.root, opened.dialect, opened.message or contents, notes)
        if check_schema or profile.checks_schema:
            for finding in check(opened.root, line_of=notes.line_of, limits=notes.limits):
                notes.add(finding)
    except Refusal as refusal:
        undeclared = None if opened.form is None else opened.form.undeclared
        if undeclared is not None and undeclared.finding.code != refusal.finding.code:
            notes.add(undeclared.finding)
        notes.add(refusal.finding)
    sender = None if packet is None else packet.sender.organ_id
    for finding in profile.refusals(notes.repairs, sender, today):
        notes.add(finding)
    if packet is not None:
        _judge(packet, opened.root, today if check_rules else None, notes)
    notes.lines = None  # it holds the notes: both, and the packet's tree, would wait for the collector of garbage
    return ReadResult(
        packet=packet,
        findings=tuple(sorted(notes.findings, key=lambda finding: finding.severity is not Severity.ERROR)),
        repairs=tuple(notes.repairs),
        dialect=opened.dialect,
        size=opened.hasher.size,
        digest=opened.hasher.whole_hexdigest() if opened.is_complete else "",
        wire_digest=opened.hasher.hexdigest() if opened.is_complete else "",
        is_complete=opened.is_complete,
    )


@dataclass(slots=True, kw_only=True)
class _Opened:
    """A packet whose bytes go by: what is known of it, also where that ends in a refusal."""

    notes: Notes
    contents: Contents
    sink: AttachmentSink | None
    form: Splitter | Message | None = None
    message: Message | None = None  #: of dialect D
    hasher: WireHasher = field(default_factory=WireHasher)
    is_complete: bool = False
    dialect: Dialect | None = None
    root: Element = None


def _open(opened: _Opened, pieces: Iterator[bytes]) -> None:
    notes = opened.notes
    opening = take_opening(pieces)
    if is_pair(opening):
        opened.hasher.update(opening)
        opened.dialect = Dialect.E
        raise Refusal("edxml.dialect_unsupported", dialect=str(Dialect.E))
    form: Splitter | Message
    if is_multipart(opening):
        form = opened.message = Message(limits=notes.limits, sink=opened.sink, notes=notes)
    else:
        form = Splitter(limits=notes.limits, contents=opened.contents, repaired=notes.repaired_on)
    opened.form = form
    notes.lines = form.line_of
    root = opened.root = _take_in(chain((opening,), pieces), form, opened.hasher, notes.limits)
    opened.is_complete = True
    opened.dialect = Dialect.D if opened.message else _dialect(root, notes)
    if opened.dialect not in _READ:
        raise Refusal("edxml.dialect_unsupported", line=root.sourceline, dialect=str(opened.dialect))
    _check_shape(root, form.tags, notes)


def _judge(packet: Packet | StatusPacket, root: Element, today: date | None, notes: Notes) -> None:
    """Note marks of secrecy and, where there are none, what the rules of `today` find: both with their lines."""
    found = find_marks(packet)
    if not found and today is not None:
        found = validate(packet, today=today)
    for finding in with_lines(found, root, notes.line_of) if found else ():
        notes.add(finding)


def _take_in(pieces: Iterable[bytes], form: Splitter | Message, hasher: WireHasher, limits: Limits) -> Element:
    for piece in pieces:
        hasher.update(piece)
        if hasher.size > limits.packet:
            raise Refusal("edxml.packet_too_large", limit=limits.packet)
        form.feed(piece)
    return form.close()


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
    if namespace in SOAP and local == "Envelope":
        unreadable = Dialect.D
    elif namespace == E_DOC:
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


def _build(root: Element, dialect: Dialect, files: Contents | Message, notes: Notes) -> Packet | StatusPacket | None:
    header, message, trace, manifest = unwrap(root, notes) if dialect is Dialect.D else _unwrap(root, notes)
    if message is None:
        notes.error("edxml.header_missing", header, "MessageHeader")
        return None
    fields = read_document(message, notes)
    if fields is not None and "status" in fields:
        return _build_status(fields["status"], message, dialect, notes)
    if trace is None:
        notes.repaired("trace_missing", header)
    business = read_business(trace, notes)
    hops = () if trace is None else read_trace(trace, notes)
    references = read_references(manifest, notes)
    if isinstance(files, Message):
        attachments = files.attachments(references)
    else:
        attachments = read_attachments(root, files.found, references, dialect, notes)
    if fields is None:
        _note_marks_anyway(root, notes)
        if isinstance(files, Message):
            _note_marks_anyway(files.parts, notes)
        return None
    return Packet(dialect=dialect, trace=hops, references=references, attachments=attachments, **fields, **business)


def _unwrap(root: Element, notes: Notes) -> Blocks:
    envelope = _level(root, "edXMLEnvelope", notes)
    header = _level(envelope, "edXMLHeader", notes)
    return Blocks(
        header=header,
        message=notes.only(header, "MessageHeader"),
        trace=notes.only(header, "TraceHeaderList"),
        manifest=notes.only(notes.only(envelope, "edXMLBody"), "edXMLManifest"),
    )


def _build_status(parts: dict[str, Any], message: Element, dialect: Dialect, notes: Notes) -> StatusPacket | None:
    fields = read_status(parts, message, notes)
    if fields is None:
        _note_marks_anyway(message, notes)
        return None
    return StatusPacket(dialect=dialect, **fields)


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
    for element in root.iter("*"):
        field = _MARKED_FIELDS.get(local_name(element))
        for finding in scan_texts(iter([(field, element.text or "", "")])) if field else ():
            notes.error(finding.code, element, **finding.params)


def _level(parent: Element, name: str, notes: Notes) -> Element:
    """The child `name`, or the parent itself where a wrapper was left out."""
    child = notes.only(parent, name)
    if child is None:
        notes.repaired("wrapper_missing", parent)
        return parent
    return child
