"""A walk through an inbox: everything that waits is seen once, page by page, whatever comes and goes meanwhile."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from edxml.codes import Priority
from gateway.exchange.collect import Listing, Shown, list_items
from tests.service.test_store_bounds import heard, kept_plan
from tests.support.nodes import Database, House


def page(house: House, after: str, most: int) -> list[str]:
    wish = Listing(agency_id="inbox-a", limit=most, after=after)
    (items,) = list_items(house.node, [wish], house.last_lists)
    return [item.delivery_id for item in items]


def walk(house: House, most: int) -> Iterator[list[str]]:
    """Pages as a caller asks for them, until one is not full."""
    after = ""
    while True:
        shown = page(house, after, most)
        yield shown
        if len(shown) < most:
            return
        after = shown[-1]


class Traffic:
    """What others do to the inbox between two pages."""

    def __init__(self, house: House, seed: int) -> None:
        self._house, self._draw = house, random.Random(seed)
        self.waiting: set[str] = set()
        self.number = 0

    def arrive(self) -> None:
        self.number += 1
        priority = self._draw.choice((Priority.NORMAL, Priority.URGENT))
        sent = self._house.send(["inbox-a"], str(self.number), priority=priority)
        self.waiting.add(self._house.delivery(sent, "inbox-a"))

    def go(self) -> None:
        """Somebody fetches one, and confirms it or not; lists are shown twice running and so passed over."""
        one = self._draw.choice(sorted(self.waiting))
        self._house.fetch("inbox-a", one)
        self._house.end_response(one)
        if self._draw.random() < 0.6:
            self._house.confirm("inbox-a", one)
            self.waiting.remove(one)
        for _ in range(2):
            self._house.shown("inbox-a", 2)


_LONG = [pytest.param(most, marks=pytest.mark.long) for most in (1, 3, 100)]


@pytest.mark.parametrize("most", [2, *_LONG])
def test_what_waits_all_the_while_is_seen_once(house: House, most: int) -> None:
    others = Traffic(house, seed=most)
    for _ in range(5):
        others.arrive()
    others.go()
    before, seen = set(others.waiting), list[str]()
    for number, shown in enumerate(walk(house, most)):
        seen += shown
        if number < 3:
            others.arrive()
            others.go()
    assert seen == sorted(set(seen)), "each once, the oldest first"
    assert before & others.waiting <= set(seen)
    assert page(house, seen[-1], 100) == sorted(one for one in others.waiting if one > seen[-1])


def test_a_walk_lets_nobody_be_passed_over(house: House) -> None:
    others = Traffic(house, seed=0)
    for _ in range(3):
        others.arrive()
    house.last_lists = Shown()
    first = house.shown("inbox-a", 2)
    assert page(house, "", 2) == page(house, "", 2) == sorted(others.waiting)[:2]
    third = (others.waiting - set(first)).pop()
    assert house.shown("inbox-a", 2)[0] == third, "only lists that show whose turn it is count"


def test_what_is_being_fetched_is_not_on_a_page(house: House) -> None:
    others = Traffic(house, seed=0)
    for _ in range(2):
        others.arrive()
    first, second = sorted(others.waiting)
    house.fetch("inbox-a", first)
    assert page(house, "", 5) == [second]
    house.end_response(first)
    assert page(house, "", 5) == [first, second]


def test_a_page_is_found_by_the_index(house: House, database: Database) -> None:
    """Nearly nothing was ever passed over: what was not is read from where the page begins, as far as it goes."""
    house.send(["inbox-a"])
    with heard(house.node.store) as said:
        assert len(page(house, "", 5)) == 1
    ((asked, values),) = [(text, values) for text, values in said if " deliveries" in text and "served_until" in text]
    with house.node.store.write() as rows:
        if database is Database.SQLITE:
            raw = rows.connection.dbapi_connection
            plan = "\n".join(row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {asked}", values))
        else:
            plan = kept_plan(rows, asked, values, "COSTS OFF")
    begins = r"polled_at=\? AND id>" if database is Database.SQLITE else r"polled_at = 0\) AND \(id > "
    assert len(re.findall(begins, plan)) >= 4, plan
    assert len(re.findall(r"polled_at\)? ?> ?(?:0|\?)", plan)) >= 4, plan
