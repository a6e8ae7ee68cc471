"""Tables of what goes round over everything stored, behind the hops: how far each walk came, and what it found wrong.

The conventions are those of `gateway.store.schema`, whose `metadata` these tables join.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table, Text

from gateway.store.schema import metadata

__all__ = ["faults", "walks"]

walks = Table(
    "walks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("after", Text, nullable=False),  # the last packet that was looked at; "": a round begins
    Column("ended_at", BigInteger, nullable=False),  # when the last round ended; 0: none did
)

faults = Table(
    "faults",
    metadata,
    Column("book", Text, primary_key=True),  # account, blobs, configuration
    Column("packet_id", Text, primary_key=True),  # "": of no packet
    Column("kind", Text, primary_key=True),
    Column("delivery_id", Text, primary_key=True),
    Column("agency_id", Text, primary_key=True),
    Column("detail", Text, primary_key=True),  # codes and figures; never words of a packet
    Column("found_at", BigInteger, nullable=False),
)
