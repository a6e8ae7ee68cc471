"""One agency (cơ quan) through time: its own stable id, dated names, parents, codes and successors.

A code of a unit is not its identity: GSO code 16702 was xã Nghi Phú, became phường Nghi Phú, and is now
phường Vinh Phú, another body (QĐ 124/2004/QĐ-TTg lets a merged unit take the code of the seat).  So an agency
is keyed by an id of ours that is never given twice, and every name and code is a dated alias of it.

All dates are calendar days in Vietnam, `valid_to` inclusive; None means "since before the list began" and
"until further notice".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Protocol, TypeVar

__all__ = [
    "Agency",
    "AgencyKind",
    "CodeScheme",
    "Dated",
    "DatedCode",
    "DatedName",
    "DatedParent",
    "Share",
    "Succession",
    "covers",
]


class AgencyKind(StrEnum):
    """What an agency is."""

    PROVINCE = "province"  #: UBND tỉnh
    DEPARTMENT = "department"  #: sở, ban, ngành, văn phòng of the province
    DISTRICT = "district"  #: UBND huyện, thị xã, thành phố thuộc tỉnh; none after 30/6/2025
    COMMUNE = "commune"  #: UBND xã, phường, thị trấn
    PARTY = "party"  #: cơ quan Đảng: a guest with a code space of its own (QĐ 28/2018 art. 2.2)
    OTHER = "other"  #: courts, enterprises, echo and test agencies


class CodeScheme(StrEnum):
    """Whose numbering a code belongs to."""

    QCVN2016 = "qcvn2016"  #: 000.ZZ.YY.Mxx, 13 characters (QCVN 102:2016, TT 10/2016/TT-BTTTT)
    QD2020 = "qd2020"  #: Mxx.Y.Z.V, at most 35 characters (QĐ 20/2020/QĐ-TTg)
    GSO = "gso"  #: the statistics office's code of a unit; never an organ code
    OTHER = "other"  #: an address of a neighbour's or of our own making

    @property
    def is_organ_code(self) -> bool:
        """Whether a packet may be addressed by a code of this scheme (mã định danh)."""
        return self is not CodeScheme.GSO


class Share(StrEnum):
    """How much of a body went to one successor (đơn vị kế thừa)."""

    FULL = "full"
    PARTIAL = "partial"


def covers(valid_from: date | None, valid_to: date | None, day: date) -> bool:
    """Whether `day` lies in a period whose both ends are inclusive and None is open."""
    return (valid_from is None or valid_from <= day) and (valid_to is None or day <= valid_to)


class Dated(Protocol):
    """Whatever holds for a period."""

    @property
    def valid_from(self) -> date | None: ...
    @property
    def valid_to(self) -> date | None: ...


_D = TypeVar("_D", bound=Dated)


def _in_force(items: Iterable[_D], day: date) -> _D | None:
    return next((item for item in items if covers(item.valid_from, item.valid_to, day)), None)


def _nearest(items: Iterable[_D], day: date) -> _D | None:
    """The item in force on `day`, else the last one before it, else the first one after it."""
    ordered = sorted(items, key=lambda item: item.valid_from or date.min)
    past = [item for item in ordered if item.valid_from is None or item.valid_from <= day]
    return _in_force(ordered, day) or (past[-1] if past else None) or (ordered[0] if ordered else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedName:
    """How an agency was called, and the abbreviation in its document numbers ("STTTT", ký hiệu)."""

    name: str
    abbreviation: str = ""
    valid_from: date | None = None
    valid_to: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedParent:
    """Which agency another one belonged to (cơ quan chủ quản)."""

    agency_id: str
    valid_from: date | None = None
    valid_to: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedCode:
    """One code of an agency. `assumed` codes are ours, not the province's: screens say "mã giả định" beside them."""

    scheme: CodeScheme
    code: str
    valid_from: date | None = None
    valid_to: date | None = None
    assumed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """From `effective` on, `agency_id` carries on the work (`share` of it); `act` is the law that says so."""

    agency_id: str
    effective: date
    share: Share = Share.FULL
    act: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agency:
    """One body in law (cơ quan, đơn vị). A change of name, type or parent keeps it; a merger makes a new one."""

    id: str
    kind: AgencyKind
    names: tuple[DatedName, ...]
    parents: tuple[DatedParent, ...] = ()
    codes: tuple[DatedCode, ...] = ()
    successors: tuple[Succession, ...] = ()
    valid_from: date | None = None
    valid_to: date | None = None

    @property
    def parent_id(self) -> str | None:
        """The parent in its last state, None at the top."""
        return self.parents[-1].agency_id if self.parents else None

    def in_force_on(self, day: date) -> bool:
        """Whether the body exists on `day`."""
        return covers(self.valid_from, self.valid_to, day)

    def name_on(self, day: date) -> str:
        """Its name on `day`; outside its life the nearest one, so that there is always something to show."""
        found = _nearest(self.names, day)
        return found.name if found else self.id

    def parent_on(self, day: date) -> str | None:
        """The id of its parent on `day`; outside its life the nearest one; None at the top."""
        found = _nearest(self.parents, day)
        return found.agency_id if found else None

    def code_on(self, day: date, scheme: CodeScheme) -> str | None:
        """Its code of `scheme` in force on `day`, or None. Several: the first in the data's order."""
        found = _in_force((item for item in self.codes if item.scheme is scheme), day)
        return found.code if found else None

    def organ_code_on(self, day: date) -> DatedCode | None:
        """The code to write in a packet on `day`: 2020 form before 2016 form before others; nearest in time.

        None where the agency has no organ code at all.
        """
        for scheme in (CodeScheme.QD2020, CodeScheme.QCVN2016, CodeScheme.OTHER):
            found = _nearest((item for item in self.codes if item.scheme is scheme), day)
            if found is not None:
                return found
        return None
