"""The two digests of a packet: of its bytes as sent (wire digest), and of what it says (fingerprint)."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from datetime import date

from edxml.codes import BusinessKind
from edxml.ids import DocumentId, OrganId
from edxml.packet import Packet, ResponseFor

__all__ = ["WireHasher", "fingerprint", "wire_digest"]


class WireHasher:
    """SHA-256 of a packet's bytes as they come, without the one CRLF that the national client appends.

    `size` counts every byte given, that CRLF included.  `hexdigest` may be asked for at any time.
    """

    __slots__ = ("_held", "_sha", "size")

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self._held = b""
        self.size = 0

    def update(self, piece: bytes) -> None:
        """Take the next bytes, any number of them."""
        self.size += len(piece)
        if self._held:
            piece = self._held + piece
            self._held = b""
        if piece.endswith(b"\r\n"):
            self._sha.update(memoryview(piece)[:-2])
            self._held = b"\r\n"
        elif piece.endswith(b"\r"):
            self._sha.update(memoryview(piece)[:-1])
            self._held = b"\r"
        else:
            self._sha.update(piece)

    def hexdigest(self) -> str:
        """The digest of all that came, in lower-case hex."""
        is_lone = self._held == b"\r"  # at the end it belongs to the packet
        return self.whole_hexdigest() if is_lone else self._sha.hexdigest()

    def whole_hexdigest(self) -> str:
        """SHA-256 of every byte that came, a last CRLF included, in lower-case hex."""
        if not self._held:
            return self._sha.hexdigest()
        whole = self._sha.copy()
        whole.update(self._held)
        return whole.hexdigest()


def wire_digest(packet: bytes) -> str:
    """The wire digest of a whole packet in memory: SHA-256 without one trailing CRLF, lower-case hex."""
    hasher = WireHasher()
    hasher.update(packet)
    return hasher.hexdigest()


def fingerprint(packet: Packet) -> str:
    """SHA-256 (hex) of what the packet says: equal for the same document that came by another route (protocol.md §12).

    Over the normalised header without `To` and without From's contact fields, the business block, and the digests of
    the decoded, unzipped attachments in any order; without trace and signature.  Texts count in NFC with blanks
    collapsed.  The person in StaffInfo is contact data and does not count.  Of a business block that says "new"
    only that counts: the national axis drops such blocks.
    """
    said = [
        *_header(packet),
        *_business(packet),
        sorted(attachment.digest for attachment in packet.attachments),
    ]
    return hashlib.sha256(_as_json(said).encode()).hexdigest()


_as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


_Said = list[str | list[str] | list[list[str]]]


def _header(packet: Packet) -> _Said:
    other = packet.other
    return [
        _organ(packet.sender.organ_id),
        packet.document_id.folded,
        _norm(packet.code_number),
        _norm(packet.code_notation),
        _norm(packet.promulgation_place),
        _day(packet.promulgation_date),
        _norm(packet.type),
        _norm(packet.type_detail),
        _norm(packet.type_name),
        _norm(packet.subject),
        _norm(packet.content),
        _norm(packet.signer_competence),
        _norm(packet.signer_position),
        _norm(packet.signer_name),
        _day(packet.due_date),
        str(int(packet.priority)),
        [_norm(place) for place in packet.to_places],
        _norm(other.sphere),
        _norm(other.typer_notation),
        str(other.promulgation_amount),
        str(other.page_amount),
        str(other.direction),
        [_norm(line) for line in other.appendixes],
        _norm(other.reply_fors),
        _norm(other.reference_codes),
        [_response(answered) for answered in packet.response_for],
        str(packet.steering_type and int(packet.steering_type)),
        [_norm(task) for task in packet.tasks],
        _norm(packet.application_type),
    ]


def _business(packet: Packet) -> _Said:
    if packet.business_kind is BusinessKind.NEW:
        return [BusinessKind.NEW.wire]
    return [
        packet.business_kind.wire,
        _norm(packet.business_reason),
        _document(packet.business_document_id),
        str(packet.document_changed),
        str(packet.receivers_changed),
        [[change.organ_id.canonical, str(change.added)] for change in packet.receiver_changes],
        [
            [replaced.document_id.folded, *(organ.canonical for organ in replaced.organ_ids)]
            for replaced in packet.replacements
        ],
        str(packet.paper),
    ]


def _response(answered: ResponseFor) -> list[str]:
    return [
        _organ(answered.organ_id),
        _norm(answered.code),
        _day(answered.promulgation_date),
        _document(answered.document_id),
    ]


def _norm(text: str) -> str:
    if text.isascii():
        return " ".join(text.split())
    return " ".join(unicodedata.normalize("NFC", text).split())


def _day(day: date | None) -> str:
    return "" if day is None else day.isoformat()


def _organ(organ: OrganId | None) -> str:
    return "" if organ is None else organ.canonical


def _document(document: DocumentId | None) -> str:
    return "" if document is None else document.folded
