"""With `unpack`, an agency finds the attachments beside the packet under safe names, whatever they were called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.contract import Done
from adapters.folder import open_folder
from adapters.folder_sink import FolderSink
from adapters.folder_staged import StagedFile
from tests.support.folders import build_item, deliver, far, files_under
from tests.support.packets import build_packet, build_status
from tests.support.soap import build_soap

KEY = "0198f2c0-key"
FILES = (
    ("Phụ lục.pdf", b"%PDF-1.7\none\n%%EOF\n"),
    ("phụ lục.pdf", b"%PDF-1.7\ntwo\n%%EOF\n"),
    ("../../etc/“passwd”.txt", b"not there"),
    ("Phụ lục.pdf", b"%PDF-1.7\nthree\n%%EOF\n"),
)
EXPECTED = {
    "Phụ lục.pdf": FILES[0][1],
    "phụ lục (2).pdf": FILES[1][1],
    "_.._etc__passwd_.txt": FILES[2][1],
    "Phụ lục (3).pdf": FILES[3][1],
}


@pytest.fixture
def sink(tmp_path: Path) -> FolderSink:
    return open_folder({"root": str(tmp_path), "unpack": True}, "kenh").sink


def companion(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "den" / f"{KEY}.json").read_text("utf-8"))
    return found


def test_same_names_and_wicked_names_all_arrive(tmp_path: Path, sink: FolderSink) -> None:
    packet = build_packet(files=FILES)
    assert isinstance(deliver(sink, build_item(packet, KEY)), Done)
    assert files_under(tmp_path / "den" / KEY) == EXPECTED
    assert (tmp_path / "den" / f"{KEY}.edxml").read_bytes() == packet
    assert [each["saved_as"] for each in companion(tmp_path)["files"]] == list(EXPECTED)
    assert (tmp_path / "den" / KEY).stat().st_mode & 0o777 == 0o770


@pytest.mark.parametrize("transfer", ["base64", "binary", "quoted-printable"])
def test_files_of_a_mime_message_arrive_too(tmp_path: Path, sink: FolderSink, transfer: str) -> None:
    packet = build_soap(files=FILES, transfer=transfer)
    assert isinstance(deliver(sink, build_item(packet, KEY)), Done)
    assert files_under(tmp_path / "den" / KEY) == EXPECTED
    assert (tmp_path / "den" / f"{KEY}.edxml").read_bytes() == packet


def test_nothing_is_visible_before_the_hand_over_and_nothing_is_left_after(tmp_path: Path, sink: FolderSink) -> None:
    item = build_item(build_packet(files=FILES), KEY)
    first, second = sink.stage(item), sink.stage(item)
    assert isinstance(first, StagedFile)
    assert isinstance(second, StagedFile)
    assert files_under(tmp_path / "den") == {}
    assert isinstance(second.hand_over(far()), Done)
    assert sorted(path.name for path in (tmp_path / ".truc").iterdir()) == [f"{KEY}.staged", "kenh.json"]


def test_discard_takes_the_attachments_too(tmp_path: Path, sink: FolderSink) -> None:
    staged = sink.stage(build_item(build_packet(files=FILES), KEY))
    assert isinstance(staged, StagedFile)
    staged.discard()
    assert [path.name for path in (tmp_path / ".truc").iterdir()] == ["kenh.json"]


def test_attachments_of_a_packet_published_by_a_killed_process_are_shown_by_the_look(
    tmp_path: Path, sink: FolderSink
) -> None:
    item = build_item(build_packet(files=FILES), KEY)
    assert isinstance(sink.stage(item), StagedFile)
    (tmp_path / ".truc" / f"{KEY}.part").rename(tmp_path / "den" / f"{KEY}.edxml")  # killed right after this
    assert isinstance(sink.find(KEY), Done)
    assert isinstance(deliver(sink, item), Done)
    assert files_under(tmp_path / "den" / KEY) == EXPECTED
    assert not (tmp_path / ".truc" / f"{KEY}.d").exists()


def test_what_cannot_be_decoded_is_left_out_and_the_packet_arrives(tmp_path: Path, sink: FolderSink) -> None:
    content = b"not a packet at all"
    assert isinstance(deliver(sink, build_item(content, KEY)), Done)
    assert (tmp_path / "den" / f"{KEY}.edxml").read_bytes() == content
    assert companion(tmp_path)["files"] == []


def test_a_status_has_no_attachments(tmp_path: Path, sink: FolderSink) -> None:
    assert isinstance(deliver(sink, build_item(build_status(), KEY)), Done)
    assert files_under(tmp_path / "den" / KEY) == {}
