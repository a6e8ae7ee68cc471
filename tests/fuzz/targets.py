"""What is fuzzed, and what must hold whatever the bytes: each target takes bytes and raises only where a promise broke.

A target knows nothing of who feeds it: atheris (`make fuzz`), the sample of `make test`, or a kept regression.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date

from lxml import etree

from edxml import (
    STRICT,
    Dialect,
    DocumentId,
    DocumentIdMalformed,
    Finding,
    Language,
    OrganId,
    OrganIdMalformed,
    Packet,
    ProfileInvalid,
    ReadResult,
    SealInvalid,
    Severity,
    StatusPacket,
    WriteRefused,
    document_type,
    fingerprint,
    fold_code,
    load_profile,
    open_decoded,
    read,
    sniff,
    validate,
    verify_seal,
    write,
    write_status,
)
from edxml._notes import Notes
from edxml._unzip import SingleEntry, ZipVerdict
from edxml.codes import BusinessKind, fold_name
from edxml.limits import DEFAULT_LIMITS
from edxml.schema import check, is_valid
from edxml.secrecy import scan_texts
from edxml.sign import Policy, Verdict, verify_packet
from tests.fuzz import seeds
from tests.support.certificates import NOW
from tests.support.packets import make_packet

__all__ = ["TARGETS", "TODAY", "Target", "check_files", "check_findings"]

TODAY = date(2025, 9, 2)
LIMITS = replace(DEFAULT_LIMITS, unzipped=8 << 20)
"""The usual limits, but for what a ZIP may give: fuzzing wants many inputs, not large ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One thing to fuzz: `run` raises where a promise is broken, `seeds` are what mutation starts from."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    longest: int = 8192  #: bytes of an input


class Pieces(io.BytesIO):
    """A stream that gives 61 bytes at a time, as a network may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(61)


def read_any(data: bytes) -> None:
    """Any bytes end in a verdict that says where; pieces change nothing; what can be written reads back equal."""
    result = read(io.BytesIO(data), today=TODAY, limits=LIMITS)
    assert read(io.BytesIO(data), today=TODAY, limits=LIMITS) == result, "a shape once known changes the verdict"
    in_pieces = read(Pieces(data), today=TODAY, limits=LIMITS)
    assert (in_pieces.packet, in_pieces.is_refused) == (result.packet, result.is_refused), "pieces change the verdict"
    if not result.is_refused:
        assert (in_pieces.findings, in_pieces.repairs) == (result.findings, result.repairs), "pieces change findings"
    assert result.is_refused or result.is_complete
    assert not result.is_complete or result.size == len(data)
    check_findings(result.findings)
    if isinstance(result.packet, Packet):
        check_files(data, result.packet)
    if result.is_refused:
        return
    if isinstance(result.packet, Packet):
        _check_document(data, result.packet)
    elif result.packet is not None:
        _check_status(result.packet)


_NOWHERE = frozenset(
    f"edxml.{name}"
    for name in (
        "dialect_unsupported", "mime_root_missing", "packet_too_large", "repair_forbidden", "too_deep",
        "too_many_elements",
    )
)  # fmt: skip
"""What is true of a packet as a whole."""


def check_findings(findings: tuple[Finding, ...]) -> None:
    for finding in findings:
        place = finding.place
        assert place.path or place.line is not None or finding.code in _NOWHERE, f"{finding.code} says no place"
        for language in Language:
            assert finding.text(language) != finding.code, f"{finding.code} has no text"


def check_files(data: bytes, packet: Packet) -> None:
    """What is fetched later is what was digested while reading."""
    for attachment in packet.attachments:
        length = sum(map(len, open_decoded(io.BytesIO(data), attachment, limits=LIMITS)))
        assert length == attachment.length, "a file changed its length"


def _check_document(data: bytes, packet: Packet) -> None:
    out = io.BytesIO()
    try:
        write(packet, out, open_attachment=lambda one: open_decoded(io.BytesIO(data), one, limits=LIMITS))
    except WriteRefused:
        return
    again = read(io.BytesIO(out.getvalue()), profile=STRICT, limits=LIMITS)
    _check_no_repair(again)
    assert again.packet == packet, "what was written reads back otherwise"
    assert isinstance(again.packet, Packet)
    assert fingerprint(again.packet) == fingerprint(packet), "the fingerprint changed"


def _check_status(status: StatusPacket) -> None:
    out = io.BytesIO()
    try:
        write_status(status, out)
    except WriteRefused:
        return
    again = read(io.BytesIO(out.getvalue()), profile=STRICT)
    _check_no_repair(again)
    assert again.packet == status, "what was written reads back otherwise"


def _check_no_repair(result: ReadResult) -> None:
    assert result.repairs == (), f"what we write needs {result.repairs[0].name}"


def judge(data: bytes) -> None:
    """The rules never fail on what can be read, say where, and the schema's two paths agree."""
    result = read(io.BytesIO(data), today=TODAY, limits=LIMITS)
    if result.packet is None:
        return
    findings = validate(result.packet, today=TODAY)
    check_findings(findings)
    assert all(finding.place.path for finding in findings)
    explained = [
        finding
        for finding in read(io.BytesIO(data), check_schema=True, limits=LIMITS).findings
        if finding.code.startswith("edxml.schema_")
    ]
    check_findings(tuple(explained))
    if result.dialect is Dialect.D:  # our schema describes the other forms
        return
    parser = etree.XMLParser(encoding="utf-8", resolve_entities=False, remove_comments=True, remove_pis=True)
    text = _as_utf8(data) if "utf16" in {repair.name for repair in result.repairs} else data
    root = etree.fromstring(text[text.index(b"<") :], parser)
    fast = is_valid(root)
    assert bool(explained) is not fast, "the schema's fast path and its explanation differ"
    assert bool(check(root)) is not fast
    assert all(finding.severity is Severity.ERROR for finding in explained)
    assert "edxml.schema_other" not in {finding.code for finding in explained}, "no words for a violation"


def _as_utf8(data: bytes) -> bytes:
    """A packet in UTF-16, which ends in one CR LF at most that is none of its letters."""
    encoding = "utf-16-le" if data[:1] in (b"\xff", b"<") else "utf-16-be"
    return data.removesuffix(b"\r\n").decode(encoding).encode()


def verify_any(data: bytes) -> None:
    """A verdict for any bytes; what is valid says what was signed."""
    policy = Policy.trusting([seeds.authority().certificate])
    verification = verify_packet(io.BytesIO(data), policy=policy, at=NOW, limits=LIMITS)
    for language in Language:
        assert verification.text(language)
    if verification.verdict is Verdict.VALID:
        assert verification.covers_whole
        assert read(io.BytesIO(data)).packet == make_packet(), "a signature vouches for what nobody signed"


def unseal_any(data: bytes) -> None:
    """Nothing but SealInvalid; what verifies was sealed. A first byte 1 to 9 has the rest signed with the right key."""
    certificates = [seeds.seal_key().certificate]
    with suppress(SealInvalid):
        if data[:1].isdigit():
            verify_seal(seeds.seal_anything(data[1:]), certificates=certificates)
        else:
            assert verify_seal(data, certificates=certificates) in seeds.statements(), "a seal nobody made"


_UNPACKER_FAULTS = (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, RuntimeError, EOFError)
"""What another unpacker may say instead of a file: it minds names and versions, which we do not look at."""


def unzip_any(data: bytes) -> None:
    """Pieces change nothing, and what we take for a file alone in its ZIP is what every unpacker finds."""
    whole = _unzip(data, len(data) or 1)
    assert _unzip(data, 7) == whole, "pieces change what is unpacked"
    verdict, file = whole
    if verdict is ZipVerdict.SINGLE:
        with suppress(*_UNPACKER_FAULTS), zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert [archive.read(entry) for entry in archive.infolist()] == [file], "two unpackers find two files"


def _unzip(data: bytes, size: int) -> tuple[ZipVerdict, bytes]:
    out: list[bytes] = []
    entry = SingleEntry(out.append, max_size=LIMITS.unzipped, max_ratio=LIMITS.zip_ratio)
    for start in range(0, len(data), size):
        entry.feed(data[start : start + size])
    verdict = entry.finish()
    return verdict, b"".join(out) if verdict is ZipVerdict.SINGLE else b""


def parse_any(data: bytes) -> None:
    """Ids, dates, codes and profiles out of any text; what was folded once is folded."""
    text = data.decode("utf-8", "replace")
    with suppress(OrganIdMalformed):
        organ = OrganId.parse(text)
        assert OrganId.parse(organ.text) == OrganId.parse(organ.canonical) == organ
        assert OrganId.parse(organ.canonical).canonical == organ.canonical
    with suppress(DocumentIdMalformed):
        document = DocumentId(text)
        assert document.text == text
        assert document.parts is None or document.parts.code
        assert len(document.folded) > 0
    assert fold_code(fold_code(text)) == fold_code(text)
    assert fold_name(fold_name(text)) == fold_name(text)
    document_type(text)
    BusinessKind.from_wire(text)
    sniff(data)
    notes = Notes(LIMITS)
    day, moment = notes.day(text, None), notes.moment(text, None)
    assert text == "" or day is not None or notes.repairs
    assert moment is None or moment.utcoffset() is not None
    number = notes.number(text, None)
    assert number is None or number >= 0
    for field in ("subject", "secret"):
        scan_texts(iter([(field, text, "")]))
    with suppress(ProfileInvalid):
        load_profile(text, "x")


TARGETS: dict[str, Target] = {
    "read": Target(run=read_any, seeds=seeds.packets),
    "judge": Target(run=judge, seeds=seeds.packets),
    "verify": Target(run=verify_any, seeds=seeds.signed_packets),
    "unseal": Target(run=unseal_any, seeds=seeds.seals),
    "unzip": Target(run=unzip_any, seeds=seeds.zips, longest=2048),
    "parse": Target(run=parse_any, seeds=seeds.texts, longest=256),
}
