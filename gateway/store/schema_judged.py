"""Tables about how packets are judged: profiles, repairs by day, verdicts; all but profiles worked out behind the hops.

The conventions are those of `gateway.store.schema`, whose `metadata` these tables join.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Integer, Table, Text

from gateway.store.schema import metadata

__all__ = [
    "followers",
    "inspections",
    "packet_days",
    "profiles",
    "repair_days",
    "signature_verdicts",
]

profiles = Table(
    "profiles",
    metadata,
    Column("name", Text, primary_key=True),  # an operator's own; `strict` and `lenient` are the program's
    Column("allowances", Text, nullable=False),  # JSON, as `edxml.profiles` reads it
)

followers = Table(
    "followers",
    metadata,
    Column("name", Text, primary_key=True),  # who reads the events behind the hops
    Column("position", BigInteger, nullable=False),  # the last event that it is done with
)

packet_days = Table(
    "packet_days",
    metadata,
    Column("day", Text, primary_key=True),  # of acceptance, in Việt Nam: 2026-07-01
    Column("system_id", Text, primary_key=True),
    Column("agency_id", Text, primary_key=True),  # the sender
    Column("packets", Integer, nullable=False),
    Column("repaired", Integer, nullable=False),  # of these, packets with a repair
)

repair_days = Table(
    "repair_days",
    metadata,
    Column("day", Text, primary_key=True),
    Column("system_id", Text, primary_key=True),
    Column("agency_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),  # the repair
    Column("packets", Integer, nullable=False),
    Column("count", Integer, nullable=False),  # places: a packet may need the same repair at several
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("example", Text, nullable=False),  # the newest packet that needed it
)

signature_verdicts = Table(
    "signature_verdicts",
    metadata,
    Column("packet_id", Text, primary_key=True),  # packets without a signature have no row
    Column("verdict", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("form", Text, nullable=False),
    Column("signer", Text, nullable=False),
    Column("certificate", Text, nullable=False),  # SHA-256 of the signer's certificate, hex
    Column("covers_whole", Boolean, nullable=False),
    Column("signed_at", BigInteger),  # as a trusted authority stamped it, else as the signer claims
    Column("checked_at", BigInteger, nullable=False),
)

inspections = Table(
    "inspections",
    metadata,
    Column("packet_id", Text, primary_key=True),
    Column("position", Integer, primary_key=True),  # of the attachment, from 1
    Column("version", Integer, primary_key=True),  # of the inspector
    Column("verdict", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("signatures", Text, nullable=False),  # JSON; names of signers: goes when the document is erased
    Column("policy", Text, nullable=False),
    Column("digest", Text, nullable=False),  # SHA-256 of the file
    Column("inspected_at", BigInteger, nullable=False),
)
