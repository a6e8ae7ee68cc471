"""Bring a database to this program's schema, from any earlier release (Alembic, migrations/versions)."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, inspect

from gateway.model.errors import StoreOutdated

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["HEAD", "alembic_config", "found_revision", "upgrade"]

_HERE = Path(__file__).parent

HEAD = "0005"
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


def upgrade(engine: Engine) -> None:
    """Migrate to `HEAD`. One process at a time does it; the others wait. Raises StoreOutdated for a newer schema."""
    found = found_revision(engine)
    if found == HEAD:
        return
    if found is not None and found > HEAD:
        raise StoreOutdated(found=found, wanted=HEAD)
    with _OneAtATime(engine):
        if found_revision(engine) != HEAD:
            _run(engine)


def _run(engine: Engine) -> None:
    from alembic import command

    config = alembic_config()
    with engine.connect().execution_options(truc_writes=True) as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


class _OneAtATime:
    """A lock file beside an SQLite database; PostgreSQL takes its own advisory lock."""

    def __init__(self, engine: Engine) -> None:
        self._path = Path(str(engine.url.database) + ".migrating")

    def __enter__(self) -> None:
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()
