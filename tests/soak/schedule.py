"""The schedule of faults as data: drawn whole from a seed before anything starts, kept, played again, cut down.

Every kind of fault hits every target that it can hit equally often; in 30 minutes at least five times.  Two faults
never touch the same thing at once: each thing is a lane.  What lands late wants more than one: that nothing lands after
the time it was given is a promise of the recipient and of its network, and that time goes by the database's clock.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

__all__ = ["PARTS", "TARGETS", "Fault", "draw", "read_schedule", "table", "write_schedule"]

PARTS: Final = ("api", "relay", "deliver", "periodic", "inspect")
"""Kinds of processes; of `api` and `deliver` there are two, hit by turns."""

_WAYS: Final = (
    "client>api",
    *(f"{part}>postgres" for part in PARTS),
    *(f"{part}>broker" for part in PARTS),
    "deliver>rest",
)
TARGETS: Final[Mapping[str, tuple[str, ...]]] = {
    "kill": (*PARTS, "postgres", "broker"),
    "freeze": (*PARTS, "postgres", "broker"),
    "restart": (*PARTS, "postgres", "broker"),
    "wipe": ("broker",),
    "alarm": ("broker",),
    "read_only": ("postgres",),
    "no_connections": ("postgres",),
    "full": ("blobs", "postgres"),
    "clock_forward": ("postgres", "processes"),
    "clock_back": ("postgres", "processes"),
    "cut": _WAYS,
    "slow": _WAYS,
    "half_open": _WAYS,
    "reset": _WAYS,
    "silent": ("rest",),
    "error": ("rest",),
    "late": ("rest",),
    "twice": ("rest",),
    "away": ("rest",),
}
"""What can be done to what. `silent`: no answer, and nothing landed; `late`: it lands after the sender gave up;
`twice`: answers twice; `away`: its process dies in the middle and comes again."""

_SPANS: Final[Mapping[str, tuple[float, float]]] = {
    "kill": (0.0, 2.0), "restart": (0.0, 1.0), "freeze": (1.0, 6.0), "wipe": (0.0, 1.0), "alarm": (2.0, 6.0),
    "full": (2.0, 5.0), "clock_forward": (3.0, 6.0), "clock_back": (3.0, 6.0), "no_connections": (2.0, 5.0),
    "read_only": (2.0, 6.0), "silent": (1.0, 3.0), "late": (3.0, 5.0), "error": (0.0, 1.0), "twice": (0.0, 1.0),
    "away": (0.5, 2.0),
}  # fmt: skip
_NET_SPAN: Final = (1.5, 6.0)
_REST_AFTER: Final[Mapping[str, float]] = {"broker": 14.0, "postgres": 5.0}
"""Seconds after a fault in which a server comes to itself and is left alone."""

_DATABASE_CLOCK: Final = "the database's clock"
_TOO: Final[Mapping[str, tuple[str, ...]]] = {"late": (_DATABASE_CLOCK, "deliver>rest")}
_LANDS_WITHIN: Final = 16.0
"""Seconds after a fault in which what it makes late has landed, and is looked for: a hand-over's limit and what the
recipient promises beyond it."""

_PER_MINUTE: Final = 1 / 6
"""Rounds of everything: five in thirty minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is done to what, from when (seconds after the beginning) for how long."""

    at: float
    kind: str
    target: str
    seconds: float

    def __post_init__(self) -> None:
        if self.target not in TARGETS.get(self.kind, ()):
            raise ValueError(f"nothing {self.kind} can be done to {self.target!r}")

    @property
    def lanes(self) -> frozenset[str]:
        """What it occupies: faults of one lane follow one another."""
        if self.kind.startswith("clock"):
            return frozenset({"clocks"} if self.target == "processes" else {self.target, _DATABASE_CLOCK})
        return frozenset({self.target, *_TOO.get(self.kind, ())})

    @property
    def rest(self) -> float:
        """Seconds after its end in which it still has its lanes."""
        return _LANDS_WITHIN if self.kind == "late" else 0.0

    @property
    def free_at(self) -> float:
        """When its lanes may be used again."""
        return self.at + self.seconds + max(self.rest, *(_REST_AFTER.get(lane, 1.0) for lane in self.lanes))


def draw(
    seed: int, minutes: float, *, kinds: Iterable[str] = TARGETS, rounds: int = 0, settle_first: float = 3.0
) -> tuple[Fault, ...]:
    """The faults of a run: `rounds` times everything (0: as many as fit the time, five in thirty minutes), in an order
    and for spans that the seed says, spread over the time.  The last ones may come later where lanes were busy."""
    dice = random.Random(f"soak:{seed}")
    pairs = [(kind, target) for kind in kinds for target in TARGETS[kind]]
    queue: list[tuple[str, str]] = []
    for _ in range(rounds or max(1, round(minutes * _PER_MINUTE))):
        dice.shuffle(pairs)
        queue += pairs
    step = max(0.2, (minutes * 60 - settle_first) / len(queue))
    free: dict[str, float] = {}
    faults: list[Fault] = []
    now = settle_first
    while queue:
        for place, (kind, target) in enumerate(queue):
            fault = Fault(at=round(now, 3), kind=kind, target=target, seconds=_span(dice, kind))
            if all(free.get(lane, 0.0) <= now for lane in fault.lanes):
                del queue[place]
                free |= dict.fromkeys(fault.lanes, fault.free_at)
                faults.append(fault)
                break
        now += step * dice.uniform(0.5, 1.5)
    return tuple(faults)


def _span(dice: random.Random, kind: str) -> float:
    return round(dice.uniform(*_SPANS.get(kind, _NET_SPAN)), 3)


def table(faults: Sequence[Fault]) -> dict[str, Counter[str]]:
    """kind → target → how often."""
    found: dict[str, Counter[str]] = {}
    for fault in faults:
        found.setdefault(fault.kind, Counter())[fault.target] += 1
    return found


def write_schedule(path: Path, faults: Sequence[Fault], **facts: object) -> None:
    """Faults as a file, with whatever else makes the run the same again (`seed`, `rate`)."""
    words = {**facts, "faults": [asdict(fault) for fault in faults]}
    path.write_text(json.dumps(words, ensure_ascii=False, indent=1) + "\n", "utf-8")


def read_schedule(path: Path) -> tuple[tuple[Fault, ...], dict[str, object]]:
    """The faults of a file, and the facts beside them. Raises ValueError where one means nothing."""
    words = json.loads(path.read_text("utf-8"))
    faults = tuple(Fault(**fault) for fault in words.pop("faults"))
    return faults, words
