"""`truc channel drain|window|move`: a channel that rests, and what waits on it."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated

import typer

from gateway.cli.exits import ExitCode
from gateway.cli.opening import ACTOR, open_node
from gateway.cli.output import AsJson, voice_of
from gateway.exchange.resting import Drains, begin_drain, check_move, finish_drains, move_backlog
from gateway.model.errors import BadRequest, NotFound
from gateway.model.instants import as_datetime
from gateway.model.windows import WindowMalformed, held_until, parse_windows
from gateway.node import Node
from gateway.store import backlog
from gateway.store.channels import ChannelRow, set_windows

__all__ = ["drain", "find_channel", "move", "window"]

_PAUSE = 0.2

_Id = Annotated[str, typer.Argument(help="help.channel_id", show_default=False)]


def find_channel(node: Node, channel_id: str) -> ChannelRow:
    """The channel as the rows say now. Raises NotFound."""
    found = node.channels.refresh().by_id.get(channel_id)
    if found is None:
        raise NotFound("channel.unknown", channel=channel_id)
    return found


def drain(
    ctx: typer.Context,
    channel_id: _Id,
    wait: Annotated[float, typer.Option(min=0, help="help.drain_wait")] = 0,
    as_json: AsJson = False,
) -> None:
    """Begin nothing new on a channel, let what is under way end, then pause it. Exit code 1: not empty in time."""
    voice = voice_of(ctx)
    known: Drains = {}
    until = time.monotonic() + wait
    with open_node() as node:
        find_channel(node, channel_id)
        begin_drain(node, channel_id, actor=ACTOR)
        while True:
            finish_drains(node, known)
            with node.store.read() as connection:
                is_draining = channel_id in backlog.draining(connection)
                found = backlog.under_way(connection, channel_id, node.store.now(connection))
            if not is_draining or time.monotonic() >= until:
                break
            time.sleep(_PAUSE)
    if as_json:
        voice.json({"channel": channel_id, "empty": not is_draining, **asdict(found)})
    elif is_draining:
        voice.tell("channel_told.draining", channel=channel_id, held=found.held, open=found.open)
    else:
        voice.tell("channel_told.empty", channel=channel_id, waiting=found.waiting)
    if is_draining and wait:
        raise typer.Exit(ExitCode.FINDINGS)


def window(
    ctx: typer.Context,
    channel_id: _Id,
    windows: Annotated[list[str] | None, typer.Argument(help="help.windows", show_default=False)] = None,
    clear: Annotated[bool, typer.Option("--clear", help="help.windows_clear")] = False,
) -> None:
    """Show a channel's maintenance windows, or give it these and no others."""
    voice = voice_of(ctx)
    if clear and windows:
        raise BadRequest("channel.windows_or_clear")
    with open_node() as node:
        row = find_channel(node, channel_id)
        wanted = tuple(windows) if windows else () if clear else row.windows
        if wanted != row.windows:
            try:
                with node.store.write() as connection:
                    set_windows(connection, channel_id, wanted, now=node.store.now(connection), actor=ACTOR)
            except WindowMalformed as why:
                raise BadRequest("channel.window_malformed", window=str(why)) from why
            node.transport.wake("relay")
        with node.store.read() as connection:
            until = held_until(parse_windows(wanted), node.store.now(connection))
    if not wanted:
        voice.tell("channel_told.no_windows", channel=channel_id)
    for one in wanted:
        voice.write(one)
    if until is not None:
        voice.tell("channel_told.resting", channel=channel_id, until=as_datetime(until))


def move(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(help="help.move_from", show_default=False)],
    target: Annotated[str, typer.Argument(help="help.move_to", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Move what waits on one channel to another that serves the same agencies now. Exit code 1: some is still held."""
    voice = voice_of(ctx)
    with open_node() as node:
        rows = find_channel(node, source), find_channel(node, target)
        check_move(*rows)
        found = move_backlog(node, *rows, actor=ACTOR)
    if as_json:
        voice.json({"from": source, "to": target, **asdict(found)})
    else:
        voice.tell("channel_told.moved", source=source, target=target, count=found.moved)
        for word, count in (("to_person", found.parked), ("held", found.held), ("doubtful", found.doubtful)):
            if count:
                voice.tell(f"channel_told.{word}", channel=source, count=count)
    if found.held:
        raise typer.Exit(ExitCode.FINDINGS)
