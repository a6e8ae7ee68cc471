"""Contestants: what can be driven through a document's whole way, and how its books are matched afterwards."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.limit_embedded import Counts, count_books
from benchmarks.load import Agency, LoadPlan
from benchmarks.measure import LoadRun

__all__ = ["LIMIT", "RECIPIENTS", "Contestant", "Entry"]

_TOKEN: Final = "limit"
RECIPIENTS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A contestant made ready in a folder: how it is started and who writes to whom on it."""

    command: tuple[str, ...]
    """Tells its port in the first line of its output, and ends on SIGTERM."""
    sender: Agency
    recipients: tuple[Agency, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """Something to measure. `prepare` makes it ready in an empty folder; `match` gives a sentence for everything
    in its books (read after it ended) that disagrees with what the load generator did."""

    name: str
    dialect: str
    prepare: Callable[[Path], Entry]
    match: Callable[[Path, LoadPlan, LoadRun], tuple[str, ...]]


def _agency(number: int) -> Agency:
    code = f"000.00.{number:02}.H99"
    return Agency(id=code, code=code, name=f"UBND xã mẫu số {number} (mã giả định)", token=_TOKEN)


def _prepare_limit(folder: Path) -> Entry:
    return Entry(
        command=(sys.executable, "-m", "benchmarks.limit_embedded", str(folder), _TOKEN),
        sender=_agency(1),
        recipients=tuple(_agency(number) for number in range(2, RECIPIENTS + 2)),
    )


def _match_limit(folder: Path, plan: LoadPlan, run: LoadRun) -> tuple[str, ...]:
    documents = plan.warm_up + run.result.confirmed
    wanted = Counts(packets=documents, delivered=documents, receipts=documents, events=2 * documents, blobs=documents)
    counted = count_books(folder)
    return () if counted == wanted else (f"the limit's books say {counted}, not {wanted}",)


LIMIT = Contestant(name="limit", dialect="limit", prepare=_prepare_limit, match=_match_limit)
"""The embedded limit (`benchmarks.limit_embedded`)."""
