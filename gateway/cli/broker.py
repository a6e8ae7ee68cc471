"""`truc broker check|apply|show`: the broker held against the topology. Exit code 8 where something is wrong there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from gateway.cli.output import AsJson, Voice, voice_of
from gateway.compose import broker_access
from gateway.model.errors import NotFound
from gateway.settings import read_settings
from gateway.transport.broker import BrokerAccess, BrokerBlocked, BrokerMislaid
from gateway.transport.rabbitmq import BrokerReport, look_at_broker, make_layout
from gateway.transport.topology import DEAD, LAYOUT, LEAST_RIGHTS

__all__ = ["register", "worries_of", "worst_of"]

_LONG: Final = 10_000  # tickets in one queue: a tenth of what it may hold
_CARRIES: Final = frozenset(queue.name for queue in LAYOUT if queue.carries)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="help.broker", no_args_is_help=True)
    group.command("check", help="help.broker_check")(check)
    group.command("apply", help="help.broker_apply")(apply)
    group.command("show", help="help.broker_show")(show)
    app.add_typer(group, name="broker")


def _access() -> BrokerAccess:
    """How the settings say that the broker is reached. Raises NotFound `broker.not_used`, SettingsError."""
    found = broker_access(read_settings())
    if found is None:
        raise NotFound("broker.not_used")
    return found


def worst_of(report: BrokerReport) -> BrokerMislaid | BrokerBlocked | None:
    """What is wrong with a broker that answers; None where nothing is."""
    if report.missing or report.different:
        return BrokerMislaid(address=str(report.address), names=", ".join((*report.missing, *report.different)))
    if report.blocked:
        return BrokerBlocked(address=str(report.address), why=report.blocked)
    return None


def check(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Connect and compare; changes nothing."""
    voice = voice_of(ctx)
    report = look_at_broker(_access())
    if as_json:
        voice.json(_as_json(report))
    if (wrong := worst_of(report)) is not None:
        raise wrong
    if not as_json:
        voice.tell("broker_told.right", version=report.version, address=report.address)
        _warn(voice, report)


def apply(
    ctx: typer.Context,
    replace: Annotated[bool, typer.Option("--replace", help="help.broker_replace")] = False,
) -> None:
    """Make what is missing. A running node does so by itself when it connects; this is for doing it before."""
    voice = voice_of(ctx)
    made = make_layout(_access(), replace=replace)
    if made:
        voice.tell("broker_told.made", names=", ".join(made))
    else:
        voice.tell("broker_told.nothing_made")
    left = look_at_broker(_access())
    if left.different:
        voice.hint("broker_told.left_different", names=", ".join(left.different))
    if (wrong := worst_of(left)) is not None:
        raise wrong


def show(
    ctx: typer.Context,
    rights: Annotated[bool, typer.Option("--rights", help="help.broker_rights")] = False,
    as_json: AsJson = False,
) -> None:
    """What stands in the broker now; or the rights that the node's user needs there."""
    voice = voice_of(ctx)
    if rights:
        if as_json:
            voice.json(dict(LEAST_RIGHTS))
            return
        voice.hint("broker_told.rights")
        for word, pattern in LEAST_RIGHTS.items():
            voice.write(f"{word:10} {pattern}")
        return
    report = look_at_broker(_access())
    if as_json:
        voice.json(_as_json(report))
        return
    voice.table(
        ("queue", "#waiting", "#listeners"),
        [(each.name, each.messages, each.consumers) for each in report.queues],
    )
    _warn(voice, report)


def worries_of(report: BrokerReport) -> Iterator[tuple[str, dict[str, Any]]]:
    """What works and deserves a look, as codes of sentences with their parameters."""
    if not report.is_tls and report.address.host not in ("localhost", "127.0.0.1", "::1"):
        yield "broker_told.plain", {"address": report.address}
    for each in report.queues:
        told = {"name": each.name, "count": each.messages}
        if each.name == DEAD and each.messages:
            yield "broker_told.dead", told
        elif each.name in _CARRIES and each.messages and not each.consumers:
            yield "broker_told.unheard", told
        elif each.name in _CARRIES and each.messages > _LONG:
            yield "broker_told.long", told


def _warn(voice: Voice, report: BrokerReport) -> None:
    for code, params in worries_of(report):
        voice.hint(code, **params)


def _as_json(report: BrokerReport) -> dict[str, Any]:
    return {
        "address": str(report.address),
        "version": report.version,
        "tls": report.is_tls,
        "missing": list(report.missing),
        "different": list(report.different),
        "blocked": report.blocked,
        "queues": [
            {"name": each.name, "messages": each.messages, "consumers": each.consumers} for each in report.queues
        ],
    }
