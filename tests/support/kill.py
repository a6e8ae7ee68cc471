"""Seeded bad luck: kill -9 and freezing of a node's processes at random moments, all of it repeatable from one seed."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.support.processes import NodeProcesses

__all__ = ["BadLuck"]


@dataclass(slots=True)
class BadLuck:
    """Kills (and now and then freezes) roles of a node. `longest_freeze` in seconds, over the lease of the node:
    what was frozen wakes up as a worker that was stolen from."""

    node: NodeProcesses
    roles: tuple[str, ...]
    dice: random.Random
    longest_freeze: float = 3.0
    freezes: float = 0.2  #: how often it is a freeze
    struck: Counter[str] = field(default_factory=Counter)

    def strike(self, role: str = "") -> None:
        """One blow against one role, this one or any; the role runs again afterwards."""
        role = role or self.dice.choice(self.roles)
        if self.dice.random() < self.freezes:
            self.node.freeze(role)
            time.sleep(self.dice.uniform(0.1, self.longest_freeze))
            self.node.thaw(role)
            self.struck[f"{role} frozen"] += 1
            return
        self.node.kill(role)
        time.sleep(self.dice.choice([0.0, 0.1, 0.5]))
        self.node.start(role)
        self.struck[role] += 1

    def rage(self, *, kills: int) -> None:
        """Strike until so many were killed, each role at least once, with pauses; however long that takes here."""
        first = list(self.roles)
        self.dice.shuffle(first)
        while self.node.kills < kills:
            self.strike(first.pop() if first else "")
            time.sleep(self.dice.uniform(0.02, 0.5))
