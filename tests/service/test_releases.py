"""Every released database opens under this program: migrated, its books closed, its documents readable and going on."""

from __future__ import annotations

import gzip
import sqlite3
from pathlib import Path

import pytest

from gateway.account import close_books
from gateway.model.instants import DAY
from gateway.store import open_store, views
from gateway.store.migrate import HEAD, alembic_config, upgrade
from gateway.store.schema import metadata

RELEASES = sorted((Path(__file__).parent.parent / "support" / "releases").glob("*.sql.gz"))


def read_release(dump: Path, database: Path) -> None:
    """Make the SQLite database that a release wrote."""
    connection = sqlite3.connect(database)
    connection.executescript(gzip.decompress(dump.read_bytes()).decode())
    connection.close()


def test_there_is_a_released_database() -> None:
    assert RELEASES


@pytest.mark.parametrize("dump", RELEASES, ids=lambda path: path.name)
def test_a_released_database_is_migrated_and_its_books_close(dump: Path, tmp_path: Path) -> None:
    read_release(dump, tmp_path / "truc.db")
    store = open_store(tmp_path, node="thu", reserve=1)
    try:
        with store.read() as rows:
            assert rows.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == HEAD
            states = {line.state for line in views.backlog(rows)}
            parked = views.parked(rows)
            first = rows.exec_driver_sql("SELECT id FROM packets ORDER BY id LIMIT 1").scalar()
            seen = views.document(rows, str(first), seen_by=None)
            at = int(rows.exec_driver_sql("SELECT max(recorded_at) FROM events").scalar() or 0)
            unnamed = rows.exec_driver_sql(
                "SELECT count(*) FROM deliveries WHERE document = '' OR copy = '' AND state <> 'undeliverable'"
            ).scalar()
        assert {"delivered", "available", "undeliverable", "parked", "withdrawn", "fetched"} <= states
        assert parked
        assert unnamed == 0, "each delivery says on which document it acts, and whose copy it is"
        assert seen is not None
        assert seen.timeline
        account = close_books(store, 0, at + DAY)
        assert account.closes, account.gaps
    finally:
        store.close()


def test_migrations_make_exactly_the_schema(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from gateway.store.engines import open_sqlite

    engine = open_sqlite(tmp_path / "fresh.db")
    upgrade(engine)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
        migrated = dict(connection.exec_driver_sql(_INDEXES).all())
    engine.dispose()
    assert differences == []
    made = open_sqlite(tmp_path / "made.db")
    with made.connect() as connection, connection.begin():
        metadata.create_all(connection)
        assert migrated == dict(connection.exec_driver_sql(_INDEXES).all()), "which rows an index is of, too"
    made.dispose()


_INDEXES = "SELECT name, replace(sql, '\"', '') FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"


def test_the_program_speaks_the_last_revision() -> None:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(alembic_config())
    assert scripts.get_current_head() == HEAD
    assert [script.revision for script in scripts.walk_revisions()] == sorted(
        (script.revision for script in scripts.walk_revisions()), reverse=True
    ), "revisions sort by age: a newer schema is known by its name"
