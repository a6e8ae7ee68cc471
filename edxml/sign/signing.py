"""Signing a packet: one enveloped signature over the whole packet, at the end of its header.

The bytes of the packet stay as they are; the signature is put between two of them.  What is digested is everything but
the signature itself, attachments included, so there is nothing that could be exchanged unseen, and any XML-DSig
software can check it.  Memory does not grow with attachments: `edxml.sign._skeleton` tells how.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import BinaryIO, Final

from edxml._mime import is_multipart, take_opening
from edxml._notes import NAMESPACE
from edxml.errors import EdxmlError
from edxml.findings import Finding, Refusal
from edxml.limits import DEFAULT_LIMITS, PIECE, Limits
from edxml.messages import Language, text
from edxml.sign._arithmetic import make_signature
from edxml.sign._references import ids_of
from edxml.sign._skeleton import Skeleton, read_skeleton
from edxml.sign.algorithms import DigestAlgorithm
from edxml.sign.signer import Signer
from edxml.sign.verdicts import Form

__all__ = ["SigningRefused", "TimeStamper", "copy_with", "end_tags", "read_tidy", "sign_packet"]

TimeStamper = Callable[[bytes], bytes]
"""Gives the RFC 3161 TimeStampToken (DER, the CMS structure without the TimeStampResp around it) over the SHA-256 of
the bytes it is given. It may ask an authority over the network: that is the caller's business, and may take minutes."""

_HEADER: Final = f"{{{NAMESPACE}}}edXMLEnvelope/{{{NAMESPACE}}}edXMLHeader"
_ENDS: Final = re.compile(
    rb"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>|</(?:[^\s<>/:]+:)?(?P<name>[^\s<>/:]+)[ \t\r\n]*>", re.DOTALL
)


class SigningRefused(EdxmlError):
    """The packet cannot be signed; `reason` is one of a closed list with a text each, `detail` what reading found."""

    code = "edxml.signing_refused"

    def __init__(self, reason: str, *, detail: str | Finding = "") -> None:
        self.reason = f"signing.{reason}"
        self.detail = detail
        super().__init__(reason=self._reason(Language.EN))

    def text(self, language: Language) -> str:
        """Why it cannot be signed and what to do, in `language`."""
        return text(self.code, language, {"reason": self._reason(language)})

    def _reason(self, language: Language) -> str:
        detail = self.detail.text(language) if isinstance(self.detail, Finding) else self.detail
        return text(self.reason, language, {"detail": detail})


def sign_packet(
    stream: BinaryIO,
    out: BinaryIO,
    signer: Signer,
    *,
    signing_time: datetime | None = None,
    form: Form = Form.BES,
    digest_algorithm: DigestAlgorithm = DigestAlgorithm.SHA256,
    time_stamper: TimeStamper | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> None:
    """Write the packet of `stream` (which must be able to seek) to `out` with a signature as last child of its header.

    `signing_time` (aware, now where None) is what the signer claims; seconds are kept.  Form.T asks `time_stamper`
    for a token once the signature is made.  A repeat gives another signature (ids are drawn, ECDSA is randomised):
    keep the first.  Raises SigningRefused: not readable, signed already, without a header to sign in; `out` is then
    untouched.
    """
    if (form is Form.T) is not (time_stamper is not None):
        raise SigningRefused("time_stamper_missing" if form is Form.T else "time_stamper_unused")
    packet = _readable(stream, limits)
    place = _place(packet, limits)
    moment = None if form is Form.PLAIN else signing_time or datetime.now(UTC)
    signature = make_signature(
        packet,
        packet.root.find(_HEADER),
        signer,
        digest_algorithm,
        signing_time=moment,
        time_stamper=time_stamper,
    )
    copy_with(stream, out, place, signature)


def _readable(stream: BinaryIO, limits: Limits) -> Skeleton:
    packet = read_tidy(stream, limits)
    if packet.root.tag != f"{{{NAMESPACE}}}edXML":
        raise SigningRefused("no_header")
    if ids_of(packet.root):  # signxml would sign the root by its id, and not the whole packet
        raise SigningRefused("root_named")
    if next(packet.root.iter("{*}Signature"), None) is not None:
        raise SigningRefused("signed_already")
    return packet


def read_tidy(stream: BinaryIO, limits: Limits) -> Skeleton:
    """The packet to put something into. Raises SigningRefused where its bytes are not those that its XML means."""
    try:
        stream.seek(0)
        if is_multipart(take_opening(iter(lambda: stream.read(PIECE), b""))):
            raise SigningRefused("soap_message")
        packet = read_skeleton(stream, limits)
    except Refusal as refusal:
        raise SigningRefused("packet_unreadable", detail=refusal.finding) from None
    if not packet.is_tidy:
        raise SigningRefused("packet_untidy")
    return packet


def _place(packet: Skeleton, limits: Limits) -> int:
    """The offset of the header's end tag."""
    ends = end_tags(packet, "edXMLHeader", limits)
    if len(packet.root.findall(_HEADER)) != 1 or len(list(packet.root.iter("{*}edXMLHeader"))) != 1 or len(ends) != 1:
        raise SigningRefused("no_header")
    return ends[0]


def end_tags(packet: Skeleton, name: str, limits: Limits) -> list[int]:
    """The offsets of all end tags of that local name before the first attachment.

    In well-formed XML a "<" opens markup, so walking over markup finds them.
    """
    reach = packet.holes[0] if packet.holes else min(packet.size, limits.header + PIECE)
    packet.stream.seek(0)
    head = packet.stream.read(reach)
    return [found.start() for found in _ENDS.finditer(head) if found["name"] == name.encode()]


def copy_with(stream: BinaryIO, out: BinaryIO, place: int, inserted: bytes) -> None:
    """Write all of `stream` to `out`, with `inserted` at that offset."""
    stream.seek(0)
    left = place
    while left:
        piece = stream.read(min(left, PIECE))
        out.write(piece)
        left -= len(piece)
    out.write(inserted)
    while piece := stream.read(PIECE):
        out.write(piece)
