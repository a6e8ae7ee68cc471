"""What `truc channel list` and `show` tell of channels that are polled: what waits, and who was last heard of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from edxml.commands.terminal import in_vietnam
from edxml.zone import iso_in_vietnam
from gateway.cli.output import Voice
from gateway.store import Connection, views
from gateway.workers.figures import inbox_figures
from monitoring.alerts import InboxFigures
from monitoring.registry import Urgency
from routing.directory import Directory

__all__ = ["Inboxes", "as_plain", "asked", "find_inboxes", "show_inboxes", "unfetched"]

Inboxes = Mapping[str, Sequence[InboxFigures]]
"""By channel, those of the agencies that it serves."""


def find_inboxes(connection: Connection, directory: Directory, day: date, now: int) -> Inboxes:
    """Every inbox that is polled, its agency by its name on `day`."""
    found: dict[str, list[InboxFigures]] = defaultdict(list)
    for one in views.inboxes(connection, now):
        found[one.channel_id].append(inbox_figures(one, directory, day, now))
    return found


def unfetched(voice: Voice, inboxes: Sequence[InboxFigures], limits: Mapping[Urgency, float]) -> str:
    """About the inbox in which something has waited longer than `limits` let it, an urgent one first; "": none has."""
    late = [(each, one) for each in Urgency for one in inboxes if one.late(limits) is each]
    if not late:
        return ""
    urgency, one = late[0]
    waited = voice.span(one.oldest[urgency])
    word = voice.label("urgency", urgency)
    return voice.say("channel_told.unfetched", agency=one.agency, urgency=word, waited=waited)


def asked(voice: Voice, inboxes: Sequence[InboxFigures], now: int) -> str:
    """How long ago any of them was last asked for."""
    last = max((one.polled_at for one in inboxes if one.polled_at is not None), default=None)
    if last is None:
        return voice.say("sighting.never")
    return voice.say("sighting.ago", span=voice.span(max(now / 1e6 - last.timestamp(), 0)))


def _when(voice: Voice, moment: datetime | None) -> str:
    return voice.say("sighting.never") if moment is None else in_vietnam(moment)


def _plain(moment: datetime | None) -> str | None:
    return None if moment is None else iso_in_vietnam(moment)


def as_plain(inboxes: Sequence[InboxFigures]) -> list[dict[str, Any]]:
    """For JSON."""
    return [
        {
            "agency": one.agency_id, "system": one.system, "unfetched": one.count, "oldest_seconds": dict(one.oldest),
            "polled_at": _plain(one.polled_at), "seen_at": _plain(one.seen_at),
        }
        for one in inboxes
    ]  # fmt: skip


def show_inboxes(voice: Voice, inboxes: Sequence[InboxFigures]) -> None:
    """One line for each."""
    voice.table(
        ("name", "system", "#queued", "oldest", "asked", "seen"),
        [
            (
                one.agency, one.system or voice.say("sighting.nobody"), one.count,
                voice.span(max(one.oldest.values())) if one.oldest else "",
                _when(voice, one.polled_at), _when(voice, one.seen_at),
            )
            for one in inboxes
        ],
    )  # fmt: skip
