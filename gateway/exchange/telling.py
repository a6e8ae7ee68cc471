"""One log line and one metric per hop, with the same ids, written after the commit that they speak of."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from adapters.contract import Done, Park, Retry, Unknown
from adapters.contract import Outcome as SinkOutcome
from edxml.errors import TrucError
from edxml.findings import Severity
from gateway.exchange.submission import Answer, Outcome, PacketRefusal, Prepared
from gateway.node import Node
from monitoring import log
from monitoring.registry import Hop, HopOutcome

__all__ = ["reason_of", "tell_accepted", "tell_collected", "tell_delivered", "tell_taken_in"]

_log = log.get("exchange")

_Line: TypeAlias = tuple[HopOutcome, str | None, Mapping[str, str | None]]
"""What came of a member of a group, why, and its ids."""

_SINK_OUTCOMES = {
    Done: HopOutcome.DONE,
    Retry: HopOutcome.RETRY,
    Park: HopOutcome.PARKED,
    Unknown: HopOutcome.DOUBTFUL,
}


def reason_of(why: TrucError) -> str:
    """The stable code of a refusal: that of its first finding where it has any."""
    if isinstance(why, PacketRefusal) and why.findings:
        errors = [finding for finding in why.findings if finding.severity is Severity.ERROR]
        return (errors or why.findings)[0].code
    return why.reason


def tell_taken_in(
    node: Node, system_id: str, began: float, *, packet_id: str = "", why: TrucError | None = None
) -> None:
    """A body was read, checked and made durable, or refused."""
    seconds = time.monotonic() - began
    outcome = HopOutcome.DONE if why is None else HopOutcome.REFUSED
    reason = None if why is None else reason_of(why)
    node.metrics.count_hop(Hop.TAKE_IN, outcome, seconds)
    if reason is not None:
        node.metrics.count_refused(reason)
    log.write_hop(
        _log, "packet.taken_in", hop=Hop.TAKE_IN, outcome=outcome, ms=seconds * 1000, reason=reason,
        packet=packet_id or None, system=system_id,
    )  # fmt: skip


@log.together()
def tell_accepted(node: Node, hop: Hop, told: Iterable[tuple[Prepared, Outcome]], began: float) -> None:
    """Members of a group were accepted and dispatched, or acknowledged, in one commit."""
    seconds = time.monotonic() - began
    lines: list[_Line] = []
    for prepared, outcome in told:
        if isinstance(outcome, Answer):
            ended = HopOutcome.REPEATED if outcome.is_repeat else HopOutcome.DONE
            packet, reason = outcome.packet_id, None
            count = node.metrics.count_repeated if outcome.is_repeat else node.metrics.count_accepted
            count(str(prepared.kind))
            if prepared.docket.status is not None and not outcome.is_repeat:
                node.metrics.count_status(str(prepared.docket.status.status_code))
        else:
            ended, packet, reason = HopOutcome.REFUSED, prepared.packet_id, reason_of(outcome)
            node.metrics.count_refused(reason)
        ids = {
            "packet": packet, "document": prepared.document_key, "system": prepared.submission.caller.system_id,
            "agency": prepared.sender_id,
        }  # fmt: skip
        lines.append((ended, reason, ids))
    _tell_all(node, f"packet.{hop}", hop, lines, seconds)


def tell_delivered(
    node: Node, *, transfer_id: str, packet_id: str, channel_id: str, outcome: SinkOutcome, seconds: float
) -> None:
    """One transfer's hand-over was written down."""
    ended = _SINK_OUTCOMES[type(outcome)]
    reason = None if isinstance(outcome, Done) else outcome.reason
    node.metrics.count_hop(Hop.DELIVER, ended, seconds)
    log.write_hop(
        _log, "transfer.handed_over", hop=Hop.DELIVER, outcome=ended, ms=seconds * 1000, reason=reason,
        packet=packet_id, transfer=transfer_id, channel=channel_id,
    )  # fmt: skip


@log.together()
def tell_collected(node: Node, event: str, items: Iterable[tuple[str, str, str | None]], began: float) -> None:
    """Items of a polled channel, as (delivery, agency, reason of a refusal): the deliver hop where nobody pushes."""
    seconds = time.monotonic() - began
    lines: list[_Line] = [
        (
            HopOutcome.DONE if reason is None else HopOutcome.REFUSED,
            reason,
            {"delivery": delivery_id, "agency": agency_id or None},
        )
        for delivery_id, agency_id, reason in items
    ]
    _tell_all(node, event, Hop.DELIVER, lines, seconds)


def _tell_all(node: Node, event: str, hop: Hop, lines: Sequence[_Line], seconds: float) -> None:
    """A group's lines and counts, each kind of end once: one by one they took most of what telling a group takes."""
    log.write_hops(_log, event, lines, hop=hop, ms=seconds * 1000)
    for ended, documents in Counter(ended for ended, _, _ in lines).items():
        node.metrics.count_hop(hop, ended, seconds, documents)
