"""Chains for tests of the machine, written as one would draw them:

    chain("new:ready:lost recall:waiting")       kind[:state[:attempts]], oldest first; several attempts by "+"

Attempts: `open`, `unsure` (over, no end), `unknown`, `lost` (unknown, over), `not` (surely not), `arrived`.
"""

from __future__ import annotations

from gateway.model.chain import Attempt, Chain, Link, SinkSureness
from gateway.model.instants import DAY, MINUTE
from gateway.model.states import AttemptEnd, DeliveryState, LinkKind

__all__ = ["NOW", "attempt", "chain", "link"]

NOW = 40 * DAY
_ATTEMPTS = {
    "open": (None, NOW + MINUTE),
    "unsure": (None, NOW - MINUTE),
    "unknown": (AttemptEnd.UNKNOWN, NOW + MINUTE),
    "lost": (AttemptEnd.UNKNOWN, NOW - MINUTE),
    "not": (AttemptEnd.SURELY_NOT, NOW - MINUTE),
    "arrived": (AttemptEnd.ARRIVED, NOW - MINUTE),
}


def attempt(what: str, turn: int = 0, key: str = "") -> Attempt:
    """One attempt by its short name."""
    end, over_by = _ATTEMPTS[what]
    ended_at = None if end is None else NOW - MINUTE
    return Attempt(id=f"{what}-{turn}", transfer_id=key, turn=turn, over_by=over_by, end=end, ended_at=ended_at)


def link(text: str, place: int = 0, **facts: object) -> Link:
    """One link; `facts` are fields of Link and win."""
    kind, state, attempts, *_ = [*text.split(":"), "waiting", ""] if ":" not in text else [*text.split(":"), ""]
    key = f"t{place}"
    made = tuple(attempt(name, turn, key) for turn, name in enumerate(filter(None, attempts.split("+"))))
    values: dict[str, object] = {
        "delivery_id": f"d{place}", "transfer_id": key, "packet_id": f"p{place}", "kind": LinkKind(kind),
        "state": DeliveryState(state), "accepted_at": NOW - DAY, "head_since": NOW - DAY, "attempts": made,
        "turn": len(made), "sink": SinkSureness.CHECKABLE, **facts,
    }  # fmt: skip
    return Link(**values)  # type: ignore[arg-type]


def chain(text: str, **facts: object) -> Chain:
    """A chain of links."""
    return Chain("c", tuple(link(word, place, **facts) for place, word in enumerate(text.split())))
