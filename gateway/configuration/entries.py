"""What a configuration file says, as values: an entry per table, each with its place in the file (`where`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edxml.findings import Finding
from routing.agency import Agency

__all__ = ["ChannelEntry", "Configuration", "ProfileEntry", "SystemEntry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileEntry:
    """A `[[profile]]` (hồ sơ kiểm tra): which repairs are made. `allow`: tables as `edxml.profiles` reads them."""

    where: str
    name: str
    allow: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemEntry:
    """A `[[system]]`. `speaks_for`: agencies by our id or an organ code; `is_enabled`, `profile` None: as it is."""

    where: str
    name: str
    is_operator: bool = False
    is_enabled: bool | None = None
    profile: str | None = None
    speaks_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelEntry:
    """A `[[channel]]`. `serves`: agencies by our id or an organ code; `is_paused`, `windows` None: as they are."""

    where: str
    id: str
    kind: str
    serves: tuple[str, ...] = ()
    system: str | None = None
    is_paused: bool | None = None
    speaks_for_agency: bool = False
    in_flight: int = 4
    windows: tuple[str, ...] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What a file says. Whatever it does not name stays as it is.

    `faults` of the writing: a file that has some is never applied; the rest of it is there to be looked at too, each
    wrong field as if it were left out.  `unread`: sections ("system") of which not even all names are known.
    """

    agencies: tuple[Agency, ...] = ()
    profiles: tuple[ProfileEntry, ...] = ()
    systems: tuple[SystemEntry, ...] = ()
    channels: tuple[ChannelEntry, ...] = ()
    faults: tuple[Finding, ...] = ()
    unread: frozenset[str] = frozenset()
