"""Tables of the store. Names and shapes hold for SQLite and PostgreSQL alike.

Conventions: ids are UUIDv7 text; instants are BIGINT microseconds (gateway.model.instants); closed lists are TEXT; no
foreign key points at a table that goes by months (packets, deliveries, events).  Small key tables (documents, chains,
submissions) carry the unique constraints and outlive months that are dropped.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, ColumnElement, Index, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.sql.expression import literal_column, or_

__all__ = ["EMPTY", "ZERO", "is_state", "metadata"]

metadata = MetaData()
EMPTY: ColumnElement[str] = literal_column("''")
ZERO: ColumnElement[int] = literal_column("0")
"""What new rows begin with is spelt out in the statement: no parameter, which costs its work once per row."""


def is_state(column: ColumnElement[str], *states: str) -> ColumnElement[bool]:
    """`column` is one of `states`, spelt out: a partial index is used only where the text is not a bound value."""
    spelt: list[ColumnElement[str]] = [literal_column(f"'{state}'") for state in states]
    return column == spelt[0] if len(spelt) == 1 else column.in_(spelt)


def _id(name: str, *, primary: bool = False, null: bool = False) -> Column[str]:
    return Column(name, Text, primary_key=primary, nullable=null)


def _index(name: str, *columns: ColumnElement[Any], where: ColumnElement[bool]) -> None:
    """An index of those rows alone for which `where` is true, on either database."""
    Index(name, *columns, sqlite_where=where, postgresql_where=where)


node = Table(
    "node",
    metadata,
    Column("name", Text, primary_key=True),  # the node that owns this store
    Column("created_at", BigInteger, nullable=False),
    Column("directory_version", Integer, nullable=False, default=0),
    Column("configuration_version", Integer, nullable=False, default=0),
    Column("blobs", Text, nullable=False, server_default=""),  # which folder of packets is its own (store.homes)
    Column("seal", Text, nullable=False, server_default=""),  # fingerprint of its first seal certificate
)

# --- who: agencies, systems, channels ------------------------------------------------------------------------

agencies = Table(
    "agencies",
    metadata,
    _id("id", primary=True),
    Column("data", Text, nullable=False),  # the agency's dated names, codes and successors, as JSON rows
)

systems = Table(
    "systems",
    metadata,
    _id("id", primary=True),
    Column("name", Text, nullable=False, unique=True),
    Column("is_operator", Boolean, nullable=False, default=False),
    Column("is_enabled", Boolean, nullable=False, default=True),
    Column("profile", Text, nullable=False, server_default="lenient"),  # how strictly its packets are read
    Column("created_at", BigInteger, nullable=False),
)

system_tokens = Table(
    "system_tokens",
    metadata,
    Column("digest", Text, primary_key=True),  # SHA-256 of the token, hex; the token itself is never stored
    _id("system_id"),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Index("system_tokens_system", "system_id"),
)

system_agencies = Table(
    "system_agencies",
    metadata,
    Column("agency_id", Text, primary_key=True),  # one owning system per agency at a time
    _id("system_id"),
    Index("system_agencies_system", "system_id"),
)

channels = Table(
    "channels",
    metadata,
    _id("id", primary=True),
    Column("kind", Text, nullable=False),
    Column("sink", Text, nullable=False),  # idempotent, checkable, blind
    Column("is_polled", Boolean, nullable=False),
    Column("state", Text, nullable=False, default="open"),
    Column("speaks_for_agency", Boolean, nullable=False, default=False),  # the node reports 01 itself
    Column("in_flight", Integer, nullable=False, default=4),
    Column("windows", Text, nullable=False, server_default="[]"),  # JSON: when nothing is handed over
    Column("settings", Text, nullable=False, default="{}"),
    Column("system_id", Text),  # whose packets its source takes in
    # breaker, rule 8: consecutive faults of the channel, when it may be tried again, how many at once after that
    Column("faults", Integer, nullable=False, default=0),
    Column("open_until", BigInteger, nullable=False, default=0),
    Column("ramp", Integer, nullable=False, default=0),
    Column("is_slow", Boolean, nullable=False, default=False),
    Column("fault_reason", Text, nullable=False, default=""),
)

channel_agencies = Table(
    "channel_agencies",
    metadata,
    Column("agency_id", Text, primary_key=True),  # an agency is reached by one channel
    _id("channel_id"),
    Index("channel_agencies_channel", "channel_id"),
)

# --- what: documents, packets, deliveries, transfers, attempts -----------------------------------------------

documents = Table(
    "documents",
    metadata,
    Column("key", Text, primary_key=True),  # issuer and DocumentId, folded
    Column("root", Text, nullable=False),  # whose chains its packets join (a replacement joins the replaced)
    Column("notation", Text, nullable=False),  # issuer, date, number/notation, folded: the second way to match statuses
    Column("issuer_id", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),  # of the newest packet that carries content
    Column("packet_id", Text, nullable=False),  # the newest packet
    Column("packet_fingerprint", Text, nullable=False),  # of the newest packet, whatever its kind
    Column("kind", Text, nullable=False),  # of the newest packet
    Column("came", Boolean, nullable=False),  # a packet of kind new, update or replacement was accepted
    Column("is_recalled", Boolean, nullable=False, default=False),
    Index("documents_notation", "notation"),
)

submissions = Table(
    "submissions",
    metadata,
    Column("key", Text, primary_key=True),  # system, wire digest, recipients: rule 12
    _id("packet_id"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", Text, primary_key=True),  # system and Idempotency-Key
    Column("submission_key", Text, nullable=False),
    _id("packet_id"),
)

packets = Table(
    "packets",
    metadata,
    _id("id", primary=True),
    Column("kind", Text, nullable=False),  # LinkKind
    Column("book", Text, nullable=False),
    Column("document_key", Text, nullable=False),
    Column("document_id", Text, nullable=False),  # as written
    Column("root", Text, nullable=False),
    _id("sender_id"),
    _id("system_id"),
    Column("sender_organ", Text, nullable=False),
    Column("notation", Text, nullable=False),
    Column("subject", Text, nullable=False),  # for the sender and the recipients only; never in events or logs
    Column("status_code", Text, nullable=False, default=""),
    Column("is_urgent", Boolean, nullable=False),
    Column("wire_digest", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("blob", Text, nullable=False),  # SHA-256 of the stored bytes
    Column("size", BigInteger, nullable=False),
    Column("attachments", Text, nullable=False),  # JSON: what a range request needs
    Column("repairs", Text, nullable=False),  # JSON
    Column("recipients", Text, nullable=False),  # JSON: organ ids as written
    Column("seal", LargeBinary),
    Column("accepted_at", BigInteger, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Index("packets_sender", "sender_id", "id"),
    Index("packets_document", "document_key"),
    Index("packets_root", "root"),
    Index("packets_blob", "blob"),
)

chains = Table(
    "chains",
    metadata,
    _id("id", primary=True),
    Column("root", Text, nullable=False),
    _id("agency_id"),
    Column("ended_recalled", Boolean, nullable=False, server_default="0"),  # a recall was the last that was archived
    Index("chains_root", "root", "agency_id", unique=True),
)

_OPEN = ("ready", "available", "fetched", "handed_over", "parked")

deliveries = Table(
    "deliveries",
    metadata,
    _id("id", primary=True),
    _id("packet_id"),
    _id("chain_id"),
    Column("position", Integer, nullable=False),  # place in the chain
    _id("transfer_id"),
    _id("agency_id"),
    Column("organ", Text, nullable=False),  # as the sender wrote it
    Column("book", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("was", Text, nullable=False, default=""),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False, default=""),
    Column("holder", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("accepted_at", BigInteger, nullable=False),
    Column("head_since", BigInteger),
    Column("adds_recipient", Boolean, nullable=False, default=False),
    Column("leg", Text, nullable=False),  # why this road: the route's reason
    Column("readdressed_from", Text, nullable=False, default=""),
    Column("document", Text, nullable=False, server_default=""),  # key of the document that it acts on
    Column("copy", Text, nullable=False, server_default=""),  # the agency that it was addressed to
    Column("replaces", Text, nullable=False, server_default=""),  # keys of the documents that it replaces, by lines
    Column("status_code", Text, nullable=False, default=""),  # the furthest business status that came back
    Column("is_urgent", Boolean, nullable=False),
    Column("polled_at", BigInteger, nullable=False, default=0),  # rotates what nobody fetches (protocol §10)
    Column("served_until", BigInteger, nullable=False, default=0),  # hidden from other polls while a response runs
    Column("owes", Text, nullable=False, default=""),  # a status that the node still has to report for the agency
    Index("deliveries_packet", "packet_id"),
    Index("deliveries_chain", "chain_id", "position", unique=True),
    Index("deliveries_transfer", "transfer_id"),
)
_listed = or_(is_state(deliveries.c.state, "available"), is_state(deliveries.c.state, "fetched"))
"""Spelt with OR: SQLite does not see that `state = 'fetched'` is in a list."""
_index(
    "deliveries_inbox",
    deliveries.c.agency_id, deliveries.c.state, deliveries.c.is_urgent, deliveries.c.polled_at, deliveries.c.id,
    deliveries.c.since,
    where=_listed,
)  # fmt: skip
"""Its last column is not searched by: who asks for how long the oldest has waited reads the index alone."""
_index("deliveries_open", deliveries.c.head_since, deliveries.c.id, where=deliveries.c.state.in_(_OPEN))
_index("deliveries_waiting", deliveries.c.accepted_at, deliveries.c.id, where=deliveries.c.state == "waiting")
_index("deliveries_parked", deliveries.c.id, where=deliveries.c.state == "parked")
_index("deliveries_owing", deliveries.c.id, where=deliveries.c.owes != "")

transfers = Table(
    "transfers",
    metadata,
    _id("id", primary=True),
    _id("packet_id"),
    _id("channel_id"),
    Column("state", Text, nullable=False),
    Column("turn", Integer, nullable=False, default=0),
    Column("members", Integer, nullable=False),  # members not yet final
    Column("due_at", BigInteger),
    Column("announced_at", BigInteger),
    Column("lease_until", BigInteger),
    Column("worker", Text, nullable=False, default=""),
    Column("is_urgent", Boolean, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False, default=0),
    Column("unreported", Integer, nullable=False, default=0),
    Column("permits", Integer, nullable=False, default=0),
    Column("hops", Integer, nullable=False, default=0),  # neighbours (protocol §11): columns only in this version
    Column("came_from", Text, nullable=False, default=""),
)
_ready = transfers.c.state == "ready"
_index("transfers_due", transfers.c.due_at, transfers.c.id, where=_ready)
_index(
    "transfers_ready",
    transfers.c.channel_id, transfers.c.is_urgent.desc(), transfers.c.due_at, transfers.c.id,
    where=_ready,
)  # fmt: skip
_index("transfers_announced", transfers.c.announced_at, transfers.c.channel_id, where=_ready)
_index("transfers_leased", transfers.c.lease_until, where=transfers.c.state == "claimed")
_index("transfers_channel", transfers.c.channel_id, transfers.c.id, where=transfers.c.state != "closed")

attempts = Table(
    "attempts",
    metadata,
    _id("id", primary=True),
    _id("delivery_id"),
    _id("transfer_id"),
    Column("turn", Integer, nullable=False),
    Column("worker", Text, nullable=False),
    Column("began_at", BigInteger, nullable=False),
    Column("over_by", BigInteger, nullable=False),
    Column("lasts", BigInteger, nullable=False, server_default="0"),  # how long it can land (store.reckoning)
    Column("boot", Text, nullable=False, server_default=""),  # the machine that sends, since it was started
    Column("boot_over", BigInteger, nullable=False, server_default="0"),  # by that one's boot-time clock
    Column("outcome", Text),
    Column("ended_at", BigInteger),
    Column("detail", Text, nullable=False, default=""),
    Index("attempts_delivery", "delivery_id"),
)

statuses = Table(
    "statuses",
    metadata,
    _id("id", primary=True),
    _id("packet_id"),
    _id("document_packet_id"),
    Column("document_key", Text, nullable=False),
    _id("reporter_id"),
    Column("code", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("reported_at", BigInteger),
    Column("recorded_at", BigInteger, nullable=False),
    Column("by_node", Boolean, nullable=False, default=False),
    Index("statuses_document", "document_key", "reporter_id"),
    Index("statuses_packet", "packet_id"),
)

notices = Table(
    "notices",
    metadata,
    _id("id", primary=True),
    _id("agency_id"),  # whom it tells: the sender
    _id("packet_id"),
    _id("delivery_id"),
    Column("code", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("notices_agency", "agency_id", "id"),
    Index("notices_packet", "packet_id"),
)

# --- memory: events, roll-ups, jobs --------------------------------------------------------------------------

events = Table(
    "events",
    metadata,
    _id("id", primary=True),
    Column("kind", Text, nullable=False),
    Column("book", Text, nullable=False, default=""),
    Column("packet_id", Text, nullable=False, default=""),
    Column("delivery_id", Text, nullable=False, default=""),
    Column("agency_id", Text, nullable=False, default=""),
    Column("system_id", Text, nullable=False, default=""),
    Column("state_after", Text, nullable=False, default=""),
    Column("holder_after", Text, nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
    Column("actor", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Column("reported_at", BigInteger),
    Column("rule_version", Integer, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("leaf", LargeBinary, nullable=False),
    Index("events_packet", "packet_id"),
    Index("events_recorded", "recorded_at"),
)

rollups = Table(
    "rollups",
    metadata,
    Column("agency_id", Text, primary_key=True),
    Column("book", Text, primary_key=True),
    Column("state", Text, primary_key=True),
    Column("count", Integer, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False, default=""),
    Column("lease_until", BigInteger, nullable=False, default=0),
    Column("done_at", BigInteger, nullable=False, default=0),
)

intake_faults = Table(
    "intake_faults",
    metadata, Column("key", Text, primary_key=True),  # a thing on which work began and never ended (rule 8)
    Column("count", Integer, nullable=False),
)  # fmt: skip
