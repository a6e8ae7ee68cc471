"""The page of all commands and exit codes, written from the tree itself: `python -m gateway.cli.reference`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from edxml.messages import Language, text
from gateway.cli.app import command_tree
from gateway.cli.exits import ExitCode

__all__ = ["describe_commands"]

_HEAD = """\
<!-- Written by `python -m gateway.cli.reference > docs/reference/cli.md`; do not edit. -->

# Commands

`truc --help` and `truc COMMAND --help` say the same in the reader's language: `--lang vi|en` anywhere, else
`TRUC_LANGUAGE`, else the locale. Every listing takes `--json` for programs. Answers go to standard output; faults,
hints and progress go to standard error. `truc --install-completion` teaches your shell to complete commands.

Commands work on the node in `TRUC_DATA`, beside its running processes; `send`, `inbox` and `document show --url` ask a
node over HTTP, by `TRUC_URL` and `TRUC_TOKEN`.

"""


def describe_commands() -> str:
    """The page, in Markdown: every command with its arguments and options, then the exit codes."""
    parts = [_HEAD, *(_command(path, command) for path, command in _leaves(command_tree(), "truc"))]
    return "".join(parts) + _exit_codes()


def _leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    if command.invoke_without_command:  # a group that does something by itself
        yield path, command
    for name, child in inner.items():
        yield from _leaves(child, f"{path} {name}")


def _command(path: str, command: Any) -> str:
    arguments = [option for option in command.params if option.param_type_name == "argument"]
    options = [option for option in command.params if option.param_type_name != "argument"]
    words = " ".join([path, *(_argument(argument) for argument in arguments)])
    lines = [f"## {path}", "", _both(command.help), "", f"    {words}{' [options]' if options else ''}", ""]
    if command.params:
        lines += ["| word | meaning |", "| --- | --- |"]
        lines += [f"| `{_argument(argument)}` | {_both(argument.help)} |" for argument in arguments]
        lines += [f"| {_option(option)} | {_both(option.help)} |" for option in options]
        lines += [""]
    return "\n".join(lines) + "\n"


def _argument(argument: Any) -> str:
    name = argument.name.upper() + ("…" if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _option(option: Any) -> str:
    return ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))


def _both(code: str | None) -> str:
    said = [text(code or "", language, {}).replace("|", "\\|") for language in (Language.EN, Language.VI)]
    return f"{said[0]} *{said[1]}*"


def _exit_codes() -> str:
    rows = [f"| {code.value} | {_both(f'exit.{code.name.lower()}')} |" for code in ExitCode]
    return "\n".join(["## Exit codes", "", "| code | meaning |", "| --- | --- |", *rows]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(describe_commands())
