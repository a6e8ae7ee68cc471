"""Two hundred files in one folder go by groups, and a kill anywhere on the way loses none and doubles none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edxml.crashpoints import ENVIRONMENT
from gateway.account import close_books
from gateway.model.instants import wall_now
from tests.support.clients import FAST, Home, letter, make_home

pytestmark = pytest.mark.fault

FILES = 200
GROUP = 64
BAD = (17, 33)


def fill(home: Home, files: int = FILES) -> Path:
    """Files of one agency's software, two of them cut short; their times in the order of their numbers."""
    outgoing = home.data.parent / "tm-2" / "di"
    outgoing.mkdir()
    for number in range(files):
        body = letter(number + 1, ("don",), sender="tm-2", size=1_000).body
        path = outgoing / f"{number:03d}.edxml"
        path.write_bytes(body[:500] if number in BAD else body)
        os.utime(path, ns=(number * 10**9, number * 10**9))
    return outgoing


def take(home: Home, *, crash_at: str = "") -> int:
    """A process that looks through the folders until they are empty, killed where told; its exit code."""
    environment = dict(os.environ) | {f"TRUC_{name.upper()}": value for name, value in FAST.items()}
    if crash_at:
        environment[ENVIRONMENT] = crash_at
    command = [sys.executable, "-m", "tests.fault.hops_child", "intake-all", home.data, home.data.parent / "answer"]
    done = subprocess.run(
        [str(each) for each in command],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        timeout=240,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode


def accepted(home: Home) -> list[str]:
    """Document keys in the order in which they were accepted."""
    store = home.open()
    with store.read() as connection:
        rows = connection.exec_driver_sql("SELECT document_key FROM packets ORDER BY rowid").all()
    store.close()
    return [row[0] for row in rows]


@pytest.mark.parametrize(
    ("point", "kept"),
    [
        ("accept.written:2", GROUP - len(BAD)),
        ("accept.committed:2", 2 * GROUP - len(BAD)),
        ("folder.set_aside:70", 2 * GROUP - len(BAD)),
    ],
)
def test_two_hundred_files_and_a_kill(tmp_path: Path, point: str, kept: int) -> None:
    home = make_home(tmp_path)
    outgoing = fill(home)
    assert take(home, crash_at=point) == -signal.SIGKILL
    assert len(accepted(home)) == kept, "groups of another size than the files of one look"
    assert take(home) == 0
    assert take(home) == 0
    assert_each_once(home, outgoing)


def test_what_kills_its_worker_in_a_group_does_not_take_its_neighbours_with_it(tmp_path: Path) -> None:
    """Killed as a group, then alone: only what was alone is counted on, the others get their turn."""
    home = make_home(tmp_path)
    outgoing = fill(home, 40)
    for _ in range(3):
        assert take(home, crash_at="accept.written") == -signal.SIGKILL
    assert take(home) == 0
    aside = {path.name for path in (outgoing / "khong-gui").glob("*.edxml")}
    assert aside == {"000.edxml", *(f"{number:03d}.edxml" for number in BAD)}
    assert len(accepted(home)) == 40 - len(BAD) - 1


def assert_each_once(home: Home, outgoing: Path) -> None:
    """Every file set aside by its own verdict, every good one accepted once and in the order of their times."""
    assert not list(outgoing.glob("*.edxml"))
    sent = sorted((outgoing / "da-gui").glob("*.edxml"))
    good = [number for number in range(FILES) if number not in BAD]
    assert [path.name for path in sent] == [f"{number:03d}.edxml" for number in good]
    assert sorted(path.name for path in (outgoing / "khong-gui").glob("*.edxml")) == [f"{n:03d}.edxml" for n in BAD]
    assert len(list((outgoing / "khong-gui").glob("*.txt"))) == len(BAD)
    documents = [
        json.loads(path.with_name(path.name + ".json").read_text("utf-8"))["reference"]["document_id"] for path in sent
    ]
    kept = accepted(home)
    assert len(kept) == len(set(kept)) == len(good)
    assert [key.rpartition(",")[2] for key in kept] == [document.rpartition(",")[2] for document in documents]
    store = home.open()
    account = close_books(store, 0, wall_now() + 1)
    store.close()
    assert account.closes, account.gaps
