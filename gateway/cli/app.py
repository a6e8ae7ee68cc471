"""The tree of commands, told in the reader's language, and what each error ends in. No traceback reaches a person."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from edxml.errors import TrucError
from gateway.cli.exits import ExitCode, RemoteRefused, exit_code_of
from gateway.cli.language import choose_language, localize, take_language
from gateway.cli.output import Voice, make_voice
from gateway.cli.stopping import stoppable
from gateway.cli.usage import explain_usage
from gateway.model.errors import SettingsError
from gateway.model.room import FULL
from monitoring import log

__all__ = ["PANELS", "ROOMS", "command_tree", "main"]

_PARTS = ("serve", "api", "relay", "deliver", "periodic", "intake", "inspect")
ROOMS = {
    "document": ("document",),
    "parked": ("parked",),
    "account": ("account",),
    "repairs": ("repairs",),
    "send": ("send",),
    "inbox": ("inbox",),
    "packet": ("packet",),
    "seal": ("seal",),
    "node": ("init", *_PARTS, "version"),
    "doctor": ("doctor",),
    "settings": ("settings",),
    "configuration": ("apply", "export"),
    "system": ("system",),
    "channel": ("channel",),
    "directory": ("directory",),
    "key": ("key",),
    "backup": ("backup", "restore", "recover"),
    "store": ("store",),
    "archive": ("archive",),
    "hold": ("hold",),
    "db": ("db",),
    "broker": ("broker",),
    "demo": ("demo",),
    "prove": ("prove",),
}
"""Modules of commands, in the order in which `truc --help` lists them, and the first words that each adds."""

PANELS = {
    "help.panel_documents": ("document", "parked", "account", "repairs"),
    "help.panel_network": ("send", "inbox"),
    "help.panel_packets": ("packet", "seal"),
    "help.panel_node": ("init", *_PARTS, "version", "doctor", "settings"),
    "help.panel_partners": ("apply", "export", "system", "channel", "directory"),
    "help.panel_upkeep": ("key", "backup", "restore", "recover", "store", "archive", "hold", "db", "broker"),
    "help.panel_trials": ("demo", "prove"),
}
"""What `truc --help` groups the first words by, in the same order."""


def command_tree(word: str = "") -> Any:
    """All commands, or the part of them to which the first word `word` leads; helps are still codes (see `localize`).

    Only the modules of that part are loaded: to look at a packet takes no database and no web server.
    """
    app = typer.Typer(name="truc", help="help.truc", no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_root)
    for room in [room for room, words in ROOMS.items() if word in words] or ROOMS:
        import_module(f"gateway.cli.{room}").register(app)
    return typer.main.get_command(app)


def _root(
    lang: Annotated[str, typer.Option("--lang", metavar="vi|en", help="help.lang")] = "",
) -> None:
    """Takes what is common to all commands; `main` has read it already."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code (`gateway.cli.exits`)."""
    chosen, rest = take_language(sys.argv[1:] if arguments is None else arguments)
    voice = make_voice(choose_language(chosen, os.environ))
    with stoppable(by_sigterm=not rest or rest[0] not in _PARTS) as stopping:
        try:
            code = _run(voice, chosen, rest)
        except KeyboardInterrupt:
            code = ExitCode.INTERRUPTED
    if code != ExitCode.INTERRUPTED:
        return code
    voice.hint("cli.interrupted")
    return stopping.code


def _run(voice: Voice, chosen: str, rest: Sequence[str]) -> int:
    """Of Ctrl+C the library may hear first: it says nothing, and gives its exit code."""
    log.configure(level="warning")  # lines of hops that commands call: never among the answers
    tree = command_tree(rest[0] if rest else "")
    localize(tree, voice.language, {word: panel for panel, words in PANELS.items() for word in words})
    try:
        if chosen not in ("", "vi", "en"):
            voice.fault(voice.say("cli.language_unknown", language=chosen), "cli.language_unknown")
            return ExitCode.USAGE
        if _has_empty(rest):
            voice.fault(voice.say("cli.empty_argument"), "cli.empty_argument")
            return ExitCode.USAGE
        return int(tree.main(args=list(rest), prog_name="truc", obj=voice, standalone_mode=False) or ExitCode.OK)
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except TrucError as why:
        _tell_error(voice, why)
        return exit_code_of(why)
    except typer.TyperException as why:
        return _tell_usage(voice, why, tree, rest)
    except BrokenPipeError:
        return _leave_pipe()
    except SystemExit as why:
        if isinstance(why.__context__, BrokenPipeError):  # what draws tables ends the process itself
            return _leave_pipe()
        raise
    except OSError as why:
        if why.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
            voice.fault(voice.say("cli.address", why=voice.why(why)), "cli.address")
            return ExitCode.SETTINGS
        what = why.filename or voice.say("cli.stream")
        code = "cli.full" if why.errno in FULL else "cli.io"
        voice.fault(voice.say(code, what=what, why=voice.why(why)), code)
        return ExitCode.USAGE
    except Exception as why:  # noqa: BLE001 - the last line of defence: a person gets one sentence
        return _tell_unexpected(voice, why, rest)


def _has_empty(arguments: Sequence[str]) -> bool:
    """Whether an argument is empty, as an unset variable in quotes is; an option's value may be."""
    before = ("", *arguments)
    return any(not one and not last.startswith("-") for last, one in zip(before, arguments, strict=False))


def _tell_unexpected(voice: Voice, why: Exception, arguments: Sequence[str]) -> int:
    """A defect of ours; or an argument that is no text: a file may bear such a name, and be found, nothing else."""
    for argument in arguments:
        if argument.encode(errors="ignore").decode() != argument:
            voice.fault(voice.say("cli.not_letters", argument=argument), "cli.not_letters")
            return ExitCode.USAGE
    voice.fault(voice.say("cli.defect", error=type(why).__name__, place=str(_keep(why))), "cli.defect")
    return ExitCode.DEFECT


def _leave_pipe() -> int:
    """The reader of the pipe has left, as `head` does: nothing more to say, and nothing went wrong."""
    with suppress(OSError, ValueError):  # of a test's own stream: it has no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    return ExitCode.OK


def _tell_error(voice: Voice, why: TrucError) -> None:
    if isinstance(why, SettingsError) and (faults := getattr(why, "findings", ())):
        for finding in faults:
            voice.fault(finding.text(voice.language), finding.code)
        return
    voice.fault(why.text(voice.language), why.reason)
    if isinstance(why, RemoteRefused):
        import_module("gateway.cli.packet").show_findings(voice, why.findings)


def _tell_usage(voice: Voice, why: Any, tree: Any, arguments: Sequence[str]) -> int:
    """A command that was not written rightly; a group without a command shows its help."""
    if type(why).__name__ == "NoArgsIsHelpError":
        return ExitCode.USAGE  # the help is out already
    code, params = explain_usage(why, tree, arguments)
    voice.fault(voice.say(code, **params), code)
    return ExitCode.USAGE


def _keep(error: BaseException) -> Path:
    """Write down where a defect happened, for those who mend it. Messages stay out: they may tell of a packet."""
    folder = Path(os.environ.get("TRUC_DATA", "var"))
    if not os.access(folder, os.W_OK):
        folder = Path(tempfile.gettempdir())
    path = folder / f"truc-defect-{time.time_ns()}.txt"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        for link in _chain(error):
            file.write(f"{type(link).__module__}.{type(link).__qualname__}\n")
            file.writelines(traceback.format_tb(link.__traceback__))
    return path


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
