"""Many stored documents for the province's bench: rows by COPY over a few shared blobs, of two years' months.

A few documents go their whole way through the running product; their rows are written again and again with ids and
times of the past, events with leaves of their own, roll-ups raised.  The account (cân sổ) of a filled store closes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from sqlalchemy import BigInteger, Table

from benchmarks.growth import TABLES, copied
from benchmarks.load import LoadPlan
from benchmarks.measure import run_load
from benchmarks.product import gaps_of, opened
from benchmarks.province_contestants import PRODUCT, Place
from benchmarks.province_services import Services
from gateway.model.instants import id_floor, random_bytes, wall_now
from gateway.store import schema
from gateway.store.months import listed
from gateway.store.months.partitions import PARTITIONED, locked_all, made_at, make_month, month_of

__all__ = ["MONTHS", "fill"]

MONTHS: Final = 24
_SEEDS: Final = 20
_BATCH: Final = 100  # copies of all seeds in one transaction
_INSTANTS_FROM: Final = 10**15
"""Whole numbers above are instants: microseconds, of 2001 at the earliest."""
_Rows = dict[Table, list[dict[str, Any]]]


def fill(place: Place, services: Services, documents: int) -> int:
    """Store about `documents` delivered documents; how many rows there are. Raises RuntimeError if its books break."""
    with PRODUCT.serve(place, services) as server:
        plan = LoadPlan(
            dialect=PRODUCT.dialect, port=server.port, sender=place.sender, recipients=place.recipients,
            documents=_SEEDS, warm_up=0, run="SEED",
        )  # fmt: skip
        run_load(plan, server)
    _make_months(place)
    with closing(psycopg.connect(place.settings["TRUC_DATABASE"])) as connection:
        seed = {table: _rows(connection, table) for table in TABLES}
        seed[schema.events] = [row for row in seed[schema.events] if row["packet_id"]]
        copies = max(0, documents // _SEEDS - 1)
        written = 0
        for start in range(0, copies, _BATCH):
            for table, rows in _batch(seed, range(start, min(copies, start + _BATCH)), copies).items():
                _copy(connection, table, rows)
                written += len(rows)
            connection.commit()
        connection.execute("UPDATE rollups SET count = count * %s", (copies + 1,))
        _catch_up(connection)
        connection.commit()
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE")
    _find_listed(place)
    gaps = gaps_of(place.folder, place.settings)
    if gaps:
        raise RuntimeError(f"the filled store's account has {len(gaps)} gaps, the first: {gaps[0]}")
    return written


def _make_months(place: Place) -> None:
    current = month_of(wall_now())
    with opened(place.folder, place.settings) as node:
        for table in PARTITIONED:
            for back in range(MONTHS + 1):
                with node.store.write() as connection, locked_all(connection, f"{table}_rest"):
                    make_month(connection, table, current.later(-back))


def _find_listed(place: Place) -> None:
    """As periodic work does every hour: the first time it makes room for what it finds, the second time it looks."""
    with opened(place.folder, place.settings) as node:
        for _ in range(2):
            with node.store.write() as connection:
                listed.find_anew(connection, node.store.now(connection))


def _rows(connection: psycopg.Connection[Any], table: Table) -> list[dict[str, Any]]:
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
    keys = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.primary_key)
    asked = sql.SQL("SELECT {} FROM {} ORDER BY {}").format(columns, sql.Identifier(table.name), keys)
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(asked).fetchall()


def _batch(seed: _Rows, numbers: range, copies: int) -> _Rows:
    span = wall_now() - month_of(wall_now()).later(1 - MONTHS).start
    batch: _Rows = {table: [] for table in TABLES}
    for number in numbers:
        back = span * (copies - number) // copies
        ids = _Ids(back)
        for table in TABLES:
            batch[table] += [copied(table, row, ids, number) for row in _earlier(seed, table, back)]
    return batch


def _earlier(seed: _Rows, table: Table, back: int) -> Iterator[dict[str, Any]]:
    instants = [column.name for column in table.columns if isinstance(column.type, BigInteger)]
    for row in seed[table]:
        moved = {name: row[name] - back for name in instants if row[name] is not None and row[name] > _INSTANTS_FROM}
        yield row | moved


class _Ids(dict[str, str]):
    """The new id of each old one, so much earlier."""

    def __init__(self, back: int) -> None:
        super().__init__()
        self._back = back

    def __missing__(self, old: str) -> str:
        chance = random_bytes(10).hex()
        early = id_floor(made_at(old) - self._back)
        self[old] = f"{early[:14]}7{chance[:3]}-8{chance[3:6]}-{chance[6:18]}"
        return self[old]


def _copy(connection: psycopg.Connection[Any], table: Table, rows: list[dict[str, Any]]) -> None:
    names = [column.name for column in table.columns]
    into = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, names))
    )
    with connection.cursor() as cursor, cursor.copy(into) as copy:
        for row in rows:
            copy.write_row([row[name] for name in names])


def _catch_up(connection: psycopg.Connection[Any]) -> None:
    """As on a node that runs for two years: whoever goes behind the hops has seen what is old."""
    connection.execute("UPDATE followers SET position = (SELECT max(position) FROM events)")
    connection.execute(
        "INSERT INTO walks (name, after, ended_at) "
        "SELECT name, CASE name WHEN 'account-new' THEN (SELECT max(id) FROM packets) ELSE '' END, %(now)s "
        "FROM unnest(ARRAY['account-new', 'account', 'blobs']) name "
        "ON CONFLICT (name) DO UPDATE SET after = excluded.after, ended_at = excluded.ended_at",
        {"now": wall_now()},
    )
