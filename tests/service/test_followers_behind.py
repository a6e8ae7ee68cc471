"""How far work behind the hops is behind: a follower that is stuck is seen before anybody misses a verdict."""

from __future__ import annotations

from pathlib import Path

from gateway.workers import figures_once
from gateway.workers.counting import count_once
from gateway.workers.signatures import TrustWatch, check_once
from tests.support.nodes import House


def behind(house: House, follower: str) -> float:
    figures_once(house.node)
    line = f'truc_follower_events{{follower="{follower}"}} '
    (shown,) = [one for one in house.node.metrics.render().decode().splitlines() if one.startswith(line)]
    return float(shown.removeprefix(line))


def test_each_follower_shows_what_it_has_not_passed(house: House, tmp_path: Path) -> None:
    trust = TrustWatch(tmp_path / "trust")
    house.send(["inbox-a"], "1")
    while check_once(house.node, trust) or count_once(house.node):
        pass
    assert behind(house, "signatures") == behind(house, "repairs") == 0
    house.send(["inbox-a"], "2")
    waiting = behind(house, "signatures")
    assert waiting > 0
    house.send(["inbox-a"], "3")
    while count_once(house.node):
        pass
    assert behind(house, "signatures") == 2 * waiting
    assert behind(house, "repairs") == 0
    assert 'truc_labels_unknown_total{label="follower"}' not in house.node.metrics.render().decode()
