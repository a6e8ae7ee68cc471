"""A real node is killed at every named crash point of every hop, started again, and nothing is lost or doubled.

The points are enumerated from the program itself: a new one without a scenario here fails the first test.  Each
scenario kills the whole node (`truc serve`) at the point while its users send, collect, refuse and report; starts it
again unarmed; and then asks the users' own ledgers, the folders and the account.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edxml.crashpoints import ENVIRONMENT
from edxml.seal import generate_seal_key
from gateway.keys import rotate_keys
from tests.fault.test_archive_kills import AT_ARCHIVE
from tests.fault.test_move_kills import AT_MOVE
from tests.fault.test_rest_recipients import AT_POST
from tests.fault.test_restore_drill import AT_BACKUP, AT_RECOVERY, AT_RESTORE, AT_SERVER
from tests.support.clients import FAST, HANGS, NODE, Users, letter, make_home
from tests.support.postgres import cluster
from tests.support.processes import NodeProcesses
from tests.support.stores import Database

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

_ENUMERATE = """
import importlib, json, pkgutil
from edxml.crashpoints import POINTS
for top in ("edxml", "adapters", "routing", "monitoring", "gateway"):
    package = importlib.import_module(top)
    for found in pkgutil.walk_packages(package.__path__, top + "."):
        if not found.name.endswith("__main__") and ".migrations" not in found.name:
            importlib.import_module(found.name)
print(json.dumps(sorted(POINTS)))
"""


def send(users: Users) -> None:
    """Documents over REST to inboxes and folders."""
    users.work(rounds=2)


def send_and_report(users: Users) -> None:
    """The same, and an agency reports a status by REST."""
    about = users.send(("hop-1", "tm-1"))
    users.tell_status(about)
    users.work(rounds=1)


def send_and_refuse(users: Users) -> None:
    """The same, and a clerk refuses by a file."""
    users.refuse_file(users.send(("hop-1", "tm-1")))
    users.work(rounds=1)


def send_and_recall(users: Users) -> None:
    """The same, and a recall of what never came waits until time moves it."""
    users.recall_nothing()
    users.work(rounds=1)


def until_killed(users: Users, work: Work) -> None:
    """Again and again: on a busy machine all of it may pass a point at once, where as many passings are waited for."""
    work(users)
    while not users.enough.is_set():
        work(users)


Work = Callable[[Users], None]
SCENARIOS: dict[str, tuple[Work, int]] = {
    # point → who does what, and the latest passing at which the node is killed
    "accept.written": (send, 4),
    "accept.committed": (send, 4),
    "acknowledge.written": (send_and_report, 4),
    "acknowledge.committed": (send_and_report, 4),
    "blob.synced": (send, 5),
    "blob.renamed": (send, 5),
    "blob.folder_synced": (send, 5),
    "collect.confirmed": (send, 4),
    "collect.fetched": (send, 4),
    "deliver.attempt_committed": (send, 2),
    "deliver.claimed": (send, 2),
    "deliver.concluded": (send, 2),
    "deliver.handed_over": (send, 2),
    "deliver.staged": (send, 2),
    "folder.bytes_written": (send, 4),
    "folder.companion_shown": (send, 4),
    "folder.dir_synced": (send, 4),
    "folder.part_renamed": (send, 4),
    "folder.published": (send, 4),
    "folder.report_written": (send_and_refuse, 2),
    "folder.set_aside": (send_and_refuse, 2),
    "folder.staged": (send, 4),
    "inspect.begun": (send, 1),
    "inspect.followed": (send, 2),
    "inspect.kept": (send, 1),
    "relay.announced": (send, 2),
    "relay.noted": (send, 2),
    "report.acknowledged": (send, 4),
    "signatures.checked": (send, 2),
    "signatures.kept": (send, 2),
    "sweep.committed": (send_and_recall, 1),
}
AT_INIT = ("keys.key_written", "keys.certificate_written")
"""Points that a node passes once in its life, before its first document."""
AT_ROTATION = ("keys.key_written", "keys.certificate_written", "keys.former_erased")
"""Points of `truc key rotate`, beside a node that runs."""


def test_every_crash_point_has_a_scenario() -> None:
    found = subprocess.run(
        [sys.executable, "-c", _ENUMERATE], capture_output=True, text=True, check=True, timeout=240,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    points = set(json.loads(found.stdout))
    alone = {*AT_BACKUP, *AT_RESTORE, *AT_SERVER, *AT_RECOVERY, *AT_MOVE, *AT_ARCHIVE}
    assert points == {*SCENARIOS, *AT_INIT, *AT_ROTATION, *AT_POST, *alone}


ON_POSTGRESQL = frozenset({"accept.committed"})
"""Tested on PostgreSQL with every change; the other points there with the long tests."""
PLACES = [
    *((point, Database.SQLITE) for point in SCENARIOS),
    *(
        pytest.param(point, Database.POSTGRESQL, marks=() if point in ON_POSTGRESQL else pytest.mark.long)
        for point in SCENARIOS
    ),
]


@pytest.mark.parametrize(("point", "database"), PLACES)
def test_killed_there_everything_arrives_once(tmp_path: Path, point: str, database: Database) -> None:
    work, latest = SCENARIOS[point]
    passing = random.Random(point).randint(1, latest)
    home = make_home(tmp_path, cluster().create() if database is Database.POSTGRESQL else "")
    with NodeProcesses(home.data, {**FAST, "database": home.database}) as node, Users(home) as users:
        node.start("serve", crash_at=f"{point}:{passing}")
        users.begin(node.url)
        working = users.in_background(lambda u: until_killed(u, work))
        node.wait_killed("serve")
        users.enough.set()
        node.start("serve")
        working.result(timeout=HANGS)
        users.settle()
        users.assert_all_is_well()
        node.assert_alive()


@pytest.mark.parametrize("point", AT_INIT)
def test_killed_while_it_is_made_a_node_is_made_again(tmp_path: Path, point: str) -> None:
    node = NodeProcesses(tmp_path / "data", FAST)
    died = node.run("init", crash_at=point)
    assert died.returncode == -9, died.stderr
    made = node.run("init")
    assert made.returncode == 0, made.stderr
    keys = sorted(path.name for path in (tmp_path / "data" / "keys").iterdir())
    again = node.run("init")
    assert again.returncode == 0, again.stderr
    assert sorted(path.name for path in (tmp_path / "data" / "keys").iterdir()) == keys


@pytest.mark.parametrize("point", [AT_ROTATION[0], *(pytest.param(p, marks=pytest.mark.long) for p in AT_ROTATION[1:])])
def test_killed_while_its_seal_key_is_replaced_a_node_goes_on(tmp_path: Path, point: str) -> None:
    home = make_home(tmp_path)
    age_seal_key(home.data / "keys")
    with NodeProcesses(home.data, FAST) as node, Users(home) as users:
        node.start("serve")
        users.begin(node.url)
        users.work(rounds=1)
        died = node.run("key", "rotate", "--at", "now", crash_at=point)
        assert died.returncode == -9, died.stderr
        users.work(rounds=1)
        ended = node.run("key", "rotate", "--at", "now")
        assert ended.returncode == 0, ended.stderr
        users.work(rounds=1)
        users.settle()
        users.assert_all_is_well()
        node.assert_alive()
        told = json.loads(node.run("key", "list", "--json").stdout)
    assert [line["state"] for line in told if line["state"] != "announced"][-1] == "current"
    assert told[0]["key"] == "erased"


def age_seal_key(folder: Path) -> None:
    """As if the node were ten days old and its key had been replaced five days ago."""
    now = datetime.now(UTC)
    key, certificate = generate_seal_key(NODE, begins=now - timedelta(days=10))
    (folder / "seal.key").write_bytes(key)
    (folder / "seal.crt").write_bytes(certificate)
    then = now - timedelta(days=5)
    rotate_keys(folder, NODE, begins=then, now=then)


def test_killed_again_and_again_at_the_same_point(tmp_path: Path) -> None:
    """Two crashes while handing over, then a whole node: the machine counts its claims, and still delivers once.

    A third would rightly park what was claimed each time (rule 8).
    """
    home = make_home(tmp_path)
    with NodeProcesses(home.data, FAST) as node, Users(home) as users:
        node.start("serve", crash_at="deliver.handed_over")
        users.begin(node.url)
        working = users.in_background(lambda u: u.work_until_told())  # one round may be published whole before it dies
        node.wait_killed("serve")
        node.start("serve", crash_at="folder.published")
        node.wait_killed("serve")
        node.start("serve")
        users.enough.set()
        working.result(timeout=HANGS)
        users.settle()
        users.assert_all_is_well()


def test_the_variable_is_the_one_that_processes_read(tmp_path: Path) -> None:
    """A misspelt point stops the node at the first passing: no scenario can pass for survived unarmed."""
    home = make_home(tmp_path)
    (tmp_path / "tm-1" / "di").mkdir()
    (tmp_path / "tm-1" / "di" / "a.edxml").write_bytes(letter(1, ("don",), sender="tm-1").body)
    assert ENVIRONMENT == "TRUC_CRASH_AT"
    done = NodeProcesses(home.data, FAST).run("serve", crash_at="not a point")
    assert done.returncode != 0
    assert "ValueError" in done.stderr
