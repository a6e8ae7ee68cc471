"""Planning where one packet goes: addresses as written in, legs with their reasons and problems out.

Pure and deterministic: the same directory, addresses, day and reach give the same plan.  Every address ends in
exactly one place, a leg or a problem.  Nothing is guessed: a name is never mapped to an agency, hierarchy is never
read from a code, and of several successors none is chosen (NĐ 30/2020 art. 21.2: what is sent to the wrong place
is returned, not passed on).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from edxml.findings import Finding, Place, Severity
from edxml.values import hasten
from routing.agency import Agency
from routing.directory import Directory

__all__ = [
    "Address",
    "Candidate",
    "Covered",
    "Leg",
    "LegReason",
    "ProblemCode",
    "Reach",
    "RecipientsMode",
    "RoutePlan",
    "RouteProblem",
    "plan_route",
]


class RecipientsMode(StrEnum):
    """What a partly wrong list of recipients does (protocol.md §12)."""

    ALL = "all"  #: any problem refuses the whole packet
    SOME = "some"  #: the good go, the others end as undeliverable


class LegReason(StrEnum):
    """Why a leg goes where it goes."""

    DIRECT = "direct"  #: the agency that was written
    SUCCESSOR = "successor"  #: the one agency that carries on the work of the one that was written


class ProblemCode(StrEnum):
    """Why an address leads nowhere; each is also the code of its text."""

    NO_RECIPIENT = "route.no_recipient"
    UNKNOWN_RECIPIENT = "route.unknown_recipient"
    NOT_YET_IN_FORCE = "route.not_yet_in_force"
    NO_SUCCESSOR = "route.no_successor"
    SEVERAL_SUCCESSORS = "route.several_successors"
    NO_CHANNEL = "route.no_channel"
    TO_ONESELF = "route.to_oneself"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One `To` of a packet: the organ id as written and its place among them, counted from 1."""

    organ_id: str
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How an agency is reached: the id of its channel (kênh kết nối) and the channel's kind."""

    channel_id: str
    kind: str


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """One address that a leg serves.

    `readdressed_from` is the id of the abolished agency that was written, None where the agency itself was; then
    `params` fill the text `route.readdressed`.
    """

    position: int
    organ_id: str
    readdressed_from: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An agency that the sender may have meant. `organ_id` is "" where it has none; screens say when it is assumed."""

    agency_id: str
    name: str
    organ_id: str
    is_assumed: bool = False

    def __str__(self) -> str:
        return f"{self.name} ({self.organ_id})" if self.organ_id else self.name


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One recipient and the channel to it. Addresses that mean the same agency share one leg."""

    agency_id: str
    channel_id: str
    covers: tuple[Covered, ...]

    @property
    def positions(self) -> tuple[int, ...]:
        """Places of the addresses it serves, counted from 1, in order."""
        return tuple(item.position for item in self.covers)

    @property
    def organ_ids(self) -> tuple[str, ...]:
        """The organ ids it serves, as written, in order of their places."""
        return tuple([item.organ_id for item in self.covers])

    @property
    def readdressed_from(self) -> str | None:
        """The first abolished agency that was written instead of this one; None when all addresses were direct."""
        for item in self.covers:
            if item.readdressed_from:
                return item.readdressed_from
        return None

    @property
    def reason(self) -> LegReason:
        """SUCCESSOR as soon as one of its addresses was an abolished agency's, so that nobody overlooks it."""
        return LegReason.DIRECT if self.readdressed_from is None else LegReason.SUCCESSOR

    @property
    def note(self) -> Mapping[str, str]:
        """What travels beside the packet (`adapters.contract.HandOver.note`); empty when direct.

        `reason` is the code of a text for the recipient's clerk, the other entries its parameters.
        """
        moved = [item for item in self.covers if item.readdressed_from]
        if not moved:
            return {}
        return {
            "reason": "route.received_for",
            "organ_ids": "; ".join(item.organ_id for item in moved),
            "names": "; ".join(dict.fromkeys(item.params["name"] for item in moved)),
        }

    def findings(self) -> tuple[Finding, ...]:
        """A warning for each address that was re-addressed, for the sender; none when direct."""
        return tuple(
            _finding("route.readdressed", Severity.WARNING, item.position, item.params)
            for item in self.covers
            if item.readdressed_from
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteProblem:
    """One address that leads nowhere. `agency_id` is the agency that was meant, where one is known."""

    code: ProblemCode
    position: int  #: counted from 1; 0 where the packet has no address at all
    organ_id: str
    agency_id: str | None = None
    candidates: tuple[Candidate, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)

    def as_finding(self, severity: Severity = Severity.ERROR) -> Finding:
        """The same as a finding of the packet, with the place of the address."""
        return _finding(str(self.code), severity, self.position, self.params)


@hasten
@dataclass(frozen=True, slots=True, kw_only=True)
class RoutePlan:
    """Where a packet goes. With `is_refused` nothing may be sent; the legs then only show what would have been."""

    legs: tuple[Leg, ...]
    problems: tuple[RouteProblem, ...]
    is_refused: bool

    def findings(self) -> tuple[Finding, ...]:
        """Problems (errors where they refuse the packet, else warnings) and re-addressings, in order of address."""
        severity = Severity.ERROR if self.is_refused else Severity.WARNING
        told = [(problem.position, problem.as_finding(severity)) for problem in self.problems]
        for leg in self.legs:
            moved = (item.position for item in leg.covers if item.readdressed_from)
            told.extend(zip(moved, leg.findings(), strict=True))
        return tuple(finding for _, finding in sorted(told, key=lambda item: item[0]))


def plan_route(
    directory: Directory,
    addresses: Iterable[Address],
    *,
    on: date,
    reach: Mapping[str, Reach],
    mode: RecipientsMode,
    sender_agency_id: str | None,
) -> RoutePlan:
    """The plan of one packet on the day `on`; `reach` maps agency ids to their channels.

    An abolished recipient with one successor in force is re-addressed and its leg says so; with several the
    address is a problem that names them. A plan without any address is refused in either mode.
    """
    legs: dict[str, list[_Served]] = {}
    problems: list[RouteProblem] = []
    for address in addresses:
        outcome = _serve(directory, address, on, reach, sender_agency_id)
        if isinstance(outcome, RouteProblem):
            problems.append(outcome)
        else:
            legs.setdefault(outcome.agency.id, []).append(outcome)
    if not legs and not problems:
        problems.append(RouteProblem(code=ProblemCode.NO_RECIPIENT, position=0, organ_id=""))
    return RoutePlan(
        legs=tuple([_leg(served, on, reach) for served in legs.values()]),
        problems=tuple(problems),
        is_refused=bool(problems) and (mode is RecipientsMode.ALL or problems[0].position == 0),
    )


@dataclass(frozen=True, slots=True)
class _Served:
    """One address with the agency that was `written` and the `agency` in force that gets the packet."""

    address: Address
    written: Agency
    agency: Agency

    @property
    def is_readdressed(self) -> bool:
        return self.written.id != self.agency.id


def _serve(
    directory: Directory, address: Address, on: date, reach: Mapping[str, Reach], sender_agency_id: str | None
) -> _Served | RouteProblem:
    """Who gets what is sent to `address`, or why nobody does."""
    written = directory.find(address.organ_id, on)
    if written is None:
        return _problem(ProblemCode.UNKNOWN_RECIPIENT, address)
    if written.valid_from is not None and on < written.valid_from:
        return _problem(ProblemCode.NOT_YET_IN_FORCE, address, written, on, day=written.valid_from)
    heirs = (written,) if written.in_force_on(on) else directory.successors_on(written, on)
    if len(heirs) != 1:
        code = ProblemCode.SEVERAL_SUCCESSORS if heirs else ProblemCode.NO_SUCCESSOR
        candidates = tuple(_candidate(heir, on) for heir in heirs)
        return _problem(code, address, written, on, candidates, day=_day_after_end(written))
    (agency,) = heirs
    if agency.id == sender_agency_id:
        return _problem(ProblemCode.TO_ONESELF, address, agency, on)
    if agency.id not in reach:
        return _problem(ProblemCode.NO_CHANNEL, address, agency, on)
    return _Served(address, written, agency)


def _leg(served: list[_Served], on: date, reach: Mapping[str, Reach]) -> Leg:
    agency = served[0].agency
    return Leg(
        agency_id=agency.id,
        channel_id=reach[agency.id].channel_id,
        covers=tuple([_covered(item, on) for item in served]),
    )


def _covered(item: _Served, on: date) -> Covered:
    address = item.address
    if not item.is_readdressed:
        return Covered(position=address.position, organ_id=address.organ_id)
    heir = _candidate(item.agency, on)
    return Covered(
        position=address.position,
        organ_id=address.organ_id,
        readdressed_from=item.written.id,
        params={
            "position": str(address.position),
            "organ_id": address.organ_id.strip()[:80],
            "name": item.written.name_on(on),
            "day": _day_after_end(item.written),
            "new": heir.name,
            "new_organ_id": heir.organ_id,
        },
    )


def _problem(
    code: ProblemCode,
    address: Address,
    agency: Agency | None = None,
    on: date | None = None,
    candidates: tuple[Candidate, ...] = (),
    **words: Any,
) -> RouteProblem:
    params = {"organ_id": address.organ_id.strip()[:80], "position": str(address.position), **words}
    if agency is not None and on is not None:
        params["name"] = agency.name_on(on)
    if candidates:
        params["candidates"] = "; ".join(map(str, candidates))
    return RouteProblem(
        code=code,
        position=address.position,
        organ_id=address.organ_id,
        agency_id=agency.id if agency else None,
        candidates=candidates,
        params=params,
    )


def _candidate(agency: Agency, on: date) -> Candidate:
    code = agency.organ_code_on(on)
    return Candidate(
        agency_id=agency.id,
        name=agency.name_on(on),
        organ_id=code.code if code else "",
        is_assumed=code is not None and code.assumed,
    )


def _day_after_end(agency: Agency) -> date:
    assert agency.valid_to is not None  # an agency that is neither in force nor still to come has ended
    return agency.valid_to + timedelta(days=1)


def _finding(code: str, severity: Severity, position: int, params: Mapping[str, Any]) -> Finding:
    path = f"edXML/…/To[{position}]/OrganId" if position else "edXML/…/To"
    return Finding(code=code, severity=severity, place=Place(path=path), params=params)
