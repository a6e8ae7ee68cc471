"""Copies with changes are what `dataclasses.replace` makes."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest

from gateway.model.chain import Attempt, Chain, Link, Move, Reason, SinkSureness
from gateway.model.copies import altered
from gateway.model.states import AttemptEnd, DeliveryState, LinkKind
from gateway.model.step import Step
from tests.support.odd_values import Checked, WithDict

_ATTEMPT = Attempt(id="a", turn=3, over_by=9)
_MOVE = Move(
    delivery_id="d", transfer_id="t", before=DeliveryState.WAITING, after=DeliveryState.READY, reason=Reason.PLANNED
)
_LINK = Link(
    delivery_id="d", transfer_id="t", packet_id="p", kind=LinkKind.RECALL, state=DeliveryState.FETCHED, accepted_at=7,
    head_since=8, attempts=(_ATTEMPT,), turn=2, is_polled=True, sink=SinkSureness.BLIND, adds_recipient=True, tries=4,
    unreported=5, permits=6, position=9, document="k", copy="a", replaces=("j",),
)  # fmt: skip
_STEP = Step(move=_MOVE, end=AttemptEnd.ARRIVED, end_turn=1, end_key="k", is_report=False, tries=2, permits=3)


_CHAIN = Chain("c", (_LINK,), True, True)
_VALUES = [_ATTEMPT, _MOVE, _LINK, _STEP, _CHAIN]


@pytest.mark.parametrize("value", _VALUES, ids=lambda value: type(value).__name__)
def test_a_copy_has_the_new_value_and_all_the_others_as_they_were(value: Any) -> None:
    before = repr(value)
    assert altered(value) == value
    assert altered(value) is not value
    for field in fields(value):
        changes = {field.name: "other"}
        assert altered(value, **changes) == replace(value, **changes) != value
    both = {field.name: None for field in fields(value)[:2]}
    assert altered(value, **both) == replace(value, **both)
    assert repr(value) == before


def test_a_copy_is_as_frozen_as_the_value() -> None:
    with pytest.raises(FrozenInstanceError):
        altered(_MOVE, actor="x").actor = "y"  # type: ignore[misc]


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(KeyError, match="actors"):
        altered(_MOVE, actors="x")


@pytest.mark.parametrize("value", [WithDict("a"), Checked("a"), "a"], ids=repr)
def test_what_is_more_than_its_slots_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="more than a dataclass with slots"):
        altered(value, said="b")
