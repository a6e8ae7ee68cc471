"""Exit codes: one table for scripts, and the errors that only commands make."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any

from edxml.errors import EdxmlError, TrucError
from edxml.messages import Language, text
from edxml.sign import SigningKeyInvalid

__all__ = ["AuthoritySilent", "ExitCode", "InputWrong", "Kinds", "exit_code_of"]


Kinds = type[TrucError] | tuple[type[TrucError], ...]


class ExitCode(IntEnum):
    """What a script is told. Numbers never change their meaning; each has a text (`exit.<name>`)."""

    OK = 0  #: done
    FINDINGS = 1  #: something was found or refused: findings, books that do not close, a failed check
    USAGE = 2  #: the command was not written rightly, or a file cannot be read
    FOREIGN = 3  #: the data folder belongs to another node, or another machine works on it
    SETTINGS = 4  #: a setting, a configuration file or a key is wrong
    STORE = 5  #: the store is busy, unsafe, outdated, damaged or out of room
    NOT_FOUND = 6  #: no such document, system, channel, agency or node
    REMOTE = 7  #: the node that was asked over the network refused, or cannot be reached
    BROKER = 8  #: the broker cannot be reached, does not let us in, or is laid out otherwise
    UNFINISHED = 9  #: a process that was told to end did not get done within `TRUC_END_WITHIN`; the next one goes on
    DEFECT = 70  #: a defect of the program; its place was written down
    INTERRUPTED = 130  #: ended by Ctrl+C
    TERMINATED = 143  #: ended by SIGTERM


class InputWrong(EdxmlError):
    """What was typed, or a form that was named, says nothing that the command takes. `reason`: the code of its text."""

    def __init__(self, reason: str, **params: Any) -> None:
        self.reason = reason
        super().__init__(**params)

    def text(self, language: Language) -> str:
        """The sentence of the reason."""
        return text(self.reason, language, self.params)


class AuthoritySilent(EdxmlError):
    """A time-stamp authority gave no answer. Parameters `url`, `why`."""

    code = "remote.authority_silent"


_TABLE = ((InputWrong, ExitCode.USAGE), (SigningKeyInvalid, ExitCode.SETTINGS), (AuthoritySilent, ExitCode.REMOTE))


def exit_code_of(error: TrucError, table: Iterable[tuple[Kinds, ExitCode]] = ()) -> ExitCode:
    """The exit code that an error of ours ends a command with; FINDINGS where it has no code of its own.

    `table`: the kinds of errors that a caller adds.
    """
    return next((code for kinds, code in (*table, *_TABLE) if isinstance(error, kinds)), ExitCode.FINDINGS)
