"""Commands that are not written rightly: our own sentences, in both languages."""

from __future__ import annotations

from pathlib import Path

import pytest

from edxml.commands import terminal
from edxml.messages import Language, text
from tests.support.nodes import House
from tests.support.terminal import Terminal


@pytest.mark.parametrize(
    ("written", "code", "params"),
    [
        ("kenh", "no_command", {"name": "kenh", "command": "truc"}),
        ("document shwo", "misspelt", {"name": "shwo", "like": "show", "command": "truc document"}),
        ("document show a b c", "extra", {"extra": "b c", "command": "truc document show"}),
        ("account --from", "without_value", {"name": "--from", "command": "truc account"}),
        (
            "packet build --form van-ban.toml",
            "no_option",
            {"name": "--form", "command": "truc packet build", "usage": "truc packet build FILE --out OUT"},
        ),
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


def test_a_flag_asks_for_no_value_in_its_help(truc: Terminal) -> None:
    for command in ([], ["send"], ["account"], ["packet", "check"]):
        assert "<bool>" not in truc(*command, "--help")


def test_lists_name_agencies_and_keep_to_the_width_of_a_screen(
    truc: Terminal, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "_PIPED_WIDTH", 80)
    house.send(["inbox-a", "check", "blind"])
    for command in (["system", "list"], ["channel", "list"], ["document", "find", "--recipient", "inbox-a"]):
        shown = truc(*command)
        assert max(map(len, shown.splitlines())) <= 80, shown
        assert "Cơ quan" in shown, shown


def test_commands_stand_under_headings(truc: Terminal) -> None:
    shown = truc("--lang", "vi", "--help")
    headings = ("Văn bản ─", "Nút ─", "Đơn vị, hệ thống và kênh ─", "Bảo quản dữ liệu và khóa ─", "Chạy thử và kiểm")
    assert [heading for heading in headings if heading not in shown] == []


def test_an_argument_that_is_no_text_is_said(truc: Terminal, house: House) -> None:
    """A database or a node cannot be asked for it; a file may bear such a name."""
    for language in Language:
        for command in (["document", "show"], ["hold", "remove"], ["parked", "release"], ["system", "add"]):
            truc("--lang", str(language), *command, "v\udce9n", code=2)
            assert "[cli.not_letters]" in truc.err
    truc("packet", "check", "v\udce9n", code=2)
    assert "[cli.io]" in truc.err


def test_a_configuration_that_is_no_text_or_that_nobody_gives_is_said(
    truc: Terminal, house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.toml").write_bytes("# Sở".encode("utf-16"))
    truc("apply", str(tmp_path / "c.toml"), code=4)
    assert "[configuration.not_utf8]" in truc.err
    (tmp_path / "c.toml").write_text("# Sở", "utf-8-sig")
    truc("apply", str(tmp_path / "c.toml"))
    monkeypatch.setattr("sys.stdin", None)
    truc("apply", "-", code=2)
    assert "[cli.io]" in truc.err


@pytest.mark.parametrize(
    "url", ["truc.tinh.example", "ftp://truc", "http://", "http://[::1", "http://truc:so", "http://..", "http://\udcff"]
)
def test_an_address_that_leads_to_no_machine_is_said(truc: Terminal, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("TRUC_TOKEN", "truc_x")
    for language in Language:
        truc("--lang", str(language), "inbox", "list", "--url", url, code=7)
        assert text("remote.odd_url", language, {}) in truc.err
        truc("--lang", str(language), "prove", "run", "--url", url, code=7)


@pytest.mark.parametrize("token", ["mã truy cập", "truc_x\ny", "truc_\udcff"])
def test_a_token_that_no_header_carries_is_said(truc: Terminal, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("TRUC_TOKEN", token)
    for language in Language:
        truc("--lang", str(language), "inbox", "list", code=4)
        assert text("remote.odd_token", language, {}) in truc.err


def test_what_keeps_from_reaching_a_node_is_said_in_the_reader_s_language(
    truc: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUC_TOKEN", "truc_x")
    truc("inbox", "list", "--url", "http://127.0.0.1:1", code=7)
    assert text("os_error.econnrefused", Language.VI, {}) in truc.err
