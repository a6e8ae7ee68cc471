"""Dialect D, the form of 2014 (công văn 2803/BTTTT-THH): a SOAP envelope, its files as parts of a MIME message.

The envelope's tree is brought to the names of QCVN 102:2016/BTTTT, so that one reader serves all dialects; what had to
be renamed is a repair.  Files are decoded from their parts while the message comes, as those of other dialects are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote

from lxml import etree

from edxml._base64 import Garbage
from edxml._body import Joiner, lies, note_content, read_references, tell_apart, true_type
from edxml._content import Content, Contents
from edxml._mime import Multipart
from edxml._mime_head import PartHead
from edxml._notes import Notes, local_name, parse_day
from edxml._transfer import Decoder, new_decoder
from edxml._unzip import LOCAL_HEADER
from edxml._utf16 import is_named_rightly
from edxml._xml import Element, Splitter
from edxml.attachments import AttachmentSink
from edxml.findings import Refusal
from edxml.limits import Limits
from edxml.packet import Attachment, Reference

__all__ = ["E_DOC", "SOAP", "Blocks", "Message", "is_pair", "unwrap"]

E_DOC = "http://www.e-doc.vn/Schema/"
"""The namespace of dialects D and E."""

SOAP = ("http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope")
"""Envelopes of SOAP 1.1 and 1.2."""

_HREF = "{http://www.w3.org/1999/xlink}href"
_UNDERSTOOD = frozenset({"MessageHeader", "TraceHeaderList", "ErrorList", "Token", "Signature", "DigitalSignature"})
_UTF8 = ("", "utf-8", "utf8", "us-ascii", "ascii")


_ENTRY_NAME = 30  # offset in a ZIP of its first entry's name, whose length stands four bytes before
_PAIR = (b"_header.xml", b"_attachment.xml")


def is_pair(opening: bytes) -> bool:
    """Whether a packet that begins so is dialect E: a ZIP of a header file and a file of attachments."""
    length = int.from_bytes(opening[_ENTRY_NAME - 4 : _ENTRY_NAME - 2], "little")
    name = opening[_ENTRY_NAME : _ENTRY_NAME + length].lower()
    return opening.startswith(LOCAL_HEADER) and name.endswith(_PAIR)


class Blocks(NamedTuple):
    """Where a packet's parts stand in its tree; None where they are missing. `header` holds the first two."""

    header: Element
    message: Element
    trace: Element
    manifest: Element


class Message:
    """One MIME message, taken in pieces as `Splitter` takes XML: `close` gives the tree of its root part."""

    def __init__(self, *, limits: Limits, sink: AttachmentSink | None, notes: Notes) -> None:
        self._limits = limits
        self._notes = notes
        self._files = Contents(limits=limits, sink=sink, describe=self._describe)
        self._multipart = Multipart(limits=limits, parts=self, repaired=self._repaired)
        self.parts: Element = etree.Element("multipart")  #: one element per part, so that a part has a place
        self._heads: dict[Element, PartHead] = {}
        self._head: PartHead | None = None
        self._xml: Splitter | None = None
        self._root_decoder: Decoder | None = None
        self._root: Element = None
        self._joiner = Joiner.over(())
        self._told: set[tuple[str, int]] = set()

    @property
    def tags(self) -> int:
        """As `Splitter.tags`."""
        return 0 if self._xml is None else self._xml.tags

    @property
    def undeclared(self) -> Refusal | None:
        """As `Splitter.undeclared`."""
        return None if self._xml is None else self._xml.undeclared

    def line_of(self, element: Element) -> int | None:
        """The line of an element of the root part, or of a part's header, in the packet as received."""
        head = self._heads.get(element)
        if head is not None:
            return head.line
        return None if self._xml is None else self._xml.line_of(element)

    def feed(self, piece: bytes) -> None:
        """Take the next bytes. Raises Refusal."""
        self._multipart.feed(piece)

    def close(self) -> Element:
        """No more bytes come: the root part's root element, an envelope. Raises Refusal."""
        self._multipart.close()
        if self._root is None:
            raise Refusal("edxml.mime_root_missing", start=self._multipart.start[:80])
        return self._root

    def attachments(self, references: tuple[Reference, ...]) -> tuple[Attachment, ...]:
        """Every file of the message, in the order of its parts, joined with the manifest's lines."""
        joiner, read = Joiner.over(references), []
        ids: set[str] = set()
        for position, content in enumerate(self._files.found, 1):
            attachment = _attachment(self._heads[content.element], content, joiner, self._notes, position)
            read.append(tell_apart(attachment, ids, content.element, self._notes))
        return tuple(read)

    # What Multipart calls:

    def begin(self, head: PartHead, offset: int) -> None:
        """A part begins: the root's XML, or a file."""
        if head.media_type.startswith("multipart/"):
            raise Refusal("edxml.mime_nested", line=head.line, media_type=head.media_type[:80])
        element = etree.SubElement(self.parts, "part")
        etree.SubElement(element, "AttachmentName").text = head.name
        self._heads[element] = self._head = head
        start = self._multipart.start
        if self._root is None and head.content_id == start if start else len(self.parts) == 1:
            self._root_decoder = new_decoder(head.transfer)
            self._xml = Splitter(
                limits=self._limits,
                contents=_NoContents(),
                repaired=self._repaired,
                first_line=self._multipart.line,
            )
        else:
            self._files.begin_file(element, offset, head.line, head.transfer)

    def write(self, content: bytes) -> None:
        """The part's next bytes."""
        assert self._head is not None
        if self._head.is_ascii and not content.isascii():
            self._repaired("mime_encoding_undeclared", self._head.line)
        if self._root_decoder is None:
            self._files.write(content)
        else:
            self._give_root(self._root_decoder, content)

    def end(self, offset: int) -> None:
        """The part is complete."""
        if self._root_decoder is None:
            self._files.end(offset)
            return
        self._give_root(self._root_decoder, None)
        self._root_decoder = None

    def _give_root(self, decoder: Decoder, content: bytes | None) -> None:
        """The next bytes of the root part, None after the last."""
        assert self._xml is not None
        assert self._head is not None
        try:
            text = decoder.finish() if content is None else decoder.decode(content)
        except Garbage:
            raise Refusal("edxml.mime_root_garbage", line=self._head.line, encoding=self._head.transfer) from None
        self._xml.feed(text)
        if content is None:
            self._root = self._xml.close()
            if _lies(self._head.charset, self._xml.encoding):
                self._repaired("encoding_misdeclared", self._head.line)
            _require_envelope(self._root, self.line_of(self._root))
            _drop_namespaces(self._root)
            manifest = next(_find_manifests(_child(self._root, "Body")), None)
            quiet = Notes(self._limits)  # read aloud once the whole message is there
            self._joiner = Joiner.over(read_references(manifest, quiet))

    def _describe(self, element: Element, position: int) -> tuple[str, str]:
        head = self._heads[element]
        line = self._joiner.line_for(_own_id(head, self._joiner), head.name, position)
        return (line.name if line else "") or head.name, head.media_type or (line.content_type if line else "")

    def _repaired(self, name: str, line: int) -> None:
        """Once per line, however many pieces show it."""
        if (name, line) not in self._told:
            self._told.add((name, line))
            self._notes.repaired_on(name, line)


def _lies(charset: str, encoding: str) -> bool:
    """Whether a part's header names another character set than that of its bytes (`Splitter.encoding`)."""
    if encoding:
        return bool(charset) and not is_named_rightly(charset, encoding)
    return charset not in _UTF8


class _NoContents:
    """No file stands in the envelope."""

    def begin(self, element: Element, offset: int, line: int, encoding: str = "") -> None:
        _require_envelope(element.getroottree().getroot(), line)
        raise Refusal("edxml.attachment_misplaced", line=line)

    def begin_section(self, offset: int) -> None:
        raise AssertionError

    def write(self, text: bytes) -> None:
        raise AssertionError

    def end(self, offset: int) -> None:
        raise AssertionError


def _require_envelope(root: Element, line: int | None) -> None:
    namespace, _, name = root.tag.rpartition("}")  # half read it may have a prefix that no QName takes
    if namespace.removeprefix("{") not in SOAP:
        raise Refusal("edxml.mime_root_unknown", line=line, name=name[:80])


def _own_id(head: PartHead, joiner: Joiner) -> str:
    """The id by which the manifest knows a part: its Content-ID, or its Content-Location."""
    if head.location in joiner.by_id and head.content_id not in joiner.by_id:
        return head.location
    return head.content_id


def _attachment(head: PartHead, content: Content, joiner: Joiner, notes: Notes, position: int) -> Attachment:
    element = content.element
    own_id = _own_id(head, joiner)
    line = joiner.line_for(own_id, head.name, position)
    if not own_id:
        notes.repaired("attachment_id_missing", element)
    name = (line.name if line else "") or head.name
    if not name:
        notes.repaired("attachment_name_missing", element)
        name = f"tep-{position}"
    listed_type = line.content_type if line else ""
    content_type = head.media_type or listed_type
    note_content(element, content, content_type, name, notes)
    if (listed_type and listed_type.lower() != content_type) or lies(content_type, content):
        notes.repaired("content_type_mismatch", element)
    return content.as_attachment(
        position,
        name=name,
        content_id=own_id or (line.content_id.removeprefix("cid:") if line else "") or str(position),
        content_type=true_type(content_type, content, name),
        description=line.description if line else "",
    )


def unwrap(root: Element, notes: Notes) -> Blocks:
    """The blocks of an envelope whose tree is `root`, brought to the names of QCVN 102:2016."""
    _drop_namespaces(root)
    notes.repaired("soap_envelope", root)
    header, body = notes.only(root, "Header"), notes.only(root, "Body")
    fault = _child(body, "Fault")
    if fault is not None:
        notes.error("edxml.soap_fault", fault, text=" ".join("".join(fault.itertext()).split())[:200])
    for block in () if header is None else header:
        if local_name(block) not in _UNDERSTOOD and _must_be_understood(block):
            notes.error("edxml.soap_not_understood", block, name=local_name(block)[:120])
    errors = _child(header, "ErrorList")
    if errors is not None and len(errors):
        notes.warn("edxml.soap_errors_listed", errors, count=len(errors))
    message, trace = notes.only(header, "MessageHeader"), notes.only(header, "TraceHeaderList")
    if message is not None:
        _derive_document_id(message, notes)
        _rename_message(message, notes)
    for hop in () if trace is None else trace:
        _flatten_hop(hop, notes)
    manifests = list(_find_manifests(body))
    for other in manifests[1:2]:  # whoever reads another one than we joins the files to other names
        notes.error("edxml.element_repeated", other, name="Manifest")
    return Blocks(header if header is not None else root, message, trace, manifests[0] if manifests else None)


def _drop_namespaces(root: Element) -> None:
    """Names of the envelope and of e-doc.vn become bare, which counts as ours; a reference gets its id as text."""
    for element in root.iter("*"):
        namespace, _, name = element.tag.rpartition("}")
        if namespace.removeprefix("{") in (E_DOC, *SOAP):
            element.tag = name
        if local_name(element) == "Reference" and _HREF in element.attrib and _child(element, "ContentId") is None:
            etree.SubElement(element, "ContentId").text = unquote(element.attrib[_HREF])


def _must_be_understood(block: Element) -> bool:
    return any(block.get("{" + namespace + "}mustUnderstand") in ("1", "true") for namespace in SOAP)


def _find_manifests(body: Element) -> Iterator[Element]:
    """Every manifest in the body, or in a call that stands in the body: first those of the body itself."""
    for parent in (body, *(() if body is None else body)):
        for child in () if parent is None else parent:
            if local_name(child) in ("Manifest", "edXMLManifest"):
                yield child


def _derive_document_id(message: Element, notes: Notes) -> None:
    """Software of 2014 knew no DocumentId: by custom it is issuer, day and number of the document."""
    if _child(message, "DocumentId") is not None:
        return
    promulgation, code = _child(message, "PromulgationInfo"), _child(message, "Code")
    organ = _text(_child(_child(message, "From"), "OrganId"))
    day = parse_day(_text(_child(promulgation, "PromulgationDate")) or _text(_child(promulgation, "Date")))
    number, notation = _text(_child(code, "CodeNumber")), _text(_child(code, "CodeNotation"))
    if organ and day and number and notation:
        etree.SubElement(message, "DocumentId").text = f"{organ},{day:%Y/%m/%d},{number}/{notation}"
        notes.repaired("document_id_derived", message)


def _rename_message(message: Element, notes: Notes) -> None:
    """Author, Function, Date and type, as the drafts of 2014 had them."""
    renamed = _rename(_child(message, "PromulgationInfo"), {"Date": "PromulgationDate"})
    author, kind = _child(message, "Author"), _child(message, "type")
    renamed |= _rename(author, {"Function": "Position"})
    renamed |= _rename(kind, {"value": "Type", "description": "TypeName"})
    renamed |= _rename(message, {"Author": "SignerInfo", "type": "DocumentType"})
    if renamed:
        notes.repaired("soap_old_names", message)


def _rename(parent: Element, names: dict[str, str]) -> bool:
    """Whether a child was renamed."""
    renamed = False
    for child in () if parent is None else parent:
        if (name := names.get(local_name(child))) is not None:
            child.tag = name
            renamed = True
    return renamed


def _flatten_hop(hop: Element, notes: Notes) -> None:
    """Sender and Receiver of a hop, as ebXML had them: the sender's OrganId is the hop's."""
    sender, receiver = _child(hop, "Sender"), _child(hop, "Receiver")
    if sender is None and receiver is None:
        return
    organ = _child(sender, "OrganId")
    for gone in (sender, receiver):
        if gone is not None:
            hop.remove(gone)
    if organ is not None and _child(hop, "OrganId") is None:
        hop.append(organ)
    notes.repaired("soap_old_names", hop)


def _child(parent: Element, name: str) -> Element:
    for child in () if parent is None else parent:
        if local_name(child) == name:
            return child
    return None


def _text(element: Element) -> Any:
    return "" if element is None or element.text is None else element.text.strip()
