"""What must hold between agencies before they make a directory."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from itertools import pairwise

from edxml.findings import Finding
from routing.agency import Agency, Dated, DatedCode

__all__ = ["contradictions"]


def contradictions(agencies: tuple[Agency, ...], fold: Callable[[str], str]) -> tuple[Finding, ...]:
    """Every contradiction among `agencies`, as findings; `fold` gives the comparison key of an organ code."""
    known = {agency.id: agency for agency in agencies}
    found = [
        Finding(code="directory.id_twice", params={"agency": agency_id})
        for agency_id, count in Counter(agency.id for agency in agencies).items()
        if count > 1
    ]
    for agency in agencies:
        found.extend(_faults_of(agency, known))
    found.extend(_codes_taken_twice(agencies, fold))
    return tuple(found)


def _faults_of(agency: Agency, known: Mapping[str, Agency]) -> Iterator[Finding]:
    if not agency.names:
        yield Finding(code="directory.nameless", params={"agency": agency.id})
    dated: tuple[Dated, ...] = (agency, *agency.names, *agency.parents, *agency.codes)
    for start, end in ((item.valid_from, item.valid_to) for item in dated):
        if start is not None and end is not None and end < start:
            yield Finding(
                code="directory.dates_reversed", params={"agency": agency.id, "from": str(start), "to": str(end)}
            )
    for parent in agency.parents:
        if parent.agency_id not in known or parent.agency_id == agency.id:
            yield Finding(code="directory.parent_unknown", params={"agency": agency.id, "parent": parent.agency_id})
    for step in agency.successors:
        heir = known.get(step.agency_id)
        if heir is None or heir is agency or not heir.in_force_on(step.effective):
            yield Finding(
                code="directory.successor_unknown",
                params={"agency": agency.id, "successor": step.agency_id, "day": str(step.effective)},
            )
        if agency.in_force_on(step.effective):
            yield Finding(
                code="directory.successor_of_living", params={"agency": agency.id, "day": str(step.effective)}
            )


def _codes_taken_twice(agencies: Iterable[Agency], fold: Callable[[str], str]) -> Iterator[Finding]:
    holders: dict[tuple[str, str], list[tuple[date, date, str]]] = defaultdict(list)
    for agency in agencies:
        for code in agency.codes:
            holders[_key(code, fold)].append((code.valid_from or date.min, code.valid_to or date.max, agency.id))
    for (_, text), spans in holders.items():
        for (_, end, first), (start, _, second) in pairwise(sorted(spans)):
            if start <= end and first != second:
                yield Finding(
                    code="directory.code_taken",
                    params={"code": text, "first": first, "second": second, "day": str(start)},
                )


def _key(code: DatedCode, fold: Callable[[str], str]) -> tuple[str, str]:
    """Organ codes of every scheme share one space, because a packet does not say which scheme it means."""
    return ("organ", fold(code.code)) if code.scheme.is_organ_code else (code.scheme, code.code.strip())
