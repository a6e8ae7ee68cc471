"""The table of who was last heard of: systems that call, inboxes that are asked for.

The conventions are those of `gateway.store.schema`, whose `metadata` this table joins.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table, Text

from gateway.store.schema import metadata

__all__ = ["sightings"]

sightings = Table(
    "sightings",
    metadata,
    Column("whose", Text, primary_key=True),  # system: it called; inbox: somebody asked for what waits there
    Column("id", Text, primary_key=True),  # of the system, or of the inbox's agency
    Column("at", BigInteger, nullable=False),
)
