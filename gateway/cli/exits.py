"""What errors of a node, and of another node that was asked, end a command with; codes: `edxml.commands.exits`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.contract import AdapterError
from edxml.commands import exits
from edxml.commands.exits import ExitCode, Kinds
from edxml.errors import TrucError
from edxml.messages import Language
from gateway.keys import KeysAway, KeysDamaged, KeysExposed, KeysMissing, KeysUnfit
from gateway.model.errors import BadRequest, NotFound, SettingsError, StoreError, StoreForeign
from gateway.transport.broker import BrokerError
from routing.errors import DirectoryInvalid

__all__ = ["ExitCode", "RemoteError", "RemoteRefused", "RemoteUnreachable", "exit_code_of"]


class RemoteError(TrucError):
    """The node that was asked over the network gave no good answer."""

    code = "remote.error"


class RemoteUnreachable(RemoteError):
    """Nobody answered as a node does. Parameters `url`, `why`."""

    code = "remote.unreachable"


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


_TABLE: tuple[tuple[Kinds, ExitCode], ...] = (
    (StoreForeign, ExitCode.FOREIGN),
    (StoreError, ExitCode.STORE),
    (NotFound, ExitCode.NOT_FOUND),
    (BadRequest, ExitCode.USAGE),
    ((SettingsError, AdapterError, DirectoryInvalid), ExitCode.SETTINGS),
    ((KeysMissing, KeysExposed, KeysDamaged, KeysUnfit, KeysAway), ExitCode.SETTINGS),
    (RemoteError, ExitCode.REMOTE),
    (BrokerError, ExitCode.BROKER),
)


def exit_code_of(error: TrucError) -> ExitCode:
    """The exit code that an error of ours ends a command with."""
    if isinstance(error, RemoteRefused) and error.findings:
        return ExitCode.FINDINGS
    return exits.exit_code_of(error, _TABLE)
