"""How strictly a packet is read, as data: which named repair is allowed, for whom, until when (hồ sơ kiểm tra).

The repairs and the two profiles of the house stand in `data/profiles.toml`; an operator's own is a file of the same
form: `load_profile(path.read_text(), "grace")`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from edxml.errors import EdxmlError
from edxml.ids import OrganId, OrganIdMalformed

__all__ = [
    "LENIENT",
    "REPAIRS",
    "REPAIR_KINDS",
    "STRICT",
    "Allowance",
    "Profile",
    "ProfileInvalid",
    "RepairKind",
    "load_profile",
]


class ProfileInvalid(EdxmlError):
    """A profile's text is no profile; parameters `name` and `why`."""

    code = "edxml.profile_invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairKind:
    """One repair that reading may make: where its deviation was `seen`, and what it `breaks`."""

    name: str
    seen: str
    breaks: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """Some repairs allowed: to `senders` (empty: everyone), up to and including the day `until` (None: no end)."""

    repairs: frozenset[str]
    senders: frozenset[OrganId] = frozenset()
    until: date | None = None
    why: str = ""

    def covers(self, repair: str, sender: OrganId | None, day: date | None) -> bool:
        """Whether `sender` may be wrong in this way on `day`; an unknown sender or day never meets a condition."""
        if repair not in self.repairs or (self.senders and sender not in self.senders):
            return False
        return self.until is None or (day is not None and day <= self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A named strictness. A repair that is not allowed becomes an error `edxml.repair_forbidden` at its place."""

    name: str
    allowances: tuple[Allowance, ...] = ()

    def allows(self, repair: str, sender: OrganId | None = None, day: date | None = None) -> bool:
        """Whether the packet of `sender` may be put right by `repair` on `day` (a calendar day in Việt Nam)."""
        return any(allowance.covers(repair, sender, day) for allowance in self.allowances)


def load_profile(text: str, name: str) -> Profile:
    """The profile `name` of a TOML text. Raises ProfileInvalid where it is absent or says what it cannot."""
    try:
        entries = tomllib.loads(text).get("profile", {}).get(name)
    except (tomllib.TOMLDecodeError, AttributeError) as why:
        raise ProfileInvalid(name=name, why=str(why)) from None
    if not isinstance(entries, list):
        raise ProfileInvalid(name=name, why=f"no [[profile.{name}]]")
    return Profile(name=name, allowances=tuple(_allowance(entry, name) for entry in entries))


def _allowance(entry: Any, name: str) -> Allowance:
    unknown = set(entry) - {"repairs", "senders", "until", "why"} if isinstance(entry, dict) else {"?"}
    if unknown:
        raise ProfileInvalid(name=name, why=f"unknown: {', '.join(sorted(unknown))}")
    repairs, senders, until = entry.get("repairs", []), entry.get("senders", []), entry.get("until")
    for listed in (repairs, senders):
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise ProfileInvalid(name=name, why="repairs and senders are lists of texts")
    if strange := set(repairs) - REPAIRS:
        raise ProfileInvalid(name=name, why=f"no such repair: {', '.join(sorted(strange))}")
    if "senders" in entry and not senders:
        raise ProfileInvalid(name=name, why="senders = [] names nobody; leave it out for everyone")
    if until is not None and type(until) is not date:
        raise ProfileInvalid(name=name, why="until is a date, as 2027-12-31")
    try:
        organs = frozenset(OrganId.parse(sender) for sender in senders)
    except OrganIdMalformed as why:
        raise ProfileInvalid(name=name, why=f"no organ id: {why.params['text']}") from None
    return Allowance(repairs=frozenset(repairs), senders=organs, until=until, why=str(entry.get("why", "")))


@cache
def _text() -> str:
    return resources.files("edxml").joinpath("data/profiles.toml").read_text("utf-8")


def _repairs() -> Mapping[str, RepairKind]:
    listed = tomllib.loads(_text())["repair"]
    return MappingProxyType({name: RepairKind(name=name, **fields) for name, fields in sorted(listed.items())})


REPAIR_KINDS: Mapping[str, RepairKind] = _repairs()
"""Every repair that reading may make, by name; each has a text `repair.<name>` in both languages."""

REPAIRS = frozenset(REPAIR_KINDS)

STRICT = load_profile(_text(), "strict")
LENIENT = load_profile(_text(), "lenient")
