"""Exit codes of `truc`: one table for scripts, and one translation from errors to it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from adapters.contract import AdapterError
from edxml.errors import TrucError
from edxml.messages import Language
from edxml.sign import SigningKeyInvalid
from gateway.keys import KeysAway, KeysDamaged, KeysExposed, KeysMissing, KeysUnfit
from gateway.model.errors import BadRequest, NotFound, SettingsError, StoreError, StoreForeign
from gateway.transport.broker import BrokerError
from routing.errors import DirectoryInvalid

__all__ = ["AuthoritySilent", "ExitCode", "RemoteError", "RemoteRefused", "RemoteUnreachable", "exit_code_of"]


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


class RemoteError(TrucError):
    """The node that was asked over the network gave no good answer."""

    code = "remote.error"


class RemoteUnreachable(RemoteError):
    """Nobody answered as a node does. Parameters `url`, `why`."""

    code = "remote.unreachable"


class AuthoritySilent(RemoteError):
    """A time-stamp authority gave no answer. Parameters `url`, `why`."""

    code = "remote.authority_silent"


class RemoteRefused(RemoteError):
    """The node said no, with a reason: its own problem document (RFC 9457) in both languages."""

    code = "remote.refused"

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.reason = str(problem.get("code", self.code))
        self.findings: list[dict[str, Any]] = list(problem.get("findings", ()))
        self._sentences = {language: str(problem.get(language, "")) for language in Language}
        super().__init__(status=problem.get("status", 0))

    def text(self, language: Language) -> str:
        """The node's own sentence."""
        return self._sentences[language] or super().text(language)


_TABLE: tuple[tuple[type[TrucError] | tuple[type[TrucError], ...], ExitCode], ...] = (
    (StoreForeign, ExitCode.FOREIGN),
    (StoreError, ExitCode.STORE),
    (NotFound, ExitCode.NOT_FOUND),
    (BadRequest, ExitCode.USAGE),
    ((SettingsError, AdapterError, DirectoryInvalid), ExitCode.SETTINGS),
    ((KeysMissing, KeysExposed, KeysDamaged, KeysUnfit, KeysAway, SigningKeyInvalid), ExitCode.SETTINGS),
    (RemoteError, ExitCode.REMOTE),
    (BrokerError, ExitCode.BROKER),
)


def exit_code_of(error: TrucError) -> ExitCode:
    """The exit code that an error of ours ends a command with; FINDINGS where it has no code of its own."""
    if isinstance(error, RemoteRefused) and error.findings:
        return ExitCode.FINDINGS
    return next((code for kinds, code in _TABLE if isinstance(error, kinds)), ExitCode.FINDINGS)
