"""The folder's sink: visible by one rename, checkable after anything, and never there twice."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import pytest

from adapters.contract import Done, Park, Retry, Scope, SinkKind, Unknown
from adapters.folder import FolderChannel, FolderFault, open_folder
from adapters.folder_sink import FolderSink
from adapters.folder_staged import StagedFile
from tests.support.folders import build_item, deliver, far, files_under

KEY = "0198f2c0-key"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "UBND xã “Nghĩa Đồng”"
    made.mkdir()
    return made


@pytest.fixture
def channel(root: Path) -> FolderChannel:
    return open_folder({"root": str(root), "settle": 0}, "kenh-16")


@pytest.fixture
def sink(channel: FolderChannel) -> FolderSink:
    return channel.sink


def stage(sink: FolderSink, content: bytes = b"<edXML/>", key: str = KEY) -> StagedFile:
    staged = sink.stage(build_item(content, key))
    assert isinstance(staged, StagedFile)
    return staged


def seen(root: Path) -> dict[str, bytes]:
    """What the agency's software sees in `den`, companions aside."""
    return {name: content for name, content in files_under(root / "den").items() if not name.endswith(".json")}


def test_what_is_staged_is_not_visible(root: Path, sink: FolderSink) -> None:
    stage(sink)
    assert files_under(root / "den") == {}
    assert sink.find(KEY) is None


def test_handed_over_is_visible_with_a_companion(root: Path, sink: FolderSink) -> None:
    item = build_item(b"<edXML>x</edXML>", note={"successor": "xã cũ → xã mới"})
    assert deliver(sink, item) == Done(evidence=f"den/{KEY}.edxml")
    assert seen(root) == {f"{KEY}.edxml": b"<edXML>x</edXML>"}
    companion = json.loads((root / "den" / f"{KEY}.json").read_text("utf-8"))
    assert companion["document_id"] == item.document_id
    assert companion["recipients"] == list(item.recipients)
    assert companion["note"] == {"successor": "xã cũ → xã mới"}
    assert companion["sha256"] == item.digest
    assert sink.find(KEY) == Done(evidence=f"den/{KEY}.edxml")
    assert (root / "den" / f"{KEY}.edxml").stat().st_mode & 0o777 == 0o660
    assert sink.kind is SinkKind.CHECKABLE


def test_taken_away_by_the_software_is_still_known(root: Path, sink: FolderSink) -> None:
    deliver(sink, build_item())
    shutil.rmtree(root / "den")
    assert sink.find(KEY) is not None
    assert isinstance(deliver(sink, build_item()), Done)
    assert seen(root) == {}, "a second copy was made"


def test_a_published_key_is_never_staged_again(root: Path, sink: FolderSink) -> None:
    deliver(sink, build_item())
    again = stage(sink)
    assert not (root / ".truc" / f"{KEY}.part").exists()
    again.discard()
    assert isinstance(again.hand_over(far()), Done)
    assert list(seen(root)) == [f"{KEY}.edxml"]


def test_staging_again_replaces_without_a_gap(root: Path, sink: FolderSink) -> None:
    """`.part` must be there at every moment until publication: its absence means published."""
    stage(sink)
    part = root / ".truc" / f"{KEY}.part"
    gaps: list[str] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            if not os.path.lexists(part):
                gaps.append("gone")

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(60):
        stage(sink, b"<edXML>%d</edXML>" % number)
    stop.set()
    watcher.join()
    assert gaps == []
    assert part.read_bytes() == b"<edXML>59</edXML>"


def test_bytes_that_do_not_match_are_parked(root: Path, sink: FolderSink) -> None:
    assert sink.stage(build_item(digest="0" * 64)) == Park(reason="blob.damaged")
    assert [name for name in os.listdir(root / ".truc") if name != "kenh.json"] == []
    assert sink.find(KEY) is None


def test_a_missing_blob_is_not_taken_for_a_missing_folder(sink: FolderSink) -> None:
    def gone() -> BinaryIO:
        raise FileNotFoundError("blob")

    assert sink.stage(build_item(opens=gone)) == Park(reason="blob.missing")


def test_nothing_becomes_visible_after_the_limit(root: Path, sink: FolderSink) -> None:
    staged = stage(sink)
    assert staged.hand_over(time.clock_gettime(time.CLOCK_BOOTTIME) - 0.001) == Retry(reason="folder.out_of_time")
    assert files_under(root / "den") == {}
    assert sink.find(KEY) is None
    assert isinstance(staged.hand_over(far()), Done)


def test_discard_forgets_and_is_repeatable(root: Path, sink: FolderSink) -> None:
    staged = stage(sink)
    staged.discard()
    staged.discard()
    assert [name for name in os.listdir(root / ".truc") if name != "kenh.json"] == []
    assert sink.find(KEY) is None
    assert isinstance(deliver(sink, build_item()), Done)


def test_discard_spares_what_another_worker_staged(root: Path, sink: FolderSink) -> None:
    """Else the second worker finds `.part` gone, believes it published, and the document is lost."""
    stale = stage(sink)
    fresh = stage(sink)
    stale.discard()
    assert sink.find(KEY) is None
    assert isinstance(fresh.hand_over(far()), Done)
    assert list(seen(root)) == [f"{KEY}.edxml"]


def test_two_workers_hand_over_one_key_once(root: Path, sink: FolderSink) -> None:
    first, second = stage(sink), stage(sink)
    assert isinstance(first.hand_over(far()), Done)
    (root / "den" / f"{KEY}.edxml").unlink()
    assert isinstance(second.hand_over(far()), Done)
    assert seen(root) == {}


def test_a_cleaned_staging_folder_is_never_read_as_arrived_or_not(root: Path, sink: FolderSink) -> None:
    published, staged = "key-published", stage(sink, key="key-staged")
    deliver(sink, build_item(key=published))
    (root / "den" / f"{published}.edxml").unlink()
    shutil.rmtree(root / ".truc")
    assert isinstance(staged.hand_over(far()), Unknown)
    for key in (published, "key-staged"):
        with pytest.raises(FolderFault) as caught:
            sink.find(key)
        assert caught.value.reason == "folder.staging_lost"
    deliver(sink, build_item(key="key-later"))
    (root / "den" / "key-later.edxml").unlink()
    assert sink.find("key-later") is not None, "new keys are known again"


def test_a_foreign_file_of_our_name_is_kept(root: Path, sink: FolderSink) -> None:
    staged = stage(sink)
    (root / "den" / f"{KEY}.edxml").write_bytes(b"somebody else's")
    assert staged.hand_over(far()) == Park(reason="folder.name_taken")
    assert seen(root) == {f"{KEY}.edxml": b"somebody else's"}
    assert sink.find(KEY) is None


def test_our_own_bytes_under_our_name_have_arrived(root: Path, sink: FolderSink) -> None:
    staged = stage(sink)
    (root / "den" / f"{KEY}.edxml").write_bytes(b"<edXML/>")
    assert isinstance(staged.hand_over(far()), Done)
    assert sink.find(KEY) is not None


def test_a_missing_root_is_never_made(root: Path, sink: FolderSink) -> None:
    root.rmdir()
    assert sink.stage(build_item()) == Retry(reason="folder.missing", scope=Scope.CHANNEL)
    assert sink.probe().reason == "folder.missing"
    with pytest.raises(FolderFault):
        sink.find(KEY)
    assert not root.exists()


def test_a_root_that_vanishes_after_staging_tells_nothing(root: Path, sink: FolderSink) -> None:
    staged = stage(sink)
    moved = root.rename(root.with_name("unmounted"))
    assert staged.hand_over(far()) == Unknown(reason="folder.missing")
    with pytest.raises(FolderFault):
        sink.find(KEY)
    moved.rename(root)
    assert sink.find(KEY) is None
    assert isinstance(staged.hand_over(far()), Done)


def test_a_folder_has_one_channel(root: Path, sink: FolderSink) -> None:
    deliver(sink, build_item())
    other = open_folder({"root": str(root)}, "kenh-17").sink
    assert other.stage(build_item()) == Retry(reason="folder.foreign")
    assert other.probe().reason == "folder.foreign"


@pytest.mark.parametrize("key", ["", "../x", "a/b", ".hidden", "x" * 121, "tra-lai", "ký", "a\n"])
def test_a_key_that_is_no_file_name_is_parked(sink: FolderSink, key: str) -> None:
    assert sink.stage(build_item(key=key)) == Park(reason="folder.bad_key")


def test_forget_drops_old_records_only(root: Path, sink: FolderSink) -> None:
    deliver(sink, build_item(key="old"))
    stage(sink, key="old-staged")
    for path in (root / ".truc").iterdir():
        os.utime(path, (1, 1))
    stage(sink, key="young")
    assert sink.forget(timedelta(days=120)) >= 2
    assert sorted(os.listdir(root / ".truc")) == ["kenh.json", "young.companion", "young.part", "young.staged"]
    assert sink.find("old-staged") is None


def test_forget_drops_all_that_is_left_of_what_was_staged(root: Path, sink: FolderSink) -> None:
    for number in range(16):
        stage(sink, key=f"left-{number}")
    for path in (root / ".truc").iterdir():
        os.utime(path, (1, 1))
    assert sink.forget(timedelta(days=120)) >= 32
    assert os.listdir(root / ".truc") == ["kenh.json"]


def test_probe_leaves_nothing_behind(root: Path, sink: FolderSink) -> None:
    assert sink.probe().usable
    assert os.listdir(root / ".truc") == ["kenh.json"]


def test_a_folder_never_used_has_nothing_to_forget(root: Path, channel: FolderChannel) -> None:
    assert channel.tidy() == 0
    assert list(root.iterdir()) == []
