"""The gate: who calls, found out without the event loop ever asking the database; and every refusal an event."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from gateway.api.lanes import Lane
from gateway.api.problems import ShareHeld, code_of
from gateway.exchange.submission import PacketRefusal
from gateway.identity import Caller
from gateway.keys import KeysAway
from gateway.model.errors import Refusal, StoreBusy, StoreError
from gateway.node import Node
from gateway.store.sightings import Whose
from monitoring import log

__all__ = ["Gate"]

_log = log.get("api.gate")

_REMEMBERED = 0.25
"""Seconds for which an authenticated header is taken again unasked. `Callers` itself looks at the rows once a second,
so a revoked token ends a second and a quarter later at the latest."""

_MOST = 4_096
_LOG_AGAIN = 60.0
"""Seconds after which the log says again that requests are put off for the same reason."""


class Gate:
    """Authenticates callers. Used on the event loop only."""

    def __init__(self, node: Node, lane: Lane, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._node = node
        self._lane = lane
        self._clock = clock
        self._known: dict[bytes, tuple[float, Caller]] = {}
        self._logged: dict[str, float] = {}

    async def admit(self, authorization: str) -> Caller:
        """The caller whose token the `Authorization` header carries. Raises Unauthenticated, StoreBusy."""
        digest = hashlib.sha256(authorization.encode("latin-1", "replace")).digest()
        known = self._known.get(digest)
        if known is not None and self._clock() < known[0]:
            return known[1]
        caller = self._node.callers.recall(authorization)
        if caller is None:
            caller = await self._lane.run(self._node.callers.authenticate, authorization)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[digest] = (self._clock() + _REMEMBERED, caller)
        self._node.callers.sightings.note(Whose.SYSTEM, caller.system_id)
        return caller

    async def admit_again(self, authorization: str) -> Caller:
        """As `admit`, by the rows as they are now: for a caller who was admitted and has waited since."""
        return await self._lane.run(self._authenticate_now, authorization)

    def _authenticate_now(self, authorization: str) -> Caller:
        self._node.callers.refresh()
        return self._node.callers.authenticate(authorization)

    def asked_for(self, agency_id: str) -> None:
        """Somebody lists or fetches what waits for this agency. Written down behind the request."""
        self._node.callers.sightings.note(Whose.INBOX, agency_id)

    def _log_put_off(self, why: StoreBusy | KeysAway | ShareHeld, system: str) -> None:
        """Once a minute for each reason, and for each system that is beyond its share."""
        key = f"{why.reason} {system}"
        if self._clock() >= self._logged.get(key, 0.0):
            self._logged[key] = self._clock() + _LOG_AGAIN
            named = {"system": system} if system else {}
            _log.warning("request.put_off", reason=why.reason, error=type(why).__name__, **named)

    async def note(self, why: BaseException, caller: Caller | None) -> None:
        """Write a caller's refusal down; refused packets are the hop's own to note.

        What is away, and whose share is held, is logged instead: a busy system would fill the store with events.

        A store that cannot take it now is logged: the refusal itself stands.
        """
        if isinstance(why, StoreBusy | KeysAway | ShareHeld):
            self._log_put_off(why, caller.name if caller is not None and isinstance(why, ShareHeld) else "")
        if not isinstance(why, Refusal) or isinstance(why, PacketRefusal):
            return
        system_id = caller.system_id if caller is not None else ""
        try:
            await self._lane.run(self._node.callers.refusals.note, why.reason, system_id=system_id)
        except StoreError:
            _log.warning("refusal.not_written", reason=code_of(why))
