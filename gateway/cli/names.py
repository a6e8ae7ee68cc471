"""What agencies are called on screens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from gateway.model.instants import VIETNAM, as_datetime
from routing.directory import Directory

__all__ = ["Names"]


class Names:
    """Names of agencies, as they were called at a moment; the id of an agency that nobody knows."""

    def __init__(self, name_at: Callable[[str, int], str]) -> None:
        self._name_at = name_at

    @classmethod
    def of_directory(cls, directory: Directory) -> Names:
        """Names out of this node's directory."""

        def name_at(agency_id: str, at: int) -> str:
            agency = directory.by_id(agency_id)
            return "" if agency is None else agency.name_on(as_datetime(at).astimezone(VIETNAM).date())

        return cls(name_at)

    @classmethod
    def of_table(cls, names: Mapping[str, str]) -> Names:
        """Names that another node told."""
        return cls(lambda agency_id, _at: names.get(agency_id, ""))

    def of(self, agency_id: str, at: int) -> str:
        """The agency's name at instant `at`."""
        return self._name_at(agency_id, at) or agency_id

    def few(self, agency_ids: Iterable[str], at: int, most: int = 4) -> str:
        """The names of the first agencies by name, and how many more there are."""
        names = sorted(self.of(agency_id, at) for agency_id in agency_ids)
        return ", ".join(names[:most]) + (f" … (+{len(names) - most})" if len(names) > most else "")
