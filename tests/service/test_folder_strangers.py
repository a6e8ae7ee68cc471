"""A folder is a stranger's ground: odd things at every name that the channel uses harm that channel alone.

Links to another agency's folder and to the node's own files, links to nothing, pipes, devices and sockets, planted by
whoever may write in the folder: nothing waits for them, nothing outside the folder is read, written or removed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from adapters.contract import Done, Incoming, IncomingKind, Park, Retry, Unknown, Verdict
from adapters.folder import FolderChannel, FolderFault, open_folder
from adapters.folder_staged import StagedFile
from edxml.messages import Language, text
from tests.support.folders import build_item, deliver, far, files_under

T = TypeVar("T")

KEY = "0198f2c0-key"
PLACES = (
    "", ".truc", "den", "den/tra-lai", "den/tra-lai/da-nhan", "den/tra-lai/khong-nhan", "di", "di/da-gui",
    "di/khong-gui",
)  # fmt: skip
KINDS = ("link", "dangling", "pipe", "device", "linked device", "socket", "other")
NO = Verdict(accepted=False, report="Không gửi được.\n(Not sent.)")
YES = Verdict(accepted=True, reference="ref")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder in use, with one packet to send, one delivered, one refused."""
    made = tmp_path / "co-quan"
    made.mkdir()
    channel = open_at(made)
    assert isinstance(deliver(channel.sink, build_item(key="key-before")), Done)
    (made / "di" / "x.edxml").write_bytes(b"<edXML/>")
    (made / "den" / "key-before.tu-choi.txt").write_text("Sai nơi nhận")
    return made


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """What nobody of the agency may reach: another's folder with what lies in it, old enough to be tidied away."""
    made = tmp_path / "nguoi-khac"
    made.mkdir()
    assert open_at(made, "kenh-khac").sink.probe().usable
    (made / "di" / "y.edxml").write_bytes(b"<edXML>another's</edXML>")
    (made / "den" / "khoa.tu-choi.txt").write_text("another's secret")
    (made / "seal.key").write_text("the node's secret")
    for path in (made, *made.rglob("*")):
        os.utime(path, (1, 1))
    return made


def open_at(root: Path, channel_id: str = "kenh") -> FolderChannel:
    return open_folder({"root": str(root), "settle": 0, "unpack": True}, channel_id)


def plant(path: Path, kind: str, victim: Path) -> None:
    """Something else in the place of `path`; what was there is moved away, as the agency may."""
    is_file = path.is_file()
    if os.path.lexists(path):
        path.rename(path.with_name(path.name + ".cu"))
    if kind == "link":
        target = victim / "seal.key" if is_file else victim / "di"
        path.symlink_to(target)
    elif kind == "dangling":
        path.symlink_to(victim / "khong-co")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero
    elif kind == "linked device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        here = os.getcwd()
        os.chdir(path.parent)  # a socket's path may not be long
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
        os.chdir(here)
    elif is_file:
        path.mkdir()
    else:
        path.write_bytes(b"x")


def within(seconds: float, call: Callable[[], T]) -> T:
    """What `call` gives or raises; a failure where it is not done by then."""
    got: list[T] = []
    raised: list[Exception] = []

    def run() -> None:
        try:
            got.append(call())
        except Exception as why:  # noqa: BLE001 - raised again below
            raised.append(why)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it waits for what a stranger planted"
    if raised:
        raise raised[0]
    return got[0]


def everything(channel: FolderChannel) -> Iterator[str]:
    """Do all that a node does with a folder; the reasons that it is told."""
    for call in (
        lambda: channel.look().reason,
        lambda: channel.sink.probe().reason,
        lambda: str(list(channel.source.look(10))),
        lambda: getattr(deliver(channel.sink, build_item(key="key-odd")), "reason", "done"),
        lambda: str(channel.sink.find("key-before")),
        lambda: str(channel.tidy()),
        lambda: str(channel.ignored(3)),
    ):
        try:
            yield within(20, call)
        except FolderFault as fault:
            yield fault.reason
    watch = channel.watch(lambda: None)
    within(20, watch.close)


def state(folder: Path) -> dict[str, tuple[float, bytes]]:
    return {
        str(path): (path.lstat().st_mtime, path.read_bytes() if path.is_file() else b"") for path in folder.rglob("*")
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [*PLACES, ".truc/kenh.json"])
def test_an_odd_thing_in_the_place_of_the_channel_s_own_is_said_and_harms_nobody_else(
    root: Path, victim: Path, place: str, kind: str
) -> None:
    before = state(victim)
    plant(root / place, kind, victim)
    planted = (root / place).lstat()
    look, probe, source, delivery, *_ = told = list(everything(open_at(root)))
    assert {look, probe, source, delivery} == {"folder.odd_thing"}, told
    assert state(victim) == before
    now = (root / place).lstat()
    assert (now.st_ino, now.st_size, now.st_nlink) == (planted.st_ino, planted.st_size, planted.st_nlink)
    assert not any(path.name.startswith("key-odd") for path in victim.rglob("*"))
    for language in Language:
        assert text(look, language, {}) != look
    assert str(open_at(root).look().detail) == (place or ".")


def test_a_folder_works_again_once_the_odd_thing_is_gone(root: Path, victim: Path) -> None:
    plant(root / "di" / "khong-gui", "link", victim)
    channel = open_at(root)
    assert channel.look().reason == "folder.odd_thing"
    (root / "di" / "khong-gui").unlink()
    for item in channel.source.look(10):
        channel.source.acknowledge(item, NO)
    assert (root / "di" / "khong-gui" / "x.edxml.txt").is_file()


@pytest.mark.parametrize("kind", KINDS)
def test_an_odd_thing_that_comes_between_the_look_and_the_setting_aside(root: Path, victim: Path, kind: str) -> None:
    channel = open_at(root)
    [_, item] = list(channel.source.look(10))
    before = state(victim)
    plant(root / "di" / "khong-gui", kind, victim)
    with pytest.raises(FolderFault) as caught:
        within(20, lambda: channel.source.acknowledge(item, NO))
    assert caught.value.reason == "folder.odd_thing"
    assert (root / "di" / "x.edxml").read_bytes() == b"<edXML/>"
    assert state(victim) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["di/x.edxml", "den/key-before.tu-choi.txt", "den/tra-lai/key-before.edxml"])
def test_an_odd_thing_under_a_name_that_is_taken_is_set_aside_with_a_report(
    root: Path, victim: Path, name: str, kind: str
) -> None:
    for path in ((root / "di" / "x.edxml"), (root / "den" / "key-before.tu-choi.txt")):
        path.unlink()
    (root / name).write_bytes(b"")
    before = state(victim)
    plant(root / name, kind, victim)
    channel = open_at(root)
    [item] = within(20, lambda: [each for each in channel.source.look(10) if ".cu" not in each.token])
    assert (item.kind, item.reason) == (IncomingKind.DAMAGED, "folder.not_a_file")
    within(20, lambda: channel.source.acknowledge(item, NO))
    aside = root / ("di/khong-gui" if name.startswith("di") else "den/tra-lai/khong-nhan")
    short = Path(name).name
    assert (aside / f"{short}.txt").read_text("utf-8").startswith(NO.report.strip())
    assert os.path.lexists(aside / short)
    assert not os.path.lexists(root / name)
    assert state(victim) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["di/khong-gui/x.edxml", "di/khong-gui/x.edxml.txt"])
def test_an_odd_thing_in_the_place_of_a_report_takes_another_name(
    root: Path, victim: Path, name: str, kind: str
) -> None:
    (root / name).write_bytes(b"x")
    before = state(victim)
    plant(root / name, kind, victim)
    channel = open_at(root)
    for item in channel.source.look(10):
        within(20, lambda item=item: channel.source.acknowledge(item, NO))  # type: ignore[misc]
    assert (root / "di" / "khong-gui" / "x (2).edxml").read_bytes() == b"<edXML/>"
    assert (root / "di" / "khong-gui" / "x (2).edxml.txt").is_file()
    assert state(victim) == before


def staged_at(root: Path) -> tuple[FolderChannel, StagedFile]:
    """A channel of which one packet is staged."""
    channel = open_at(root)
    staged = channel.sink.stage(build_item())
    assert isinstance(staged, StagedFile)
    return channel, staged


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [f"den/{KEY}.edxml", f"den/{KEY}.json", f"den/{KEY}"])
def test_an_odd_thing_under_a_delivered_name_is_never_written_through(
    root: Path, victim: Path, name: str, kind: str
) -> None:
    before = state(victim)
    channel, staged = staged_at(root)
    if "." in Path(name).name:
        (root / name).write_bytes(b"")
    plant(root / name, kind, victim)
    outcome = within(20, lambda: staged.hand_over(far()))
    if name == f"den/{KEY}":  # the attachments are a convenience: nobody waits for them
        assert outcome == Done(evidence=f"den/{KEY}.edxml")
    else:
        assert outcome == Park(reason="folder.name_taken")
        assert channel.sink.find(KEY) is None
    assert state(victim) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", ["part", "staged", "companion", "d"])
def test_an_odd_thing_under_a_staged_name_touches_nothing_outside(
    root: Path, victim: Path, ending: str, kind: str
) -> None:
    before = state(victim)
    channel, staged = staged_at(root)
    plant(root / ".truc" / f"{KEY}.{ending}", kind, victim)
    within(20, lambda: staged.hand_over(far()))
    within(20, lambda: deliver(channel.sink, build_item()))
    within(20, lambda: list(everything(channel)))
    within(20, staged.discard)
    assert state(victim) == before


# --- what a link to a file of another may do ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["di/z.edxml", "den/key-before.tu-choi.txt"])
def test_a_second_name_of_another_s_file_is_never_read(root: Path, victim: Path, name: str) -> None:
    """Where the system lets anybody make one (fs.protected_hardlinks=0, a file server): its words would go out."""
    channel = open_at(root)
    for path in ((root / "di" / "x.edxml"), (root / "den" / "key-before.tu-choi.txt")):
        path.unlink()
    os.link(victim / "seal.key", root / name)
    assert list(channel.source.look(10)) == [], "some software shows a finished file by a link: it has a moment"
    time.sleep(5.1)
    [item] = list(channel.source.look(10))
    assert (item.kind, item.reason, item.open) == (IncomingKind.DAMAGED, "folder.linked", None)
    channel.source.acknowledge(item, NO)
    assert (victim / "seal.key").read_text() == "the node's secret"
    assert (victim / "seal.key").stat().st_nlink == 2, "the other name is nobody's of ours"


def test_a_file_that_was_shown_by_a_link_is_taken_when_its_first_name_is_gone(root: Path) -> None:
    (root / "di" / "x.edxml").unlink()
    first = root / "di" / "z.tmp-1"
    first.write_bytes(b"<edXML>z</edXML>")
    os.link(first, root / "di" / "z.edxml")
    channel = open_at(root)
    assert [each.kind for each in channel.source.look(10)] == [IncomingKind.REFUSAL]
    first.unlink()
    [item] = [each for each in channel.source.look(10) if each.kind is IncomingKind.PACKET]
    assert read(item) == b"<edXML>z</edXML>"


def read(item: Incoming) -> bytes:
    assert item.open is not None
    with item.open() as stream:
        return stream.read()


def test_a_link_that_comes_between_the_look_and_the_reading_is_not_read(root: Path, victim: Path) -> None:
    [_, item] = list(open_at(root).source.look(10))
    plant(root / "di" / "x.edxml", "link", victim)
    with pytest.raises(OSError):
        read(item)


# --- what keeps others waiting --------------------------------------------------------------------------------------


def test_whoever_locks_the_marker_for_ever_keeps_the_channel_ten_seconds_at_most(root: Path) -> None:
    sink = open_at(root).sink
    staged = sink.stage(build_item())
    assert isinstance(staged, StagedFile)
    with (root / ".truc" / "kenh.json").open() as marker:
        fcntl.flock(marker, fcntl.LOCK_EX)
        assert within(30, lambda: staged.hand_over(far())) == Retry(reason="folder.locked")
        assert within(30, lambda: sink.stage(build_item(key="key-2"))) == Retry(reason="folder.locked")
    assert isinstance(staged.hand_over(far()), Done)


def test_a_marker_that_never_ends_is_read_to_a_bound(root: Path) -> None:
    marker = root / ".truc" / "kenh.json"
    with marker.open("r+b") as stream:
        stream.truncate(1 << 40)
    assert within(20, open_at(root).look).reason == "folder.foreign"
    marker.write_bytes(b"[" * 60_000)
    assert within(20, open_at(root).look).reason == "folder.foreign"


def test_a_staging_folder_that_was_swapped_for_another_s_is_left_as_it_is(root: Path, victim: Path) -> None:
    """The daily tidying used to delete what the link led to: the node's own packets and keys."""
    staged = open_at(root).sink.stage(build_item())
    assert isinstance(staged, StagedFile)
    before = state(victim)
    shutil.rmtree(root / ".truc")
    (root / ".truc").symlink_to(victim)
    assert isinstance(within(20, lambda: staged.hand_over(far())), Unknown)
    with pytest.raises(FolderFault):
        open_at(root).tidy()
    assert state(victim) == before


@pytest.mark.parametrize("name", ["a" * 245 + ".edxml", "ă" * 122 + "b.edxml", "x" * 249 + ".EDXML"])
@pytest.mark.parametrize("verdict", [YES, NO], ids=["accepted", "refused"])
def test_a_long_name_is_set_aside_under_a_short_one(root: Path, name: str, verdict: Verdict) -> None:
    assert 251 <= len(name.encode()) <= 255
    (root / "di" / name).write_bytes(b"<edXML/>")
    channel = open_at(root)
    for item in channel.source.look(10):
        channel.source.acknowledge(item, verdict)
    assert list(channel.source.look(10)) == []
    aside = files_under(root / "di" / ("da-gui" if verdict.accepted else "khong-gui"))
    [short] = [each for each in aside if each.casefold().endswith(".edxml") and each != "x.edxml"]
    assert len(short.encode()) <= 200
    assert f"{short}.{'json' if verdict.accepted else 'txt'}" in aside
