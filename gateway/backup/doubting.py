"""Making a store one that recovers: after a restore, or where a database's own tools have put it back (rule 13)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from adapters.contract import AdapterError
from gateway.channels import KINDS, Channels, Kind
from gateway.model.errors import Conflict, NotFound
from gateway.model.instants import MINUTE, as_datetime, micros, new_id
from gateway.store import Store, recoveries

__all__ = ["Begun", "begin_recovery"]

_LONGEST_LANDING: Final = 2 * MINUTE
"""After which nothing that a lost process sent can land, on channels that do not say it themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A recovery that was begun at `at`. `doubted`: deliveries that may have gone out since the store's moment."""

    at: int
    doubted: int


def begin_recovery(
    store: Store,
    *,
    backup: str,
    backup_at: int,
    actor: str,
    kinds: Mapping[str, Kind] = KINDS,
    may_repeat: bool = False,
) -> Begun:
    """Let the node recover from having been put back to the moment `backup_at`, in one commit: nothing is pushed from
    then on, by no process.  `backup` names where it was put back from.

    Raises Conflict `restore.recovering` where it recovers already, unless `may_repeat`: a backup of such a node.
    """
    landing = _landing(Channels(store, kinds))
    with store.write() as connection:
        now = store.now(connection)
        found = recoveries.running(connection)
        if found is not None and not may_repeat:
            raise Conflict("restore.recovering", at=as_datetime(found.backup_at))
        recovery = recoveries.Recovery(id=new_id(), backup=backup, backup_at=backup_at, restored_at=now)
        doubted = recoveries.begin(
            connection, recovery, landing=lambda channel: landing.get(channel, _LONGEST_LANDING), actor=actor
        )
    return Begun(at=now, doubted=doubted)


def _landing(channels: Channels) -> dict[str, int]:
    """How long after its attempt a hand-over may still land, by channel, where the channel can be opened (rule 4)."""
    found = {}
    for channel_id in channels.snapshot().by_id:
        try:
            sink = channels.sink(channel_id)
        except (AdapterError, NotFound):
            continue
        found[channel_id] = micros(sink.sending_limit) + micros(sink.settle_time)
    return found
