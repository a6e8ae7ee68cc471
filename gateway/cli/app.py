"""The tree of commands, and what each error of a node ends in."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer

from edxml.commands import terminal
from edxml.commands.files import show_findings
from edxml.commands.running import Program, make_app, run
from edxml.errors import TrucError
from edxml.messages import Language
from gateway.cli.exits import RemoteRefused, exit_code_of
from gateway.cli.output import Voice, make_voice
from gateway.model.errors import SettingsError
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
    app = make_app("truc", "help.truc")
    for room in [room for room, words in ROOMS.items() if word in words] or ROOMS:
        import_module(f"gateway.cli.{room}").register(app)
    return typer.main.get_command(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code."""
    return run(_TRUC, arguments)


def _tell_error(voice: terminal.Voice, why: TrucError) -> None:
    if isinstance(why, SettingsError) and (faults := getattr(why, "findings", ())):
        for finding in faults:
            voice.fault(finding.text(voice.language), finding.code)
        return
    voice.fault(why.text(voice.language), why.reason)
    if isinstance(why, RemoteRefused):
        show_findings(voice, why.findings)


def _open_voice(language: Language) -> Voice:
    voice = make_voice(language)
    log.configure(level="warning")  # lines of hops that commands call: never among the answers
    return voice


_TRUC = Program(
    name="truc",
    tree=command_tree,
    make_voice=_open_voice,
    exit_code_of=exit_code_of,
    tell_error=_tell_error,
    panels={word: panel for panel, words in PANELS.items() for word in words},
    end_themselves=_PARTS,
)
