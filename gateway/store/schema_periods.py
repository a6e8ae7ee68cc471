"""Tables of what goes after its time: months that were archived, what they carry forward, legal holds.

The conventions are those of `gateway.store.schema`, whose `metadata` these tables join.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from gateway.store.schema import metadata

__all__ = ["carried", "holds", "periods"]

periods = Table(
    "periods",
    metadata,
    Column("month", Text, primary_key=True),  # in Việt Nam: 2026-07
    Column("file", Text, nullable=False),  # name of the archive file
    Column("digest", Text, nullable=False),  # SHA-256 of that file, hex
    Column("packets", Integer, nullable=False),
    Column("last_position", BigInteger, nullable=False),  # of its events, when it was archived
    Column("archived_at", BigInteger, nullable=False),
    Column("archived_by", Text, nullable=False),
    Column("dropped_at", BigInteger),  # null: its rows are still there
)

carried = Table(
    "carried",
    metadata,
    Column("month", Text, primary_key=True),
    Column("day", BigInteger, primary_key=True),  # the first instant of the day on which the books took them in
    Column("agency_id", Text, primary_key=True),
    Column("book", Text, primary_key=True),
    Column("fate", Text, primary_key=True),  # "accepted", or one of gateway.account.Fate
    Column("count", Integer, nullable=False),
)

holds = Table(
    "holds",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),  # document, agency, period
    Column("value", Text, nullable=False),
    Column("reason", Text, nullable=False),  # a number of a case or decision; never words of a document
    Column("added_at", BigInteger, nullable=False),
    Column("added_by", Text, nullable=False),
    Column("ended_at", BigInteger),  # null: it stands
    Column("ended_by", Text, nullable=False),
)
