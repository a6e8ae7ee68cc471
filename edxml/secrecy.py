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

from edxml.findings import Finding
from edxml.packet import Attachment, Packet, Reference, StatusPacket

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
    """One finding per (rule, field) that shows a mark of secrecy."""
    return scan_texts(packet_texts(packet))


def scan_texts(texts: Iterator[tuple[str, str]]) -> tuple[Finding, ...]:
    """The same over (field, text) pairs; field names as in the rules."""
    composed = ((name, unicodedata.normalize("NFC", text)) for name, text in texts if text)
    suspects = [(name, text) for name, text in composed if _HINT.search(text) or name == _ALWAYS]
    if not suspects:
        return ()
    passes, marks = _rules()
    found: dict[tuple[str, str], Finding] = {}
    for name, text in suspects:
        text = _with_single_blanks(text)
        for allowed in passes:
            text = allowed.sub("\N{MIDDLE DOT}", text)
        for mark in marks:
            if name in mark.fields and mark.pattern.search(text):
                params = {"rule": mark.id, "field": name, "degree": mark.degree, "source": mark.source}
                found.setdefault((mark.id, name), Finding(code=CODE, params=params))
    return tuple(found.values())


def _with_single_blanks(text: str) -> str:
    """One blank between words, no empty lines: marks look the same, and long runs of blanks cost no pattern time."""
    return "\n".join(filter(None, (" ".join(line.split()) for line in text.splitlines())))


def packet_texts(packet: Packet | StatusPacket) -> Iterator[tuple[str, str]]:
    """Every text of a packet in which a clerk may put a mark, with its field's name."""
    if isinstance(packet, StatusPacket):
        yield "description", packet.description
        return
    yield "subject", packet.subject
    yield "content", packet.content
    yield "type_name", packet.type_name
    yield "code_notation", packet.code_notation
    yield "sphere", packet.other.sphere
    yield "typer_notation", packet.other.typer_notation
    yield "secret", packet.other.secret
    yield "business_reason", packet.business_reason
    for line in packet.other.appendixes:
        yield "appendix", line
    for place in packet.to_places:
        yield "to_place", place
    files: tuple[Attachment | Reference, ...] = (*packet.attachments, *packet.references)
    for file in files:
        yield "attachment_name", file.name
        yield "attachment_description", file.description


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
