"""The rule book: every rule beyond the schema, as a value (quy tắc kiểm tra gói tin).

`DOCUMENT_RULES` and `STATUS_RULES` look at a packet that was read; `READING_RULES` are judged while reading, because a
packet's values cannot hold what breaks them.  `edxml.validate` applies the first two.  The generated page
docs/reference/packet-rules.md prints all, with what breaks each of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from edxml.findings import Finding
from edxml.packet import Packet, StatusPacket
from edxml.rules import agencies, content, files, numbers, statuses
from edxml.rules.reading import READING_RULES, ReadingRule
from edxml.rules.rule import Rule

__all__ = ["DOCUMENT_RULES", "READING_RULES", "STATUS_RULES", "ReadingRule", "Rule", "apply_rules"]

DOCUMENT_RULES: tuple[Rule[Packet], ...] = (*content.RULES, *numbers.RULES, *agencies.RULES, *files.RULES)
STATUS_RULES: tuple[Rule[StatusPacket], ...] = (*statuses.RULES, *content.STATUS_RULES)


def apply_rules(
    packet: Packet | StatusPacket,
    *,
    today: date,
    documents: Iterable[Rule[Packet]] = DOCUMENT_RULES,
    statuses: Iterable[Rule[StatusPacket]] = STATUS_RULES,
) -> tuple[Finding, ...]:
    """Every finding of the rules for this kind of packet, in the order of the rules."""
    found: list[Finding] = []
    if isinstance(packet, StatusPacket):
        for rule in statuses:
            if rule.look(packet, today):
                found += rule.check(packet, today)
    else:
        for each in documents:
            if each.look(packet, today):
                found += each.check(packet, today)
    return tuple(found)
