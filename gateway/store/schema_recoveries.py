"""The table of recoveries: when this store was put back from which backup, and when its node was done with asking.

The conventions are those of `gateway.store.schema`, whose `metadata` this table joins.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table, Text, exists

from gateway.store.schema import metadata

__all__ = ["NOT_RECOVERING", "recoveries"]

recoveries = Table(
    "recoveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("backup", Text, nullable=False),  # the name of the backup's generation
    Column("backup_at", BigInteger, nullable=False),  # what came after this instant is unknown to the store
    Column("restored_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),  # null: the node is recovering, and nothing is pushed
    Column("ended_by", Text, nullable=False),
)

NOT_RECOVERING = ~exists().where(recoveries.c.ended_at.is_(None))
"""Whether anything may be pushed: part of whatever announces and claims (rule 13)."""
