"""A packet's tree without its attachments, and canonical digests of it as if they were there.

Canonical XML is linear: the canonical form of the packet is that of its markup, with the text of each attachment at
its place.  So the markup (some kilobytes) is canonicalised by libxml2 with an unguessable token in every hole, and the
text is hashed in from the stream as it goes by.  The digest is the one that any XML-DSig software computes over the
whole packet, in the memory of its markup, at the speed of reading and hashing.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from lxml import etree

from edxml._body import describe
from edxml._content import Contents
from edxml._utf16 import Recoder
from edxml._xml import Element, Splitter
from edxml.digests import WireHasher
from edxml.findings import Refusal
from edxml.limits import PIECE, Limits
from edxml.sign.algorithms import Canonicalization, DigestAlgorithm, new_hash
from edxml.sign.verdicts import CheckRefusal, SignedFile, Verdict

__all__ = ["Skeleton", "read_skeleton"]

_XML: Final = "{http://www.w3.org/XML/1998/namespace}"
_REFERENCE: Final = re.compile(rb"&#(?:0*(\d{1,2})|x0*([0-9a-fA-F]{1,2}));")
_CDATA: Final = b"<![CDATA["
_CDATA_END: Final = b"]]>"
_LONGEST_REFERENCE: Final = 64
_DIGITS: Final = 6  # of the number behind a token


class _Holes(Contents):
    """Notes where each text begins, beside what reading a packet notes of it."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits=limits, sink=None, describe=describe)
        self.places: list[tuple[Element, int]] = []
        self._began = 0
        self._element: Element = None

    def begin(self, element: Element, offset: int, line: int, encoding: str = "") -> None:
        """The text of `element` begins at `offset`."""
        super().begin(element, offset, line, encoding)
        self._element, self._began = element, offset

    def end(self, offset: int) -> None:
        """The text ended before `offset`."""
        super().end(offset)
        if offset > self._began:
            self.places.append((self._element, self._began))


@dataclass(frozen=True, slots=True, kw_only=True)
class Skeleton:
    """A packet as it is digested. `stream` is read again for every digest over an attachment."""

    root: Element
    stream: BinaryIO
    holes: Sequence[int]  #: offset at which the text of each attachment begins
    token: bytes
    contents: Sequence[Element]  #: the element around each attachment's text, also where there is none
    files: tuple[SignedFile, ...]
    wire_digest: str
    size: int
    encoding: str  #: of its bytes, where they are not UTF-8
    is_tidy: bool  #: UTF-8, nothing stands before `<?xml`, and the encoding is as declared

    def digest(self, text: bytes, algorithm: DigestAlgorithm) -> bytes:
        """The digest of a canonical text, with every attachment's text in place of its token."""
        hashed = new_hash(algorithm)
        first, *others = text.split(self.token)
        hashed.update(first)
        for other in others:
            for part in _canonical_text(self.stream, self.holes[int(other[:_DIGITS])], self.encoding):
                hashed.update(part)
            hashed.update(other[_DIGITS:])
        digest: bytes = hashed.digest()
        return digest

    def canonical(self, apex: Element | None, form: Canonicalization, *, prefixes: Sequence[str] = ()) -> bytes:
        """The canonical form of `apex` and all below it (None: the whole document), without comments, with tokens.

        Raises CheckRefusal where it cannot be computed.
        """
        self.check_computable(apex, form, prefixes)
        whole = self.root.getroottree() if apex is None else _apart(apex)
        kind: dict[str, Any] = {"inclusive_ns_prefixes": list(prefixes)} if form is Canonicalization.EXCLUSIVE else {}
        try:
            text: bytes = etree.tostring(
                whole, method="c14n", exclusive=form is Canonicalization.EXCLUSIVE, with_comments=False, **kind
            )
        except (etree.LxmlError, ValueError, RuntimeError) as error:
            raise CheckRefusal(Verdict.NOT_CHECKED, f"canonicalisation: {error}") from None
        return text

    def check_computable(self, apex: Element | None, form: Canonicalization, prefixes: Sequence[str]) -> None:
        """Raises CheckRefusal (NOT_CHECKED) for a canonical form that libxml2 gets wrong or takes minutes for."""
        is_exclusive = form is Canonicalization.EXCLUSIVE
        if apex is not None and not is_exclusive and _inherits(apex):
            raise CheckRefusal(Verdict.NOT_CHECKED, "xml:* attributes above a signed part")
        if (prefixes or not is_exclusive) and _is_crowded(self.root):
            raise CheckRefusal(Verdict.NOT_CHECKED, "too many namespaces")


_MOST_NAMESPACES: Final = 64  # declared above each other; real packets have seven


def _is_crowded(root: Element) -> bool:
    """Whether so many namespaces are in scope somewhere that an inclusive form takes minutes.

    libxml2 compares all in scope with each other at every element: 2,000 of them in 70 KB cost 48 seconds.
    """
    scope = 0
    for event, _ in etree.iterwalk(root, events=("start-ns", "end-ns")):
        scope += 1 if event == "start-ns" else -1
        if scope > _MOST_NAMESPACES:
            return True
    return False


_PARSER: Final = {"resolve_entities": False, "no_network": True, "load_dtd": False, "remove_comments": True}


def _apart(apex: Element) -> Any:
    """A document of its own with `apex` as root and every namespace in scope there declared on it.

    libxml2 through lxml canonicalises a whole document rightly, but puts `xmlns=""` into an element of a larger one
    where a default namespace is declared above it.
    """
    text = etree.tostring(apex, with_tail=False, encoding="utf-8")  # ASCII breaks names like Ghi_chú
    return etree.fromstring(text, etree.XMLParser(**_PARSER)).getroottree()


def _inherits(apex: Element) -> bool:
    """Whether ancestors bear xml:lang and the like, which inclusive forms pass down and libxml2's copy does not."""
    return any(name.startswith(_XML) for above in apex.iterancestors() for name in above.attrib)


def read_skeleton(stream: BinaryIO, limits: Limits) -> Skeleton:
    """The packet's markup, read from `stream` (which must be able to seek) by the one hardened parser.

    Raises edxml._xml.Refusal as reading a packet does.
    """
    hasher = WireHasher()
    holes = _Holes(limits)
    repairs: list[str] = []
    splitter = Splitter(
        limits=limits, contents=holes, repaired=lambda name, line: repairs.append(name), keep_instructions=True
    )
    stream.seek(0)
    while piece := stream.read(PIECE):
        hasher.update(piece)
        if hasher.size > limits.packet:
            raise Refusal("edxml.packet_too_large", limit=limits.packet)
        splitter.feed(piece)
    root = splitter.close()
    token = f"hole-{secrets.token_hex(16)}-"
    for index, (element, _) in enumerate(holes.places):
        element.text = f"{token}{index:0{_DIGITS}d}"
    return Skeleton(
        root=root,
        stream=stream,
        holes=[offset for _, offset in holes.places],
        token=token.encode(),
        contents=[content.element for content in holes.found],
        files=tuple(SignedFile(digest=content.digest, length=content.length) for content in holes.found),
        wire_digest=hasher.hexdigest(),
        size=hasher.size,
        encoding=splitter.encoding,
        is_tidy=not {"junk_before_prolog", "encoding_misdeclared", "utf16"} & set(repairs),
    )


def _canonical_text(stream: BinaryIO, start: int, encoding: str) -> Iterator[bytes]:
    """The text at `start` up to its end tag, as Canonical XML writes it.

    What stands there was read once and is base64, blanks, line ends, references to blanks, perhaps in one CDATA
    section (edxml._content refuses all else), so there is nothing else to escape.
    """
    held, was_section = b"", False
    for piece, is_section in _runs(_pieces(stream, start, encoding)):
        if held and is_section is not was_section:
            yield _normal(held, is_section=was_section)
            held = b""
        text, was_section = held + piece, is_section
        whole = _whole(text, is_section=is_section)
        yield _normal(text[:whole], is_section=is_section)
        held = text[whole:]
    yield _normal(held, is_section=was_section)


def _pieces(stream: BinaryIO, start: int, encoding: str) -> Iterator[bytes]:
    """The packet from `start` on, in UTF-8."""
    stream.seek(start)
    recoder = Recoder(encoding) if encoding else None
    while piece := stream.read(PIECE):
        yield piece if recoder is None else recoder.recode(piece)


def _runs(pieces: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """The text in pieces, each with whether it stands in a CDATA section."""
    buffer, is_section = b"", False
    for piece in pieces:
        buffer += piece
        while True:
            mark = _CDATA_END if is_section else b"<"
            end = buffer.find(mark)
            if end < 0:
                end = max(0, len(buffer) - len(mark) + 1)
                yield buffer[:end], is_section
                buffer = buffer[end:]
                break
            yield buffer[:end], is_section
            buffer = buffer[end:]
            if not is_section:
                if len(buffer) < len(_CDATA) and _CDATA.startswith(buffer):
                    break
                if not buffer.startswith(_CDATA):
                    return
            buffer = buffer[len(_CDATA_END if is_section else _CDATA) :]
            is_section = not is_section


def _whole(text: bytes, *, is_section: bool) -> int:
    """How much of `text` can be written without what comes after it: all but an unfinished reference or line end."""
    if text.endswith(b"\r"):
        return len(text) - 1
    opening = -1 if is_section else text.rfind(b"&", max(0, len(text) - _LONGEST_REFERENCE))
    return opening if opening >= 0 and text.find(b";", opening) < 0 else len(text)


def _normal(text: bytes, *, is_section: bool) -> bytes:
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"&" in text:
        text = text.replace(b"&", b"&amp;") if is_section else _REFERENCE.sub(_referred, text)
    return text


def _referred(found: re.Match[bytes]) -> bytes:
    code = int(found[1]) if found[1] else int(found[2], 16)
    return b"&#xD;" if code == 13 else bytes((code,))
