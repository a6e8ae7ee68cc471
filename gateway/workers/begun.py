"""What a follower has in hand (rule 8): a packet that keeps taking the process with it is given up, alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from gateway.store import Connection, begun

__all__ = ["MOST_LOST", "Begun"]

MOST_LOST: Final = 3
"""How often the work on a packet may be lost; then it is not tried again."""


class Begun:
    """The packets that one loop of this process began, each counted in the store before it is touched.

    A process that dies leaves its counts behind.  One that lives may leave some too, where a busy store or a full disk
    broke the work off: it knows these as its own, counts them once at the most, and holds them against no packet.
    For one thread.
    """

    def __init__(self, work: str) -> None:
        self._prefix = f"{work}|"
        self._own: set[str] = set()

    def lost(self, connection: Connection, packet_ids: Iterable[str]) -> dict[str, int]:
        """How often the work on each of these, which are all that is due, was lost; none where it never was."""
        told = begun.begun(connection, self._keys(packet_ids))
        times = {key.removeprefix(self._prefix): count for key, count in told.items()}
        self._own &= times.keys()
        return {packet_id: left for packet_id, count in times.items() if (left := count - (packet_id in self._own)) > 0}

    def begin(self, connection: Connection, packet_ids: Sequence[str]) -> None:
        """The work on these begins once this is committed."""
        begun.begin(connection, self._keys(one for one in packet_ids if one not in self._own))
        self._own.update(packet_ids)

    def end(self, connection: Connection, packet_ids: Iterable[str]) -> None:
        """It ended, whatever came of it; or it was never touched."""
        begun.end(connection, self._keys(packet_ids))

    def blame(self, packet_id: str) -> None:
        """The work on this packet failed as nobody foresaw: that counts as lost, though the process lives."""
        self._own.discard(packet_id)

    def _keys(self, packet_ids: Iterable[str]) -> list[str]:
        return [self._prefix + packet_id for packet_id in packet_ids]
