"""A transport for a relay alone: what it announced is looked at, and goes nowhere."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.transport.contract import Ticket

__all__ = ["Voice"]


class Voice:
    """Keeps what it was given, and takes so many of each call."""

    def __init__(self, takes: int = 1_000) -> None:
        self.said: list[Ticket] = []
        self._takes = takes

    def announce(self, tickets: Sequence[Ticket]) -> Sequence[Ticket]:
        """Confirms the first of them."""
        self.said += tickets[: self._takes]
        return tickets[: self._takes]
