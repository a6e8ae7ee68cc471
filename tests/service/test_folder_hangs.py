"""A folder whose file system hangs holds threads of its own channel, and nobody else."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from adapters.contract import Done, Retry, Unknown
from adapters.folder import FolderChannel, FolderFault, open_folder
from adapters.folder_staged import StagedFile
from gateway.channels import KINDS
from gateway.configuration import apply, parse
from gateway.workers.intake_round import Rounds, intake_once
from tests.support.folders import build_item, deliver, far
from tests.support.hanging import hanging
from tests.support.nodes import TODAY, build_house
from tests.support.patience import PATIENCE

HANGS = "channel.hangs"


@pytest.fixture
def channel(tmp_path: Path) -> FolderChannel:
    root = tmp_path / "H99.16"
    root.mkdir()
    opened = open_folder({"root": str(root), "settle": 0}, "kenh")
    assert isinstance(deliver(opened.sink, build_item(key="key-before")), Done)
    return opened


def held(channel: FolderChannel) -> int:
    """Threads that the folder keeps waiting."""
    name = f"folder {channel.sink.layout.root.name}"
    return sum(thread.name == name for thread in threading.enumerate())


def wait_until_free(channel: FolderChannel) -> None:
    limit = time.monotonic() + PATIENCE
    while held(channel) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not held(channel)


def test_every_answer_about_a_folder_that_hangs_comes_in_time(channel: FolderChannel) -> None:
    staged = channel.sink.stage(build_item())
    assert isinstance(staged, StagedFile)
    with hanging(channel.sink.layout.root) as end:
        started = time.monotonic()
        assert channel.sink.stage(build_item(key="key-2")) == Retry(reason=HANGS)
        assert channel.look().reason == HANGS
        first = time.monotonic() - started
        assert first < 30
        for _ in range(50):
            with pytest.raises(FolderFault) as caught:
                channel.sink.find("key-before")
            assert caught.value.reason == HANGS
            assert staged.hand_over(far()) == Unknown(reason=HANGS)
            assert channel.sink.probe().reason == HANGS
            assert channel.look().reason == HANGS
            with pytest.raises(FolderFault):
                channel.tidy()
        assert time.monotonic() - started - first < 5, "each waits again for what is known to hang"
        assert held(channel) == 2
        end()
        wait_until_free(channel)
    assert channel.sink.find("key-before") == Done(evidence="den/key-before.edxml")
    assert isinstance(staged.hand_over(far()), Done)


def test_what_was_under_way_as_it_began_to_hang_is_found_out_afterwards(channel: FolderChannel) -> None:
    staged = channel.sink.stage(build_item())
    assert isinstance(staged, StagedFile)
    with hanging(channel.sink.layout.root) as end:
        assert staged.hand_over(time.clock_gettime(time.CLOCK_BOOTTIME) + 0.5) == Unknown(reason=HANGS)
        end()
        wait_until_free(channel)
    assert channel.sink.find(build_item().key) is None, "nothing arrived"
    assert isinstance(staged.hand_over(far()), Done)


def test_intake_of_other_channels_goes_on_beside_a_folder_that_hangs(tmp_path: Path) -> None:
    with closing(build_house(tmp_path, folders=True)) as house:
        house.node.channels.sink("folder").probe()
        intake_once(house.node)
        away = tmp_path / "treo"
        away.mkdir()
        rows = f'''
[[agency]]
id = "treo"
name = "Cơ quan có thư mục treo"
codes = ["H99.77"]

[[system]]
name = "s-treo"
speaks_for = ["treo"]

[[channel]]
id = "a-treo"
kind = "folder"
serves = ["treo"]
system = "s-treo"
settings = {{ root = "{away}", settle = 0 }}
'''
        apply(house.node.store, parse(rows), actor="test", on=date.fromisoformat(TODAY), kinds=KINDS)
        house.node.channels.refresh()
        rounds = Rounds()
        with hanging(away) as end:
            (house.root / "di" / "van-ban.edxml").write_bytes(house.packet(["check"], sender="folder-a"))
            assert intake_once(house.node, rounds) == 1
            started = time.monotonic()
            (house.root / "di" / "van-ban-2.edxml").write_bytes(house.packet(["check"], number="2", sender="folder-a"))
            assert intake_once(house.node, rounds) == 1
            assert time.monotonic() - started < 4, "nobody waits again for what is known to hang"
            end()
