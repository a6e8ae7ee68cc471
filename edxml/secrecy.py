"""Marks of state secrecy (dấu chỉ độ mật) in a packet's texts. Such a packet may not travel: refuse it, keep no body.

The rules are data (`data/secrecy_marks.toml`).  A finding names its rule and the field and never quotes the text.
What cannot be seen: the header of QCVN 102 has no field for a degree of secrecy, and what is stamped on the pages
of an attachment is not looked at here.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from edxml.findings import Finding, Place
from edxml.packet import Packet, StatusPacket
from edxml.rules.places import ATTACHMENTS, BUSINESS, HEADER, MANIFEST

__all__ = ["CODE", "SecrecyMark", "find_marks", "packet_texts", "scan_texts"]

CODE = "edxml.secrecy_mark"
_HINT = re.compile(r"m(?:[ậẬ]|at)", re.IGNORECASE)
_ALWAYS = "secret"  # holds a degree and nothing else, perhaps as a digit


@dataclass(frozen=True, slots=True, kw_only=True)
class SecrecyMark:
    """One rule: in which fields which pattern is a mark, and by which law."""

    id: str
    degree: str
    fields: frozenset[str]
    pattern: re.Pattern[str]
    source: str


def find_marks(packet: Packet | StatusPacket) -> tuple[Finding, ...]:
    """One finding per (rule, field) that shows a mark of secrecy, at the first element where it does."""
    return scan_texts(packet_texts(packet))


def scan_texts(texts: Iterator[tuple[str, str, str]]) -> tuple[Finding, ...]:
    """The same over (field, text, path of its element); field names as in the rules."""
    said = [one for one in texts if one[1]]
    whole = unicodedata.normalize("NFC", "\n".join([text for _, text, _ in said]))  # most packets have nothing at all
    if not _HINT.search(whole) and all(name != _ALWAYS for name, _, _ in said):
        return ()
    composed = ((name, unicodedata.normalize("NFC", text), path) for name, text, path in said)
    suspects = [one for one in composed if _HINT.search(one[1]) or one[0] == _ALWAYS]
    passes, marks = _rules()
    found: dict[tuple[str, str], Finding] = {}
    for name, text, path in suspects:
        text = _with_single_blanks(text)
        for allowed in passes:
            text = allowed.sub("\N{MIDDLE DOT}", text)
        for mark in marks:
            if name in mark.fields and mark.pattern.search(text):
                params = {"rule": mark.id, "field": name, "degree": mark.degree, "source": mark.source}
                found.setdefault((mark.id, name), Finding(code=CODE, place=Place(path=path), params=params))
    return tuple(found.values())


def _with_single_blanks(text: str) -> str:
    """One blank between words, no empty lines: marks look the same, and long runs of blanks cost no pattern time."""
    return "\n".join(filter(None, (" ".join(line.split()) for line in text.splitlines())))


_OTHER = f"{HEADER}/OtherInfo"


def packet_texts(packet: Packet | StatusPacket) -> Iterator[tuple[str, str, str]]:
    """Every text of a packet in which a clerk may put a mark, with its field's name and its element's path."""
    if isinstance(packet, StatusPacket):
        yield "description", packet.description, f"{HEADER}/Description"
        return
    yield "subject", packet.subject, f"{HEADER}/Subject"
    yield "content", packet.content, f"{HEADER}/Content"
    yield "type_name", packet.type_name, f"{HEADER}/DocumentType/TypeName"
    yield "code_notation", packet.code_notation, f"{HEADER}/Code/CodeNotation"
    yield "sphere", packet.other.sphere, f"{_OTHER}/SphereOfPromulgation"
    yield "typer_notation", packet.other.typer_notation, f"{_OTHER}/TyperNotation"
    yield "secret", packet.other.secret, f"{_OTHER}/Secret"
    yield "business_reason", packet.business_reason, f"{BUSINESS}/BussinessDocReason"
    for line in packet.other.appendixes:
        yield "appendix", line, f"{_OTHER}/Appendixes"
    for place in packet.to_places:
        yield "to_place", place, f"{HEADER}/ToPlaces"
    for attachment in packet.attachments:
        yield "attachment_name", attachment.name, f"{ATTACHMENTS}/Attachment[{attachment.position}]/AttachmentName"
        path = f"{ATTACHMENTS}/Attachment[{attachment.position}]/Description"
        yield "attachment_description", attachment.description, path
    for position, reference in enumerate(packet.references, 1):
        yield "attachment_name", reference.name, f"{MANIFEST}/Reference[{position}]/AttachmentName"
        yield "attachment_description", reference.description, f"{MANIFEST}/Reference[{position}]/Description"


@cache
def _rules() -> tuple[tuple[re.Pattern[str], ...], tuple[SecrecyMark, ...]]:
    data = tomllib.loads(resources.files("edxml").joinpath("data/secrecy_marks.toml").read_text("utf-8"))
    passes = tuple(re.compile(entry["pattern"]) for entry in data["pass"])
    marks = tuple(
        SecrecyMark(
            id=entry["id"],
            degree=entry["degree"],
            fields=frozenset(entry["fields"]),
            pattern=re.compile(entry["pattern"]),
            source=entry["source"],
        )
        for entry in data["mark"]
    )
    return passes, marks
