"""The demo's province: Nghệ An's 130 communes and its departments, with several systems and two kinds of channels."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from gateway.configuration import apply, init_rows, parse
from gateway.identity import rotate_token
from gateway.store import Store
from routing.agency import AgencyKind
from routing.directory import Directory
from routing.rows import load_nghe_an

__all__ = ["Place", "Province", "build_province"]

_PUSHED_BY_FOLDER = 3  # two of three communes have a folder, the third polls


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One agency of the demo: its id, its (assumed) organ code, its name, its channel."""

    id: str
    organ: str
    name: str
    system: str
    folder: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Province:
    """Who takes part, and the tokens of the systems that speak for them."""

    day: date
    departments: tuple[Place, ...]
    communes: tuple[Place, ...]
    tokens: dict[str, str]

    @property
    def folder_communes(self) -> tuple[Place, ...]:
        """Communes whose software exchanges files."""
        return tuple(place for place in self.communes if place.folder is not None)

    @property
    def polling(self) -> tuple[Place, ...]:
        """Agencies whose software polls an inbox: departments, and the other communes."""
        return (*self.departments, *(place for place in self.communes if place.folder is None))


def build_province(store: Store, root: Path, day: date) -> Province:
    """Fill an empty store with the province; folders are made under `root`."""
    init_rows(store)
    directory = load_nghe_an()
    departments = _departments(directory, day)
    communes = _communes(directory, day, root)
    places = (*departments, *communes)
    for place in places:
        if place.folder is not None:
            place.folder.mkdir(parents=True)
    apply(store, parse(_configuration(places)), actor="demo", on=day)
    systems = sorted({place.system for place in places})
    tokens = {name: rotate_token(store, name, actor="demo").token for name in systems}
    return Province(day=day, departments=departments, communes=communes, tokens=tokens)


def _departments(directory: Directory, day: date) -> tuple[Place, ...]:
    agencies = [a for a in directory.in_force(day) if a.kind is AgencyKind.DEPARTMENT]
    return tuple(_place(a.id, directory, day, f"qlvb-{a.id}") for a in sorted(agencies, key=lambda a: a.id))


def _communes(directory: Directory, day: date, root: Path) -> tuple[Place, ...]:
    agencies = sorted((a for a in directory.in_force(day) if a.kind is AgencyKind.COMMUNE), key=lambda a: a.id)
    places = []
    for number, agency in enumerate(agencies):
        if number % _PUSHED_BY_FOLDER:
            folder = root / agency.id
            places.append(_place(agency.id, directory, day, f"thu-muc-{agency.id}", folder))
        else:
            places.append(_place(agency.id, directory, day, f"xa-hoi-tin-{number % 4}"))
    return tuple(places)


def _place(agency_id: str, directory: Directory, day: date, system: str, folder: Path | None = None) -> Place:
    agency = directory.by_id(agency_id)
    assert agency is not None
    code = agency.organ_code_on(day)
    assert code is not None, "every agency in force has an assumed code"
    return Place(id=agency_id, organ=code.code, name=agency.name_on(day), system=system, folder=folder)


def _configuration(places: tuple[Place, ...]) -> str:
    spoken: dict[str, list[str]] = {}
    for place in places:
        spoken.setdefault(place.system, []).append(place.id)
    parts = [f'[[system]]\nname = "{name}"\nspeaks_for = {ids!r}\n' for name, ids in sorted(spoken.items())]
    for place in places:
        settings = (
            f'root = "{place.folder}"\nsettle = 0.2\nsending_limit = 5\nsettle_time = 1\n' if place.folder else ""
        )
        parts.append(
            f'[[channel]]\nid = "k-{place.id}"\nkind = "{"folder" if place.folder else "inbox"}"\n'
            f'serves = ["{place.id}"]\n'
            + (f'system = "{place.system}"\nspeaks_for_agency = true\n' if place.folder else "")
            + (f"[channel.settings]\n{settings}" if settings else "")
        )
    return "\n".join(parts)
