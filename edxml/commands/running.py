"""One command, from its arguments to its exit code, told in the reader's language. No traceback reaches a person."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from edxml.commands.exits import ExitCode, exit_code_of
from edxml.commands.language import choose_language, localize, take_language
from edxml.commands.stopping import stoppable
from edxml.commands.terminal import Voice, make_voice
from edxml.commands.usage import explain_usage
from edxml.errors import TrucError
from edxml.messages import Language

__all__ = ["Program", "make_app", "run"]

_FULL = (errno.ENOSPC, errno.EDQUOT)


def _fault(voice: Voice, why: TrucError) -> None:
    voice.fault(why.text(voice.language), why.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A command line: its name, its tree of commands, and where it tells or ends otherwise than others."""

    name: str
    tree: Callable[[str], Any]  #: all commands, or the part to which a first word leads; helps are still codes
    make_voice: Callable[[Language], Voice] = make_voice
    exit_code_of: Callable[[TrucError], ExitCode] = exit_code_of
    tell_error: Callable[[Voice, TrucError], None] = _fault
    panels: Mapping[str, str] = field(default_factory=dict)  #: of first words, the heading that they stand under
    end_themselves: Collection[str] = ()  #: first words that hear SIGTERM in a way of their own


def make_app(name: str, help_code: str) -> typer.Typer:
    """A tree without commands, which takes `--lang`."""
    app = typer.Typer(name=name, help=help_code, no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_root)
    return app


def _root(
    lang: Annotated[str, typer.Option("--lang", metavar="vi|en", help="help.lang")] = "",
) -> None:
    """Takes what is common to all commands; `run` has read it already."""


def run(program: Program, arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code (`ExitCode`)."""
    chosen, rest = take_language(sys.argv[1:] if arguments is None else arguments)
    voice = program.make_voice(choose_language(chosen, os.environ))
    with stoppable(by_sigterm=not rest or rest[0] not in program.end_themselves) as stopping:
        try:
            code = _run(program, voice, chosen, rest)
        except KeyboardInterrupt:
            code = ExitCode.INTERRUPTED
    if code != ExitCode.INTERRUPTED:
        return code
    voice.hint("cli.interrupted")
    return stopping.code


def _run(program: Program, voice: Voice, chosen: str, rest: Sequence[str]) -> int:
    """Of Ctrl+C the library may hear first: it says nothing, and gives its exit code."""
    tree = program.tree(rest[0] if rest else "")
    localize(tree, voice.language, program.panels)
    try:
        if chosen not in ("", "vi", "en"):
            voice.fault(voice.say("cli.language_unknown", language=chosen), "cli.language_unknown")
            return ExitCode.USAGE
        if _has_empty(rest):
            voice.fault(voice.say("cli.empty_argument"), "cli.empty_argument")
            return ExitCode.USAGE
        return int(tree.main(args=list(rest), prog_name=program.name, obj=voice, standalone_mode=False) or ExitCode.OK)
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except TrucError as why:
        program.tell_error(voice, why)
        return program.exit_code_of(why)
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
        code = "cli.full" if why.errno in _FULL else "cli.io"
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
