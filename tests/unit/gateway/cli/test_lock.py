"""The lock of a data folder: one node, one machine, any number of its own processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli.lock import take_lock
from gateway.model.errors import StoreForeign


def test_the_first_is_alone_until_it_shares(tmp_path: Path) -> None:
    first = take_lock(tmp_path, "tinh")
    assert first.is_alone
    first.share()
    second = take_lock(tmp_path, "tinh")
    assert not first.is_alone
    assert not second.is_alone
    first.close()
    second.close()


def test_another_node_is_refused_while_one_lives_even_before_it_shares(tmp_path: Path) -> None:
    first = take_lock(tmp_path, "tinh")
    with pytest.raises(StoreForeign) as refused:
        take_lock(tmp_path, "xa")
    assert refused.value.params == {"folder": str(tmp_path), "owner": "tinh", "node": "xa"}
    first.share()
    with pytest.raises(StoreForeign):
        take_lock(tmp_path, "xa")
    first.close()
    take_lock(tmp_path, "xa").close()  # whose the folder is without living processes, the store knows


def test_another_machine_is_refused_while_one_lives(tmp_path: Path) -> None:
    first = take_lock(tmp_path, "tinh", machine="boot-1")
    first.share()
    with pytest.raises(StoreForeign):
        take_lock(tmp_path, "tinh", machine="boot-2")
    first.close()
    after_a_reboot = take_lock(tmp_path, "tinh", machine="boot-2")
    assert after_a_reboot.is_alone
    assert json.loads((tmp_path / "node.lock").read_text())["machine"] == "boot-2"
    after_a_reboot.close()


def test_a_refused_process_holds_nothing(tmp_path: Path) -> None:
    first = take_lock(tmp_path, "tinh")
    first.share()
    with pytest.raises(StoreForeign):
        take_lock(tmp_path, "xa")
    first.close()
    again = take_lock(tmp_path, "tinh")
    assert again.is_alone
    again.close()
    again.close()


def test_a_lock_file_that_means_nothing_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "node.lock").write_text("không phải JSON")
    lock = take_lock(tmp_path, "tinh")
    assert lock.is_alone
    assert json.loads((tmp_path / "node.lock").read_text())["node"] == "tinh"
    lock.close()
