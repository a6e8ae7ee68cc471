"""A hastened class is what `dataclass` made, but for the time that its values take to be made."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from edxml.values import hasten
from tests.support.odd_values import Checked, WithDict


@dataclass(frozen=True, slots=True)
class _Slow:
    name: str
    length: int = 3
    parts: list[str] = field(default_factory=lambda: ["one"], compare=False)
    is_last: bool = field(default=False, kw_only=True)


@hasten
@dataclass(frozen=True, slots=True)
class _Fast:
    name: str
    length: int = 3
    parts: list[str] = field(default_factory=lambda: ["one"], compare=False)
    is_last: bool = field(default=False, kw_only=True)


_WAYS = [(("a",), {}), (("a", 4), {"is_last": True}), ((), {"name": "a", "parts": []}), (("a", 1, ["x"]), {})]


@pytest.mark.parametrize(("places", "named"), _WAYS)
def test_it_takes_and_makes_the_same(places: tuple[object, ...], named: dict[str, object]) -> None:
    slow, fast = _Slow(*places, **named), _Fast(*places, **named)  # type: ignore[arg-type]
    assert repr(fast) == repr(slow).replace("_Slow", "_Fast")
    assert replace(fast, length=9) == _Fast("a", 9, is_last=fast.is_last)
    assert pickle.loads(pickle.dumps(fast)) == fast
    assert hash(fast) == hash(_Fast(*places, **named))  # type: ignore[arg-type]


def test_what_is_made_anew_for_each_value_is() -> None:
    first, second = _Fast("a"), _Fast("a")
    assert first.parts == second.parts == ["one"]
    assert first.parts is not second.parts


@pytest.mark.parametrize(
    ("places", "named"),
    [((), {}), (("a", 1, [], True), {}), (("a",), {"unknown": 1}), (("a",), {"name": "b"})],
)
def test_it_refuses_the_same(places: tuple[object, ...], named: dict[str, object]) -> None:
    for kind in (_Slow, _Fast):
        with pytest.raises(TypeError):
            kind(*places, **named)  # type: ignore[arg-type]


def test_it_is_as_frozen_and_tells_its_signature() -> None:
    with pytest.raises(FrozenInstanceError):
        _Fast("a").name = "b"  # type: ignore[misc]
    assert inspect.signature(_Fast) == inspect.signature(_Slow)


@dataclass(frozen=True, slots=True)
class _Computed:
    said: str
    told: str = field(init=False, default="")


@pytest.mark.parametrize("kind", [WithDict, Checked, _Computed, str])
def test_what_is_more_than_its_slots_is_refused(kind: type[object]) -> None:
    with pytest.raises(TypeError, match="more than a dataclass with slots"):
        hasten(kind)
