"""Test agencies (cơ quan kiểm chứng): who takes part in a proof, and how it is made sure that nobody else does.

A test agency is marked three times over: its id begins with `kiem-chung-`, it is of the kind `other`, and all its codes
are assumed ones.  A proof reads the marks from the installation itself before it sends anything, and sends to nobody
else; a system that speaks for a single agency without them, or is an operator's, is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from edxml.errors import TrucError

__all__ = ["ECHO", "MARK", "SYSTEM", "NotAlone", "NotMarked", "ProofError", "TestAgency", "cast_of", "configuration"]

MARK: Final = "kiem-chung-"
SYSTEM: Final = "kiem-chung"
"""The one system that speaks for all test agencies."""

ECHO: Final = f"{MARK}echo"
"""A test agency that answers within the node: nobody outside sees what it gets."""

_NAMES: Final = {
    f"{MARK}gui-1": "Cơ quan kiểm chứng: gửi 1", f"{MARK}gui-2": "Cơ quan kiểm chứng: gửi 2",
    f"{MARK}hop-1": "Cơ quan kiểm chứng: hộp 1", f"{MARK}hop-2": "Cơ quan kiểm chứng: hộp 2",
    f"{MARK}hop-3": "Cơ quan kiểm chứng: hộp chậm", ECHO: "Cơ quan kiểm chứng: tự trả lời",
}  # fmt: skip


class ProofError(TrucError):
    """A proof cannot be made; nothing is said of the installation."""

    code: ClassVar[str] = "prove.error"


class NotMarked(ProofError):
    """The token's system is not a proof's: it could touch real agencies. Parameter `why`."""

    code = "prove.not_marked"


class NotAlone(ProofError):
    """A later proof sends by the same test agencies and empties their inboxes: nobody can tell what this one lost."""

    code = "prove.not_alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestAgency:
    """One marked agency: its id, the code that packets address it by, its name."""

    __test__: ClassVar[bool] = False  # no test class of pytest's

    id: str
    organ: str
    name: str

    @property
    def sends(self) -> bool:
        """Whether a proof sends in its name."""
        return self.id.startswith(f"{MARK}gui-")


def configuration(group: str = "H99") -> str:
    """What `truc apply` takes to make the test agencies, under codes of this group; repeated, it changes nothing."""
    parts = []
    for number, (agency, name) in enumerate(_NAMES.items(), 1):
        parts.append(
            f'[[agency]]\nid = "{agency}"\nname = "{name}"\nkind = "other"\n'
            f'codes = [{{ code = "{group}.98.{number}", assumed = true }}]'
        )
    spoken = [agency for agency in _NAMES if agency != ECHO]
    parts.append(f'[[system]]\nname = "{SYSTEM}"\nspeaks_for = {_list(spoken)}')
    parts.append(f'[[channel]]\nid = "{SYSTEM}-hop"\nkind = "inbox"\nserves = {_list(spoken)}')
    parts.append(
        f'[[channel]]\nid = "{ECHO}"\nkind = "echo"\nserves = {_list([ECHO])}\nsettings = {{ statuses = ["01"] }}'
    )
    return "\n\n".join(parts) + "\n"


def _list(names: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def cast_of(me: Mapping[str, Any], others: Sequence[Mapping[str, Any]] = ()) -> tuple[TestAgency, ...]:
    """Who takes part, out of what the installation says of the caller (`/v1/me`) and of further recipients
    (`/v1/agencies/…`). Raises NotMarked where one of them is no test agency, or nobody sends or receives.
    """
    if me["is_operator"]:
        raise NotMarked(why=f"{me['name']}: is_operator")
    agencies = [*me["agencies"], *others]
    for agency in agencies:
        codes = agency["codes"]
        is_marked = agency["agency_id"].startswith(MARK) and agency["kind"] == "other" and codes
        if not is_marked or not all(code["assumed"] for code in codes):
            raise NotMarked(why=str(agency["agency_id"]))
    cast = tuple(
        TestAgency(id=one["agency_id"], organ=one["organ_id"], name=one["name"])
        for one in agencies
        if one["is_in_force"] and one["is_reachable"]
    )
    if not any(one.sends for one in cast) or not any(not one.sends for one in cast):
        raise NotMarked(why=f"{me['name']}: {len(cast)} {MARK}*")
    return cast
