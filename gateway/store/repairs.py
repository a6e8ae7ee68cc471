"""Repairs (sửa chữa khi đọc) counted per day, sending system, sender and name; each accepted packet counts once.

The sums are worked out behind the hops from what stands on the packets, so accepting costs nothing for them and they
can be made again at any time from nothing.  A report costs days × systems, whatever the number of packets.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Column, Connection, Select, Table, and_, bindparam, case, func, insert, select, update

from gateway.model.instants import VIETNAM, as_datetime
from gateway.store import followers
from gateway.store.followers import Follower, Following
from gateway.store.months.bounds import among_ids
from gateway.store.schema import packets
from gateway.store.schema_judged import packet_days, repair_days

__all__ = [
    "FOLLOWER", "By", "Counted", "RepairLine", "Traffic", "count", "report", "senders_of", "sum_up", "traffic",
]  # fmt: skip

FOLLOWER: Final = Follower.REPAIRS


class By(StrEnum):
    """What a line of the report stands for."""

    SYSTEM = "system"
    NAME = "name"
    AGENCY = "agency"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairLine:
    """One line: `key` is the system's id, the repair's name or the sender's id, as the report was asked for.

    `packets` needed a repair (of that name, or any), at `count` places, out of `accepted`, which counts everything that
    the line's system or sender sent in these days; `example` is the newest packet of them.
    """

    key: str
    packets: int
    accepted: int
    count: int
    first_at: int
    last_at: int
    example: str
    document_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """How many packets were accepted, and how many of these needed a repair."""

    packets: int
    repaired: int


# --- counting ------------------------------------------------------------------------------------------------

_PACKETS = select(
    packets.c.id, packets.c.system_id, packets.c.sender_id, packets.c.repairs, packets.c.accepted_at
).where(among_ids(packets.c.id))

_DAY = ("day", "system_id", "agency_id")


def _same(table: Table, keys: tuple[str, ...]) -> Any:
    return and_(*(table.c[key] == bindparam(f"b_{key}") for key in keys))


_ADD_DAY = (
    update(packet_days)
    .where(_same(packet_days, _DAY))
    .values(
        packets=packet_days.c.packets + bindparam("b_packets"),
        repaired=packet_days.c.repaired + bindparam("b_repaired"),
    )
)
_ADD_REPAIR = (
    update(repair_days)
    .where(_same(repair_days, (*_DAY, "name")))
    .values(
        packets=repair_days.c.packets + bindparam("b_packets"),
        count=repair_days.c.count + bindparam("b_count"),
        first_at=case(
            (repair_days.c.first_at < bindparam("b_first_at"), repair_days.c.first_at), else_=bindparam("b_first_at")
        ),
        last_at=case(
            (repair_days.c.last_at > bindparam("b_last_at"), repair_days.c.last_at), else_=bindparam("b_last_at")
        ),
        example=case(
            (repair_days.c.example > bindparam("b_example"), repair_days.c.example), else_=bindparam("b_example")
        ),
    )
)


@dataclass(slots=True)
class _Sum:
    """What a step adds to one row of `repair_days`."""

    packets: int = 0
    count: int = 0
    first_at: int = 0
    last_at: int = 0
    example: str = ""

    def add(self, packet_id: str, places: int, at: int) -> None:
        self.first_at = min(self.first_at, at) if self.packets else at
        self.last_at = max(self.last_at, at)
        self.example = max(self.example, packet_id)
        self.packets += 1
        self.count += places


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What a step adds, worked out and not yet written: rows of both tables, those that are there and those to make."""

    following: Following
    added: Mapping[tuple[str, str], int]  #: places by (system's id, name)
    known_days: Sequence[Mapping[str, str | int]]
    new_days: Sequence[Mapping[str, str | int]]
    known_repairs: Sequence[Mapping[str, str | int]]
    new_repairs: Sequence[Mapping[str, str | int]]


def sum_up(connection: Connection, following: Following) -> Counted:
    """The repairs of the packets that `FOLLOWER` found next: only read, so that nobody waits for the writer meanwhile.

    In the transaction that found them; what it sees of the sums holds until somebody else goes on.
    """
    days: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    sums: dict[tuple[str, ...], _Sum] = {}
    added: Counter[tuple[str, str]] = Counter()
    for row in connection.execute(_PACKETS, {"ids": list(following.packet_ids)}):
        day = as_datetime(row.accepted_at).astimezone(VIETNAM).date().isoformat()
        names: Counter[str] = Counter(json.loads(row.repairs))
        told = days[day, row.system_id, row.sender_id]
        told["packets"] += 1
        told["repaired"] += bool(names)
        for name, places in names.items():
            sums.setdefault((day, row.system_id, row.sender_id, name), _Sum()).add(row.id, places, row.accepted_at)
            added[row.system_id, name] += places
    known_days, new_days = _parted(
        connection, packet_days, _DAY, {key: {"packets": told["packets"], "repaired": told["repaired"]}
                                        for key, told in days.items()})  # fmt: skip
    known_repairs, new_repairs = _parted(
        connection, repair_days, (*_DAY, "name"), {key: asdict(one) for key, one in sums.items()}
    )
    return Counted(
        following=following, added=added, known_days=known_days, new_days=new_days, known_repairs=known_repairs,
        new_repairs=new_repairs,
    )  # fmt: skip


def _parted(
    connection: Connection, table: Table, names: tuple[str, ...], rows: Mapping[tuple[str, ...], Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows that are there, as what their change is given, and those to make."""
    keys = [table.c[name] for name in names]
    days = sorted({key[0] for key in rows})
    there = {tuple(row) for row in connection.execute(select(*keys).where(table.c.day.in_(days)))} if days else set()
    full: dict[tuple[str, ...], dict[str, Any]] = {
        key: {**dict(zip(names, key, strict=True)), **values} for key, values in rows.items()
    }
    known = [{f"b_{name}": value for name, value in row.items()} for key, row in full.items() if key in there]
    return known, [row for key, row in full.items() if key not in there]


def count(connection: Connection, counted: Counted) -> Mapping[tuple[str, str], int]:
    """Write down what was summed up; gives the places added, by (system's id, name).

    In the transaction in which the follower goes on, so a repeat after a crash counts nothing twice; where another
    process counted meanwhile, nothing is added here.
    """
    if not followers.advance(connection, counted.following):
        return {}
    for statement, rows in (
        (_ADD_DAY, counted.known_days), (insert(packet_days), counted.new_days),
        (_ADD_REPAIR, counted.known_repairs), (insert(repair_days), counted.new_repairs),
    ):  # fmt: skip
        if rows:
            connection.execute(statement, rows)
    return counted.added


# --- reporting -----------------------------------------------------------------------------------------------

_KEYS: Mapping[By, Column[str]] = {
    By.SYSTEM: repair_days.c.system_id,
    By.NAME: repair_days.c.name,
    By.AGENCY: repair_days.c.agency_id,
}
_DOCUMENTS = select(packets.c.id, packets.c.document_id).where(among_ids(packets.c.id))


def report(
    connection: Connection, by: By, *, since: date, until: date, systems: Iterable[str] | None = None
) -> tuple[RepairLine, ...]:
    """What was put right from `since` to `until`, both included, the most first; of some `systems` or of all."""
    key = _KEYS[by]
    asked: Any = select(
        key.label("key"),
        func.sum(repair_days.c.packets).label("packets"),
        func.sum(repair_days.c["count"]).label("count"),
        func.min(repair_days.c.first_at).label("first_at"),
        func.max(repair_days.c.last_at).label("last_at"),
        func.max(repair_days.c.example).label("example"),
    ).group_by(key)
    rows = connection.execute(_within(asked, repair_days, since, until, systems)).all()
    seen = _traffic_by(connection, by, since, until, systems)
    found = connection.execute(_DOCUMENTS, {"ids": [row.example for row in rows]})
    documents = {row.id: row.document_id for row in found}
    lines = [
        RepairLine(
            key=row.key,
            packets=row.packets if by is By.NAME else seen[row.key].repaired,
            accepted=seen["" if by is By.NAME else row.key].packets,
            count=row._mapping["count"],
            first_at=row.first_at,
            last_at=row.last_at,
            example=row.example,
            document_id=documents.get(row.example, ""),
        )
        for row in rows
    ]
    return tuple(sorted(lines, key=lambda line: (-line.packets, line.key)))


def traffic(connection: Connection, *, since: date, until: date, systems: Iterable[str] | None = None) -> Traffic:
    """How many packets these systems sent in these days, and how many needed a repair."""
    return _traffic_by(connection, By.NAME, since, until, systems).get("", Traffic(packets=0, repaired=0))


def _traffic_by(
    connection: Connection, by: By, since: date, until: date, systems: Iterable[str] | None
) -> dict[str, Traffic]:
    """By system or agency; in one sum under "" where lines are by name, since a packet may have several."""
    sums = (func.sum(packet_days.c.packets).label("packets"), func.sum(packet_days.c.repaired).label("repaired"))
    key = {By.SYSTEM: packet_days.c.system_id, By.AGENCY: packet_days.c.agency_id}.get(by)
    asked = select(*sums) if key is None else select(key.label("key"), *sums).group_by(key)
    return {
        "" if key is None else row.key: Traffic(packets=row.packets or 0, repaired=row.repaired or 0)
        for row in connection.execute(_within(asked, packet_days, since, until, systems))
    }


def senders_of(connection: Connection, system_id: str, *, since: date, until: date) -> dict[str, frozenset[str]]:
    """Which agencies needed each repair of one system in these days: name → our ids of them."""
    asked = select(repair_days.c.name, repair_days.c.agency_id).distinct()
    found: dict[str, set[str]] = {}
    for row in connection.execute(_within(asked, repair_days, since, until, [system_id])):
        found.setdefault(row.name, set()).add(row.agency_id)
    return {name: frozenset(agencies) for name, agencies in found.items()}


def _within(asked: Any, table: Table, since: date, until: date, systems: Iterable[str] | None) -> Select[Any]:
    """`asked`, for these days and systems alone."""
    narrowed: Select[Any] = asked.where(table.c.day >= since.isoformat(), table.c.day <= until.isoformat())
    return narrowed if systems is None else narrowed.where(table.c.system_id.in_(sorted(systems)))
