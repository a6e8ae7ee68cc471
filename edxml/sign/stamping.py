"""A time stamp put onto a signature that is there (XAdES-BES becomes XAdES-T), and how one is asked for (RFC 3161).

A certificate that expires or is revoked takes its signatures with it, unless somebody else proves that they existed
before.  The stamp is over the signature value and stands where no signature covers it, so nothing signed is touched.
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import b64encode
from collections.abc import Callable
from datetime import datetime
from typing import BinaryIO, Final

from edxml._xml import Element
from edxml.limits import DEFAULT_LIMITS, Limits
from edxml.sign import _template as template
from edxml.sign._der import BOOLEAN, INTEGER, OCTETS, OID, SEQUENCE, Node, NotDer, encode, parse
from edxml.sign._references import ids_of
from edxml.sign._structure import XADES, SignatureParts, locate, take_apart
from edxml.sign.algorithms import Canonicalization
from edxml.sign.policy import Policy
from edxml.sign.signing import SigningRefused, TimeStamper, copy_with, end_tags, read_tidy
from edxml.sign.time_stamps import read_time_stamp, token_nonce
from edxml.sign.verdicts import CheckRefusal
from edxml.sign.verifying import verify_packet

__all__ = ["add_time_stamp", "asking"]

_GRANTED: Final = (0, 1)  # granted; granted with modifications (RFC 3161, 2.4.2)
_SHA256: Final = encode(SEQUENCE, encode(OID, bytes.fromhex("608648016503040201")), encode(0x05))


def add_time_stamp(
    stream: BinaryIO, out: BinaryIO, time_stamper: TimeStamper, *, limits: Limits = DEFAULT_LIMITS
) -> datetime:
    """Write the signed packet of `stream` (which must be able to seek) to `out` with a time stamp; gives its moment.

    Only a signature that is right in itself is stamped, whoever made it, and only once: a repeat is refused.  The token
    is checked before it is written.  Raises SigningRefused; `out` is then untouched.
    """
    found = verify_packet(stream, policy=Policy(name="stamping"), limits=limits)
    if not found.signed:
        raise SigningRefused("not_intact", detail=str(found.verdict))
    packet = read_tidy(stream, limits)
    parts = take_apart(locate(packet.root))
    _check_free(parts)
    has_others = next(parts.element.iter(f"{{{XADES}}}UnsignedSignatureProperties"), None) is not None
    ends = end_tags(packet, "UnsignedSignatureProperties" if has_others else "QualifyingProperties", limits)
    if len(ends) != 1:
        raise SigningRefused("stamp_place")
    value = packet.canonical(parts.value_element, Canonicalization.EXCLUSIVE)
    token = time_stamper(value)
    try:
        moment = read_time_stamp(token, value)
    except CheckRefusal as refusal:
        raise SigningRefused("stamp_unusable", detail=refusal.detail) from None
    text = template.time_stamp(b64encode(token).decode())
    inserted = text if has_others else template.unsigned_properties(text)
    copy_with(stream, out, ends[0], inserted.encode())
    return moment


def _check_free(parts: SignatureParts) -> None:
    """Raises SigningRefused where there is no place for a first time stamp, or something signed would be touched."""
    if parts.xades is None:
        raise SigningRefused("not_xades")
    if parts.xades.time_stamps:
        raise SigningRefused("stamped_already")
    around: list[Element] = [parts.xades.properties.getparent()]
    while around[-1] is not parts.element:
        around.append(around[-1].getparent())
    signed = {reference.uri for reference in parts.references}
    if any(f"#{name}" in signed for one in around for name in ids_of(one)):
        raise SigningRefused("stamp_place")


def asking(send: Callable[[bytes], bytes]) -> TimeStamper:
    """The time stamper that asks an authority: `send` takes a TimeStampReq (DER) to it and brings its TimeStampResp.

    How it travels (HTTP: `application/timestamp-query`, POST), with which patience, is the caller's; what `send` raises
    passes through.  Raises SigningRefused where the authority refuses, or answers another question.
    """

    def stamp(data: bytes) -> bytes:
        nonce = secrets.randbits(63) | 1 << 62  # full length, so that its DER has one form
        imprint = encode(SEQUENCE, _SHA256, encode(OCTETS, hashlib.sha256(data).digest()))
        query = encode(
            SEQUENCE,
            encode(INTEGER, b"\x01"),
            imprint,
            encode(INTEGER, nonce.to_bytes(8, "big")),
            encode(BOOLEAN, b"\xff"),
        )
        token = _granted(send(query))
        try:
            answered = token_nonce(token)
        except CheckRefusal as refusal:
            raise SigningRefused("stamp_unusable", detail=refusal.detail) from None
        if answered != nonce:
            raise SigningRefused("stamp_unusable", detail="nonce")
        return token

    return stamp


def _granted(response: bytes) -> bytes:
    """The token in a TimeStampResp. Raises SigningRefused."""
    try:
        status, *tokens = parse(response).expect(SEQUENCE)
        code = int.from_bytes(status.expect(INTEGER)[0].content, "big")
        if code not in _GRANTED:
            raise SigningRefused("stamp_refused", detail=_said(status) or str(code))
        if len(tokens) != 1:
            raise NotDer
    except NotDer:
        raise SigningRefused("stamp_unusable", detail="TimeStampResp") from None
    return tokens[0].whole


def _said(status: Node) -> str:
    """The authority's own words for why it refuses."""
    words = [text for one in status.children()[1:] if one.tag == SEQUENCE for text in one.children()]
    return " ".join(one.content.decode("utf-8", "replace") for one in words)
