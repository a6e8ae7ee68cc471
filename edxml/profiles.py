"""How strictly a packet is read, as data: which named repair is allowed, for whom, until when (hồ sơ kiểm tra).

The repairs and the two profiles of the house stand in `data/profiles.toml`; an operator's own is a file of the same
form: `load_profile(path.read_text(), "grace")`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from edxml.errors import EdxmlError
from edxml.findings import Finding, Repair
from edxml.ids import OrganId, OrganIdMalformed
from edxml.messages import Term

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
    "make_profile",
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

    @property
    def source(self) -> str:
        """What it breaks, as a sentence's parameter: a clause is called alike everywhere, a practice is told in the
        reader's language."""
        return Term(f"practice.{self.name}") if self.breaks.startswith("practice: ") else self.breaks


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """Some repairs allowed: to `senders` (empty: everyone), up to and including the day `until` (None: no end)."""

    repairs: frozenset[str]
    senders: frozenset[OrganId] = frozenset()
    until: date | None = None
    why: str = ""

    def covers(self, repair: str, sender: OrganId | None, day: date | None) -> bool:
        """Whether `sender` may be wrong in this way on `day`; an unknown sender or day never meets a condition."""
        if not self.is_for(repair, sender):
            return False
        return self.until is None or (day is not None and day <= self.until)

    def is_for(self, repair: str, sender: OrganId | None) -> bool:
        """Whether it names this repair and this sender, whatever the day."""
        return repair in self.repairs and (not self.senders or sender in self.senders)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A named strictness: what may be put right, and whether packets are held against our XSD as well.

    The XSD knows no exceptions: where a repair is allowed it would refuse what the profile takes, so a profile that
    holds packets to it allows no repair.
    """

    name: str
    allowances: tuple[Allowance, ...] = ()
    checks_schema: bool = False

    def allows(self, repair: str, sender: OrganId | None = None, day: date | None = None) -> bool:
        """Whether the packet of `sender` may be put right by `repair` on `day` (a calendar day in Việt Nam)."""
        return any(allowance.covers(repair, sender, day) for allowance in self.allowances)

    def last_day(self, repair: str, sender: OrganId | None = None) -> date | None:
        """The last day on which this repair is made for `sender`: `date.max` where no end was set, None for never."""
        ends = [one.until or date.max for one in self.allowances if one.is_for(repair, sender)]
        return max(ends, default=None)

    def refusals(self, repairs: Iterable[Repair], sender: OrganId | None, day: date | None) -> Iterator[Finding]:
        """An error at the place of each repair that may not be made: `edxml.repair_forbidden`, or
        `edxml.repair_ended` where it was allowed until a day that has passed."""
        for repair in repairs:
            if not self.allows(repair.name, sender, day):
                yield self._refusal(repair, self.last_day(repair.name, sender))

    def _refusal(self, repair: Repair, last: date | None) -> Finding:
        params = {
            "repair": repair.name,
            "remedy": Term(f"remedy.{repair.name}"),
            "breaks": source_of(repair.name),
            "profile": self.name,
        }
        if last is None:
            return Finding(code="edxml.repair_forbidden", place=repair.place, params=params)
        return Finding(code="edxml.repair_ended", place=repair.place, params={**params, "until": last})


def load_profile(text: str, name: str) -> Profile:
    """The profile `name` of a TOML text. Raises ProfileInvalid where it is absent or says what it cannot."""
    try:
        entries = tomllib.loads(text).get("profile", {}).get(name)
    except (tomllib.TOMLDecodeError, AttributeError) as why:
        raise ProfileInvalid(name=name, why=str(why)) from None
    if not isinstance(entries, list):
        raise ProfileInvalid(name=name, why=f"no [[profile.{name}]]")
    return make_profile(entries, name)


_FIELDS = frozenset({"repairs", "but", "senders", "until", "why", "schema"})


def make_profile(entries: Sequence[Any], name: str) -> Profile:
    """The profile of the tables that `[[profile.<name>]]` holds. Raises ProfileInvalid as `load_profile`."""
    allowances = tuple(_allowance(entry, name) for entry in entries)
    schema = [entry["schema"] for entry in entries if "schema" in entry]
    if not all(isinstance(one, bool) for one in schema):
        raise ProfileInvalid(name=name, why="schema is true or false")
    if any(schema) and any(allowance.repairs for allowance in allowances):
        raise ProfileInvalid(name=name, why="schema = true allows no repair")
    return Profile(name=name, allowances=allowances, checks_schema=any(schema))


def _allowance(entry: Any, name: str) -> Allowance:
    unknown = set(entry) - _FIELDS if isinstance(entry, dict) else {"?"}
    if unknown:
        raise ProfileInvalid(name=name, why=f"unknown: {', '.join(sorted(unknown))}")
    repairs, but, senders, until = (entry.get(key, []) for key in ("repairs", "but", "senders", "until"))
    for listed in (repairs, but, senders):
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise ProfileInvalid(name=name, why="repairs, but and senders are lists of texts")
    if strange := {*repairs, *but} - REPAIRS - ({"*"} if repairs == ["*"] else set()):
        raise ProfileInvalid(name=name, why=f"no such repair: {', '.join(sorted(strange))}")
    if but and repairs != ["*"]:
        raise ProfileInvalid(name=name, why='but goes with repairs = ["*"]')
    if "senders" in entry and not senders:
        raise ProfileInvalid(name=name, why="senders = [] names nobody; leave it out for everyone")
    if "until" in entry and type(until) is not date:
        raise ProfileInvalid(name=name, why="until is a date, as 2027-12-31")
    try:
        organs = frozenset(OrganId.parse(sender) for sender in senders)
    except OrganIdMalformed as why:
        raise ProfileInvalid(name=name, why=f"no organ id: {why.params['text']}") from None
    return Allowance(
        repairs=REPAIRS - frozenset(but) if repairs == ["*"] else frozenset(repairs),
        senders=organs,
        until=entry.get("until"),
        why=str(entry.get("why", "")),
    )


@cache
def _text() -> str:
    return resources.files("edxml").joinpath("data/profiles.toml").read_text("utf-8")


def _repairs() -> Mapping[str, RepairKind]:
    listed = tomllib.loads(_text())["repair"]
    return MappingProxyType({name: RepairKind(name=name, **fields) for name, fields in sorted(listed.items())})


REPAIR_KINDS: Mapping[str, RepairKind] = _repairs()
"""Every repair that reading may make, by name; each has a text `repair.<name>` in both languages."""

REPAIRS = frozenset(REPAIR_KINDS)


_STRANGE = "?"


def source_of(name: str) -> str:
    """`RepairKind.source` of a repair; "?" for one that another release made and that this one does not know."""
    kind = REPAIR_KINDS.get(name)
    return _STRANGE if kind is None else kind.source


def breaks_of(name: str) -> str:
    """`RepairKind.breaks` of a repair; "?" as `source_of`."""
    kind = REPAIR_KINDS.get(name)
    return _STRANGE if kind is None else kind.breaks


STRICT = load_profile(_text(), "strict")
LENIENT = load_profile(_text(), "lenient")
