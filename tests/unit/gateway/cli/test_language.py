"""Which language is spoken, and that every command says something in both."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import edxml.commands
import gateway.cli
from edxml.commands.language import choose_language, localize, take_language
from edxml.messages import Language, catalogue
from gateway.cli.app import command_tree
from gateway.cli.exits import ExitCode
from gateway.settings import Settings


@pytest.mark.parametrize(
    ("arguments", "chosen", "rest"),
    [
        (["--lang", "en", "serve"], "en", ["serve"]),
        (["channel", "list", "--lang=vi"], "vi", ["channel", "list"]),
        (["channel", "--lang", "xx", "list"], "xx", ["channel", "list"]),
        (["serve"], "", ["serve"]),
        (["serve", "--lang"], "", ["serve", "--lang"]),
        (["send", "--", "--lang", "en"], "", ["send", "--", "--lang", "en"]),
    ],
)
def test_lang_is_taken_wherever_it_stands(arguments: list[str], chosen: str, rest: list[str]) -> None:
    assert take_language(arguments) == (chosen, rest)


@pytest.mark.parametrize(
    ("chosen", "environment", "language"),
    [
        ("", {"LANG": "vi_VN.UTF-8"}, "vi"),
        ("", {"LANG": "en_US.UTF-8"}, "en"),
        ("", {"LC_ALL": "C", "LANG": "vi_VN.UTF-8"}, "en"),
        ("", {}, "en"),
        ("", {"LANG": "en_US", "TRUC_LANGUAGE": "vi"}, "vi"),
        ("", {"LANG": "vi_VN", "TRUC_LANGUAGE": "auto"}, "vi"),
        ("en", {"LANG": "vi_VN", "TRUC_LANGUAGE": "vi"}, "en"),
    ],
)
def test_the_reader_s_language(chosen: str, environment: dict[str, str], language: str) -> None:
    assert choose_language(chosen, environment) is Language(language)


def _walk(command: Any, path: str = "truc") -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _walk(inner, f"{path} {name}")


@pytest.mark.parametrize("language", list(Language))
def test_every_command_and_option_has_its_help(language: Language) -> None:
    texts = catalogue("gateway", language)
    for path, command in _walk(command_tree()):
        assert command.help in texts, f"{path}: {command.help}"
        for option in command.params:
            is_built_in = option.name in ("install_completion", "show_completion")
            assert is_built_in or option.help in texts, f"{path} {option.name}: {option.help}"


@pytest.mark.parametrize("language", list(Language))
def test_localized_help_holds_no_codes(language: Language) -> None:
    tree = command_tree()
    localize(tree, language, {})
    for path, command in _walk(tree):
        for said in (command.help, *(option.help for option in command.params)):
            assert said, path
            assert not re.fullmatch(r"help\.\w+", said), f"{path}: {said}"


def test_every_code_that_the_command_line_says_has_a_text_and_every_text_is_said() -> None:
    """Codes are found in the source; those built from closed lists are held against those lists elsewhere."""
    source = "\n".join(
        path.read_text("utf-8")
        for room in (gateway.cli, edxml.commands)
        for path in Path(room.__path__[0]).glob("*.py")
    )
    nouns = (
        "system", "channel", "directory", "parked", "document", "account", "settings", "packet", "send", "inbox",
        "backup",
    )  # fmt: skip
    own = ("cli", "process", "init", "apply", "export", "remote", "span", "help", *(f"{noun}_told" for noun in nouns))
    said = set(re.findall(rf'["\']((?:{"|".join(own)})\.[a-z_]+)["\']', source))
    texts = catalogue("gateway", Language.VI)
    logged = {f"process.{event}" for event in ("cut_short", "ready", "spool_cleared", "stopping", "unheard")}
    unsaid = said - texts.keys() - logged
    assert not unsaid
    built = {
        *(f"span.{unit}" for unit in ("hours", "minutes", "days")),
        *(f"help.{role}" for role in ("api", "relay", "deliver", "periodic", "intake", "inspect")),
        *(f"help.archive_{word}" for word in ("list", "show", "verify", "write", "run", "drop")),
        *(f"channel_told.{word}" for word in ("open", "paused", "already_open", "already_paused", "already_draining")),
        *(f"channel_told.{word}" for word in ("held", "doubtful", "to_person")),
        "cli.demo_database",  # the demo's own refusal
        *(f"cli.{word}" for word in ("database_empty", "database_gone")),  # and the doctor's
        *(f"backup_told.step_{step}" for step in ("rows", "packets", "checks")),
        *(f"backup_told.{state}_to" for state in ("recovering", "recovered")),
        *(f"settings_told.{word}" for word in ("token_set", "token_unset")),
        "help.help", "help.install_completion", "help.show_completion", "help.panel_commands", "remote.refused",
    }  # fmt: skip
    mine = {code for code in texts if code.split(".")[0] in own}
    never_said = mine - said - built
    assert not never_said
    words = set(re.findall(r'"(?:doctor\.)?([a-z_]+)"', source))
    assert {code.removeprefix("doctor.") for code in texts if code.startswith("doctor.")} <= words | {"sum"}


def test_closed_lists_have_words() -> None:
    texts = catalogue("gateway", Language.VI)
    assert {f"exit.{code.name.lower()}" for code in ExitCode} <= texts.keys()
    assert {f"setting.{name}" for name in Settings.model_fields} == {
        code for code in texts if code.startswith("setting.")
    }
