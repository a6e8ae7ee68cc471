"""Random kills of everything, while everybody sends and collects; then the books must close (promise 1 and 2).

`make test` kills more than 20 times; `make kills MINUTES=… SEED=…` runs the marked variant with at least 200.  The seed
is printed, and repeats the blows (not the moments at which the kernel ran whom).  Nothing here is timed but what hangs:
how long a kill and a start take is the machine's affair.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.clients import FAST, HANGS, Users, make_home
from tests.support.kill import BadLuck
from tests.support.postgres import cluster
from tests.support.processes import ROLES, NodeProcesses

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("kills"), pytest.mark.timeout(1200)]


def seed() -> int:
    """SEED of the environment, or one of its own."""
    return int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))


def live_through(folder: Path, roles: tuple[str, ...], *, kills: int, number: int, database: str = "") -> Counter[str]:
    """One node's life under blows, from empty to closed books; what was struck how often."""
    print(f"SEED={number} roles={','.join(roles)} kills={kills}")
    home = make_home(folder, database)
    with NodeProcesses(home.data, FAST | {"database": database}) as node, Users(home) as users:
        for role in roles:
            node.launch(role)
        for role in roles:
            node.await_ready(role)
        users.begin(node.url)
        luck = BadLuck(node, roles, random.Random(number))
        working = users.in_background(lambda u: u.work_until_told())
        try:
            luck.rage(kills=kills)
        finally:
            users.enough.set()
        working.result(timeout=HANGS)
        users.settle()
        users.assert_all_is_well()
        node.assert_alive()
        print(
            f"struck {dict(luck.struck)}; {len(users.ledger.sent)} documents, {users.ledger.retries} requests repeated"
        )
        assert node.kills >= kills
        return luck.struck


def test_parts_killed_at_random(tmp_path: Path) -> None:
    struck = live_through(tmp_path, ROLES, kills=16, number=seed())
    assert all(struck[role] + struck[f"{role} frozen"] for role in ROLES)


def test_the_whole_node_killed_at_random(tmp_path: Path) -> None:
    live_through(tmp_path, ("serve",), kills=6, number=seed())


def test_a_node_and_parts_beside_it_killed_on_postgresql(tmp_path: Path) -> None:
    """Two relays and two that deliver, side by side; each process is struck. All parts apart: with the long tests."""
    live_through(tmp_path, ("serve", "relay", "deliver"), kills=3, number=seed(), database=cluster().create())


@pytest.mark.long
def test_parts_killed_at_random_on_postgresql(tmp_path: Path) -> None:
    struck = live_through(tmp_path, ROLES, kills=16, number=seed(), database=cluster().create())
    assert all(struck[role] + struck[f"{role} frozen"] for role in ROLES)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_the_long_run(tmp_path: Path) -> None:
    """At least 200 kills and MINUTES (default 10), in lives of some 40 kills; every account closed."""
    dice = random.Random(number := seed())
    print(f"SEED={number}")
    until = time.monotonic() + 60 * float(os.environ.get("MINUTES") or 10)
    struck: Counter[str] = Counter()
    life = 0
    while time.monotonic() < until or sum(n for what, n in struck.items() if "frozen" not in what) < 200:
        life += 1
        roles = ("serve",) if life % 4 == 0 else ROLES
        folder = tmp_path / f"life-{life}"
        folder.mkdir()
        struck += live_through(folder, roles, kills=40, number=dice.randrange(1 << 32))
    print(f"{life} lives, struck {dict(struck)}")
