"""Work: one claimed transfer on its way through the steps of the deliver hop."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta

from adapters.contract import Outcome, Retry, Staged
from gateway.exchange.claims import Claimed
from gateway.model.chain import Reason
from gateway.model.machine import Act, next_act

__all__ = ["Work"]


@dataclass(slots=True, eq=False)
class Work:
    """What is known so far of one claimed transfer's hand-over; one thread at a time works on it."""

    claimed: Claimed
    staged: Staged | None = None
    outcome: Outcome | None = None
    until: float = 0.0
    limit: float = 0.0  #: seconds that its sink may send
    settle: timedelta = timedelta(0)  #: its sink's
    found: bool = False
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0  #: how long the sink itself took
    was_sent: bool = False  #: not only looked for, or refused before the first byte
    failure: Exception | None = None  #: what nobody foresaw: it stays claimed, as if its worker had died with it alone
    is_put_off: bool = False  #: its time was used up by another, its worker ends, its channel rests: nobody's fault

    def is_doubtful(self) -> bool:
        """Whether its recipient is to be asked first if it arrived: nothing of it was staged yet (protocol §5)."""
        is_open = self.outcome is None and self.staged is None
        return is_open and any(next_act(link) is Act.LOOK for link in self.claimed.links)

    def put_off(self) -> None:
        """Back to the queue at once: what was not begun costs nobody anything."""
        self.is_put_off = True
        self.outcome = Retry(reason=str(Reason.DRAINED), after=timedelta(0))
