"""The notebook of one reading: every finding and repair, each with its place."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

from edxml._xml import Element
from edxml.findings import Finding, Place, Repair, Severity
from edxml.ids import OrganId, OrganIdMalformed
from edxml.limits import Limits
from edxml.zone import VIETNAM

__all__ = ["NAMESPACE", "Notes", "fields_of", "local_name", "parse_day"]

NAMESPACE = "http://www.mic.gov.vn/TBT/QCVN_102_2016"
"""The one namespace of dialects A, B and F; the prefix `edXML` is bound to it too."""

_IN_NAMESPACE = "{" + NAMESPACE + "}"
_DATE = re.compile(r"(\d{4})/(\d\d)/(\d\d)\Z")
_DATE_OTHER = re.compile(
    r"(?:(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})|(?P<d2>\d{1,2})[-/.](?P<m2>\d{1,2})[-/.](?P<y2>\d{4}))"
    r"(?:[T ][0-9:.,+\-Z]*)?\Z"
)
_TIME = re.compile(r"(\d{4}/\d\d/\d\d) (\d\d):(\d\d):(\d\d)\Z")
_TIME_OTHER = re.compile(r"([0-9/.\-]{8,10})[T ](\d{1,2}):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?\Z")
_OLDEST = 1900
_HOLDERS = frozenset(("appendixes",))
"""Fields whose element holds lines of its own; every other one has text and no elements."""


def local_name(element: Element) -> str:
    """The name without our namespace; one of a foreign namespace keeps it, so it is never taken for ours."""
    return _local(element.tag)


@lru_cache(maxsize=1024)
def _local(tag: str) -> str:
    return tag.removeprefix(_IN_NAMESPACE)


def fields_of(names: Mapping[str, str]) -> dict[str, str]:
    """A table for `Notes.texts`: which element's text becomes which field. Made once, at import."""
    return {**names, **{_IN_NAMESPACE + name: field for name, field in names.items()}}


class Notes:
    """Collects what one reading finds and puts right, and reads the values that need judgement."""

    def __init__(self, limits: Limits) -> None:
        self.findings: list[Finding] = []
        self.repairs: list[Repair] = []
        self.limits = limits
        self._told: set[str] = set()
        self.lines: Callable[[Element], int | None] | None = None  #: who knows an element's line
        self._numbers: dict[Element, dict[Element, str]] = {}  # parent → child → "[3]", made when first asked for

    def line_of(self, element: Element) -> int | None:
        """The line of an element's tag; None where nobody knows it."""
        return None if self.lines is None else self.lines(element)

    def add(self, finding: Finding) -> None:
        """Note a finding that has its place already."""
        if self._has_room(finding.code):
            self._told.add(finding.code)
            self.findings.append(finding)

    def _has_room(self, code: str) -> bool:
        """Beyond the limit each code is still told once: no flood of warnings may hide what refuses the packet."""
        return len(self.findings) < self.limits.findings or code not in self._told

    @property
    def is_full(self) -> bool:
        """Whether as many findings were told as may be: what is beyond is the same again."""
        return len(self.findings) >= self.limits.findings

    def error(self, code: str, element: Element = None, child: str = "", **params: Any) -> None:
        """Note what refuses the packet, at `element` or at its missing `child`."""
        if self._has_room(code):
            self.add(Finding(code=code, place=self._place(element, child), params=params))

    def warn(self, code: str, element: Element = None, child: str = "", **params: Any) -> None:
        """Note what its sender should mend."""
        if self._has_room(code):
            place = self._place(element, child)
            self.add(Finding(code=code, severity=Severity.WARNING, place=place, params=params))

    def repaired(self, name: str, element: Element = None) -> None:
        """Note a deviation that was put right."""
        if len(self.repairs) < self.limits.findings:
            self.repairs.append(Repair(name=name, place=self._place(element)))

    def repaired_on(self, name: str, line: int) -> None:
        """Note a deviation outside any element that was put right."""
        if len(self.repairs) < self.limits.findings:
            self.repairs.append(Repair(name=name, place=Place(line=line)))

    def _place(self, element: Element, child: str = "") -> Place:
        if element is None:
            return Place()
        path = self._path(element)
        return Place(line=self.line_of(element), path=f"{path}/{child}" if child else path)

    def _path(self, element: Element) -> str:
        steps: list[str] = []
        while element is not None:
            parent = element.getparent()
            number = ""
            if parent is not None:
                numbers = self._numbers.get(parent)
                if numbers is None:
                    numbers = self._numbers[parent] = _number_children(parent)
                number = numbers[element]
            steps.append(local_name(element) + number)
            element = parent
        return "/".join(reversed(steps))

    def texts(self, parent: Element, known: dict[str, str]) -> dict[str, str]:
        """The trimmed texts of the children by field; `known` is a table made by `fields_of`."""
        found: dict[str, str] = {}
        longest = self.limits.text
        for child in parent:
            key = known.get(child.tag) or known.get(local_name(child))
            if key is None:
                self.warn("edxml.element_unknown", child, name=local_name(child)[:80])
            elif key in found:
                self.error("edxml.element_repeated", child, name=local_name(child))
            else:
                if len(child) and key not in _HOLDERS:
                    self.error("edxml.value_mixed", child, name=local_name(child))
                text = child.text
                if text is None:
                    found[key] = ""
                elif len(text) <= longest:
                    found[key] = text.strip()
                else:
                    self.error("edxml.text_too_long", child, limit=longest)
                    found[key] = text[:200]
        return found

    def parts(self, parent: Element, once: frozenset[str], many: frozenset[str] = frozenset()) -> dict[str, Any]:
        """The children by name: an element for names in `once`, a list for those in `many`."""
        found: dict[str, Any] = {}
        for child in parent:
            name = local_name(child)
            if name in many:
                found.setdefault(name, []).append(child)
            elif name not in once:
                self.warn("edxml.element_unknown", child, name=name[:80])
            elif name in found:
                self.error("edxml.element_repeated", child, name=name)
            else:
                found[name] = child
        return found

    def only(self, parent: Element, name: str) -> Element:
        """The child `name`, None where there is none; an error where there are several: others may read another one."""
        found = None
        for child in () if parent is None else parent:
            if local_name(child) == name:
                if found is not None:
                    self.error("edxml.element_repeated", child, name=name)
                    break
                found = child
        return found

    def text(self, element: Element) -> str:
        """The trimmed text of one element; empty where there is none. One that is too long is noted and cut."""
        if element is None:
            return ""
        if len(element):
            self.error("edxml.value_mixed", element, name=local_name(element))
        if element.text is None:
            return ""
        text: str = element.text
        if len(text) > self.limits.text:
            self.error("edxml.text_too_long", element, limit=self.limits.text)
            return text[:200]
        return text.strip()

    def organ(self, text: str, element: Element) -> OrganId | None:
        """An organ id that must be right; None and an error where it is not."""
        try:
            return OrganId.parse(text)
        except OrganIdMalformed:
            if text:
                self.error("edxml.organ_id_malformed", element, text=text[:80])
            else:
                self.error("edxml.organ_id_missing", element)
            return None

    def day(self, text: str, element: Element) -> date | None:
        """A date `yyyy/MM/dd`; other forms and impossible dates are named repairs, the latter give None."""
        if not text:
            return None
        day = _day(text)
        if day is not None:
            return day
        day = parse_day(text)
        if day is None:
            self._no_day(text, element)
        else:
            self.repaired("date_form", element)
        return day

    def moment(self, text: str, element: Element) -> datetime | None:
        """A time stamp `yyyy/MM/dd HH:mm:ss`, local time of Việt Nam, as aware UTC; repaired as dates are."""
        if not text:
            return None
        found = _TIME.match(text)
        form = found is not None
        if form and (moment := _moment(text)) is not None:
            return moment
        found = found or _TIME_OTHER.match(text)
        day = parse_day(found[1]) if found else _day_in_another_form(text)
        if day is None:
            self._no_day(text, element)
            return None
        hour, minute, second = (int(part or 0) for part in found.groups()[1:]) if found else (0, 0, 0)
        try:
            moment = datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=VIETNAM)
        except ValueError:
            self._no_day(text, element)
            return None
        if not form:
            self.repaired("date_form", element)
        return moment.astimezone(UTC)

    def _no_day(self, text: str, element: Element) -> None:
        self.repaired("date_impossible", element)
        self.warn("edxml.date_unreadable", element, text=text[:40])

    def number(self, text: str, element: Element) -> int | None:
        """A count; None where it is absent or, with a warning, where it is no count."""
        if not text:
            return None
        if text.isascii() and text.isdigit() and len(text) < 10:
            return int(text)
        self.warn("edxml.number_unreadable", element, text=text[:40])
        return None


@lru_cache(maxsize=2048)
def _day(text: str) -> date | None:
    found = _DATE.match(text)
    return _real_day(found[1], found[2], found[3]) if found else None


def parse_day(text: str) -> date | None:
    """A day in the standard's form or another that senders use; None where it is no real day."""
    return _day(text) or _day_in_another_form(text)


def _moment(text: str) -> datetime | None:
    """A time stamp in the standard's form, fast; None where a slower look must say what is wrong."""
    try:
        moment = datetime.fromisoformat(text.replace("/", "-") + "+07:00")
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.year >= _OLDEST else None


def _day_in_another_form(text: str) -> date | None:
    found = _DATE_OTHER.match(text)
    if found is None:
        return None
    return _real_day(found["y"] or found["y2"], found["m"] or found["m2"], found["d"] or found["d2"])


def _real_day(year: str, month: str, day: str) -> date | None:
    try:
        real = date(int(year), int(month), int(day))
    except ValueError:
        return None
    return real if real.year >= _OLDEST else None


def _number_children(parent: Element) -> dict[Element, str]:
    """For each child its "[n]" among those of its name, empty for an only one."""
    totals = Counter(local_name(child) for child in parent)
    seen: Counter[str] = Counter()
    numbers = {}
    for child in parent:
        name = local_name(child)
        seen[name] += 1
        numbers[child] = f"[{seen[name]}]" if totals[name] > 1 else ""
    return numbers
