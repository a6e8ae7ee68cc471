"""A round over many signatures: what it has is kept on the way, and a node that ends does not wait for the rest."""

# ruff: noqa: F811 - fixtures are taken from tests.support.trusted

from __future__ import annotations

import pytest

from gateway.workers.signatures import TrustWatch, check_once
from tests.support.certificates import Authority
from tests.support.nodes import House
from tests.support.trusted import check_all, house, root, send_signed, trust, verdicts  # noqa: F401


def test_told_to_stop_it_keeps_what_it_has_and_blames_no_packet(
    house: House, root: Authority, trust: TrustWatch
) -> None:
    issued = root.issue()
    ids = [send_signed(house, issued, str(number)) for number in range(1, 6)]
    asked: list[None] = []

    def stopping() -> bool:
        """Five looks at what may bear a signature, two checks; then the node is told to end."""
        asked.append(None)
        return len(asked) > 7

    assert not check_once(house.node, trust, stopping=stopping)
    assert verdicts(house) == dict.fromkeys(ids[:2], "valid")
    assert house.rows("SELECT * FROM intake_faults") == []
    check_all(house, trust)
    assert verdicts(house) == dict.fromkeys(ids, "valid")


def test_verdicts_of_a_long_round_are_kept_on_the_way(
    house: House, root: Authority, trust: TrustWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.workers.signatures._OFTEN", 0.0)
    issued = root.issue()
    ids = [send_signed(house, issued, str(number)) for number in range(1, 4)]
    seen: list[int] = []

    def look() -> bool:
        seen.append(len(verdicts(house)))
        return False

    assert check_once(house.node, trust, stopping=look)
    assert seen == [0, 0, 0, 0, 1, 2], "each is kept before the next is begun"
    assert verdicts(house) == dict.fromkeys(ids, "valid")
