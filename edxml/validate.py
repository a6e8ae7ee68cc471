"""Rules beyond the form: what a packet's values must be. All findings, not the first.

Errors refuse, warnings tell the sender.  The rules are values of `edxml.rules`, each with its source: QCVN
102:2016/BTTTT, NĐ 30/2020/NĐ-CP and other law, or the practice of running systems where no text of the standard is at
hand (lengths are those of their databases and were never enforced, so they only warn).
"""

from __future__ import annotations

from datetime import date

from edxml.findings import Finding
from edxml.packet import Packet, StatusPacket
from edxml.rules import apply_rules

__all__ = ["validate"]


def validate(packet: Packet | StatusPacket, *, today: date) -> tuple[Finding, ...]:
    """Every rule that `packet` breaks, errors and warnings; `today` is the calendar day in Việt Nam."""
    return apply_rules(packet, today=today)
