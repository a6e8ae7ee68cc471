"""Running a transaction again that PostgreSQL undid for another's sake: a deadlock, a connection lost in its midst."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from gateway.model.chain import NotInChain
from gateway.model.errors import StoreUndone
from gateway.store.deliveries import StaleMove
from monitoring import log

__all__ = ["MOST_TRIES", "repeated_where_undone"]

MOST_TRIES: Final = 5
"""How often a transaction is begun before whoever asked is told that the store is busy."""

_FIRST_WAIT: Final = 0.05  # seconds at most before the second try, doubled before each next one
_LONGEST_WAIT: Final = 0.5

_UNDONE: Final = (StoreUndone, StaleMove, NotInChain)

_log = log.get("gateway.store")

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


def _say(state: RetryCallState) -> None:
    _log.warning("store.undone", count=state.attempt_number, error=type(state.outcome.exception()).__name__)  # type: ignore[union-attr]


def repeated_where_undone(work: Callable[_Given, _Answer]) -> Callable[_Given, _Answer]:
    """For a function that is one write transaction: where it was certainly undone it runs again, five times in all.

    So does one that undid itself because a row was not as it had read it (StaleMove), or a delivery not in the chain
    in which it was (NotInChain): it reads anew.  Who is told of
    that in the end has met a defect, not another's work.

    Nothing may leave the process before its commit, and it must come out the same from the same arguments.  Where the
    connection broke during the very commit nothing is repeated: the commit may have been done.
    """
    tries = Retrying(
        retry=retry_if_exception_type(_UNDONE),
        stop=stop_after_attempt(MOST_TRIES - 1),
        wait=wait_random_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_WAIT),
        before_sleep=_say,
        reraise=True,
    )

    @wraps(work)
    def run(*given: _Given.args, **named: _Given.kwargs) -> _Answer:
        try:
            return work(*given, **named)
        except _UNDONE:
            return tries.copy()(work, *given, **named)

    return run
