"""What one process changes, another one that is running follows within a second; and two that apply never mix."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.channels import Channels
from gateway.configuration import init_rows
from gateway.identity import Callers, register_system
from gateway.model.errors import Unauthenticated
from gateway.store import channels, open_store, systems

APPLY = """
import sys
from pathlib import Path
from gateway.configuration import ConfigurationInvalid, apply, parse
from gateway.store import open_store
store = open_store(Path(sys.argv[1]), node="thu", reserve=1)
try:
    print(len(apply(store, parse(sys.argv[2]))))
except ConfigurationInvalid as why:
    print(why.findings[0].code)
"""
FILE = """
[[system]]
name = "{name}"
speaks_for = ["na-so-snv", "na-so-stp"]
enabled = {enabled}

[[channel]]
id = "hop-thu-{name}"
kind = "inbox"
serves = ["na-so-snv", "na-so-stp"]
"""


def start(folder: Path, name: str, *, is_enabled: bool = True) -> subprocess.Popen[str]:
    text = FILE.format(name=name, enabled=str(is_enabled).lower())
    return subprocess.Popen([sys.executable, "-c", APPLY, str(folder), text], stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    return said.strip()


def test_a_running_process_follows_within_a_second(tmp_path: Path) -> None:
    store = open_store(tmp_path, node="thu", reserve=1)
    init_rows(store)
    token = register_system(store, "A", actor="an").token
    callers, known = Callers(store), Channels(store)
    assert callers.authenticate(f"Bearer {token}").agency_ids == frozenset()
    assert known.snapshot().reach == {}

    assert answer(start(tmp_path, "A")) != "0"
    time.sleep(1.05)
    assert callers.authenticate(f"Bearer {token}").speaks_for("na-so-snv")
    assert set(known.snapshot().reach) == {"na-so-snv", "na-so-stp"}

    answer(start(tmp_path, "A", is_enabled=False))
    time.sleep(1.05)
    with pytest.raises(Unauthenticated):
        callers.authenticate(f"Bearer {token}")
    store.close()


def test_of_two_systems_that_want_the_same_agencies_at_once_one_gets_all(tmp_path: Path) -> None:
    store = open_store(tmp_path, node="thu", reserve=1)
    init_rows(store)
    names = ("A", "B", "C")
    said = [answer(process) for process in [start(tmp_path, name) for name in names]]
    assert sorted(said) == ["2", "configuration.agency_owned", "configuration.agency_owned"]
    with store.read() as connection:
        assert len(set(systems.owners_of(connection, ["na-so-snv", "na-so-stp"]).values())) == 1
        assert len(channels.list_channels(connection)) == 1
    store.close()
