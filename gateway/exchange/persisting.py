"""Persisting: what must be written down is tried again until the store is back, by whoever lives that long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential

from gateway.model.errors import StoreBusy
from monitoring import log

__all__ = ["persist"]

_FIRST_WAIT: Final = 0.1  # seconds, doubled before each next try
_LONGEST_WAIT: Final = 1.0

_log = log.get("delivery")

Answer = TypeVar("Answer")


def persist(work: Callable[[], Answer], is_ending: Callable[[], bool] | None) -> Answer:
    """`work`, again and again while the store is away or busy, until `is_ending` says so; None: it is tried once.

    It must come out the same where an earlier try was committed and nobody was told.  Raises what its last try raised.
    """
    if is_ending is None:
        return work()
    tries = Retrying(
        retry=retry_if_exception_type(StoreBusy),
        stop=lambda _state: is_ending(),
        wait=wait_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_WAIT),
        before_sleep=_say,
        reraise=True,
    )
    return tries(work)


def _say(state: RetryCallState) -> None:
    """Once for each time that the store is away."""
    why = state.outcome.exception() if state.outcome is not None else None
    if state.attempt_number == 1 and isinstance(why, StoreBusy):
        _log.warning("delivery.waits_for_store", reason=why.reason)
