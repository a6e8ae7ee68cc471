"""Dataclasses that are more than their slots: what may not be made or copied by the setters of these alone."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Checked", "WithDict"]


@dataclass(frozen=True)
class WithDict:
    """Its values may hold more than its fields."""

    said: str


@dataclass(frozen=True, slots=True)
class Checked:
    """Its values are looked at when they are made."""

    said: str

    def __post_init__(self) -> None:
        assert self.said
