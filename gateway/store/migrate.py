"""Bring a database to this program's schema, from any earlier release (Alembic, migrations/versions)."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, inspect
from sqlalchemy.exc import DBAPIError, ProgrammingError

from gateway.model.errors import StoreBusy, StoreConflict, StoreOutdated, StoreUnmigrated
from gateway.store.dialect import AloneAt, lock_alone
from gateway.store.engines import translating

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["HEAD", "alembic_config", "found_revision", "upgrade"]

_HERE = Path(__file__).parent

HEAD = "0015"
"""The revision that this program speaks; a test holds it against the scripts."""


def alembic_config() -> Config:
    """Alembic's configuration for the migrations that ship in this package."""
    from alembic.config import Config  # a process that has nothing to migrate does not load it

    config = Config()
    config.set_main_option("script_location", str(_HERE / "migrations"))
    return config


def found_revision(engine: Engine) -> str | None:
    """The revision that a database is at; None where it is empty."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return found


def _known() -> frozenset[str]:
    """The revisions that this program can begin from."""
    return frozenset(path.name.partition("_")[0] for path in (_HERE / "migrations" / "versions").glob("*.py"))


def upgrade(engine: Engine) -> None:
    """Migrate to `HEAD`, wholly or not at all; killed, it is done by the next process. The others wait.

    Raises StoreOutdated for a newer schema, StoreUnmigrated where the database refuses a step, StoreBusy.
    """
    found = found_revision(engine)
    if found == HEAD:
        return
    if found is not None and found not in _known():
        raise StoreOutdated(found=found, wanted=HEAD)
    with _one_at_a_time(engine):
        if found_revision(engine) != HEAD:
            _run(engine)


def _run(engine: Engine) -> None:
    """All of it or nothing: one transaction on either database."""
    from alembic import command

    config = alembic_config()
    try:
        with translating(), engine.connect() as connection:
            connection.execution_options(truc_writes=True)
            with connection.begin():
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
    except (DBAPIError, StoreConflict, StoreBusy) as why:
        if isinstance(why, StoreBusy) and not isinstance(why.__cause__, ProgrammingError):
            raise  # away, or somebody's lock: come again
        told = str(why.orig if isinstance(why, DBAPIError) else why).strip().split("\n", 1)[0]
        raise StoreUnmigrated(found=found_revision(engine) or "–", wanted=HEAD, why=told) from why


@contextmanager
def _one_at_a_time(engine: Engine) -> Iterator[None]:
    """A lock file beside an SQLite database; an advisory lock in a PostgreSQL one."""
    if engine.dialect.name == "sqlite":
        with Path(str(engine.url.database) + ".migrating").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    else:
        with engine.connect() as connection, connection.begin():
            lock_alone(connection, AloneAt.MIGRATING)
            yield
