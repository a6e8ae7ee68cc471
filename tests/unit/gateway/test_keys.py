"""The node's keys on disk."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edxml.crashpoints import ENVIRONMENT
from gateway.keys import KeysDamaged, KeysExposed, KeysMissing, load_seal_key, make_keys


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_keys_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    assert make_keys(folder, "nut-thu")
    first = contents(folder)
    assert set(first) == {"seal.key", "seal.crt"}
    assert not make_keys(folder, "nut-thu")
    assert contents(folder) == first
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert load_seal_key(folder)


@pytest.mark.fault
@pytest.mark.parametrize("point", ["keys.key_written", "keys.certificate_written"])
def test_killed_while_making_keys_the_next_start_has_a_whole_pair(tmp_path: Path, point: str) -> None:
    folder = tmp_path / "keys"
    command = [sys.executable, "-c", "import sys; from pathlib import Path; from gateway.keys import make_keys;"
               "make_keys(Path(sys.argv[1]), 'nut-thu')", str(folder)]  # fmt: skip
    killed = subprocess.run(command, env={**os.environ, ENVIRONMENT: point}, check=False)
    assert killed.returncode == -signal.SIGKILL
    is_whole = point == "keys.certificate_written"
    assert make_keys(folder, "nut-thu") is not is_whole
    assert load_seal_key(folder)


def test_a_lost_key_is_never_replaced_in_silence(tmp_path: Path) -> None:
    make_keys(tmp_path, "nut-thu")
    (tmp_path / "seal.key").unlink()
    with pytest.raises(KeysMissing):
        make_keys(tmp_path, "nut-thu")
    with pytest.raises(KeysMissing):
        load_seal_key(tmp_path)


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    make_keys(tmp_path, "nut-thu")
    (tmp_path / "seal.key").chmod(0o640)
    with pytest.raises(KeysExposed) as why:
        load_seal_key(tmp_path)
    assert why.value.params["mode"] == "0640"


def test_key_and_certificate_of_different_pairs_are_damaged(tmp_path: Path) -> None:
    make_keys(tmp_path / "a", "nut-thu")
    make_keys(tmp_path / "b", "nut-thu")
    (tmp_path / "a" / "seal.crt").write_bytes((tmp_path / "b" / "seal.crt").read_bytes())
    with pytest.raises(KeysDamaged):
        load_seal_key(tmp_path / "a")
