"""The folder's source: takes what is complete, leaves what is not, finds again what was not acknowledged."""

from __future__ import annotations

import json
import os
import time
import tracemalloc
from pathlib import Path

import pytest

from adapters.contract import Incoming, IncomingKind, Verdict
from adapters.folder import FolderFault, open_folder
from adapters.folder_layout import FolderLayout
from adapters.folder_source import FolderSource
from tests.support.folders import build_item, deliver, files_under

YES = Verdict(accepted=True, reference="0198f2c0-packet")
NO = Verdict(accepted=False, report="Không gửi được: thiếu mã định danh.\n(Not sent: no code.)")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    open_folder({"root": str(tmp_path)}, "kenh").sink.probe()
    return tmp_path


@pytest.fixture
def source(root: Path) -> FolderSource:
    return open_folder({"root": str(root), "settle": 0}, "kenh").source


def put(path: Path, content: bytes = b"<edXML/>", age: float = 0) -> Path:
    path.write_bytes(content)
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def read(item: Incoming) -> bytes:
    assert item.open is not None
    with item.open() as stream:
        return stream.read()


def look(source: FolderSource, limit: int = 100) -> list[Incoming]:
    return list(source.look(limit))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    "name",
    ["a.edxml", "Công văn số 12/UBND".replace("/", "-") + ".edxml", 'quote".edxml', "it's “x”.EDXML", "a;b $(x).edxml"],
)
def test_taken_read_and_set_aside_under_its_name(root: Path, source: FolderSource, name: str) -> None:
    put(root / "di" / name, b"<edXML>1</edXML>")
    [item] = look(source)
    assert (item.kind, item.size, read(item)) == (IncomingKind.PACKET, 16, b"<edXML>1</edXML>")
    assert item.token.isascii()
    source.acknowledge(item, YES)
    assert look(source) == []
    assert names(root / "di" / "da-gui") == sorted([name, f"{name}.json"])
    reference = json.loads((root / "di" / "da-gui" / f"{name}.json").read_text("utf-8"))
    assert reference["reference"] == "0198f2c0-packet"


def test_a_name_in_a_lost_code_page_is_sent_like_any_other(root: Path, source: FolderSource) -> None:
    raw = os.fsencode(root / "di") + b"/C\xf4ng v\xe3n.edxml"
    with open(raw, "wb") as stream:
        stream.write(b"x")
    [item] = look(source)
    assert read(item) == b"x"
    source.acknowledge(item, YES)
    assert len(os.listdir(os.fsencode(root / "di" / "da-gui"))) == 2
    assert look(source) == []


def test_a_reference_that_is_json_is_an_object(root: Path, source: FolderSource) -> None:
    put(root / "di" / "x.edxml")
    [item] = look(source)
    source.acknowledge(item, Verdict(accepted=True, reference='{"packet_id": "p-1", "recipients": []}'))
    reference = json.loads((root / "di" / "da-gui" / "x.edxml.json").read_text("utf-8"))["reference"]
    assert reference == {"packet_id": "p-1", "recipients": []}


def test_refused_goes_aside_with_a_report(root: Path, source: FolderSource) -> None:
    put(root / "di" / "x.edxml")
    [item] = look(source)
    source.acknowledge(item, NO)
    assert names(root / "di" / "khong-gui") == ["x.edxml", "x.edxml.txt"]
    report = (root / "di" / "khong-gui" / "x.edxml.txt").read_text("utf-8")
    assert report.startswith("Không gửi được: thiếu mã định danh.")


def test_found_again_until_acknowledged_and_acknowledged_twice(root: Path, source: FolderSource) -> None:
    put(root / "di" / "x.edxml")
    [first], [again] = look(source), look(source)
    assert first.token == again.token
    source.acknowledge(first, YES)
    source.acknowledge(again, YES)
    assert names(root / "di" / "da-gui") == ["x.edxml", "x.edxml.json"]


def test_the_same_name_later_overwrites_nothing(root: Path, source: FolderSource) -> None:
    for number in range(3):
        put(root / "di" / "báo cáo.edxml", b"%d" % number)
        [item] = look(source)
        source.acknowledge(item, YES)
    aside = {name: content for name, content in files_under(root / "di" / "da-gui").items() if name.endswith("l")}
    assert aside == {"báo cáo.edxml": b"0", "báo cáo (2).edxml": b"1", "báo cáo (3).edxml": b"2"}


def test_a_reference_whose_packet_was_taken_away_is_not_overwritten(root: Path, source: FolderSource) -> None:
    for _ in range(2):
        put(root / "di" / "x.edxml")
        [item] = look(source)
        source.acknowledge(item, YES)
        for moved in (root / "di" / "da-gui").glob("*.edxml"):
            moved.unlink()
        time.sleep(0.01)
    assert names(root / "di" / "da-gui") == ["x (2).edxml.json", "x.edxml.json"]


def test_unfinished_files_are_left_alone(root: Path, source: FolderSource) -> None:
    for name in ("a.edxml.part", "b.edxml.tmp", "~c.edxml", ".d.edxml", "~$e.edxml", "f.edxml~", "g.txt"):
        put(root / "di" / name)
    assert look(source) == []
    (root / "di" / "a.edxml.part").rename(root / "di" / "a.edxml")
    assert [read(item) for item in look(source)] == [b"<edXML/>"]


@pytest.mark.parametrize("beside", ["x.edxml.part", "x.edxml.tmp", "~$x.edxml", ".~lock.x.edxml#"])
def test_a_half_renamed_file_waits_but_not_for_ever(root: Path, source: FolderSource, beside: str) -> None:
    """Some software makes the final name first, empty or old, and renames over it; some leaves litter behind."""
    put(root / "di" / "x.edxml")
    held = put(root / "di" / beside)
    assert look(source) == []
    os.utime(held, (time.time() - 3600, time.time() - 3600))
    assert len(look(source)) == 1


class Clock:
    """Seconds that a test moves by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_growing_file_is_taken_when_it_stands_still(root: Path) -> None:
    clock = Clock()
    source = FolderSource(layout=FolderLayout(root=root, channel_id="kenh"), settle=2.0, clock=clock)
    path = root / "di" / "x.edxml"
    for size in (1, 2, 3):
        put(path, b"x" * size, age=3600)  # a copying program that sets an old time proves nothing
        assert look(source) == []
        clock.now += 1.9
    assert look(source) == []
    clock.now += 0.2
    [item] = look(source)
    assert read(item) == b"xxx"


def test_an_empty_file_is_waited_for_longer(root: Path) -> None:
    clock = Clock()
    source = FolderSource(layout=FolderLayout(root=root, channel_id="kenh"), settle=2.0, clock=clock)
    put(root / "di" / "x.edxml", b"")
    assert look(source) == []
    clock.now += 10
    assert look(source) == []
    clock.now += 60
    assert len(look(source)) == 1


@pytest.mark.parametrize("piece", [-1, 65536])
def test_a_file_that_changes_while_it_is_read_is_not_taken(root: Path, source: FolderSource, piece: int) -> None:
    path = put(root / "di" / "x.edxml", b"x" * 200_000)
    [item] = look(source)
    assert item.open is not None
    stream = item.open()
    stream.read(10)
    with path.open("ab") as more:
        more.write(b"y")
    with stream, pytest.raises(OSError, match="changed"):
        list(iter(lambda: stream.read(piece), b""))
    with pytest.raises(OSError, match="changed"):
        item.open()
    assert len(look(source)) == 1


def test_a_file_overwritten_after_it_was_read_stays_and_is_a_new_one(root: Path, source: FolderSource) -> None:
    """Else the corrected version that a clerk saved meanwhile would be set aside as sent, unread."""
    put(root / "di" / "x.edxml", b"old")
    [item] = look(source)
    assert read(item) == b"old"
    put(root / "di" / "x.edxml", b"corrected")
    source.acknowledge(item, YES)
    [fresh] = look(source)
    assert read(fresh) == b"corrected"


def test_what_can_never_be_read_is_damaged_and_set_aside(root: Path, source: FolderSource) -> None:
    (root / "di" / "folder.edxml").mkdir()
    (root / "di" / "link.edxml").symlink_to("/etc/passwd")
    os.mkfifo(root / "di" / "pipe.edxml")
    items = look(source)
    assert {(item.kind, item.reason, item.open) for item in items} == {
        (IncomingKind.DAMAGED, "folder.not_a_file", None)
    }
    for item in items:
        source.acknowledge(item, NO)
    assert look(source) == []
    assert len(names(root / "di" / "khong-gui")) == 6


def test_oldest_first_up_to_the_limit(root: Path, source: FolderSource) -> None:
    for number in range(20):
        put(root / "di" / f"{number:02}.edxml", b"%02d" % number, age=1000 - number)
    assert [read(item) for item in look(source, 3)] == [b"00", b"01", b"02"]


def test_a_big_folder_is_listed_in_little_time_and_memory(root: Path, source: FolderSource) -> None:
    for number in range(10_000):
        (root / "di" / f"{number}.edxml").touch()
    tracemalloc.start()
    started = time.process_time()
    assert len(look(source, 32)) == 32
    spent = time.process_time() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20
    assert spent < 5


def test_moved_back_is_a_refusal(root: Path, source: FolderSource) -> None:
    channel = open_folder({"root": str(root)}, "kenh")
    deliver(channel.sink, build_item(key="key-1"))
    (root / "den" / "key-1.edxml").rename(root / "den" / "tra-lai" / "key-1.edxml")
    [item] = look(source)
    assert (item.kind, item.key, item.reason) == (IncomingKind.REFUSAL, "key-1", "")
    source.acknowledge(item, YES)
    assert look(source) == []
    assert "key-1.edxml" in names(root / "den" / "tra-lai" / "da-nhan")


@pytest.mark.parametrize("place", ["den", "den/tra-lai"])
def test_a_reason_file_is_a_refusal(root: Path, source: FolderSource, place: str) -> None:
    put(root / place / "key-1.tu-choi.txt", "Không đúng\r\nthẩm quyền".encode("utf-16"))
    [item] = look(source)
    assert (item.kind, item.key, item.reason) == (IncomingKind.REFUSAL, "key-1", "Không đúng thẩm quyền")
    source.acknowledge(item, YES)
    assert look(source) == []


def test_file_and_reason_together_are_one_refusal(root: Path, source: FolderSource) -> None:
    put(root / "den" / "tra-lai" / "key-1.edxml")
    put(root / "den" / "key-1.tu-choi.txt", "Sai nơi nhận".encode())
    [item] = look(source)
    assert (item.key, item.reason) == ("key-1", "Sai nơi nhận")
    source.acknowledge(item, YES)
    assert look(source) == []


def test_a_refusal_of_nothing_we_know_is_damaged(root: Path, source: FolderSource) -> None:
    put(root / "den" / "tra-lai" / "Công văn đến.edxml")
    [item] = look(source)
    assert (item.kind, item.reason) == (IncomingKind.DAMAGED, "folder.unknown_refusal")
    source.acknowledge(item, NO)
    assert look(source) == []
    assert len(names(root / "den" / "tra-lai" / "khong-nhan")) == 2


def test_many_packets_do_not_hide_a_refusal(root: Path, source: FolderSource) -> None:
    for number in range(10):
        put(root / "di" / f"{number}.edxml", age=1000)
    put(root / "den" / "key-1.tu-choi.txt", b"x")
    kinds = [item.kind for item in look(source, 3)]
    assert kinds == [IncomingKind.REFUSAL, IncomingKind.PACKET, IncomingKind.PACKET]


def test_a_missing_root_is_said(tmp_path: Path) -> None:
    source = open_folder({"root": str(tmp_path / "gone")}, "kenh").source
    with pytest.raises(FolderFault) as caught:
        look(source)
    assert caught.value.reason == "folder.missing"
