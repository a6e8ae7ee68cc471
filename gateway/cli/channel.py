"""`truc channel …`: how agencies are reached (kênh kết nối), and an operator's word; rests are in `channel_rest`."""

from __future__ import annotations

from typing import Annotated

import typer

from adapters.contract import Probe
from adapters.folder_ignored import Ignored, IgnoredFile
from adapters.settings import without_passwords
from edxml.errors import TrucError
from edxml.messages import SystemWords, system_words
from gateway.channels.kinds import Lookable, Strewn
from gateway.cli.channel_inbox import as_plain, asked, find_inboxes, show_inboxes, unfetched
from gateway.cli.channel_rest import drain, find_channel, move, window
from gateway.cli.exits import ExitCode
from gateway.cli.names import Names
from gateway.cli.opening import ACTOR, open_local, open_node, today
from gateway.cli.output import AsJson, Voice, voice_of
from gateway.compose import thresholds_of
from gateway.exchange.resting import set_channel_state
from gateway.model.states import ChannelState
from gateway.node import Node
from gateway.store.agencies import load_directory
from gateway.store.backlog import MOST_COUNTED, Queue, queue_of, under_way
from gateway.store.channels import ChannelHealth, ChannelRow, list_channels, list_health

__all__ = ["ignored_in", "probe_channel", "register"]

_MOST_NAMED = 20

_Id = Annotated[str, typer.Argument(help="help.channel_id", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="help.channel", no_args_is_help=True)
    group.command("list", help="help.channel_list")(list_all)
    group.command("show", help="help.channel_show")(show)
    group.command("pause", help="help.channel_pause")(pause)
    group.command("resume", help="help.channel_resume")(resume)
    group.command("probe", help="help.channel_probe")(probe)
    group.command("drain", help="help.channel_drain")(drain)
    group.command("window", help="help.channel_window")(window)
    group.command("move", help="help.channel_move")(move)
    app.add_typer(group, name="channel")


def list_all(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show the channels, whom they serve, and what the breaker remembers of them."""
    voice = voice_of(ctx)
    with open_local() as local, local.store.read() as connection:
        now = local.store.now(connection)
        rows = list_channels(connection)
        health = list_health(connection)
        queues = {row.id: queue_of(connection, row.id) for row in rows}
        directory = load_directory(connection)
        inboxes = find_inboxes(connection, directory, today(local.settings), now)
        limits, names = thresholds_of(local.settings).unfetched_seconds, Names.of_directory(directory)
    if as_json:
        voice.json(
            [
                {
                    "id": row.id, "kind": row.kind, "sink": row.sink, "state": row.state, "serves": row.agency_ids,
                    "in_flight": row.in_flight, "speaks_for_agency": row.speaks_for_agency, "windows": row.windows,
                    "slow": health[row.id].is_slow,
                    "broken": health[row.id].breaker.is_broken, "faults": health[row.id].breaker.faults,
                    "reason": health[row.id].reason, "queued": queues[row.id].count,
                    "oldest_seconds": _age(queues[row.id], now),
                    "inboxes": as_plain(inboxes.get(row.id, ())) if row.is_polled else None,
                }
                for row in rows
            ]
        )  # fmt: skip
        return
    voice.table(
        ("channel", "kind", "state", "condition", "#queued", "oldest", "asked", "serves"),
        [
            (
                row.id, row.kind, voice.label("channel_state", row.state),
                voice.say("channel_told.unfetched_short") if unfetched(voice, inboxes.get(row.id, ()), limits)
                else _condition(voice, row, health[row.id], now),
                *_before_it(voice, queues[row.id], now),
                asked(voice, inboxes.get(row.id, ()), now) if row.is_polled else "",
                names.few(row.agency_ids, now),
            )
            for row in rows
        ],
    )  # fmt: skip


def _age(queue: Queue, now: int) -> float | None:
    return None if queue.since is None else max(now - queue.since, 0) / 1e6


def _before_it(voice: Voice, queue: Queue, now: int) -> tuple[str, str]:
    """How many wait for a channel, and for how long the oldest has."""
    age = _age(queue, now)
    count = f"> {MOST_COUNTED}" if queue.count > MOST_COUNTED else str(queue.count)
    return count, "" if age is None else voice.span(age)


def _condition(voice: Voice, row: ChannelRow, known: ChannelHealth, now: int) -> str:
    """How the channel fared; one that is not open is not tried again, whatever its breaker remembers."""
    if known.breaker.is_broken and row.state is not ChannelState.OPEN:
        state = voice.label("channel_state", row.state)
        return voice.say("channel_told.broken_before", state=state, why=voice.reason(known.reason))
    if known.breaker.is_broken:
        wait = max(known.breaker.open_until - now, 0) / 1e6
        return voice.say("channel_told.broken", wait=voice.span(wait), why=voice.reason(known.reason))
    return voice.say("channel_told.slow" if known.is_slow else "channel_told.well")


def pause(ctx: typer.Context, channel_id: _Id) -> None:
    """Hand nothing over on a channel until it is resumed. What is due waits; nothing is lost."""
    _set(ctx, channel_id, ChannelState.PAUSED)


def resume(ctx: typer.Context, channel_id: _Id) -> None:
    """Let a paused channel go on."""
    _set(ctx, channel_id, ChannelState.OPEN)


def _set(ctx: typer.Context, channel_id: str, state: ChannelState) -> None:
    with open_node() as node:
        find_channel(node, channel_id)
        is_changed = set_channel_state(node, channel_id, state, actor=ACTOR)
        node.transport.wake("relay")
    word = state if is_changed else f"already_{state}"
    voice_of(ctx).tell(f"channel_told.{word}", channel=channel_id)


def show(ctx: typer.Context, channel_id: _Id, as_json: AsJson = False) -> None:
    """Show one channel, and what lies in its folder and is never taken."""
    voice = voice_of(ctx)
    with open_node() as node:
        row = find_channel(node, channel_id)
        directory, limits = node.channels.snapshot().directory, node.thresholds.unfetched_seconds
        with node.store.read() as connection:
            now = node.store.now(connection)
            health = list_health(connection)[channel_id]
            inboxes = find_inboxes(connection, directory, node.today(), now).get(channel_id, ())
            busy = under_way(connection, channel_id, now)
        looked = probe_channel(node, row, only_looks=True)
        strewn = ignored_in(node, channel_id, _MOST_NAMED)
    if as_json:
        voice.json(
            {
                "id": row.id, "kind": row.kind, "sink": row.sink, "state": row.state, "serves": sorted(row.agency_ids),
                "settings": without_passwords(row.settings), "broken": health.breaker.is_broken, "slow": health.is_slow,
                "windows": row.windows, "held": busy.held, "open": busy.open, "waiting": busy.waiting,
                "usable": looked.usable, "reason": looked.reason, "detail": looked.detail,
                "inboxes": as_plain(inboxes) if row.is_polled else None,
                "ignored": None if strewn is None else {"count": strewn.count, "first": strewn.first},
            }
        )  # fmt: skip
        return
    facts = (
        ("channel", row.id), ("kind", row.kind), ("state", voice.label("channel_state", row.state)),
        ("condition", unfetched(voice, inboxes, limits) or _condition(voice, row, health, now)),
        ("serves", ", ".join(sorted(row.agency_ids))),
        ("windows", "; ".join(row.windows) or "–"),
        ("under_way", voice.say("channel_told.counts", held=busy.held, open=busy.open, waiting=busy.waiting)),
        ("usable", voice.say("cli.yes") if looked.usable else voice.reason(looked.reason)),
    )  # fmt: skip
    for word, value in facts:
        voice.write(f"{voice.label('column', word)}: {value}")
    if row.is_polled:
        show_inboxes(voice, inboxes)
    if strewn is None:
        return
    voice.tell("channel_told.ignored" if strewn.count else "channel_told.tidy", count=strewn.count)
    if strewn.count:
        voice.table(("file", "what"), [(_path(one), voice.say(one.why)) for one in strewn.first])


def _path(one: IgnoredFile) -> str:
    return f"{one.place}/{one.name}" if one.place else one.name


def ignored_in(node: Node, channel_id: str, most: int) -> Ignored | None:
    """What lies in a channel's folder and is never taken; None where it has none, or it cannot be read now."""
    try:
        opened = node.channels.opened(channel_id)
        return opened.ignored(most) if opened is not None and isinstance(opened, Strewn) else None
    except (TrucError, OSError):  # whether the folder can be used is told by whoever looks at that
        return None


def probe(
    ctx: typer.Context,
    channel_ids: Annotated[list[str] | None, typer.Argument(help="help.channel_ids", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Look whether channels could be used now, sending nothing. Exit code 1 where one cannot."""
    voice = voice_of(ctx)
    with open_node() as node:
        wanted = channel_ids or sorted(node.channels.refresh().by_id)
        found = [(channel_id, probe_channel(node, find_channel(node, channel_id))) for channel_id in wanted]
    if as_json:
        voice.json(
            [
                {"channel": channel_id, "usable": probed.usable, "reason": probed.reason, "detail": probed.detail}
                for channel_id, probed in found
            ]
        )
    else:
        voice.table(
            ("channel", "usable", "reason", "detail"),
            [(channel_id, probed.usable, *_why_not(voice, probed)) for channel_id, probed in found],
        )
    if not all(probed.usable for _, probed in found):
        raise typer.Exit(ExitCode.FINDINGS)


def _why_not(voice: Voice, probed: Probe) -> tuple[str, str]:
    """The reason and what the system said, in the reader's language; where it can be used, the detail alone."""
    return voice.reason(probed.reason) if probed.reason else "", SystemWords(probed.detail).said(voice.language)


def probe_channel(node: Node, row: ChannelRow, *, only_looks: bool = False) -> Probe:
    """Whether a channel could be used now; a polled one always can: its agency comes to us.

    `only_looks`: nothing is written where the channel lies, as a probe of a folder does.
    """
    if row.is_polled:
        return Probe(usable=True)
    try:
        opened = node.channels.opened(row.id)
        if only_looks and opened is not None and isinstance(opened, Lookable):
            return opened.look()
        return node.channels.sink(row.id).probe()
    except TrucError as why:  # wrong settings, or a kind that this program does not know
        return Probe(usable=False, reason=why.reason, detail=str(why.params.get("why", row.kind)))
    except OSError as why:
        return Probe(usable=False, reason="channel.io", detail=system_words(why))
