"""Which language a person at this terminal reads, and the command tree told in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import typer

from edxml.messages import Language, text

__all__ = ["choose_language", "localize", "take_language"]

_OPTION = "--lang"
_LOCALES = ("LC_ALL", "LC_MESSAGES", "LANG")


def take_language(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The value of `--lang`, wherever it stands ("" where nowhere), and the other arguments."""
    chosen, rest = "", list(arguments)
    end = rest.index("--") if "--" in rest else len(rest)
    for place, argument in enumerate(rest[:end]):
        if argument == _OPTION and place + 1 < end:
            chosen = rest[place + 1]
            del rest[place : place + 2]
            break
        if argument.startswith(f"{_OPTION}="):
            chosen = argument.partition("=")[2]
            del rest[place]
            break
    return chosen, rest


def choose_language(chosen: str, environment: Mapping[str, str]) -> Language:
    """`--lang`, else TRUC_LANGUAGE, else the locale: Vietnamese where that is Vietnamese, English otherwise."""
    for wish in (chosen, environment.get("TRUC_LANGUAGE", "")):
        if wish in (Language.VI, Language.EN):
            return Language(wish)
    locale = next((environment[name] for name in _LOCALES if environment.get(name)), "")
    return Language.VI if locale.lower().startswith("vi") else Language.EN


def localize(command: Any, language: Language, panels: Mapping[str, str], panel: str = "") -> None:
    """Put texts in place of the codes that a command tree was declared with.

    Help texts are declared as message codes (`help.…`), so that both languages stand in one catalogue.  The types of
    the library's command tree are its own affair: only `help`, `params`, `commands`, `metavar` and panels are touched.
    `panels`: of the words of this command, the code of the heading that each stands under; `panel`: its own.
    """
    command.help = text(command.help or "", language, {})
    command.short_help = text(command.short_help or "", language, {}) or None
    if hasattr(command, "rich_help_panel"):
        command.rich_help_panel = text(panel or "help.panel_commands", language, {})
    own_help = command.get_help_option(typer.Context(command))
    for option in (*command.params, *([own_help] if own_help else [])):
        is_argument = option.param_type_name == "argument"
        panel = "help.panel_arguments" if is_argument else "help.panel_options"
        option.rich_help_panel = text(panel, language, {})
        code = _BUILT_IN.get(option.name, option.help or "")
        option.help = text(code, language, {}) if code else None
        if getattr(option, "is_flag", False):
            option.metavar = ""  # a flag takes no value: "<bool>" asks for one
    for inner in getattr(command, "commands", {}).values():
        localize(inner, language, {}, panels.get(inner.name, ""))


_BUILT_IN = {
    "help": "help.help",
    "install_completion": "help.install_completion",
    "show_completion": "help.show_completion",
}
