"""What a database needs to stay quick and whole, looked at without changing anything (kiểm tra cơ sở dữ liệu).

Beside `gateway.store.dialect` it knows both databases, because each ails in its own way.  It does not migrate: a schema
that is older or newer than this program's is a finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from gateway.model.instants import wall_now
from gateway.store.engines import open_postgres, open_sqlite, translating
from gateway.store.migrate import HEAD, found_revision
from gateway.store.months import partitions
from gateway.store.months.partitions import PARTITIONED, month_of
from gateway.store.tables import metadata

__all__ = ["Ailment", "DatabaseFinding", "DatabaseReport", "foreign_order", "look_at_database"]


class Ailment(StrEnum):
    """What may be wrong; each has a text (`db.<name>`) and a row in the runbook."""

    SCHEMA_OLDER = "schema_older"
    SCHEMA_NEWER = "schema_newer"
    INDEX_MISSING = "index_missing"
    INDEX_INVALID = "index_invalid"
    MONTH_MISSING = "month_missing"
    ROWS_WITHOUT_MONTH = "rows_without_month"
    DEAD_ROWS = "dead_rows"
    EMPTY_PAGES = "empty_pages"
    LOG_LARGE = "log_large"
    TRANSACTION_OLD = "transaction_old"
    LOCK_HELD = "lock_held"
    ARCHIVE_FAILING = "archive_failing"
    ARCHIVE_LATE = "archive_late"
    AUTOVACUUM_OFF = "autovacuum_off"
    NUMBERS_OLD = "numbers_old"
    SLOT_IDLE = "slot_idle"
    SLOT_BEHIND = "slot_behind"
    VACUUM_HELD = "vacuum_held"
    SEQUENCE_NEAR_END = "sequence_near_end"
    ORDER_FOREIGN = "order_foreign"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFinding:
    """One thing that wants looking after; `what` names the table, index or process, `figure` says how much."""

    kind: Ailment
    what: str
    figure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseReport:
    """What was found, and figures for people."""

    database: str  #: sqlite or postgresql
    revision: str | None
    findings: tuple[DatabaseFinding, ...]
    figures: dict[str, int | str] = field(default_factory=dict)


_DEAD_ROWS: Final = 50_000
_DEAD_SHARE: Final = 0.2
_EMPTY_SHARE: Final = 0.3
_EMPTY_PAGES: Final = 25_000
"""100 MB of pages that hold nothing."""
_LOG_BYTES: Final = 256 << 20
_OLD_SECONDS: Final = 600
"""Longer than any transaction of ours: a statement ends after five minutes."""
_WAITED_SECONDS: Final = 5
"""For a lock; ours are held for milliseconds."""
_OLD_NUMBERS: Final = 1_000_000_000
"""Transactions since the last freezing; the server stops writing at two thousand million."""
_HELD_TRANSACTIONS: Final = 1_000_000
"""Since what a standby, or a slot, still wants to see: nothing that died since can be cleared away."""
_BEHIND_BYTES: Final = 1 << 30
_NEAR_END: Final = 0.8


def look_at_database(
    folder: Path, *, database: str = "", password_file: str = "", ahead: int, wait_seconds: float = 20.0
) -> DatabaseReport:
    """Look at a node's database, running or not. Raises StoreBusy where it is away."""
    if database:
        engine = open_postgres(database, node="check", password_file=password_file, wait_seconds=wait_seconds)
    else:
        engine = open_sqlite(folder / "truc.db", wait_seconds=wait_seconds)
    try:
        with translating():
            revision = found_revision(engine)
            with engine.connect() as connection:
                wrong = [_schema(revision)] if revision != HEAD else []
                if engine.dialect.name == "sqlite":
                    wrong += [*_missing_indexes(connection, _sqlite_indexes(connection)), *_sqlite(connection, folder)]
                    figures: dict[str, int | str] = {"pages": _number(connection, "PRAGMA page_count")}
                else:
                    wrong += [*_missing_indexes(connection, _postgres_indexes(connection)), *_postgres(connection)]
                    wrong += [*_months(connection, ahead), *_foreign_order(connection)]
                    figures = _postgres_figures(connection)
    finally:
        engine.dispose()
    return DatabaseReport(database=engine.dialect.name, revision=revision, findings=tuple(wrong), figures=figures)


def _schema(revision: str | None) -> DatabaseFinding:
    is_older = revision is None or revision < HEAD
    kind = Ailment.SCHEMA_OLDER if is_older else Ailment.SCHEMA_NEWER
    return DatabaseFinding(kind=kind, what=revision or "–", figure=HEAD)


def _number(connection: Connection, told: str) -> int:
    return int(connection.exec_driver_sql(told).scalar() or 0)


# --- both --------------------------------------------------------------------------------------------------------

_OTHERWISE: Final = frozenset({"events_packet", "deliveries_chain"})
"""On PostgreSQL the key of events does the first's work, and an index of each part the second's."""


def _missing_indexes(connection: Connection, there: frozenset[str]) -> Iterator[DatabaseFinding]:
    is_parted = partitions.is_partitioned(connection)
    for table in metadata.sorted_tables:
        for index in table.indexes:
            name = str(index.name)
            if name not in there and not (is_parted and name in _OTHERWISE):
                yield DatabaseFinding(kind=Ailment.INDEX_MISSING, what=f"{table.name}.{name}")
    if is_parted:
        for part in [one.name for one in partitions.partitions_of(connection, "deliveries")]:
            if not there & {f"{part}_place", "deliveries_chain_before"}:
                yield DatabaseFinding(kind=Ailment.INDEX_MISSING, what=f"{part}.{part}_place")


# --- SQLite ------------------------------------------------------------------------------------------------------


def _sqlite_indexes(connection: Connection) -> frozenset[str]:
    return frozenset(connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'index'").scalars())


def _sqlite(connection: Connection, folder: Path) -> Iterator[DatabaseFinding]:
    pages, empty = _number(connection, "PRAGMA page_count"), _number(connection, "PRAGMA freelist_count")
    if empty > _EMPTY_PAGES and empty > pages * _EMPTY_SHARE:
        yield DatabaseFinding(kind=Ailment.EMPTY_PAGES, what="truc.db", figure=f"{empty} / {pages}")
    log = folder / "truc.db-wal"
    if log.exists() and (size := log.stat().st_size) > _LOG_BYTES:
        yield DatabaseFinding(kind=Ailment.LOG_LARGE, what=log.name, figure=f"{size >> 20} MiB")


# --- PostgreSQL --------------------------------------------------------------------------------------------------
# ruff: noqa: S608 - sentences of our own with our own figures in them

_HERE = "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema()"
_SLOTS = "FROM pg_replication_slots WHERE"
_END = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END"
_KEPT = f"coalesce(pg_wal_lsn_diff({_END}, restart_lsn), 0)::bigint"
"""Bytes of the server's log that a slot keeps it from letting go."""
_ROWS: Final[Sequence[tuple[Ailment, str]]] = (
    (
        Ailment.INDEX_INVALID,
        "SELECT c.relname, '' FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = current_schema() AND NOT (x.indisvalid AND x.indisready) ORDER BY 1",
    ),
    (
        Ailment.DEAD_ROWS,
        "SELECT relname, n_dead_tup || ' / ' || n_live_tup FROM pg_stat_user_tables "
        "WHERE schemaname = current_schema() "
        f"AND n_dead_tup > {_DEAD_ROWS} AND n_dead_tup > {_DEAD_SHARE} * n_live_tup ORDER BY 1",
    ),
    (
        Ailment.TRANSACTION_OLD,
        "SELECT pid || ' ' || application_name, extract(epoch FROM clock_timestamp() - xact_start)::bigint || ' s' "
        "FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' "
        f"AND clock_timestamp() - xact_start > interval '{_OLD_SECONDS} s' ORDER BY xact_start",
    ),
    (
        Ailment.TRANSACTION_OLD,
        "SELECT 'prepared ' || gid, extract(epoch FROM clock_timestamp() - prepared)::bigint || ' s' "
        "FROM pg_prepared_xacts WHERE database = current_database() "
        f"AND clock_timestamp() - prepared > interval '{_OLD_SECONDS} s' ORDER BY 1",
    ),
    (
        Ailment.LOCK_HELD,
        "SELECT b.pid || ' ' || coalesce(a.usename, '?') || ' ' || coalesce(a.application_name, ''), "
        "count(DISTINCT w.pid) || ' / ' || max(extract(epoch FROM clock_timestamp() - w.waitstart))::bigint || ' s' "
        "FROM pg_locks w JOIN pg_stat_activity o ON o.pid = w.pid AND o.datname = current_database() "
        "CROSS JOIN unnest(pg_blocking_pids(w.pid)) b(pid) LEFT JOIN pg_stat_activity a ON a.pid = b.pid "
        f"WHERE clock_timestamp() - w.waitstart > interval '{_WAITED_SECONDS} s' "
        "AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = b.pid AND NOT l.granted) GROUP BY 1 ORDER BY 1",
    ),
    (
        Ailment.ARCHIVE_FAILING,
        "SELECT last_failed_wal, failed_count::text FROM pg_stat_archiver "
        "WHERE last_failed_time > coalesce(last_archived_time, '-infinity') "
        "AND current_setting('archive_mode') <> 'off'",
    ),
    (
        Ailment.ARCHIVE_LATE,
        "SELECT name, setting FROM pg_settings WHERE name = 'archive_timeout' AND setting = '0' "
        "AND current_setting('archive_mode') <> 'off'",
    ),
    (
        Ailment.AUTOVACUUM_OFF,
        "SELECT name, setting FROM pg_settings WHERE name IN ('autovacuum', 'track_counts') AND setting = 'off'",
    ),
    (
        Ailment.AUTOVACUUM_OFF,
        f"SELECT c.relname, option {_HERE.replace('WHERE', ', unnest(c.reloptions) option WHERE')} "
        "AND option IN ('autovacuum_enabled=false', 'autovacuum_enabled=off')",
    ),
    (
        Ailment.NUMBERS_OLD,
        "SELECT datname, age(datfrozenxid)::text FROM pg_database WHERE datname = current_database() "
        f"AND age(datfrozenxid) > {_OLD_NUMBERS}",
    ),
    (Ailment.SLOT_IDLE, f"SELECT slot_name, slot_type || ', ' || {_KEPT} / 1048576 || ' MiB' {_SLOTS} NOT active"),
    (
        Ailment.SLOT_BEHIND,
        f"SELECT slot_name, {_KEPT} / 1048576 || ' MiB' {_SLOTS} active AND {_KEPT} > {_BEHIND_BYTES}",
    ),
    (
        Ailment.VACUUM_HELD,
        "SELECT 'slot ' || slot_name, greatest(age(xmin), age(catalog_xmin))::text "
        f"{_SLOTS} greatest(age(xmin), age(catalog_xmin)) > {_HELD_TRANSACTIONS}",
    ),
    (
        Ailment.VACUUM_HELD,
        "SELECT pid || ' ' || application_name, age(backend_xmin)::text "
        f"FROM pg_stat_replication WHERE age(backend_xmin) > {_HELD_TRANSACTIONS} ORDER BY 1",
    ),
    (
        Ailment.SEQUENCE_NEAR_END,
        "SELECT sequencename, last_value || ' / ' || max_value FROM pg_sequences WHERE schemaname = current_schema() "
        f"AND NOT cycle AND last_value > {_NEAR_END} * max_value ORDER BY 1",
    ),
)


def _postgres_indexes(connection: Connection) -> frozenset[str]:
    told = "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()"
    return frozenset(connection.exec_driver_sql(told).scalars())


def _postgres(connection: Connection) -> Iterator[DatabaseFinding]:
    for kind, told in _ROWS:
        for what, figure in connection.exec_driver_sql(told.replace("%", "%%")):
            yield DatabaseFinding(kind=kind, what=str(what), figure=str(figure))


_ORDER: Final = """
SELECT coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', d.datcollate)
FROM pg_database d, (
    SELECT array_agg(id ORDER BY id) AS here, array_agg(id ORDER BY id COLLATE "C") AS ours
    FROM unnest(ARRAY['0', 'A', 'B', 'a', 'aB', 'a-b', 'ab', 'a.c', 'đ', 'z', '|', '_']) id
) sorted
WHERE d.datname = current_database() AND here <> ours"""
"""Asked of texts and not of names: each release of the server tells otherwise where a database's order comes from."""


def foreign_order(connection: Connection) -> str | None:
    """The collation of a database that does not sort texts by code points, as the program does; None where it does.

    Odd ids (of others' making) may then be passed over where a statement says between which its rows lie.
    """
    if connection.dialect.name == "sqlite":
        return None
    found: str | None = connection.exec_driver_sql(_ORDER).scalar()
    return found


def _foreign_order(connection: Connection) -> Iterator[DatabaseFinding]:
    collation = foreign_order(connection)
    if collation is not None:
        yield DatabaseFinding(kind=Ailment.ORDER_FOREIGN, what=collation)


def _months(connection: Connection, ahead: int) -> list[DatabaseFinding]:
    if not partitions.is_partitioned(connection):
        return []
    current = month_of(wall_now())
    found = []
    for table, month in partitions.missing_months(connection, current, ahead):
        fell = partitions.rest_count(connection, table, month.low, month.high)
        kind = Ailment.ROWS_WITHOUT_MONTH if fell else Ailment.MONTH_MISSING
        found.append(DatabaseFinding(kind=kind, what=f"{table} {month.name}", figure=str(fell) if fell else ""))
    return found


def _postgres_figures(connection: Connection) -> dict[str, int | str]:
    def one(told: str) -> Any:
        return connection.exec_driver_sql(told).scalar()

    return {
        "server": str(one("SHOW server_version")),
        "bytes": int(one("SELECT pg_database_size(current_database())")),
        "months": len(partitions.partitions_of(connection, "packets")),
        "oldest_transaction_s": int(
            one(
                "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::bigint "
                "FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
            )
        ),
        "connections": int(one("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")),
        "parts": sum(len(partitions.partitions_of(connection, table)) for table in PARTITIONED),
    }
