"""Whatever the machine does to deliveries, the account stays closed."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.account import Fate, close_books
from gateway.model.chain import Reason
from gateway.model.moves import FIRST, MOVES
from gateway.model.states import Book, DeliveryState
from tests.support.stored import fill_store

FIRSTS = sorted(FIRST)
REASONS = [Reason.CONFIRMED, Reason.PROMOTED, Reason.RELEASED, Reason.LATE_RECEIPT]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_random_legal_moves_keep_the_account_closed(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        filled = fill_store(Path(folder))
        for _ in range(data.draw(st.integers(1, 3), label="packets")):
            agencies = data.draw(st.lists(st.sampled_from("bcd"), min_size=1, max_size=3, unique=True))
            filled.send(agencies, first=data.draw(st.sampled_from(FIRSTS)), book=data.draw(st.sampled_from(list(Book))))
        for _ in range(data.draw(st.integers(0, 15), label="moves")):
            delivery_id = data.draw(st.sampled_from(sorted(filled.states)))
            after = sorted(MOVES[filled.states[delivery_id]] - {DeliveryState.CLAIMED})
            if after:
                filled.move(delivery_id, data.draw(st.sampled_from(after)), reason=data.draw(st.sampled_from(REASONS)))
        account = close_books(filled.store, 0, 1 << 62)
        filled.store.close()
    assert account.closes, account.gaps
    figures = {fate: sum(getattr(account.total(book), fate) for book in Book) for fate in Fate}
    fates = {fate.value: fate for fate in Fate}
    wanted = Counter(fates.get(state.value, Fate.OPEN) for state in filled.states.values())
    assert figures == {fate: wanted[fate] for fate in Fate}
