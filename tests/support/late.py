"""Bytes on their way: what becomes of a hand-over whose worker is gone, and attempts as a test writes them."""

from __future__ import annotations

from gateway.model.instants import HOUR, MINUTE, wall_now
from gateway.store.reckoning import Landing
from tests.support.nodes import House
from tests.support.recipients import Landed
from tests.support.stores import tell

__all__ = ["land_late", "let_all_be_over", "within_a_minute"]


def land_late(house: House, channel: str) -> None:
    """What went out first on a channel lands only now, whoever sent it: a buffer in between was slow."""
    row = house.rows(
        "SELECT a.transfer_id AS key, d.packet_id, d.kind FROM attempts a JOIN deliveries d ON d.id = a.delivery_id"
        " JOIN transfers t ON t.id = a.transfer_id WHERE t.channel_id = ? ORDER BY a.id",
        channel,
    )[0]
    landed = Landed(key=row["key"], packet_id=row["packet_id"], kind=row["kind"], is_copy=True)
    house.recipient(channel).arrivals.append(landed)


def let_all_be_over(house: House) -> None:
    """No attempt can land any more, also for processes that go by this machine's clocks and not by the hand's."""
    with house.node.store.write() as connection:
        tell(connection, "UPDATE attempts SET boot = '', over_by = ?", wall_now() - HOUR)


def within_a_minute(house: House) -> Landing:
    """What is begun now lands within a minute, or never."""
    reckoning = house.node.store.reckoning
    return reckoning.begins(house.now(), MINUTE, boot_now=reckoning.clock.boot_now())
