"""Hand-overs beside each other: who is waited for, who is left to end by himself, and what is bounded.

Recipients that do not answer are held by an event: no verdict here depends on how fast anything is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from gateway.exchange.hands import Hands, Outstanding, _Round
from tests.support.held import Held
from tests.support.patience import PATIENCE, until
from tests.support.recipients import WorkerDied


class _Books:
    """What was handed over, what was concluded late, and which channels were said to be slow, in order."""

    def __init__(self, held: Sequence[str] = ()) -> None:
        self.done, self.late, self.slow = list[str](), list[str](), list[str]()
        self.agencies = {item: Held() for item in held}

    def step(self, item: str) -> None:
        if item in self.agencies:
            self.agencies[item].wait()
        self.done.append(item)


@contextmanager
def _open(books: _Books, *, most: int = 8, patience: float = 0.05) -> Iterator[Hands[str]]:
    """With patience for a moment, who is held is late; with much, nobody is."""
    hands: Hands[str] = Hands(
        most=most, group=4, conclude=books.late.extend, note_slow=books.slow.append, slow_from=0.0, patience=patience
    )
    try:
        yield hands
    finally:
        for agency in books.agencies.values():
            agency.may_end.set()
        hands.close(PATIENCE)


def _nothing() -> None:
    """Nothing happens meanwhile."""


def _hand_over(
    hands: Hands[str], books: _Books, meanwhile: Callable[[], None] = _nothing, **lanes: Sequence[str]
) -> Outstanding[str]:
    return hands.hand_over(lanes, books.step, meanwhile=meanwhile)


def test_all_that_are_answered_are_done_when_it_returns_and_a_channel_keeps_its_order() -> None:
    books = _Books()
    with _open(books, patience=PATIENCE) as hands:
        left = _hand_over(hands, books, a=["a1", "a2", "a3"], b=["b1"])
    assert left == Outstanding(late=frozenset())
    assert sorted(books.done) == ["a1", "a2", "a3", "b1"]
    assert [item for item in books.done if item.startswith("a")] == ["a1", "a2", "a3"]
    assert (books.late, books.slow) == ([], [])


def test_whoever_is_given_way_to_goes_before_each_channel() -> None:
    books, turns, gate = _Books(), list[int](), threading.Event()

    def give_way() -> None:
        if threading.current_thread() is not handing:
            turns.append(len(books.done))
            assert len(turns) == 1 or gate.wait(PATIENCE)

    hands: Hands[str] = Hands(
        most=8, group=4, conclude=books.late.extend, note_slow=books.slow.append, slow_from=0.0, patience=PATIENCE,
        give_way=give_way,
    )  # fmt: skip
    handing = threading.Thread(target=lambda: _hand_over(hands, books, a=["a1", "a2"], b=["b1"], c=["c1"]))
    handing.start()
    until(lambda: len(turns) > 1 and books.done == ["a1", "a2"])
    gate.set()
    handing.join(PATIENCE)
    hands.close(PATIENCE)
    assert sorted(books.done) == ["a1", "a2", "b1", "c1"]
    assert turns[0] == 0, "before the first one too"


def test_whoever_does_not_answer_is_left_and_concluded_when_he_does() -> None:
    books = _Books(held=["a1"])
    with _open(books) as hands:
        left = _hand_over(hands, books, a=["a1", "a2"], b=["b1"], c=["c1"])
        assert left.late >= {"a1", "a2"}, "the rest of his channel waits with him"
        until(lambda: sorted(books.done) == ["b1", "c1"])
        until(lambda: "a" in books.slow)
        books.agencies["a1"].may_end.set()
        until(lambda: [item for item in books.late if item.startswith("a")] == ["a1", "a2"])


class _Unlucky(Hands[str]):
    """Whoever is late ends, and is concluded, between two looks of its group."""

    def __init__(self, books: _Books) -> None:
        self._books = books
        super().__init__(
            most=8, group=4, conclude=books.late.extend, note_slow=books.slow.append, slow_from=0.0, patience=0.05
        )

    def _is_over(self, rounds: _Round[str]) -> bool:
        is_over = super()._is_over(rounds)
        if is_over:
            self._books.agencies["a1"].may_end.set()
            until(lambda: self._books.late == ["a1", "a2"])
        return is_over


def test_who_ends_in_the_moment_in_which_he_is_late_is_concluded_once() -> None:
    books = _Books(held=["a1"])
    hands = _Unlucky(books)
    left = _hand_over(hands, books, a=["a1", "a2"])
    hands.close(PATIENCE)
    assert books.late == ["a1", "a2"]
    assert left.late == {"a1", "a2"}, "or its group writes it down too"


def test_a_channel_on_which_one_is_late_is_not_waited_for_and_comes_last() -> None:
    books = _Books(held=["a1", "a2"])
    with _open(books, most=2) as hands:
        assert _hand_over(hands, books, a=["a1"]).late == {"a1"}
        assert _hand_over(hands, books, a=["a2"], b=["b1"], c=["c1"]).late == {"a2"}
        assert books.done == ["b1", "c1"], "with the one hand that is left"
        for agency in books.agencies.values():
            agency.may_end.set()
        until(lambda: sorted(books.late) == ["a1", "a2"])


def test_no_more_are_under_way_than_there_are_hands() -> None:
    books = _Books(held=["a1", "b1"])
    with _open(books, most=2) as hands:
        told: list[Outstanding[str]] = []
        waiting = threading.Thread(
            target=lambda: told.append(_hand_over(hands, books, a=["a1"], b=["b1"], c=["c1"], d=["d1"]))
        )
        waiting.start()
        for agency in books.agencies.values():
            assert agency.has_begun.wait(PATIENCE)
        assert (books.done, told) == ([], []), "both hands are full: the others wait"
        books.agencies["a1"].may_end.set()
        waiting.join(PATIENCE)
        assert "b1" in told[0].late
        until(lambda: sorted(books.done) == ["a1", "c1", "d1"])


def test_leases_are_kept_while_it_is_waited() -> None:
    books = _Books(held=["a1"])
    looks = 0

    def keep() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            books.agencies["a1"].may_end.set()

    with _open(books, patience=PATIENCE) as hands:
        assert _hand_over(hands, books, keep, a=["a1"]).late == frozenset()
    assert looks >= 3


def test_a_fault_that_nobody_foresaw_hinders_no_other_and_is_told() -> None:
    books = _Books()

    def step(item: str) -> None:
        if item == "a1":
            raise ValueError(item)
        books.step(item)

    with _open(books, patience=PATIENCE) as hands:
        left = hands.hand_over({"a": ["a1", "a2"], "b": ["b1"]}, step, meanwhile=_nothing)
    assert sorted(books.done) == ["a2", "b1"]
    assert repr(left.failure) == "ValueError('a1')"


def test_what_is_handed_over_is_written_down_although_leases_could_not_be_kept() -> None:
    books = _Books(held=["a1"])
    looks = 0

    def keep() -> None:
        nonlocal looks
        looks += 1
        books.agencies["a1"].may_end.set()
        raise ValueError(looks)

    with _open(books, patience=PATIENCE) as hands:
        left = _hand_over(hands, books, keep, a=["a1", "a2"])
    assert books.done == ["a1", "a2"]
    assert (left.late, repr(left.failure)) == (frozenset(), "ValueError(1)")
    assert looks == 1, "a database that is away is not asked at each look"


def test_where_the_system_refuses_a_thread_its_turn_comes_later() -> None:
    """Else what had gone out already was written down by nobody, and its place was lost for good."""
    books, looks = _Books(), 0

    def let_go() -> None:
        nonlocal looks
        looks += 1
        threading.stack_size(0)

    with _open(books, most=1, patience=PATIENCE) as hands:
        threading.stack_size(1 << 47)  # no machine has room for it
        try:
            left = _hand_over(hands, books, let_go, a=["a1"], b=["b1"])
        finally:
            threading.stack_size(0)
        assert (sorted(books.done), left.failure) == (["a1", "b1"], None)
        assert looks
        _hand_over(hands, books, c=["c1"])
    assert "c1" in books.done


def test_a_death_ends_the_group_at_once() -> None:
    books = _Books(held=["b1"])

    def step(item: str) -> None:
        if item == "a1":
            assert books.agencies["b1"].has_begun.wait(PATIENCE)
            raise WorkerDied(item)
        books.step(item)

    with _open(books) as hands, pytest.raises(WorkerDied):
        hands.hand_over({"a": ["a1", "a2"], "b": ["b1"]}, step, meanwhile=_nothing)
    assert books.late == [], "nobody is there to write anything down"
    assert "a2" not in books.done


def test_closing_waits_for_what_is_under_way_and_writes_it_down() -> None:
    books = _Books(held=["a1"])
    with _open(books) as hands:
        assert _hand_over(hands, books, a=["a1"]).late == {"a1"}
        closing = threading.Thread(target=lambda: hands.close(PATIENCE))
        closing.start()
        books.agencies["a1"].may_end.set()
        closing.join(PATIENCE)
        assert not closing.is_alive()
        assert books.late == ["a1"]


def test_closing_says_how_many_are_left_without_an_answer() -> None:
    books = _Books(held=["a", "b"])
    with _open(books) as hands:
        _hand_over(hands, books, one=["a"], two=["b"], three=["c"])
        assert hands.close(0.0) == 2
        books.agencies["a"].may_end.set()
        books.agencies["b"].may_end.set()
        assert hands.close(PATIENCE) == 0


def test_what_could_not_be_written_down_late_is_no_reason_to_stop() -> None:
    books = _Books(held=["a1", "b1"])
    failures = iter([ValueError("once")])

    def conclude(items: Sequence[str]) -> None:
        if (why := next(failures, None)) is not None:
            raise why
        books.late.extend(items)

    hands: Hands[str] = Hands(most=8, group=1, conclude=conclude, note_slow=books.slow.append, slow_from=PATIENCE)
    assert _hand_over(hands, books, a=["a1"], b=["b1"]).late == {"a1", "b1"}
    for agency in books.agencies.values():
        agency.may_end.set()
    hands.close(PATIENCE)
    assert len(books.late) == 1
    assert next(failures, None) is None
