"""The folder channel on real disks that are full, read-only, forbidden, too small, and unmounted on the way."""

from __future__ import annotations

import io
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.contract import Done, Outcome, Park, Retry, Scope, Verdict
from adapters.folder import FolderChannel, FolderFault, open_folder
from adapters.folder_staged import StagedFile
from tests.service.test_folder_channel import step
from tests.support.folder_steps import CHANNEL
from tests.support.folders import as_nobody, build_item, deliver, far, mounted

KEY = "0198f2c0-key"
PACKET = b"<edXML>" + bytes(range(256)) * 800 + b"</edXML>"


def open_at(root: Path) -> FolderChannel:
    return open_folder({"root": str(root), "settle": 0}, CHANNEL)


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
