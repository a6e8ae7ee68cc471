"""A command that was not written rightly: our own sentence for each fault that its library finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

__all__ = ["explain_usage"]

_LIMITS = {
    "less_than_equal": ("cli.usage_too_much", "le"),
    "greater_than_equal": ("cli.usage_too_little", "ge"),
}
"""What is said of a number out of its range, by the library's name for it, and where it keeps the limit."""


def explain_usage(why: Any, tree: Any, arguments: Sequence[str]) -> tuple[str, Mapping[str, Any]]:
    """The code and the parameters of what the library found wrong in `arguments` for the commands of `tree`.

    Its own words are English; they are told only of a fault that it does not have today (`cli.usage`).
    """
    context = getattr(why, "ctx", None)
    words, command = _path(tree, arguments)
    told = {"command": context.command_path if context is not None else " ".join((tree.name, *words))}
    kind, name = type(why).__name__, _name(why)
    if kind == "MissingParameter":
        return "cli.usage_missing", {**told, "name": name}
    if kind == "NoSuchOption":
        return "cli.usage_no_option", {**told, "name": name, "usage": f"{told['command']} {_takes(command)}"}
    if kind == "BadOptionUsage":
        given = any(argument.startswith(f"{name}=") for argument in arguments)
        return ("cli.usage_flag" if given else "cli.usage_without_value"), {**told, "name": name}
    if kind == "BadParameter":
        code, more = _bad_value(why)
        return code, {**told, **more, "name": name}
    if kind == "UsageError" and (commands := getattr(command, "commands", None)):
        word = next(iter(arguments[len(words) :]), "")
        close = get_close_matches(word, commands)
        code = "cli.usage_misspelt" if close else "cli.usage_no_command"
        return code, {**told, "name": word, "like": ", ".join(close or commands)}
    if kind == "UsageError" and (extra := why.format_message().partition("argument(s) (")[2].removesuffix(")")):
        return "cli.usage_extra", {**told, "extra": extra}
    return "cli.usage", {**told, "why": why.format_message()}


def _path(tree: Any, arguments: Sequence[str]) -> tuple[list[str], Any]:
    """The words that lead from the root to a command, and that command: as far as they do."""
    words: list[str] = []
    for word in arguments:
        inner = getattr(tree, "commands", {}).get(word)
        if inner is None:
            break
        words.append(word)
        tree = inner
    return words, tree


def _takes(command: Any) -> str:
    """What a command takes, as it is typed: required arguments and options first named, the rest in brackets."""
    words = []
    for parameter in command.params:
        is_argument = parameter.param_type_name == "argument"
        value = parameter.name.upper() + ("…" if parameter.nargs == -1 else "")
        word = value if is_argument else parameter.opts[0]
        if not is_argument and not parameter.is_flag:
            word += f" {parameter.metavar or value}"
        words.append(word if parameter.required else f"[{word}]")
    return " ".join([*words, "COMMAND …"] if getattr(command, "commands", None) else words)


def _name(why: Any) -> str:
    """The option or argument that it is about, as its help writes it; "" where it is about none."""
    parameter = getattr(why, "param", None)
    name = getattr(why, "option_name", "") or (parameter.get_error_hint() if parameter is not None else "")
    written = str(name).strip("'\"")
    return written.upper() if getattr(parameter, "param_type_name", "") == "argument" else written


def _bad_value(why: Any) -> tuple[str, Mapping[str, Any]]:
    """Of a value that is of the wrong kind or out of its range; of a path that is not what the command asks for."""
    judged = getattr(why.__cause__, "errors", None)
    if judged is None:
        return "cli.usage_path", {}
    first = judged()[0]
    if limit := _LIMITS.get(first["type"]):
        return limit[0], {"limit": first["ctx"][limit[1]]}
    return "cli.usage_number", {"value": first["input"]}
