"""A terminal in front of a node's folder: commands run as `main` runs them, in this process."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from tests.support.nodes import TODAY


class Terminal:
    """Runs commands; keeps what the last one said."""

    def __init__(self, capture: pytest.CaptureFixture[str], environment: pytest.MonkeyPatch) -> None:
        self._capture, self._environment = capture, environment
        self.out = self.err = ""

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run one command, expecting its exit code; gives what it answered."""
        self._capture.readouterr()
        found = main([*arguments])
        self.out, self.err = self._capture.readouterr()
        assert found == code, f"{arguments} ended with {found}:\n{self.out}\n{self.err}"
        assert "Traceback" not in self.out + self.err, self.err
        return self.out

    def set(self, **settings: str) -> None:
        """Have later commands of this test see these settings: TRUC_… variables, small and without the prefix."""
        for name, value in settings.items():
            self._environment.setenv(f"TRUC_{name.upper()}", value)

    def captured(self) -> str:
        """What was answered since the last command began."""
        return self._capture.readouterr().out

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Run one command with --json."""
        return json.loads(self(*arguments, "--json", code=code))


@pytest.fixture
def truc(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> Terminal:
    """A terminal in Vietnamese, in front of the data folder that `build_house(tmp_path)` makes, or the test's house."""
    for name in [name for name in os.environ if name.startswith("TRUC_")]:
        monkeypatch.delenv(name)
    settings = {"DATA": str(tmp_path / "data"), "NODE": "thu", "TODAY": TODAY, "DISK_RESERVE_MIB": "1"}
    for name, value in (settings | {"LANGUAGE": "vi"}).items():
        monkeypatch.setenv(f"TRUC_{name}", value)
    if "house" in request.fixturenames:
        monkeypatch.setenv("TRUC_DATABASE", request.getfixturevalue("house").database)
    return Terminal(capsys, monkeypatch)
