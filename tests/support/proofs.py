"""An honest world for the checker of proofs: what the ledgers and the installation say where every promise is kept.

    world = honest(seed)                       ledgers and account that agree
    judge(world.record, world.said, unwatched=world.unwatched).is_proof

Each document's way to each agency is drawn: delivered, refused, withdrawn in time, expired or parked in doubt.  Whoever
refuses reports a status, which its sender sees.
"""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from functools import cache

from gateway.prove.check import Copy
from gateway.prove.ledger import Act, Meant, Record, Reported, Seen, Told
from gateway.prove.marks import ECHO, MARK, TestAgency
from gateway.prove.plan import Sending, plan, refuses

__all__ = ["CAST", "World", "honest", "sendings"]

CAST = tuple(
    TestAgency(id=name, organ=f"H99.98.{number}", name=f"Cơ quan {number}")
    for number, name in enumerate([f"{MARK}gui-1", f"{MARK}hop-1", f"{MARK}hop-2", f"{MARK}hop-3", ECHO], 1)
)
PLANS, MOST = 6, 60
DAY = date(2026, 11, 27)


@cache
def sendings(seed: int, count: int, run: int = 7) -> tuple[Sending, ...]:
    """The first packets of a plan."""
    return tuple(itertools.islice(plan(seed, run, CAST[0], CAST[1:], DAY), count))


@dataclass(slots=True)
class World:
    """What stands in the ledgers, and what the installation says: of packets, and of statuses that came back."""

    meant: list[Meant] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    account: dict[str, dict[str, Copy]] = field(default_factory=dict)
    reported: list[Reported] = field(default_factory=list)
    heard: list[Seen] = field(default_factory=list)
    statuses: dict[str, dict[str, Copy]] = field(default_factory=dict)
    unwatched: tuple[str, ...] = (ECHO,)

    @property
    def record(self) -> Record:
        """The ledgers as they are read."""
        return Record(
            meant=tuple(self.meant), told=tuple(self.told), seen=(*self.seen, *self.heard),
            reported=tuple(self.reported),
        )  # fmt: skip

    @property
    def said(self) -> dict[str, dict[str, Copy]]:
        """All that the installation says."""
        return self.account | self.statuses


def honest(seed: int, count: int = 40) -> World:
    """A world in which every promise is kept. Documents are of a few plans, their ways of the whole seed."""
    dice, world = random.Random(seed), World()
    families: dict[str, list[Meant]] = defaultdict(list)
    for number, sending in enumerate(sendings(seed % PLANS, MOST)[:count]):
        world.meant.append(sending.meant)
        for time in range(sending.times):
            world.told.append(_answer(sending.meant, f"p{number}", time))
        if not sending.meant.conflicts:
            world.account[f"p{number}"] = {}
            families[sending.meant.document].append(sending.meant)
    packets = {told.name: told.packet_id for told in world.told if told.is_accepted}
    arrivals: list[tuple[float, int, Seen]] = []
    for family in families.values():
        for agency in family[0].to:
            late = random.Random(f"{seed}:{_tied(world, family[0])}:{agency}").uniform(0, 9)
            for place, (meant, copy, seen) in enumerate(_way(dice, agency, family)):
                world.account[packets[meant.name]][agency] = copy
                if seen is not None and agency != ECHO:
                    arrivals.append((world.meant.index(meant) + late, place, seen))
    world.seen = [seen for _, _, seen in sorted(arrivals, key=lambda entry: entry[:2])]
    by_digest = {meant.digest: meant for meant in world.meant}
    for seen in world.seen:
        if seen.refused:
            _report(world, seen.agency, by_digest[seen.digest], packets[by_digest[seen.digest].name])
    return world


def _tied(world: World, meant: Meant) -> str:
    """One name for all documents that are tied by replacement to this one: they come in their order."""
    names = {one.name: one.document for one in world.meant}
    tied, last = {meant.document}, 0
    while len(tied) > last:
        last = len(tied)
        for one in world.meant:
            both = {one.document, *(names[name] for name in one.replaces)}
            tied |= both if both & tied else set()
    return min(tied)


def _report(world: World, agency: str, meant: Meant, packet_id: str) -> None:
    """A refusal's status, on its way back to its end."""
    status = f"{packet_id}:{agency}"
    world.reported.append(Reported(agency=agency, about=packet_id, packet_id=status))
    world.statuses[status] = {meant.sender: Copy(state="delivered", reason="confirmed")}
    world.heard.append(
        Seen(
            agency=meant.sender, key=status, digest=status, is_copy=True, packet_id=status, document=meant.document,
            is_status=True,
        )
    )  # fmt: skip


def _answer(meant: Meant, packet_id: str, time: int) -> Told:
    if meant.conflicts:
        return Told(name=meant.name, status=409, code="document.conflict")
    return Told(name=meant.name, status=202, packet_id=packet_id, is_repeat=time > 0)


def _way(dice: random.Random, agency: str, family: list[Meant]) -> list[tuple[Meant, Copy, Seen | None]]:
    """One document's way to one agency, with whatever followed it."""
    is_recalled = any(meant.act is Act.RECALL for meant in family)
    how = dice.choice(["arrives", "withdrawn", "expired", "parked"]) if is_recalled else "arrives"
    if refuses(agency, family[0].digest):
        how = "arrives"
    if how == "withdrawn":
        return [(meant, Copy(state="withdrawn", reason="recalled"), None) for meant in family]
    first, *rest = family
    seen = _seen(agency, first)
    if how == "arrives":
        state = "refused" if seen.refused else "delivered"
        way: list[tuple[Meant, Copy, Seen | None]] = [(first, Copy(state=state, reason="confirmed"), seen)]
    else:
        copy = Copy(state=how, reason="may_have_arrived", may_have_arrived=True)
        way = [(first, copy, seen if dice.random() < 0.5 else None)]
    return way + [(meant, Copy(state="delivered", reason="confirmed"), _seen(agency, meant)) for meant in rest]


def _seen(agency: str, meant: Meant) -> Seen:
    return Seen(
        agency=agency, key=f"{agency}:{meant.name}", digest=meant.digest, is_copy=True, document=meant.document,
        refused=meant.act is Act.NEW and refuses(agency, meant.digest),
    )  # fmt: skip
