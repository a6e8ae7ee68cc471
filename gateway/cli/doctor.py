"""`truc doctor`: looks at everything that a node stands on, and says of each line what to do."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from edxml.errors import TrucError
from gateway.backup import is_unfinished
from gateway.cli.checks import Check, Level, check_folder, check_node, check_settings
from gateway.cli.exits import ExitCode
from gateway.cli.limits import check_time_limit
from gateway.cli.opening import open_node
from gateway.cli.output import AsJson, Voice, voice_of
from gateway.keys import load_ring
from gateway.model.errors import NotFound, StoreBusy, StorePutBack
from gateway.model.instants import local_iso
from gateway.node import Node
from gateway.settings import Settings
from gateway.store import recoveries
from gateway.store.remembered import check_remembered

__all__ = ["examine", "register"]

_MARKS = {Level.OK: ("✓", "green"), Level.WARN: ("!", "yellow"), Level.FAIL: ("✗", "red")}


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("doctor", help="help.doctor")(doctor)


def doctor(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Examine the node. Exit code 1 where something fails; what only deserves a look does not fail."""
    voice = voice_of(ctx)
    checks = examine()
    if as_json:
        voice.json([check.as_dict() for check in checks])
    else:
        for check in checks:
            _show(voice, check)
    failed = sum(check.level is Level.FAIL for check in checks)
    warned = sum(check.level is Level.WARN for check in checks)
    if not as_json:
        voice.hint("doctor.sum", ok=len(checks) - failed - warned, warn=warned, fail=failed)
    if failed:
        raise typer.Exit(ExitCode.FINDINGS)


def _show(voice: Voice, check: Check) -> None:
    mark, style = _MARKS[check.level]
    voice.write(f"{mark} {check.text(voice.language)}", style)


def examine() -> tuple[Check, ...]:
    """Every check, in the order in which one stands on the other; ends at the first that nothing can stand on."""
    checks: list[Check] = []
    settings = _settings(checks)
    if settings is None:
        return tuple(checks)
    if is_unfinished(settings.data):
        unfinished = NotFound("restore.unfinished", folder=str(settings.data.resolve()))
        return (*checks, Check.of_error(unfinished))
    try:
        checks += check_folder(settings)
        if any(check.level is Level.FAIL for check in checks):
            return tuple(checks)
        load_ring(settings.data / "keys")  # only read: opening a node would make keys that are not there
        with open_node() as node:
            checks += [*check_node(node, settings), *_put_back(node, settings), *_recovery(node)]
            check_time_limit(node, settings)
    except TrucError as why:
        checks.append(Check.of_error(why))
        if why.reason == StoreBusy.code:
            checks.append(Check(name="database", level=Level.WARN, code="doctor.see_database"))
    return tuple(checks)


def _settings(checks: list[Check]) -> Settings | None:
    try:
        settings, found = check_settings()
    except TrucError as why:
        checks.append(Check.of_error(why))
        return None
    checks.append(found)
    return settings


def _put_back(node: Node, settings: Settings) -> Iterator[Check]:
    """Whether the database knows less than the folder remembers: no process starts on it."""
    try:
        check_remembered(node.store, settings.data)
    except StorePutBack as why:
        yield Check(name="put_back", level=Level.FAIL, code=why.reason, error=why)


def _recovery(node: Node) -> Iterator[Check]:
    """Whether the node was restored and pushes nothing yet."""
    with node.store.read() as connection:
        found = recoveries.running(connection)
        left = () if found is None else recoveries.channels_in_doubt(connection, found)
    if found is not None:
        waiting = ", ".join(f"{one.channel_id} ({one.count})" for one in left) or "0"
        params = {"at": local_iso(found.backup_at), "left": waiting}
        yield Check(name="recovery", level=Level.WARN, code="doctor.recovering", params=params)
