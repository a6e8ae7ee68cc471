"""How much of anything a packet may have. What lies outside is refused by name, before it costs memory."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_LIMITS", "PIECE", "Limits"]

PIECE = 128 * 1024
"""Bytes asked of a stream at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Upper bounds, all inclusive. Sizes are bytes."""

    packet: int = 1 << 30  #: the whole packet as received
    header: int = 4 << 20  #: all XML outside the text of attachments
    depth: int = 32  #: elements within each other
    elements: int = 30_000  #: the most of everything else below: 2,000 recipients in full and changed, 200 files
    attributes: int = 20_000  #: of all elements together
    names: int = 64 * 1024  #: different tags, without values: lxml keeps names as long as its thread lives
    markup: int = 64 * 1024  #: one tag, comment or processing instruction
    text: int = 64 * 1024  #: one value of the header
    recipients: int = 2_000
    attachments: int = 200
    part_header: int = 16 * 1024  #: the header of one MIME part, and of the message (dialect D)
    unzipped: int = 1 << 30  #: one file out of its ZIP
    zip_ratio: int = 250  #: unzipped to zipped, of all files of a packet so far, looked at from 16 MiB on
    findings: int = 1_000  #: told per packet; what is beyond is the same again


DEFAULT_LIMITS = Limits()
