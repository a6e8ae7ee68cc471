"""Intake (lấy văn bản) from channels that bring packets: spool, accept, then tell the source (rule 13).

A source acknowledges only after our commit: a crash before it means that the same thing is found again, and gets the
first answer.  A thing whose intake kills its worker three times is set aside instead of being tried for ever (rule 8).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from adapters.contract import Incoming, IncomingKind, Source, Verdict
from edxml.errors import TrucError
from edxml.findings import Finding
from edxml.messages import Language, text
from gateway.channels import name_fault
from gateway.exchange.accept import accept
from gateway.exchange.examine import prepare
from gateway.exchange.report import refuse_for
from gateway.exchange.submission import Answer, Outcome, PacketRefusal, Submission
from gateway.identity import Caller
from gateway.model.errors import GatewayError, TooLarge
from gateway.node import Node
from gateway.store import intake, reports
from gateway.store.channels import ChannelRow
from gateway.workers.loop import Loop
from monitoring import log

__all__ = ["intake_once", "start_intake"]

_log = log.get("intake")
_PIECE = 1 << 20
_BATCH = 64
_MOST_FAULTS = 3


def intake_once(node: Node) -> int:
    """Look through every channel with a source; how many things were taken in or answered."""
    done = 0
    for channel in node.channels.snapshot().by_id.values():
        if channel.is_paused or channel.is_polled:
            continue
        try:
            source = node.channels.source(channel.id)
            done += 0 if source is None else _take_from(node, channel, source)
        except (TrucError, OSError) as why:  # one channel's trouble is not the others'
            _log.warning("intake.failed", channel=channel.id, reason=name_fault(why))
    return done


def _take_from(node: Node, channel: ChannelRow, source: Source) -> int:
    caller = Caller(
        system_id=channel.system_id or f"channel:{channel.id}", name=f"channel:{channel.id}",
        agency_ids=channel.agency_ids, is_operator=False,
    )  # fmt: skip
    done = 0
    for item in source.look(_BATCH):
        key = f"{channel.id}|{hashlib.sha256(item.token.encode()).hexdigest()}"
        with node.store.write() as connection:
            begun = intake.begin(connection, key)
        try:
            outcome = KillsWorker() if begun > _MOST_FAULTS else _take_in(node, caller, item)
            source.acknowledge(item, _verdict(outcome))
        finally:
            with node.store.write() as connection:
                intake.end(connection, key)  # it reported, whatever it said: only a dead worker leaves its count
        done += 1
    return done


def _take_in(node: Node, caller: Caller, item: Incoming) -> Outcome:
    """One thing, whatever it is, to an outcome. A busy store is no outcome: it is raised, and the thing stays."""
    try:
        if item.kind is IncomingKind.REFUSAL:
            return _refusal(node, caller, item)
        if item.kind is IncomingKind.DAMAGED or item.open is None:
            return Damaged(item.reason)
        submission = _spool(node, caller, item)
        return accept(node, [prepare(node, submission)])[0]
    except GatewayError as why:
        if why.retryable:
            raise
        return why


class Damaged(GatewayError):
    """A thing that can never be read, or a refusal of something that was never delivered; parameter `reason`.

    It speaks with the words of its reason: they say what to mend, and the report is all that the clerk sees.
    """

    code = "intake.damaged"

    def __init__(self, reason: str) -> None:
        self.reason = reason or self.code
        super().__init__(reason=reason)

    def text(self, language: Language) -> str:
        """The sentence of the reason."""
        return text(self.reason, language, self.params)


class KillsWorker(GatewayError):
    """Taking in one thing ended its worker three times: it is set aside for a person."""

    code = "intake.kills_worker"


def _refusal(node: Node, caller: Caller, item: Incoming) -> Outcome:
    """A refusal file names the delivery key, which is the transfer's id."""
    with node.store.read() as connection:
        handed_over = reports.of_key(connection, item.key)
    outcome: Outcome = Damaged("folder.unknown_refusal")
    words = item.reason or text("intake_told.no_words", Language.VI, {})
    for owed in handed_over:
        if owed.agency_id in caller.agency_ids:
            outcome = refuse_for(node, owed.delivery_id, caller.agency_ids, words)
    return outcome


def _spool(node: Node, caller: Caller, item: Incoming) -> Submission:
    node.store.blobs.check_reserve(item.size)
    path = node.store.blobs.spool()
    assert item.open is not None
    try:
        with item.open() as body:
            digest, size = _copy(body.read, path, node.limits.packet)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Submission(caller=caller, spooled=path, digest=digest, size=size, received_at=node.now())


def _copy(read: Callable[[int], bytes], path: Path, limit: int) -> tuple[str, int]:
    hasher, size = hashlib.sha256(), 0
    with path.open("wb") as spool:
        while piece := read(_PIECE):
            size += len(piece)
            if size > limit:
                raise TooLarge("submission.too_large", limit=limit)
            hasher.update(piece)
            spool.write(piece)
    return hasher.hexdigest(), size


def _verdict(outcome: Outcome) -> Verdict:
    """What the source is told: a reference as JSON, or a report for the clerk, Vietnamese first."""
    if isinstance(outcome, Answer):
        reference = msgspec.json.encode(
            {
                "packet_id": outcome.packet_id,
                "document_id": outcome.document_id,
                "is_repeat": outcome.is_repeat,
                "recipients": list(outcome.recipients),
                "findings": [finding.as_dict() for finding in outcome.findings],
            }
        )
        return Verdict(accepted=True, reference=reference.decode())
    return Verdict(accepted=False, report=_report(outcome))


def _report(why: TrucError) -> str:
    lines = [why.text(Language.VI), why.text(Language.EN)]
    if isinstance(why, PacketRefusal):
        for finding in why.findings:
            lines += ["", f"[{finding.code}] {_place(finding)}".rstrip()]
            lines += [_sentence(finding, Language.VI), _sentence(finding, Language.EN)]
    return "\n".join(lines) + "\n"


def _place(finding: Finding) -> str:
    line = finding.place.line
    told = "" if line is None else text("packet_told.line", Language.VI, {"line": line})
    return " ".join(part for part in (told, finding.place.path) if part)


def _sentence(finding: Finding, language: Language) -> str:
    """The finding's text, with our own names of fields as people call them."""
    name = str(finding.params.get("field", ""))
    label = text(f"packet_field.{name}", language, {})
    if not name or label == f"packet_field.{name}":
        return finding.text(language)
    return text(finding.code, language, {**finding.params, "field": f"“{label}”"})


def start_intake(node: Node, pause: float) -> Loop:
    """The intake loop, woken by the topic `intake` (a folder changed) and by time."""
    return Loop("intake", lambda: 0.0 if intake_once(node) else pause, node.transport, ["intake"])
