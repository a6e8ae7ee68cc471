"""The directory as plain rows, the shape in which files and tables keep it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

from routing.agency import (
    Agency,
    AgencyKind,
    CodeScheme,
    Dated,
    DatedCode,
    DatedName,
    DatedParent,
    Share,
    Succession,
)
from routing.directory import Directory

__all__ = ["COLUMNS", "agencies_from_rows", "as_rows", "load_nghe_an"]

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "agencies": ("id", "kind", "valid_from", "valid_to"),
    "names": ("agency_id", "name", "abbreviation", "valid_from", "valid_to"),
    "parents": ("agency_id", "parent_id", "valid_from", "valid_to"),
    "codes": ("agency_id", "scheme", "code", "valid_from", "valid_to", "assumed"),
    "successors": ("agency_id", "successor_id", "effective", "share", "act"),
}
"""The tables and their columns. Values are text or None (dates as ISO 8601), `assumed` is a bool: ready for JSON."""

Row = Mapping[str, Any]


def as_rows(agencies: Iterable[Agency]) -> dict[str, list[dict[str, Any]]]:
    """`agencies` as rows of the five tables of COLUMNS, in order; the way back is `agencies_from_rows`."""
    rows: dict[str, list[dict[str, Any]]] = {table: [] for table in COLUMNS}
    for agency in agencies:
        own = {"agency_id": agency.id}
        rows["agencies"].append({"id": agency.id, "kind": str(agency.kind), **_period(agency)})
        for name in agency.names:
            rows["names"].append({**own, "name": name.name, "abbreviation": name.abbreviation, **_period(name)})
        for parent in agency.parents:
            rows["parents"].append({**own, "parent_id": parent.agency_id, **_period(parent)})
        for code in agency.codes:
            rows["codes"].append(
                {**own, "scheme": str(code.scheme), "code": code.code, **_period(code), "assumed": code.assumed}
            )
        for step in agency.successors:
            rows["successors"].append(
                {
                    **own,
                    "successor_id": step.agency_id,
                    "effective": step.effective.isoformat(),
                    "share": str(step.share),
                    "act": step.act,
                }
            )
    return rows


def agencies_from_rows(rows: Mapping[str, Iterable[Row]]) -> tuple[Agency, ...]:
    """Agencies from rows of the five tables; dates may be `date`, ISO text, "" or None.

    The order of rows that belong to one agency is kept for codes and successors; names and parents are sorted by
    their first day. Raises ValueError for a kind, scheme, share or date that is none.
    """
    names = _grouped(rows["names"])
    parents = _grouped(rows["parents"])
    codes = _grouped(rows["codes"])
    successors = _grouped(rows["successors"])
    return tuple(
        Agency(
            id=row["id"],
            kind=AgencyKind(row["kind"]),
            names=tuple(
                DatedName(name=name["name"], abbreviation=name["abbreviation"], **_days(name))
                for name in _by_first_day(names[row["id"]])
            ),
            parents=tuple(
                DatedParent(agency_id=parent["parent_id"], **_days(parent))
                for parent in _by_first_day(parents[row["id"]])
            ),
            codes=tuple(_code(code) for code in codes[row["id"]]),
            successors=tuple(_succession(step) for step in successors[row["id"]]),
            **_days(row),
        )
        for row in rows["agencies"]
    )


@cache
def load_nghe_an() -> Directory:
    """Nghệ An's agencies from 15/3/2016 on, from this package's own data; read once per process."""
    folder = files("routing") / "data" / "nghe_an"
    return Directory.from_agencies(
        agencies_from_rows({table: _read(folder.joinpath(f"{table}.tsv").read_text("utf-8")) for table in COLUMNS})
    )


def _read(text: str) -> list[dict[str, str]]:
    head, *lines = text.splitlines()
    columns = head.split("\t")
    return [dict(zip(columns, line.split("\t"), strict=True)) for line in lines]


def _code(row: Row) -> DatedCode:
    assumed = row["assumed"] in (True, 1, "1")
    return DatedCode(scheme=CodeScheme(row["scheme"]), code=row["code"], assumed=assumed, **_days(row))


def _succession(row: Row) -> Succession:
    effective = _day(row["effective"])
    if effective is None:
        raise ValueError(f"succession without a day: {row['agency_id']} to {row['successor_id']}")
    return Succession(
        agency_id=row["successor_id"], effective=effective, share=Share(row["share"]), act=row["act"] or ""
    )


def _grouped(rows: Iterable[Row]) -> defaultdict[str, list[Row]]:
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["agency_id"]].append(row)
    return groups


def _by_first_day(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: _day(row["valid_from"]) or date.min)


def _period(item: Dated) -> dict[str, str | None]:
    return {
        key: None if day is None else day.isoformat()
        for key, day in (("valid_from", item.valid_from), ("valid_to", item.valid_to))
    }


def _days(row: Row) -> dict[str, date | None]:
    return {"valid_from": _day(row["valid_from"]), "valid_to": _day(row["valid_to"])}


def _day(value: date | str | None) -> date | None:
    if isinstance(value, str):
        return date.fromisoformat(value) if value else None
    return value
