"""Sightings (lần cuối liên lạc): when each system last called, and when each inbox was last asked for."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from sqlalchemy import Connection, bindparam, update

from gateway.store.dialect import insert_missing
from gateway.store.schema_sightings import sightings
from gateway.store.statements import execute_rows

__all__ = ["Sighting", "Whose", "note"]


class Whose(StrEnum):
    """Of what a sighting tells."""

    SYSTEM = "system"  #: it called with a valid token
    INBOX = "inbox"  #: what waits for this agency was listed or fetched


Sighting = tuple[Whose, str]
"""Whose, and the id of the system or of the inbox's agency."""

_LATER = (
    update(sightings)
    .where(
        sightings.c.whose == bindparam("b_whose"),
        sightings.c.id == bindparam("b_id"),
        sightings.c.at < bindparam("b_at"),
    )
    .values(at=bindparam("b_at"))
)


def note(connection: Connection, seen: Mapping[Sighting, int]) -> None:
    """These were seen at these instants; an earlier one than is known changes nothing. Safe to repeat."""
    rows = [{"whose": str(whose), "id": name, "at": at} for (whose, name), at in sorted(seen.items())]
    if rows and insert_missing(connection, sightings, rows, "whose", "id") < len(rows):
        execute_rows(connection, _LATER, [{f"b_{name}": value for name, value in row.items()} for row in rows])
