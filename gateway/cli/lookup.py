"""Finding what a person means by an id or a code typed at a terminal."""

from __future__ import annotations

from datetime import date

from gateway.model.errors import NotFound
from routing.agency import Agency
from routing.directory import Directory

__all__ = ["find_agency"]


def find_agency(directory: Directory, written: str, on: date) -> Agency:
    """The agency (cơ quan) of one of our ids, an organ code in either form, or a code of the statistics office.

    Raises NotFound `directory.unknown_agency`.
    """
    found = directory.by_id(written.strip()) or directory.find(written, on) or directory.find_gso(written, on)
    if found is None:
        raise NotFound("system.agency_unknown", agency=written)
    return found
