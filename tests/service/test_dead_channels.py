"""Forty channels that are dead or crawl: what they cost the others is counted, not timed (rule 8)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from gateway.channels import KINDS
from gateway.configuration import apply, parse
from gateway.exchange.deliver import deliver
from gateway.exchange.submission import Answer
from gateway.model.breaker import FAULTS_TO_OPEN
from gateway.model.instants import HOUR
from gateway.transport.contract import Ticket
from gateway.workers.relay import relay_once
from tests.support.nodes import TODAY, Does, House, build_house
from tests.support.recipients import memory_kind

COUNT = 40
DEAD = tuple(f"000.00.{number + 1:02d}.G77" for number in range(COUNT))
LETTERS = 3
TRIALS_AN_HOUR = 16
"""More than a breaker lets through in an hour, whose pauses double."""


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[House]:
    """A house with forty agencies more, each on a channel of its own that takes nothing."""
    with closing(build_house(tmp_path)) as house:
        tables = []
        for number, code in enumerate(DEAD):
            tables.append(f'[[agency]]\nid = "chet-{number}"\nname = "Chết {number}"\ncodes = ["{code}"]')
            channel = f'[[channel]]\nid = "k-{number}"\nkind = "memory"\nserves = ["chet-{number}"]'
            tables.append(f'{channel}\nsettings = {{sink = "checkable"}}')
        kinds = {**KINDS, "memory": memory_kind(house.recipients)}
        apply(house.node.store, parse("\n\n".join(tables)), actor="test", on=date.fromisoformat(TODAY), kinds=kinds)
        house.node.channels.refresh()
        for number in range(COUNT):
            house.recipient(f"k-{number}").default = Does.REFUSE
        yield house


def _count_hand_overs(house: House) -> Counter[str]:
    counts: Counter[str] = Counter()
    for number in range(COUNT):
        name = f"k-{number}"
        house.recipient(name).during = lambda _item, name=name: counts.update([name])  # type: ignore[misc]
    return counts


def _send_to_all(house: House, letters: int) -> list[Answer]:
    return [house.send(to=[*DEAD, "idem"], number=str(letter)) for letter in range(letters)]


def test_dead_channels_are_tried_a_few_times_and_then_cost_no_ticket(crowded: House) -> None:
    counts = _count_hand_overs(crowded)
    sent = _send_to_all(crowded, LETTERS)
    crowded.work()
    assert [crowded.state(one, "idem") for one in sent] == ["delivered"] * LETTERS, "in the first round"
    crowded.run(until=HOUR)
    assert len(counts) == COUNT
    assert max(counts.values()) <= FAULTS_TO_OPEN + 4 + TRIALS_AN_HOUR
    before = counts.total()
    while crowded.work():  # trials that are due
        pass
    later = crowded.send(to=["idem"], number="99")
    assert crowded.due() == [crowded.ticket(later, "idem")], "nothing else is announced, whatever the backlog"
    crowded.work()
    assert crowded.state(later, "idem") == "delivered"
    assert counts.total() - before <= COUNT
    waiting = crowded.rows("SELECT count(*) AS n FROM deliveries WHERE state = 'ready'")[0]["n"]
    assert waiting == COUNT * LETTERS, "nothing was given up: the channels are to blame, not the documents"


def test_channels_known_to_be_slow_get_no_slot_of_the_others(crowded: House) -> None:
    with crowded.node.store.write() as connection:
        connection.exec_driver_sql("UPDATE channels SET is_slow = 1 WHERE id LIKE 'k-%'")
    _send_to_all(crowded, LETTERS)
    taken: dict[str, list[Ticket]] = {"deliver.normal": [], "deliver.slow": []}
    has_come = threading.Semaphore(0)

    def take(tickets: tuple[Ticket, ...]) -> None:
        for ticket in tickets:
            taken[ticket.queue].append(ticket)
            has_come.release()

    listening = [crowded.node.transport.listen(queue, 1, take, group=256) for queue in taken]
    announced = relay_once(crowded.node)
    for _ in range(announced):
        assert has_come.acquire(timeout=60)
    for one in listening:
        one.close()
    idem = {row["id"] for row in crowded.rows("SELECT id FROM transfers WHERE channel_id = 'idem'")}
    assert {ticket.transfer_id for ticket in taken["deliver.normal"]} == idem
    assert len(idem) == LETTERS
    assert len(taken["deliver.slow"]) == announced - LETTERS > 0


@pytest.mark.parametrize("why", ["is_slow = 1", "open_until = 9000000000000000, faults = 5"])
def test_in_a_group_nobody_waits_for_what_was_found_slow_or_broken_meanwhile(crowded: House, why: str) -> None:
    counts = _count_hand_overs(crowded)
    sent = _send_to_all(crowded, 1)[0]
    tickets = crowded.due()
    assert len(tickets) == COUNT + 1
    with crowded.node.store.write() as connection:
        connection.exec_driver_sql(f"UPDATE channels SET {why} WHERE id LIKE 'k-%'")
    deliver(crowded.node, tickets)
    assert not counts, "each would have kept the group waiting"
    assert crowded.state(sent, "idem") == "delivered"
    assert {crowded.state(sent, f"chet-{number}") for number in range(COUNT)} == {"ready"}
    deliver(crowded.node, [crowded.ticket(sent, "chet-0")])
    assert counts == {"k-0": 1}, "alone it makes nobody wait"
