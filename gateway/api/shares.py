"""Shares: what one system may hold of what an API has room for, so that there is always some left for the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.model.errors import GatewayError

__all__ = ["More", "Refusing", "Shares"]

More = Callable[[int], None]
"""Takes so much more for a request that holds something already. Raises what `Shares.hold` raises."""

Refusing = Callable[[int], GatewayError]
"""Makes the refusal of somebody who finds no more; is given how much there is at most."""

_KEPT = 8
"""One of so many parts of the room is kept for systems that hold nothing."""


class Shares:
    """Room of one kind, counted: `most` in all, at most `percent` of it for one system, and the last eighth for systems
    that hold nothing.

    Whoever holds nothing may take more than a share at once, and more than there is where nobody holds anything: what
    one request may bring is limited elsewhere.  Used on the event loop only.
    """

    def __init__(self, most: int, percent: int, *, full: Refusing, own: Refusing) -> None:
        self._most = most
        self._share = max(1, most * percent // 100)
        self._full = full
        self._own = own
        self._held: Counter[str] = Counter()
        self.taken = 0

    @contextmanager
    def hold(self, system_id: str, amount: int = 1) -> Iterator[More]:
        """Hold so much for the length of the block, and what is taken with the call that it gives.

        Raises `own` where the system's share is held by its other requests, `full` where there is no more for it.
        """
        held = 0

        def take(more: int) -> None:
            nonlocal held
            self._check(system_id, held, held + more)
            held += more
            self._held[system_id] += more
            self.taken += more

        try:
            take(amount)
            yield take
        finally:
            self.taken -= held
            self._held[system_id] -= held
            if not self._held[system_id]:
                del self._held[system_id]

    def _check(self, system_id: str, held: int, wanted: int) -> None:
        """`held` is what this request holds, `wanted` what it would hold then."""
        by_others = self.taken - held
        beside = self._held[system_id] - held
        if beside and beside + wanted > self._share:
            raise self._own(self._share)
        most = self._most - self._most // _KEPT if beside else self._most
        if by_others and by_others + wanted > most:
            raise self._full(most)
