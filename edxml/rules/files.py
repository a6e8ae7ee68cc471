"""Manifest and attachments: each file listed, each line with its file, names that every system can keep."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date

from edxml.codes import BusinessKind
from edxml.findings import Severity
from edxml.packet import Packet
from edxml.rules.examples import document, file, line
from edxml.rules.places import ATTACHMENTS, MANIFEST
from edxml.rules.rule import FINE, Breach, at, document_rule

__all__ = ["NAME_BYTES", "RULES"]

_BODY = "QCVN 102:2016/BTTTT, edXMLManifest"
_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]|\A\.{1,2}\Z")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
NAME_BYTES = 255
"""Bytes of UTF-8 that a file's name may have on the file systems in use."""


def _with_files(*names: str) -> Packet:
    listed = tuple(enumerate(names, 1))
    return document(
        references=tuple(line(position, name) for position, name in listed),
        attachments=tuple(file(position, name) for position, name in listed),
    )


@document_rule(Severity.WARNING, _BODY, bad=document(references=()))
def reference_missing(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Every attachment has its line in the manifest."""
    names = {reference.name for reference in packet.references}
    unnamed = [attachment for attachment in packet.attachments if attachment.name not in names]
    if not unnamed:
        return FINE
    ids = {reference.content_id.removeprefix("cid:") for reference in packet.references}
    return tuple(
        at(f"{ATTACHMENTS}/Attachment[{attachment.position}]", name=attachment.name[:200])
        for attachment in unnamed
        if attachment.content_id not in ids
    )


@document_rule(Severity.ERROR, _BODY, bad=document(references=(line(1, "van-ban.pdf"), line(2, "phu-luc.pdf"))))
def reference_dangling(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Every line of the manifest has its file."""
    names = {attachment.name for attachment in packet.attachments}
    unnamed = [line for line in enumerate(packet.references, 1) if line[1].name not in names]
    if not unnamed:
        return FINE
    ids = {attachment.content_id for attachment in packet.attachments}
    return tuple(
        at(f"{MANIFEST}/Reference[{position}]", name=reference.name[:200])
        for position, reference in unnamed
        if reference.content_id.removeprefix("cid:") not in ids
    )


@document_rule(
    Severity.WARNING, "QĐ 28/2018/QĐ-TTg điều 4: what replaces paper is the signed file",
    bad=document(attachments=(), references=()),
)  # fmt: skip
def attachment_missing(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Văn bản mới carries at least one file."""
    if packet.attachments or packet.references or packet.business_kind is not BusinessKind.NEW:
        return FINE
    return (at(ATTACHMENTS),)


@document_rule(
    Severity.WARNING, "practice: receiving systems keep only the last of them", bad=_with_files("a.pdf", "a.pdf"),
    good=_with_files("a.pdf", "b.pdf"),
)  # fmt: skip
def attachment_name_repeated(packet: Packet, today: date) -> tuple[Breach, ...]:
    """No two files have one name."""
    if len(packet.attachments) < 2:
        return FINE
    counts = Counter(attachment.name.casefold() for attachment in packet.attachments)
    seen: set[str] = set()
    found = []
    for attachment in packet.attachments:
        name = attachment.name.casefold()
        if counts[name] > 1 and name in seen:
            path = f"{ATTACHMENTS}/Attachment[{attachment.position}]/AttachmentName"
            found.append(at(path, name=attachment.name[:200]))
        seen.add(name)
    return tuple(found)


@document_rule(
    Severity.WARNING, "practice: file systems hold names of 255 bytes",
    bad=_with_files("ă" * 126 + ".pdf"), good=_with_files("ă" * 125 + ".pdf"),
)  # fmt: skip
def attachment_name_long(packet: Packet, today: date) -> tuple[Breach, ...]:
    """A file's name fits a file system."""
    return tuple(
        [
            at(f"{ATTACHMENTS}/Attachment[{attachment.position}]/AttachmentName", length=length, limit=NAME_BYTES)
            for attachment in packet.attachments
            if len(attachment.name) > NAME_BYTES // 4
            and (length := len(attachment.name.encode("utf-8", "replace"))) > NAME_BYTES
        ]
    )


def _shown(name: str) -> str:
    """Characters that nobody sees by their number, all others as they are."""
    return "“" + _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", name[:100]) + "”"


@document_rule(Severity.WARNING, "practice: names become paths in receiving systems", bad=_with_files("../van-ban.pdf"))
def attachment_name_unsafe(packet: Packet, today: date) -> tuple[Breach, ...]:
    """A file's name is no path and has no characters that steer: none that turn the order of letters round either."""
    return tuple(
        [
            at(f"{ATTACHMENTS}/Attachment[{attachment.position}]/AttachmentName", name=_shown(attachment.name))
            for attachment in packet.attachments
            if _UNSAFE.search(attachment.name)
        ]
    )


RULES = (
    reference_missing, reference_dangling, attachment_missing, attachment_name_repeated, attachment_name_long,
    attachment_name_unsafe,
)  # fmt: skip
