"""The directory (danh mục): who exists on a day, by which codes and names, and who carries on whose work.

A frozen value with indexes made once; looking up an address costs a dict look-up. Pure: the day is always given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from edxml.ids import OrganId, OrganIdMalformed
from routing.agency import Agency, CodeScheme, covers
from routing.checks import contradictions
from routing.errors import DirectoryInvalid
from routing.names import fold_accents, fold_tones

__all__ = ["Directory", "Match", "organ_key"]


def organ_key(organ_id: str | OrganId) -> str:
    """The comparison key of an organ code: equal for both forms of one code; trimmed, in capitals.

    What is no organ code in any form is compared as it is written.
    """
    if isinstance(organ_id, OrganId):
        return organ_id.canonical
    written = organ_id.strip().upper()
    try:
        return OrganId.parse(written).canonical
    except OrganIdMalformed:
        return written


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One agency that a search found: the name that matched, and the name of what it lay within ("" at the top)."""

    agency: Agency
    name: str
    within: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Title:
    """A dated name made ready for searching."""

    agency: Agency
    name: str
    toned: str
    bare: str
    valid_from: date | None
    valid_to: date | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Directory:
    """All agencies that a node knows. Make one with `from_agencies`; the indexes are its own."""

    agencies: tuple[Agency, ...]
    _ids: Mapping[str, Agency]
    _codes: Mapping[str, tuple[Agency, ...]]
    _gso: Mapping[str, tuple[Agency, ...]]
    _children: Mapping[str, tuple[Agency, ...]]
    _titles: tuple[_Title, ...]

    @classmethod
    def from_agencies(cls, agencies: Iterable[Agency]) -> Directory:
        """A directory of `agencies`, in their order.

        Raises DirectoryInvalid, with every finding, where they contradict each other: an id twice, a parent or
        successor that is not there, dates the wrong way round, two agencies with one code on one day.
        """
        listed = tuple(agencies)
        faults = contradictions(listed, organ_key)
        if faults:
            raise DirectoryInvalid(findings=faults)
        codes: dict[str, dict[str, Agency]] = defaultdict(dict)
        gso: dict[str, dict[str, Agency]] = defaultdict(dict)
        children: dict[str, dict[str, Agency]] = defaultdict(dict)
        for agency in listed:
            for code in agency.codes:
                if code.scheme.is_organ_code:
                    codes[organ_key(code.code)][agency.id] = agency
                else:
                    gso[code.code][agency.id] = agency
            for parent in agency.parents:
                children[parent.agency_id][agency.id] = agency
        return cls(
            agencies=listed,
            _ids={agency.id: agency for agency in listed},
            _codes=_frozen(codes),
            _gso=_frozen(gso),
            _children=_frozen(children),
            _titles=tuple(title for agency in listed for title in _titles_of(agency)),
        )

    def merged_with(self, extra: Iterable[Agency]) -> Directory:
        """This directory and `extra`; an agency of `extra` takes the place of one with the same id."""
        added = {agency.id: agency for agency in extra}
        kept = tuple(added.pop(agency.id, agency) for agency in self.agencies)
        return Directory.from_agencies((*kept, *added.values()))

    def by_id(self, agency_id: str) -> Agency | None:
        """The agency with our own id, or None."""
        return self._ids.get(agency_id)

    def find_all(self, organ_id: str | OrganId) -> tuple[Agency, ...]:
        """Every agency that ever had this organ code, in either form, whatever its case and blanks around it."""
        return self._codes.get(organ_key(organ_id), ())

    def find(self, organ_id: str | OrganId, on: date) -> Agency | None:
        """The agency that this organ code means on `on`.

        A code that has run out still means who had it last before `on`, and a code that will come means who gets it
        first: the caller sees by `in_force_on` whether the agency itself lives.
        """
        found = self.find_all(organ_id)
        if len(found) <= 1:
            return found[0] if found else None
        return min(found, key=lambda agency: _distance(agency, organ_key(organ_id), on))

    def find_gso(self, code: str, on: date) -> Agency | None:
        """The agency whose unit has this code of the statistics office on `on`; None when nobody has it that day."""
        for agency in self._gso.get(code.strip(), ()):
            if agency.code_on(on, CodeScheme.GSO) == code.strip():
                return agency
        return None

    def in_force(self, on: date) -> tuple[Agency, ...]:
        """All agencies that exist on `on`."""
        return tuple(agency for agency in self.agencies if agency.in_force_on(on))

    def children(self, agency_id: str, on: date) -> tuple[Agency, ...]:
        """The agencies in force on `on` that belong directly to `agency_id` on that day."""
        found = self._children.get(agency_id, ())
        return tuple(child for child in found if child.in_force_on(on) and child.parent_on(on) == agency_id)

    def successors_on(self, agency: Agency, day: date) -> tuple[Agency, ...]:
        """Who carries on the work of `agency` on `day`: itself while it lives, else its successors, followed
        through until each of them is in force. Empty where the law names nobody, or `agency` is still to come."""
        heirs: dict[str, Agency] = {}
        seen = {agency.id}
        open_ = [agency]
        for current in open_:
            if current.in_force_on(day):
                heirs[current.id] = current
                continue
            for step in current.successors:
                if step.effective <= day and step.agency_id not in seen:
                    seen.add(step.agency_id)
                    open_.append(self._ids[step.agency_id])
        return tuple(heirs.values())

    def search(self, text: str, on: date, *, is_past_included: bool = False) -> tuple[Match, ...]:
        """Agencies in force on `on` whose name holds the words of `text`, or that `text` is a code of; best first.

        Accents may be missing and tone marks may sit on either vowel (Hoà, Hòa). All units of the same name come,
        told apart by `within`. `is_past_included` looks through abolished agencies and earlier names too.
        """
        toned, bare = fold_tones(text), fold_accents(text)
        if not bare:
            return ()
        ranked: dict[str, tuple[tuple[int, str, str, str], Match]] = {}
        for agency in (*self.find_all(text), *self._gso.get(text.strip(), ())):
            if is_past_included or agency.in_force_on(on):
                self._rank(ranked, agency, agency.name_on(on), on, 0)
        for title in self._titles:
            if is_past_included or (title.agency.in_force_on(on) and covers(title.valid_from, title.valid_to, on)):
                rank = _rank_of(title, toned, bare)
                if rank is not None:
                    self._rank(ranked, title.agency, title.name, on, rank)
        return tuple(match for _, match in sorted(ranked.values(), key=lambda item: item[0]))

    def within(self, agency: Agency, on: date) -> str:
        """The name of the agency that `agency` belongs to on `on`, "" at the top: tells same-named units apart."""
        parent = self._ids.get(agency.parent_on(on) or "")
        return parent.name_on(on) if parent else ""

    def _rank(
        self, ranked: dict[str, tuple[tuple[int, str, str, str], Match]], agency: Agency, name: str, on: date, rank: int
    ) -> None:
        if agency.id not in ranked or rank < ranked[agency.id][0][0]:
            match = Match(agency=agency, name=name, within=self.within(agency, on))
            ranked[agency.id] = ((rank, fold_accents(name), fold_accents(match.within), agency.id), match)


def _frozen(index: Mapping[str, dict[str, Agency]]) -> dict[str, tuple[Agency, ...]]:
    return {key: tuple(found.values()) for key, found in index.items()}


def _distance(agency: Agency, key: str, on: date) -> tuple[int, int]:
    """How far an agency's holding of a code lies from `on`: held that day, ended before, or yet to come."""
    distances = []
    for code in agency.codes:
        if not code.scheme.is_organ_code or organ_key(code.code) != key:
            continue
        if covers(code.valid_from, code.valid_to, on):
            distances.append((0, 0))
        elif code.valid_to is not None and code.valid_to < on:
            distances.append((1, (on - code.valid_to).days))
        else:
            distances.append((2, ((code.valid_from or on) - on).days))
    return min(distances)


def _titles_of(agency: Agency) -> Iterable[_Title]:
    for name in agency.names:
        for text in filter(None, (name.name, name.abbreviation)):
            yield _Title(
                agency=agency,
                name=name.name,
                toned=fold_tones(text),
                bare=fold_accents(text),
                valid_from=name.valid_from,
                valid_to=name.valid_to,
            )


_UNIT_WORDS = (
    "ubnd", "xa", "phuong", "thi tran", "thi xa", "huyen", "thanh pho", "tinh", "so", "ban",
)  # fmt: skip


def _rank_of(title: _Title, toned: str, bare: str) -> int | None:
    """1 the name itself as written, 2 the name itself without accents, 3 and 4 the same for a part; None no match."""
    if f" {bare}" not in f" {title.bare}":
        return None
    is_whole = _without_unit_words(title.bare) == _without_unit_words(bare)
    is_toned = f" {toned}" in f" {title.toned}"
    return (1 if is_whole else 3) + (0 if is_toned else 1)


def _without_unit_words(bare: str) -> str:
    text = bare + " "
    for word in _UNIT_WORDS:
        text = text.removeprefix(word + " ")
    return text.strip()
