"""What time has made due: (delivery, chain) pairs after a delivery, by partial indexes on open states."""

from __future__ import annotations

from sqlalchemy import Connection, Select, bindparam, exists, select

from gateway.model.states import LinkKind
from gateway.store.months.bounds import among_ids
from gateway.store.reckoning import MAY_LAND, may_land
from gateway.store.schema import attempts, deliveries, is_state, transfers

__all__ = ["dead_leases", "fetched_under_recall", "past_limit", "waiting_heads"]

_PAIR = (deliveries.c.id, deliveries.c.chain_id)

_DEAD = (
    select(*_PAIR)
    .select_from(transfers.join(deliveries, deliveries.c.transfer_id == transfers.c.id))
    .where(
        is_state(transfers.c.state, "claimed"),
        transfers.c.lease_until < bindparam("now"),
        is_state(deliveries.c.state, "claimed"),
    )
    .where(deliveries.c.id > bindparam("after"))
    .order_by(deliveries.c.id)
    .limit(bindparam("most"))
)
_member = deliveries.alias("member")
_SIBLINGS = select(*_PAIR).where(
    deliveries.c.transfer_id.in_(select(_member.c.transfer_id).where(among_ids(_member.c.id))),
    is_state(deliveries.c.state, "claimed"),
    deliveries.c.id > bindparam("last"),
)
_WAITING = (
    select(*_PAIR)
    .where(is_state(deliveries.c.state, "waiting"), deliveries.c.kind == LinkKind.RECALL)
    .where(deliveries.c.id > bindparam("after"))
    .order_by(deliveries.c.id)
    .limit(bindparam("most"))
)
_PAST = (
    select(*_PAIR)
    .where(
        is_state(deliveries.c.state, "ready", "available", "fetched", "handed_over", "parked"),
        deliveries.c.head_since <= bindparam("since"),
        ~exists().where(
            attempts.c.delivery_id == deliveries.c.id,
            attempts.c.outcome.is_(None),
            MAY_LAND,
        ),
    )
    .where(deliveries.c.id > bindparam("after"))
    .order_by(deliveries.c.id)
    .limit(bindparam("most"))
)
_recalls = deliveries.alias("recalls")
_FETCHED = (
    select(*_PAIR)
    .select_from(_recalls.join(deliveries, deliveries.c.chain_id == _recalls.c.chain_id))
    .where(
        is_state(_recalls.c.state, "waiting"),
        _recalls.c.kind == LinkKind.RECALL,
        deliveries.c.position < _recalls.c.position,
        is_state(deliveries.c.state, "fetched", "available"),
    )
    .where(deliveries.c.id > bindparam("after"))
    .order_by(deliveries.c.id)
    .limit(bindparam("most"))
)


def _pairs(connection: Connection, statement: Select[str, str], **values: int | str) -> list[tuple[str, str]]:
    return [(row.id, row.chain_id) for row in connection.execute(statement, values)]


def dead_leases(connection: Connection, *, now: int, after: str, most: int) -> list[tuple[str, str]]:
    """Claims whose lease ran out; members of one transfer together: torn apart, one would lose its delivery key."""
    page = _pairs(connection, _DEAD, now=now, after=after, most=most)
    if len(page) < most:
        return page
    known = [delivery_id for delivery_id, _ in page]
    others = connection.execute(_SIBLINGS, {"ids": known, "last": known[-1]})
    return [*((row.id, row.chain_id) for row in others), *page]


def waiting_heads(connection: Connection, *, now: int, after: str, most: int) -> list[tuple[str, str]]:
    """Recalls that wait: for a document that never came, or for a doubt that time resolves."""
    return _pairs(connection, _WAITING, after=after, most=most)


def past_limit(connection: Connection, *, now: int, after: str, most: int, limit: int) -> list[tuple[str, str]]:
    """Heads since before `now - limit` without an open attempt."""
    return _pairs(connection, _PAST, since=now - limit, after=after, most=most, **may_land(connection, now))


def fetched_under_recall(connection: Connection, *, now: int, after: str, most: int) -> list[tuple[str, str]]:
    """Items of polled channels that were fetched and whose recall waits."""
    return _pairs(connection, _FETCHED, after=after, most=most)
