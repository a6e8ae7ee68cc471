"""Shares: one system has its share at most, the last places are for whoever holds none, and all comes back."""

from __future__ import annotations

from contextlib import ExitStack, suppress

import pytest

from gateway.api.problems import Overloaded, ShareHeld
from gateway.api.shares import Shares

MOST, SHARE, KEPT = 16, 4, 2


def _shares(percent: int = 25, most: int = MOST) -> Shares:
    return Shares(most, percent, full=lambda most: Overloaded(most=most), own=lambda most: ShareHeld(most=most))


def _fill(shares: Shares, system_id: str, places: int, stack: ExitStack) -> None:
    for _ in range(places):
        stack.enter_context(shares.hold(system_id))


def test_a_system_has_its_share_and_another_one_has_its_own() -> None:
    shares = _shares()
    with ExitStack() as stack:
        _fill(shares, "a", SHARE, stack)
        with pytest.raises(ShareHeld) as refused, shares.hold("a"):
            pass
        assert refused.value.params == {"most": SHARE}
        _fill(shares, "b", SHARE, stack)
    assert shares.taken == 0
    with ExitStack() as stack:
        _fill(shares, "a", SHARE, stack)


def test_the_last_places_are_for_systems_that_hold_none() -> None:
    shares = _shares(percent=100)
    with ExitStack() as stack:
        _fill(shares, "a", MOST - KEPT, stack)
        with pytest.raises(Overloaded), shares.hold("a"):
            pass
        _fill(shares, "b", 1, stack)
        with pytest.raises(Overloaded), shares.hold("b"):
            pass
        _fill(shares, "c", 1, stack)
        with pytest.raises(Overloaded), shares.hold("d"):
            pass


def test_a_refused_request_holds_nothing_and_a_failed_one_gives_back() -> None:
    shares = _shares()
    with suppress(KeyError), shares.hold("a", 3) as more:
        more(1)
        raise KeyError
    assert shares.taken == 0
    with shares.hold("a", SHARE):
        with pytest.raises(ShareHeld), shares.hold("a"):
            pass
        assert shares.taken == SHARE


def test_what_grows_is_counted_while_it_grows() -> None:
    shares = _shares()
    with shares.hold("a", 1), shares.hold("a", 0) as more:
        more(SHARE - 1)
        with pytest.raises(ShareHeld):
            more(1)
        assert shares.taken == SHARE
    assert shares.taken == 0


def test_whoever_holds_nothing_may_take_more_than_a_share_and_where_nobody_does_more_than_there_is() -> None:
    shares = _shares()
    with shares.hold("a", 3 * MOST) as more:
        more(1)
        with pytest.raises(Overloaded), shares.hold("b"):
            pass
    with shares.hold("a", 1), shares.hold("b", SHARE + 1):
        pass


def test_a_share_is_never_nothing() -> None:
    with _shares(percent=1, most=3).hold("a"):
        pass
