"""Growth: is a document dearer where many are stored already?

A store is filled by copying: a few documents go through the hops for real, and their rows are written again and again
with new ids (events with leaves of their own, roll-ups raised) over the same few blobs, in one transaction.  The
account (cân sổ) of a filled store closes, so every table is consistent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Table, select, update

from benchmarks.contestants import Entry
from benchmarks.hops import HopFigures, walk
from benchmarks.load import LoadPlan
from benchmarks.measure import Interval, RunFolder, interleave, interval_of, run_load, serve
from benchmarks.product import PRODUCT, gaps_of, opened
from gateway.model.events import RULE_VERSION, Event, EventKind, leaf_digest
from gateway.model.instants import new_id
from gateway.store import schema
from gateway.store.statements import execute_rows

__all__ = ["TABLES", "Growth", "copied", "fill", "measure_growth"]

TABLES: Final = (
    schema.documents, schema.submissions, schema.packets, schema.chains, schema.deliveries, schema.transfers,
    schema.attempts, schema.events,
)  # fmt: skip
_IDS: Final = frozenset({"id", "packet_id", "delivery_id", "transfer_id", "chain_id"})
_KEYS: Final = frozenset({"key", "root", "document_key", "notation", "document_id"})
_BATCH: Final = 2_000  # rows written at once


def fill(folder: Path, entry: Entry, documents: int) -> None:
    """Store about `documents` delivered documents in the node in `folder`. Raises RuntimeError if its books break."""
    walk(folder, entry, rounds=2, run="SEED")
    with opened(folder) as node, node.store.write() as connection:
        seed = {table: _rows(connection, table) for table in TABLES}
        seeds = len(seed[schema.packets])
        copies = max(0, documents // seeds - 1)
        for table in TABLES:
            seed[table] = [row for row in seed[table] if table is not schema.events or row["packet_id"]]
        for batch in _batches(seed, copies):
            for table, rows in batch.items():
                execute_rows(connection, _insert(table), rows)
        counted = schema.rollups.c.count
        connection.execute(update(schema.rollups).values(count=counted * (copies + 1)))
    gaps = gaps_of(folder)
    if gaps:
        raise RuntimeError(f"the filled store's account has {len(gaps)} gaps, the first: {gaps[0]}")


def _rows(connection: Connection, table: Table) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(select(table).order_by(*table.primary_key))]


_inserts: dict[Table, Any] = {}


def _insert(table: Table) -> Any:
    return _inserts.setdefault(table, table.insert())


def _batches(seed: dict[Table, list[dict[str, Any]]], copies: int) -> Iterator[dict[Table, list[dict[str, Any]]]]:
    batch: dict[Table, list[dict[str, Any]]] = {table: [] for table in TABLES}
    for number in range(copies):
        ids = _NewIds()
        for table in TABLES:
            batch[table] += [copied(table, row, ids, number) for row in seed[table]]
        if len(batch[schema.packets]) >= _BATCH:
            yield batch
            batch = {table: [] for table in TABLES}
    if batch[schema.packets]:
        yield batch


class _NewIds(dict[str, str]):
    """The new id of each old one."""

    def __missing__(self, old: str) -> str:
        self[old] = new_id()
        return self[old]


def copied(table: Table, row: dict[str, Any], ids: Mapping[str, str], number: int) -> dict[str, Any]:
    """A row of another document that says the same: `ids` gives the new id of each old one, the same in every table."""
    made = dict(row)
    for name, value in row.items():
        if name in _IDS and value:
            made[name] = ids[value]
        elif name in _KEYS and value:
            made[name] = f"{value}~{number}"
    if table is schema.events:
        made["leaf"] = _leaf(made)
    return made


_SAID: Final = (
    "at", "actor", "book", "packet_id", "delivery_id", "agency_id", "system_id", "state_after", "holder_after",
    "reason", "reported_at", "salt",
)  # fmt: skip


def _leaf(row: dict[str, Any]) -> bytes:
    event = Event(kind=EventKind(row["kind"]), **{name: row[name] for name in _SAID})
    return leaf_digest(event, row["id"], row["recorded_at"], RULE_VERSION)


# --- measuring -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The product on a small and on a large store."""

    small: int
    large: int
    cpu_ratio: Interval
    small_hops: tuple[HopFigures, ...]
    large_hops: tuple[HopFigures, ...]
    disagreements: tuple[str, ...]

    @property
    def changed_plans(self) -> tuple[str, ...]:
        """Plans that only one of them has."""
        pairs = zip(self.small_hops, self.large_hops, strict=True)
        return tuple(sorted(plan for small, large in pairs for plan in small.plans ^ large.plans))

    @property
    def pages_ratio(self) -> float:
        """Pages looked at per document, all hops together."""
        return sum(hop.pages for hop in self.large_hops) / sum(hop.pages for hop in self.small_hops)


def measure_growth(
    folders: RunFolder,
    *,
    small: int = 1_000,
    large: int = 100_000,
    documents: int = 1_000,
    pairs: int = 7,
    rounds: int = 40,
) -> Growth:
    """Fill two stores; hop by hop in this process, then both served at once and loaded in turns."""
    made: list[tuple[Path, Entry]] = []
    for count in (small, large):
        folder = folders.fresh(f"store-{count}")
        entry = PRODUCT.prepare(folder)
        fill(folder, entry, count)
        made.append((folder, entry))
    hops = [walk(folder, entry, rounds=rounds) for folder, entry in made]
    (small_folder, small_entry), (large_folder, large_entry) = made
    with (
        serve(small_entry.command, small_folder, environment=small_entry.environment) as small_server,
        serve(large_entry.command, large_folder, environment=large_entry.environment) as large_server,
    ):

        def loading(entry: Entry, server: Any) -> Callable[[int], float]:
            def load(pair: int) -> float:
                plan = LoadPlan(
                    dialect=PRODUCT.dialect, port=server.port, sender=entry.sender, recipients=entry.recipients,
                    documents=documents, run=f"G{pair}",
                )  # fmt: skip
                return run_load(plan, server).cpu_ms

            return load

        both: Sequence[tuple[float, float]] = interleave(
            loading(large_entry, large_server), loading(small_entry, small_server), pairs=pairs
        )
    wrong = [f"{folder.name}: {gaps[0]}" for folder, _ in made if (gaps := gaps_of(folder))]
    return Growth(
        small=small,
        large=large,
        cpu_ratio=interval_of([above / below for above, below in both]),
        small_hops=hops[0],
        large_hops=hops[1],
        disagreements=tuple(wrong),
    )
