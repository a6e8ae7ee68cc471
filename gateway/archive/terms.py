"""Terms of keeping (thời hạn lưu giữ): which months are over, which are due, and what stands in the way of each.

The law that the axis works under names no term for what passes it (NĐ 30/2020 leaves it to each agency's own schedule),
so a term that nobody set is for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.archive.reading import digest_of
from gateway.settings import Settings
from gateway.store import Store
from gateway.store.months import periods
from gateway.store.months.partitions import Month, month_of
from gateway.store.months.periods import Obstacles, Period

__all__ = ["MonthState", "Terms", "months"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How many months each class is kept after the month it came in; 0: for ever."""

    documents: int
    statuses: int
    events: int

    @classmethod
    def of(cls, settings: Settings) -> Terms:
        """As the settings say."""
        return cls(documents=settings.keep_documents, statuses=settings.keep_statuses, events=settings.keep_events)

    def due(self, month: Month) -> Month | None:
        """The first month in which this one may go whole: when its longest-kept class may. None: never."""
        all_terms = (self.documents, self.statuses, self.events)
        return month.later(max(all_terms) + 1) if all(all_terms) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthState:
    """A month that is over."""

    month: Month
    due_from: Month | None
    is_due: bool
    obstacles: Obstacles
    archived: Period | None
    is_current: bool  #: the archive holds what is stored now

    def lies_in(self, file: Path) -> bool:
        """Whether `file` is the archive that was written last, unaltered, and holds what is stored now.

        Reads all of it. Raises OSError.
        """
        known = self.archived
        return known is not None and self.is_current and file.is_file() and digest_of(file) == known.digest


def months(store: Store, terms: Terms) -> list[MonthState]:
    """Every month that is over, still has rows and was not let go, oldest first. Raises StoreBusy."""
    with store.read() as connection:
        now = store.now(connection)
        archived = periods.read_periods(connection)
        found = []
        for month in periods.months_there(connection, now):
            due_from, known = terms.due(month), archived.get(month.name)
            if known is not None and known.dropped_at is not None:
                continue  # what was told of it since is in no archive: it stays
            found.append(
                MonthState(
                    month=month,
                    due_from=due_from,
                    is_due=due_from is not None and due_from <= month_of(now),
                    obstacles=periods.obstacles(connection, month),
                    archived=known,
                    is_current=known is not None and known.last_position >= periods.last_position(connection, month),
                )
            )
        return found
