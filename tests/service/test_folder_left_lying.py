"""What lies in a folder and is never taken is named where a person looks; and the doctor looks without writing."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from adapters.folder import open_folder
from adapters.folder_ignored import find_ignored
from gateway.workers.intake_round import Rounds, intake_once, show_ignored
from monitoring import log
from tests.support.folders import as_nobody, mounted
from tests.support.nodes import House, build_house
from tests.support.terminal import Terminal

OLD = 3600.0


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = build_house(tmp_path, folders=True)
    with made.node.store.write() as connection:  # the others live in this process's memory: no command can open them
        connection.exec_driver_sql(
            "DELETE FROM channel_agencies WHERE channel_id IN (SELECT id FROM channels WHERE kind = 'memory')"
        )
        connection.exec_driver_sql("DELETE FROM channels WHERE kind = 'memory'")
    made.node.channels.sink("folder").probe()
    yield made
    made.close()


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """The log of this process, from `info` on; what was set up before is set up again."""
    monkeypatch.setattr(log, "_pipe", log._pipe)
    lines = io.StringIO()
    log.configure("human", "info", stream=lines)
    return lines


def lay(path: Path, *, age: float = OLD) -> Path:
    """Something that nobody wrote to for a while."""
    if path.suffix == ".folder":
        path.mkdir()
    else:
        path.write_bytes(b"x")
    moment = time.time() - age
    os.utime(path, (moment, moment))
    return path


def lay_everything(root: Path) -> dict[str, str]:
    """One of each kind that is never taken: path under the root → why."""
    wanted = {
        "di/công văn 12.xml": "ending",
        "di/goi-tin.edxml.zip": "ending",
        "di/.an.edxml": "unfinished",
        "di/cu.edxml.part": "unfinished",
        "di/goi.folder": "folder",
        "den/tra-lai/ghi chú.docx": "ending",
        "nham-cho.edxml": "place",
    }
    for path in wanted:
        lay(root / path)
    return {path: f"folder.ignored_{why}" for path, why in wanted.items()}


def test_everything_that_is_never_taken_is_found_with_its_reason(house: House) -> None:
    wanted = lay_everything(house.root)
    lay(house.root / "di" / "Thumbs.db")
    lay(house.root / "di" / "dang-ghi.edxml.part", age=5)
    lay(house.root / "di" / "vua-dat.xml", age=5)
    lay(house.root / "di" / "dung.edxml")
    found = find_ignored(open_folder({"root": str(house.root)}, "folder").sink.layout, 100)
    assert {f"{one.place}/{one.name}".lstrip("/"): one.why for one in found.first} == wanted
    assert found.count == len(wanted)
    assert intake_once(house.node) == 1, "only the packet is taken"
    assert all((house.root / path).exists() for path in wanted)


def test_names_are_bounded_and_counting_ends(house: House) -> None:
    for number in range(1_100):
        lay(house.root / "di" / f"{number}.xml")
    layout = open_folder({"root": str(house.root)}, "folder").sink.layout
    found = find_ignored(layout, 3)
    assert (found.count, len(found.first)) == (1_000, 3)


def test_a_name_that_no_screen_can_show_is_named_harmlessly(house: House) -> None:
    lay(Path(os.fsdecode(os.fsencode(house.root / "di") + b"/\x1b[2Jh\xe0 n\xe9i.xml")))
    [one] = find_ignored(open_folder({"root": str(house.root)}, "folder").sink.layout, 3).first
    assert one.name == "\ufffd[2Jh\ufffd n\ufffdi.xml"


def test_show_and_doctor_and_the_metric_name_it(truc: Terminal, house: House) -> None:
    assert truc.json("channel", "show", "folder")["ignored"] == {"count": 0, "first": []}
    assert "không có tệp nào bị bỏ qua" in truc("channel", "show", "folder")
    wanted = lay_everything(house.root)
    shown = truc.json("channel", "show", "folder")
    assert shown["ignored"]["count"] == len(wanted)
    told = truc("channel", "show", "folder")
    assert "công văn 12.xml" in told
    assert "đổi tên kết thúc bằng .edxml" in " ".join(told.replace("│", " ").split())
    [line] = [one for one in truc.json("doctor") if one["code"] == "doctor.channel_ignores"]
    assert (line["level"], f"{len(wanted)} tệp" in line["vi"], "ghi chú.docx" in line["vi"]) == ("warn", True, True)
    show_ignored(house.node)
    families = text_string_to_metric_families(house.node.metrics.render().decode())
    [sample] = [s for f in families for s in f.samples if s.name == "truc_folder_ignored_files"]
    assert (sample.labels, sample.value) == ({"channel": "folder"}, len(wanted))
    assert truc.json("channel", "show", "hop-inbox-a")["ignored"] is None
    truc("channel", "show", "khong-co", code=6)


# --- the doctor looks, the probe tries ------------------------------------------------------------------------------


def state(root: Path) -> dict[str, tuple[int, int]]:
    """Every folder and file with the times of its last change: whoever wrote and removed is seen by the folder's."""
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_ctime_ns) for path in (root, *root.rglob("*"))}


def channel_lines(truc: Terminal, code: int) -> list[tuple[str, str]]:
    return [(one["level"], one["vi"]) for one in truc.json("doctor", code=code) if one["name"] == "channel"]


def test_the_doctor_writes_nothing_into_a_folder(truc: Terminal, house: House) -> None:
    before = state(house.root)
    assert channel_lines(truc, 0) == []
    assert truc.json("channel", "show", "folder")["usable"]
    assert state(house.root) == before
    assert truc.json("channel", "probe", "folder")[0]["usable"]
    assert state(house.root) != before, "the probe tries to write, as it says"


def test_the_doctor_sees_a_read_only_folder(truc: Terminal, house: House) -> None:
    with mounted(house.root, "--bind", str(house.root)):
        subprocess.run(["mount", "-o", "remount,bind,ro", house.root], check=True)
        [(level, told)] = channel_lines(truc, 1)
        assert (level, "folder" in told, "đĩa chỉ cho đọc" in told) == ("fail", True, True)
        assert "đĩa chỉ cho đọc" in " ".join(truc("channel", "probe", "folder", code=1).replace("│", " ").split())
        assert truc.json("channel", "probe", "folder", code=1)[0]["detail"] == os.strerror(errno.EROFS)
        assert truc.json("channel", "show", "folder")["reason"] == "folder.read_only"


@pytest.mark.parametrize("inner", ["", "den", "di", ".truc", "den/tra-lai"])
def test_a_folder_that_may_not_be_written_is_seen_without_trying(house: House, inner: str) -> None:
    """As another user than root, whom no permission stops."""
    for path in (house.root, *(each for each in house.root.rglob("*") if each.is_dir())):
        path.chmod(0o777)
    for above in house.root.parents:
        if above.stat().st_uid == os.geteuid() and not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o011)
    channel = open_folder({"root": str(house.root)}, "folder")
    for path in house.root.rglob("*"):
        if path.is_file():
            path.chmod(0o666)
    assert as_nobody(channel.look).usable
    (house.root / inner).chmod(0o555)
    before = state(house.root)
    assert as_nobody(channel.look).reason == "folder.denied"
    assert state(house.root) == before


def test_a_full_a_missing_and_a_foreign_folder_are_seen_without_trying(house: House, tmp_path: Path) -> None:
    assert open_folder({"root": str(house.root)}, "other").look().reason == "folder.foreign"
    assert open_folder({"root": str(tmp_path / "nowhere")}, "folder").look().reason == "folder.missing"
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=64k", "truc-test") as disk:
        fresh = open_folder({"root": str(disk)}, "folder")
        assert fresh.look().usable, "a folder that was never used is made when it is needed"
        assert list(disk.iterdir()) == []
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space"):
            all(stream.write(b"x" * 4096) for _ in range(100))
        assert fresh.look().reason == "folder.full"


def test_a_folder_that_is_away_is_logged_once_and_when_it_is_back(
    house: House, tmp_path: Path, heard: io.StringIO
) -> None:
    """It is looked for every two seconds: with forty of them a log of a million lines a day would say nothing else."""
    root = house.root
    rounds = Rounds()

    def said() -> list[str]:
        intake_once(house.node, rounds)
        lines = heard.getvalue().splitlines()
        heard.seek(0)
        heard.truncate()
        return [line for line in lines if "intake." in line]

    assert said() == []
    root.rename(tmp_path / "away")
    (line,) = said()
    assert "intake.failed" in line
    assert "folder.missing" in line
    assert said() + said() == []
    root.write_text("a file in its place")
    (failed,) = said()
    assert "intake.failed" in failed, "another reason is said"
    root.unlink()
    (tmp_path / "away").rename(root)
    (mended,) = said()
    assert "intake.mended" in mended
    assert said() == []
