"""The folder channel killed at each of its crash points, what reaches the disk in which order, and hints."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adapters.contract import Done
from adapters.folder import FolderChannel, open_folder
from edxml.crashpoints import ENVIRONMENT, POINTS
from tests.support.folder_steps import CHANNEL
from tests.support.folders import build_item, deliver, files_under

KEY = "0198f2c0-key"
PACKET = b"<edXML>" + bytes(range(256)) * 800 + b"</edXML>"
SINK_POINTS = (
    "folder.bytes_written",
    "folder.part_renamed",
    "folder.staged",
    "folder.companion_shown",
    "folder.published",
    "folder.dir_synced",
)
SOURCE_POINTS = ("folder.report_written", "folder.set_aside")
PROJECT = Path(__file__).parents[2]


def open_at(root: Path) -> FolderChannel:
    return open_folder({"root": str(root), "settle": 0}, CHANNEL)


def step(*args: object, crash_at: str = "") -> subprocess.CompletedProcess[str]:
    """One process of `tests.support.folder_steps`, killed at `crash_at` where given."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.folder_steps", *map(str, args)],
        cwd=PROJECT, env={**os.environ, ENVIRONMENT: crash_at}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    expected = -signal.SIGKILL if crash_at else 0
    assert done.returncode == expected, f"{crash_at or 'no crash'}: {done.returncode}\n{done.stderr}"
    return done


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "xã Nghĩa Đồng"
    made.mkdir()
    return made


@pytest.fixture
def packet(tmp_path: Path) -> Path:
    path = tmp_path / "packet"
    path.write_bytes(PACKET)
    return path


# Killed


def test_every_crash_point_is_killed_below() -> None:
    assert {name for name in POINTS if name.startswith("folder.")} == {*SINK_POINTS, *SOURCE_POINTS}


@pytest.mark.fault
@pytest.mark.parametrize("software_takes", [False, True], ids=["left", "taken"])
@pytest.mark.parametrize("point", SINK_POINTS)
def test_killed_while_delivering_arrives_once(root: Path, packet: Path, point: str, software_takes: bool) -> None:
    """Whatever the agency's software takes away between the crash and the next look, it never gets two."""
    taken: list[bytes] = []

    def let_software_take() -> None:
        for path in (root / "den").glob("*.edxml"):
            taken.append(path.read_bytes())
            path.unlink()

    step("deliver", root, KEY, packet, crash_at=point)
    published = point in ("folder.published", "folder.dir_synced")
    assert (root / "den" / f"{KEY}.edxml").exists() is published
    assert published or not (root / "den" / KEY).exists(), "attachments are seen of what may still be withdrawn"
    if software_takes:
        let_software_take()
    for _ in range(2):
        assert step("deliver", root, KEY, packet).stdout.startswith("Done")
        if software_takes:
            let_software_take()
    if not software_takes:
        let_software_take()
    assert taken == [PACKET]
    assert not list((root / ".truc").glob("*.part"))
    assert (root / "den" / KEY).is_dir()


@pytest.mark.fault
def test_killed_at_each_point_in_turn_arrives_once(root: Path, packet: Path) -> None:
    """The worst day: every next process dies one step further."""
    for point in SINK_POINTS[:5]:
        step("deliver", root, KEY, packet, crash_at=point)
    assert step("deliver", root, KEY, packet).stdout.startswith("Done")
    assert [path.name for path in (root / "den").glob("*.edxml")] == [f"{KEY}.edxml"]
    assert (root / "den" / f"{KEY}.edxml").read_bytes() == PACKET


@pytest.mark.fault
@pytest.mark.parametrize("point", SOURCE_POINTS)
@pytest.mark.parametrize("name", ["công văn “mật danh”.edxml", "den/tra-lai/key-1.edxml"])
def test_killed_while_acknowledging_is_found_again_or_set_aside(
    root: Path, tmp_path: Path, point: str, name: str
) -> None:
    open_at(root).sink.probe()
    copies = tmp_path / "copies"
    copies.mkdir()
    refusal = name.startswith("den")
    (root / (name if refusal else f"di/{name}")).write_bytes(PACKET)
    step("take", root, copies, crash_at=point)
    again = step("take", root, copies).stdout
    assert (again == "acknowledged\n") is (point == "folder.report_written")
    aside = root / ("den/tra-lai/da-nhan" if refusal else "di/da-gui")
    short = Path(name).name
    assert sorted(path.name for path in aside.iterdir()) == [short, f"{short}.json"]
    assert (aside / short).read_bytes() == PACKET
    assert len(list(copies.iterdir())) == (0 if refusal else 1)


@pytest.mark.fault
def test_killed_at_random_moments_arrives_once_each(root: Path, packet: Path) -> None:
    keys = [f"key-{number}" for number in range(12)]
    for number, key in enumerate(keys):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.folder_steps", "deliver", str(root), key, str(packet)],
            cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr is not None
        process.stderr.readline()  # COMMITTED: the attempt began
        time.sleep(number * 0.0002)
        process.kill()
        process.wait()
        process.stderr.close()
    for key in keys:
        assert step("deliver", root, key, packet).stdout.startswith("Done")
    arrived = {name: content for name, content in files_under(root / "den").items() if name.endswith(".edxml")}
    assert arrived == {f"{key}.edxml": PACKET for key in keys}


def test_many_workers_on_one_key_make_one_copy(root: Path) -> None:
    """Staging, handing over and looking from many threads at once, while the software takes files away."""
    taken: list[str] = []
    stop = threading.Event()

    def software() -> None:
        while not stop.is_set():
            for path in (root / "den").glob("*.edxml"):
                taken.append(path.name)
                path.unlink()

    open_at(root).sink.probe()
    thread = threading.Thread(target=software)
    thread.start()
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(
            pool.map(lambda number: deliver(open_at(root).sink, build_item(PACKET, f"key-{number % 10}")), range(80))
        )
    stop.set()
    thread.join()
    taken.extend(path.name for path in (root / "den").glob("*.edxml"))
    assert {type(outcome) for outcome in outcomes} == {Done}
    assert sorted(taken) == sorted(f"key-{number}.edxml" for number in range(10))


# What reaches the disk, and in which order


def test_the_order_on_disk(root: Path, packet: Path, tmp_path: Path) -> None:
    """write, fsync, rename → directory fsync, commit, rename, both directories; a kill cannot show a lost fsync."""
    open_at(root).sink.probe()
    trace = tmp_path / "trace"
    subprocess.run(
        ["strace", "-f", "-y", "-s", "16", "-o", trace, "-e", "trace=write,fsync,fdatasync,/rename,/link,openat",
         sys.executable, "-m", "tests.support.folder_steps", "deliver", root, KEY, packet],
        cwd=PROJECT, check=True, timeout=240, capture_output=True,
    )  # fmt: skip
    calls = trace.read_text("utf-8", "replace").splitlines()
    place = -1
    for wanted in (
        rf"write\(\d+<.*{KEY}\.\S+\.tmp>",
        rf"fsync\(\d+<.*{KEY}\.\S+\.tmp>",
        rf"renameat2?\(.*{KEY}\.\S+\.tmp.*{KEY}\.part",
        rf"openat\(.*{KEY}\.staged.*O_CREAT",
        r"fsync\(\d+<.*/\.truc>",
        r"write\(2<.*COMMITTED",
        rf"renameat2?\(.*{KEY}\.companion.*{KEY}\.json",
        rf"renameat2?\(.*{KEY}\.part.*{KEY}\.edxml",
        r"fsync\(\d+<.*/den>",
        r"fsync\(\d+<.*/\.truc>",
        r"write\(1<.*Done",
    ):
        found = [number for number, call in enumerate(calls) if number > place and re.search(wanted, call)]
        assert found, f"{wanted} does not come after line {place}:\n" + "\n".join(calls[-40:])
        place = found[0]


# Hints


def test_a_watch_tells_soon_and_ends(root: Path) -> None:
    channel = open_at(root)
    channel.sink.probe()
    changed = threading.Event()
    watch = channel.watch(changed.set)
    try:
        deadline = time.monotonic() + 20
        while not changed.wait(0.3) and time.monotonic() < deadline:
            (root / "di" / f"{time.monotonic_ns()}.edxml").write_bytes(b"x")
        assert changed.is_set()
    finally:
        watch.close()
    watch.close()


def test_our_own_deliveries_wake_nobody(root: Path) -> None:
    channel = open_at(root)
    channel.sink.probe()
    changed = threading.Event()
    watch = channel.watch(changed.set)
    try:
        time.sleep(0.5)
        deliver(channel.sink, build_item())
        assert not changed.wait(1.0)
    finally:
        watch.close()
