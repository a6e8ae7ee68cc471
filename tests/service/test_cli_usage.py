"""Commands that are not written rightly: our own sentences, in both languages."""

from __future__ import annotations

import pytest

from edxml.messages import Language, text
from tests.support.terminal import Terminal


@pytest.mark.parametrize(
    ("written", "code", "params"),
    [
        ("kenh", "no_command", {"name": "kenh", "command": "truc"}),
        ("document shwo", "no_command", {"name": "shwo", "like": "show", "command": "truc document"}),
        ("document show a b c", "extra", {"extra": "b c", "command": "truc document show"}),
        ("account --from", "without_value", {"name": "--from", "command": "truc account"}),
        ("account --json=1", "flag", {"name": "--json", "command": "truc account"}),
        ("serve --port tám", "number", {"name": "--port", "value": "tám", "command": "truc serve"}),
        ("serve --port 1.5", "number", {"name": "--port", "value": "1.5", "command": "truc serve"}),
        ("inbox list --wait lâu", "number", {"name": "--wait", "value": "lâu", "command": "truc inbox list"}),
        ("serve --port 65536", "too_much", {"name": "--port", "limit": 65535, "command": "truc serve"}),
        (
            "system rotate x --grace-hours 1e11",
            "too_much",
            {"name": "--grace-hours", "limit": 87600.0, "command": "truc system rotate"},
        ),
        ("backup x --keep -1", "too_little", {"name": "--keep", "limit": 0, "command": "truc backup"}),
        ("archive write 2026-01 /khong/co", "path", {"name": "FOLDER", "command": "truc archive write"}),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_command_is_said_in_the_reader_s_language(
    truc: Terminal, written: str, code: str, params: dict[str, object]
) -> None:
    """Our own sentence, whole: none of the English words of the library that reads commands."""
    for language in Language:
        truc("--lang", str(language), *written.split(), code=2)
        if "like" not in params and code == "no_command":
            assert f"“{params['name']}”" in truc.err
            assert "channel, " in truc.err, "what there is"
            assert f"[cli.usage_{code}]" in truc.err
        else:
            assert f": {text(f'cli.usage_{code}', language, params)} [cli.usage_{code}]\n" in truc.err
