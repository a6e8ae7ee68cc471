"""The table of channel kinds. A further kind is one line here, or one entry more in the mapping that compose passes:

Channels(store, KINDS | {"stand_in": open_stand_in})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Protocol, runtime_checkable

from adapters.contract import Probe, Sink, Source
from adapters.folder import open_folder
from adapters.folder_ignored import Ignored
from adapters.rest import rest_kind
from edxml.errors import TrucError
from gateway.channels.echo import echo_kind

__all__ = ["KINDS", "Forgetful", "Kind", "Lookable", "Opened", "Opener", "Strewn", "forgets", "name_fault"]


class Opened(Protocol):
    """A channel as its adapter opened it: where packets are handed over, and where they come from, if at all."""

    @property
    def sink(self) -> Sink: ...
    @property
    def source(self) -> Source | None: ...


@runtime_checkable
class Lookable(Protocol):
    """A channel that can be looked at without writing anything where it lies."""

    def look(self) -> Probe: ...


@runtime_checkable
class Strewn(Protocol):
    """A channel in which things may lie that its source never takes."""

    def ignored(self, most: int) -> Ignored: ...


@runtime_checkable
class Forgetful(Protocol):
    """A channel that remembers delivery keys for so long only: a repeat after that would be a second copy (rule 5)."""

    @property
    def remember(self) -> timedelta: ...


def forgets(opened: object, time_limit: timedelta) -> dict[str, str] | None:
    """Both spans in days where a channel remembers keys for no longer than a delivery may take; else None."""
    if not isinstance(opened, Forgetful) or opened.remember > time_limit:
        return None
    return {name: f"{span / timedelta(days=1):g}" for name, span in
            (("remembers", opened.remember), ("limit", time_limit))}  # fmt: skip


Opener = Callable[[Mapping[str, object], str], Opened]
"""(settings, channel id) → the channel. Touches nothing outside; raises AdapterError for wrong settings."""

Kind = Opener | None
"""None: the agency's software polls us; there is nothing to open."""


def name_fault(why: TrucError | OSError) -> str:
    """The code of what a channel met: its adapter's own, or `channel.io` for what the system refused."""
    return why.reason if isinstance(why, TrucError) else "channel.io"


KINDS: Mapping[str, Kind] = {
    "inbox": None,
    "folder": open_folder,
    "echo": echo_kind(),
    "rest": rest_kind(),
}
"""Channel kinds by the name that rows and files use."""
