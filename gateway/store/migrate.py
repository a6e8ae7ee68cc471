"""Bring a database to this program's schema, from any earlier release (Alembic, migrations/versions)."""

from __future__ import annotations

import fcntl
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from gateway.model.errors import StoreOutdated

__all__ = ["alembic_config", "head", "upgrade"]

_HERE = Path(__file__).parent


def alembic_config() -> Config:
    """Alembic's configuration for the migrations that ship in this package."""
    config = Config()
    config.set_main_option("script_location", str(_HERE / "migrations"))
    return config


def head() -> str:
    """The revision that this program speaks."""
    found = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert found is not None, "there is at least one migration"
    return found


def upgrade(engine: Engine) -> None:
    """Migrate to `head`. One process at a time does it; the others wait. Raises StoreOutdated for a newer schema."""
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    wanted = head()
    if found == wanted:
        return
    known = {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if found is not None and found not in known:
        raise StoreOutdated(found=found, wanted=wanted)
    with _OneAtATime(engine):
        config = alembic_config()
        with engine.connect().execution_options(truc_writes=True) as connection, connection.begin():
            if MigrationContext.configure(connection).get_current_revision() != wanted:
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
