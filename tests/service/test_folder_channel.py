"""The folder channel on real disks that are full, read-only or forbidden, and killed at each of its crash points."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from adapters.contract import Done, Outcome, Park, Retry, Scope, Verdict
from adapters.folder import FolderChannel, FolderFault, open_folder
from adapters.folder_sink import StagedFile
from edxml.crashpoints import ENVIRONMENT, POINTS
from tests.support.folder_steps import CHANNEL
from tests.support.folders import build_item, deliver, far, files_under

T = TypeVar("T")
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
        cwd=PROJECT, env={**os.environ, ENVIRONMENT: crash_at}, capture_output=True, text=True, timeout=60,
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
        cwd=PROJECT, check=True, timeout=60, capture_output=True,
    )  # fmt: skip
    calls = trace.read_text("utf-8", "replace").splitlines()
    place = -1
    for wanted in (
        rf"write\(\d+<.*{KEY}\.\S+\.tmp>",
        rf"fsync\(\d+<.*{KEY}\.\S+\.tmp>",
        rf"rename\(.*{KEY}\.\S+\.tmp.*{KEY}\.part",
        rf"openat\(.*{KEY}\.staged.*O_CREAT",
        r"fsync\(\d+<.*/\.truc>",
        r"write\(2<.*COMMITTED",
        rf"rename\(.*{KEY}\.companion.*{KEY}\.json",
        rf"rename\(.*{KEY}\.part.*{KEY}\.edxml",
        r"fsync\(\d+<.*/den>",
        r"fsync\(\d+<.*/\.truc>",
        r"write\(1<.*Done",
    ):
        found = [number for number, call in enumerate(calls) if number > place and re.search(wanted, call)]
        assert found, f"{wanted} does not come after line {place}:\n" + "\n".join(calls[-40:])
        place = found[0]


# Disks


@contextmanager
def mounted(target: Path, *arguments: str) -> Iterator[Path]:
    """A real mount for the length of a test. Needs root: without it this fails and says so, it never skips."""
    target.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *arguments, target], capture_output=True, text=True)
    assert done.returncode == 0, f"this test mounts a small disk and needs root with mount: {done.stderr}"
    try:
        yield target
    finally:
        subprocess.run(["umount", "-l", target], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=512k", "truc-test") as disk:
        root = disk / "H99.16"
        root.mkdir()
        yield root


def test_a_full_disk_loses_nothing_and_recovers(small_disk: Path) -> None:
    channel = open_at(small_disk)
    big = b"x" * (1 << 20)
    assert deliver(channel.sink, build_item(big)) == Retry(reason="folder.full")
    assert channel.sink.find(KEY) is None
    assert os.listdir(small_disk / ".truc") == ["kenh.json"], "leftovers keep a full disk full"
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk.parent], check=True)
    assert isinstance(deliver(channel.sink, build_item(big)), Done)
    assert (small_disk / "den" / f"{KEY}.edxml").read_bytes() == big


def test_a_packet_too_big_for_the_disk_keeps_no_small_one_waiting(small_disk: Path) -> None:
    """Its own trouble, as long as ordinary packets fit; and the disk is not filled to find out."""
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk.parent], check=True)
    sink = open_at(small_disk).sink
    read: list[int] = []

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            read.append(size or 0)
            return super().read(size)

    big = b"x" * (8 << 20)
    outcome = deliver(sink, build_item(big, opens=lambda: Watched(big)))
    assert outcome == Retry(reason="folder.too_little_room", scope=Scope.DOCUMENT)
    assert not read, "bytes were written that could never fit"
    assert isinstance(deliver(sink, build_item(PACKET, "key-small")), Done)


def test_room_that_ends_while_a_big_packet_is_written_is_that_packet_s_trouble(small_disk: Path) -> None:
    """As a quota does, of which the file system tells nothing before."""
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk.parent], check=True)
    sink = open_at(small_disk).sink
    sink.probe()
    filler = small_disk / "filler"

    class Filling(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if not filler.exists():
                filler.write_bytes(b"x" * (4 << 20))
            return super().read(size)

    big = b"x" * (6 << 20)
    outcome = deliver(sink, build_item(big, opens=lambda: Filling(big)))
    assert outcome == Retry(reason="folder.too_little_room", scope=Scope.DOCUMENT)
    assert os.listdir(small_disk / ".truc") == ["kenh.json"]


def test_full_at_every_single_step(tmp_path: Path) -> None:
    """Names run out after 0, 1, 2, … more files: the answer is true each time, and one copy arrives in the end."""
    answers: set[str] = set()
    for spare in range(9):
        with mounted(tmp_path / f"disk{spare}", "-t", "tmpfs", "-o", f"size=8m,nr_inodes={13 + spare}", "t") as disk:
            root = disk / "r"
            root.mkdir()
            sink = open_at(root).sink
            outcome = deliver(sink, build_item(PACKET))
            assert outcome == Retry(reason="folder.full") or isinstance(outcome, Done), (spare, outcome)
            answers.add(type(outcome).__name__)
            visible = (root / "den" / f"{KEY}.edxml").exists()
            assert visible is isinstance(outcome, Done), spare
            subprocess.run(["mount", "-o", "remount,nr_inodes=1000", disk], check=True)
            assert (sink.find(KEY) is not None) is visible
            assert isinstance(deliver(sink, build_item(PACKET)), Done)
            assert (root / "den" / f"{KEY}.edxml").read_bytes() == PACKET
    assert answers == {"Retry", "Done"}, "the range of spare names misses one side"


def test_a_full_disk_leaves_the_clerks_file_where_it_is(small_disk: Path) -> None:
    channel = open_at(small_disk)
    channel.sink.probe()
    (small_disk / "di" / "x.edxml").write_bytes(PACKET)
    [item] = channel.source.look(10)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space"):
        all(stream.write(b"x" * 4096) for _ in range(1000))
    with pytest.raises(FolderFault) as caught:
        channel.source.acknowledge(item, Verdict(accepted=True, reference="ref"))
    assert caught.value.reason == "folder.full"
    assert (small_disk / "di" / "x.edxml").read_bytes() == PACKET
    filler.unlink()
    channel.source.acknowledge(item, Verdict(accepted=True, reference="ref"))
    assert list(channel.source.look(10)) == []


def test_a_read_only_disk(root: Path, tmp_path: Path) -> None:
    sink = open_at(root).sink
    deliver(sink, build_item(PACKET, "key-before"))
    staged = sink.stage(build_item(PACKET, "key-staged"))
    assert isinstance(staged, StagedFile)
    with mounted(root, "--bind", str(root)):
        subprocess.run(["mount", "-o", "remount,bind,ro", root], check=True)
        assert sink.stage(build_item(PACKET)) == Retry(reason="folder.read_only")
        assert staged.hand_over(far()) == Retry(reason="folder.read_only")
        assert sink.probe().reason == "folder.read_only"
        assert isinstance(sink.find("key-before"), Done), "what arrived can still be told"
        assert sink.find("key-staged") is None
    assert isinstance(staged.hand_over(far()), Done)


def test_a_forbidden_folder() -> None:
    """As another user than root, whom no permission stops."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        sink = open_at(root).sink
        deliver(sink, build_item(PACKET, "key-before"))
        for path in (root, root / ".truc", root / ".truc" / "kenh.json"):
            path.chmod(0o755)
        assert as_nobody(lambda: sink.stage(build_item(PACKET))) == Retry(reason="folder.denied")
        assert as_nobody(sink.probe).reason == "folder.denied"
        (root / "di" / "x.edxml").write_bytes(PACKET)
        (root / "di" / "x.edxml").chmod(0o600)
        [item] = as_nobody(lambda: list(open_at(root).source.look(10)))
        assert item.reason == "folder.unreadable"


def as_nobody(call: Callable[[], T]) -> T:
    assert os.geteuid() == 0, "this test gives up root's rights and needs to be root first"
    os.seteuid(65534)
    try:
        return call()
    finally:
        os.seteuid(0)


def test_a_file_larger_than_the_disk_takes(root: Path, packet: Path) -> None:
    """RLIMIT_FSIZE answers as FAT does above 4 GiB: no waiting helps, so a person must look."""
    assert step("deliver", root, KEY, packet, 50_000).stdout.strip() == str(Park(reason="folder.too_large"))
    assert not list((root / ".truc").glob(f"{KEY}*"))


def test_a_share_that_is_unmounted_and_comes_back(tmp_path: Path) -> None:
    """The root is a folder of the share, so that without the share it is missing, not empty."""
    share = tmp_path / "share"
    outcomes: list[Outcome] = []
    source = tmp_path / "server"
    (source / "H99.16").mkdir(parents=True)
    sink = open_at(share / "H99.16").sink
    with mounted(share, "--bind", str(source)):
        staged = sink.stage(build_item(PACKET))
    assert isinstance(staged, StagedFile)
    assert sink.stage(build_item(PACKET)) == Retry(reason="folder.missing")
    with pytest.raises(FolderFault):
        sink.find(KEY)
    with mounted(share, "--bind", str(source)):
        outcomes.append(staged.hand_over(far()))
    assert outcomes == [Done(evidence=f"den/{KEY}.edxml")]
    assert not (share / "H99.16").exists()


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
