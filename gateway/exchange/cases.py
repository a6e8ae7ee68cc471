"""A packet under examination (hồ sơ đang xem xét), and the steps by which it comes to be known.

A group goes step by step, all its members through one before any goes through the next: what a step works with is
still in the processor's caches then, and that is a quarter of the time of an examination.  Each step is a function of
one case; none looks at another's.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final, TypeVar

from edxml.digests import fingerprint
from edxml.findings import Finding, Place
from edxml.ids import fold_code
from edxml.packet import Organization, Packet, ResponseFor, StatusPacket
from edxml.read import ReadResult, read
from edxml.validate import validate
from gateway.channels import Snapshot
from gateway.exchange.submission import Examined
from gateway.inspector.unsigned import Look
from gateway.node import Node
from routing.directory import Directory
from routing.plan import Address, RecipientsMode, RoutePlan, plan_route

__all__ = ["JUDGING", "Case", "in_step", "open_case", "organ_written"]

_Result = TypeVar("_Result")


@dataclass(slots=True, kw_only=True)
class Case:
    """One packet and what is known of it so far; each of `JUDGING` adds to it."""

    result: ReadResult
    packet: Packet | StatusPacket | None  #: None where nothing more may be looked at: unreadable, or secret
    snapshot: Snapshot
    today: date
    mode: RecipientsMode
    only: tuple[str, ...]
    unsigned: frozenset[int] = frozenset()
    findings: list[Finding] = field(default_factory=list)
    sender_id: str = ""
    plan: RoutePlan | None = None
    fingerprint: str = ""

    def examined(self) -> Examined:
        """All that was found, as a value."""
        return Examined(
            result=self.result,
            findings=tuple(self.findings),
            plan=self.plan,
            sender_id=self.sender_id,
            fingerprint=self.fingerprint,
            unsigned=self.unsigned,
        )


def open_case(
    node: Node,
    path: Path,
    *,
    body: bytes | None = None,
    system_id: str = "",
    mode: RecipientsMode = RecipientsMode.ALL,
    only: tuple[str, ...] = (),
) -> Case:
    """Read the packet at `path`, or in `body`, with the profile of the system `system_id`.

    Raises OSError where it cannot be read, ProfileUnreadable, and what `Channels.snapshot` raises.
    """
    looks: dict[int, Look] = {}
    snapshot, today = node.channels.snapshot(), node.today()
    profile = snapshot.profile_of(system_id)
    with path.open("rb") if body is None else io.BytesIO(body) as stream:
        result = read(
            stream,
            profile=profile,
            today=today,
            limits=node.limits,
            look=lambda position: looks.setdefault(position, Look()),
        )
    packet = None if result.is_secret else result.packet
    return Case(
        result=result,
        packet=packet,
        snapshot=snapshot,
        today=today,
        mode=mode,
        only=only,
        unsigned=_unsigned(packet, looks),
        findings=[*result.findings],
    )


def _unsigned(packet: Packet | StatusPacket | None, looks: Mapping[int, Look]) -> frozenset[int]:
    """Files that plainly bear no signature; of one that stands in a ZIP other bytes were seen."""
    if not isinstance(packet, Packet):
        return frozenset()
    whole = [file.position for file in packet.attachments if file.encoding == "base64"]
    return frozenset(position for position in whole if position in looks and looks[position].is_plain)


def _judge(case: Case) -> Case:
    """The rules of the day."""
    if case.packet is not None:
        case.findings += validate(case.packet, today=case.today)
    return case


def _route(case: Case) -> Case:
    """Who sends it, and where it would go."""
    packet, directory = case.packet, case.snapshot.directory
    if packet is None:
        return case
    sender = _find_sender(directory, case.today, packet, case.findings)
    addresses = _addresses(packet, case.only, case.findings)
    case.plan = plan_route(
        directory,
        addresses,
        on=case.today,
        reach=case.snapshot.reach,
        mode=RecipientsMode.SOME if isinstance(packet, StatusPacket) else case.mode,
        sender_agency_id=sender,
    )
    case.findings += case.plan.findings()
    case.sender_id = sender or ""
    return case


def _mark(case: Case) -> Case:
    """What a document says, as one digest."""
    if isinstance(case.packet, Packet):
        case.fingerprint = fingerprint(case.packet)
    return case


JUDGING: Final = (_judge, _route, _mark)
"""What follows the reading, in this order: findings stand in the order in which they are made."""


def in_step(step: Callable[..., _Result], *members: Iterable[object]) -> list[_Result | Exception]:
    """`step` of each member's values, one from each of `members`, which are of the same length.

    A member one of whose values is an exception keeps it, and one whose step raises gets it: nobody else is touched.
    """
    done: list[_Result | Exception] = []
    for values in zip(*members, strict=True):
        for value in values:
            if isinstance(value, Exception):
                done.append(value)
                break
        else:
            try:
                done.append(step(*values))
            except Exception as why:  # noqa: BLE001 - it is the member's outcome; whoever submitted gets it raised
                done.append(why)
    return done


def _find_sender(
    directory: Directory, today: date, packet: Packet | StatusPacket, findings: list[Finding]
) -> str | None:
    organ = packet.sender.organ_id
    found = None if organ is None else directory.find(organ, today)
    sender = None if found is None else found.id
    if sender is None:
        place = Place(path="edXML/…/MessageHeader/From/OrganId")
        findings.append(Finding(code="route.unknown_sender", place=place, params={"organ": packet.sender.raw_organ_id}))
    return sender


def _addresses(packet: Packet | StatusPacket, only: tuple[str, ...], findings: list[Finding]) -> list[Address]:
    """The addresses to route, with their places; `only` picks some of the packet's own (protocol §12)."""
    if isinstance(packet, StatusPacket):
        return [Address(organ_id=organ_written(packet.response_for), position=1)]
    written = [organ_written(to) for to in packet.recipients]
    removed = [change.organ_id.text for change in packet.receiver_changes if not change.added]
    if removed:
        known = {fold_code(organ) for organ in written}
        written += [organ for organ in removed if fold_code(organ) not in known]
    if only:
        wanted = {fold_code(organ) for organ in only}
        for organ in only:
            if fold_code(organ) not in {fold_code(w) for w in written}:
                findings.append(Finding(code="route.not_in_packet", params={"organ": organ[:80]}))
        return [
            Address(organ_id=organ, position=place)
            for place, organ in enumerate(written, 1)
            if fold_code(organ) in wanted
        ]
    return [Address(organ_id=organ, position=place) for place, organ in enumerate(written, 1)]


def organ_written(named: Organization | ResponseFor) -> str:
    """The organ id as the packet has it, put right where it could be."""
    return named.raw_organ_id if named.organ_id is None else named.organ_id.text
