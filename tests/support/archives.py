"""A node whose month is over, and short ways to archive it and let it go."""

from __future__ import annotations

from pathlib import Path

from gateway.account import Account, close_books
from gateway.archive import Dropped, Terms, drop_month, months, write_month
from gateway.model.instants import DAY, wall_now
from gateway.store.months.partitions import Month, month_of
from tests.support.nodes import House

__all__ = ["KEPT", "account_of", "archive", "let_go", "month_of_house", "pass_month"]

KEPT = Terms(documents=1, statuses=1, events=1)


def month_of_house(house: House) -> Month:
    """The month that everything was sent in."""
    (only,) = [one.month for one in months(house.node.store, KEPT)]
    return only


def pass_month(house: House) -> None:
    """Time passes until the month of today's ids is over, and a day."""

    house.clock.turn(month_of(wall_now()).later(2).start + DAY - house.now())


def archive(house: House, folder: Path, month: Month | None = None) -> Path:
    """Write the month out."""
    return write_month(
        house.node.store, month or month_of_house(house), folder, node="thu", release="0", actor="test",
        tell=lambda _step: None,
    )  # fmt: skip


def let_go(house: House, file: Path, month: Month | None = None) -> Dropped:
    """Let the month go."""
    return drop_month(house.node.store, month or month_of_house(house), file, actor="test")


def account_of(house: House) -> Account:
    """The books of everything that ever was."""
    return close_books(house.node.store, 0, house.now() + 1)
