"""The rows' side of a restore onto PostgreSQL: a database that nobody may open until the last commit says so."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edxml.crashpoints import crash_point, declare
from gateway.backup.shape import Manifest
from gateway.model.errors import Conflict, NotFound, StoreForeign
from gateway.model.instants import new_id, wall_now
from gateway.store import Clock, Store, open_store
from gateway.store.carrying import fillings
from gateway.store.carrying.dumping import DatabaseAccess, claim_database, claim_rows, load_database
from gateway.store.carrying.fillings import Filling, FillingKind
from gateway.store.engines import translating

__all__ = ["Serving"]

declare("restore.database_claimed", "the database says that it is being restored; it holds nothing")
declare("restore.database_loaded", "the database holds the rows of the backup's moment and says that it is not whole")

_ID: Final = "filling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """One restore into one database. `ended_at`: when an earlier run of it ended; 0: it did not."""

    access: DatabaseAccess
    work: Path
    id: str
    ended_at: int = 0
    doubted: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether the database is whole already, and only the folder does not know."""
        return self.ended_at > 0

    @classmethod
    def begin(cls, access: DatabaseAccess, work: Path, manifest: Manifest, *, is_beside: bool = False) -> Serving:
        """Claim the empty database, or find what an earlier run of this restore has made of it.

        `is_beside`: one that its own tools have put back, whose rows stay.  The folder of work remembers which restore
        it is, and is left as it was where the database refuses.  Raises what `claim_database` and `claim_rows` raise,
        and StoreBusy.
        Crash points: restore.database_claimed.
        """
        noted = work / _ID
        is_new = not noted.exists()
        if is_new:
            part = work / f"{_ID}.part"
            part.write_text(new_id(), "ascii")
            part.rename(noted)
        wanted = Filling(
            id=noted.read_text("ascii"), kind=FillingKind.RESTORED, node=manifest.node, other=manifest.generation,
            began_at=wall_now(), ended_at=None, progress={},
        )  # fmt: skip
        engine = access.open()
        try:
            with translating(), engine.connect() as connection, connection.begin():
                found = (claim_rows if is_beside else claim_database)(connection, wanted)
        except (Conflict, NotFound, StoreForeign):
            if is_new:
                noted.unlink()
                with suppress(OSError):  # something else lies there
                    work.rmdir()
            raise
        finally:
            engine.dispose()
        crash_point("restore.database_claimed")
        doubted = int(found.progress.get("doubted", 0))
        return cls(access=access, work=work, id=found.id, ended_at=found.ended_at or 0, doubted=doubted)

    def load(self, dump: Path, clock: Clock | None) -> Store:
        """Put the dump into it and open it, in this program's schema. Close it.

        Crash points: restore.database_loaded.
        """
        load_database(self.access, dump)
        crash_point("restore.database_loaded")
        return self.open(self.work, clock)

    def open(self, folder: Path, clock: Clock | None) -> Store:
        """The store that nobody else may open yet. Close it."""
        return open_store(
            folder, node=self.access.node, database=self.access.address, password_file=self.access.password_file,
            clock=clock, reserve=0, wait_seconds=self.access.wait_seconds, may_be_marked=True,
        )  # fmt: skip

    def end(self, at: int, doubted: int) -> None:
        """Let the node open it from now on. Safe to repeat."""
        engine = self.access.open()
        try:
            with translating(), engine.connect() as connection, connection.begin():
                fillings.keep(connection, self.id, {"doubted": doubted})
                fillings.end(connection, self.id, at)
        finally:
            engine.dispose()
