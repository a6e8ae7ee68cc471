"""Take in (lấy văn bản) and accept small bodies by groups: one thread, one journal of the file system, one commit.

The hand-overs between threads and the directory syncs of one body each cost more than the work itself; large bodies
are spooled and prepared by themselves and join at `accept`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.exchange.accept import accept
from gateway.exchange.examine import prepare_group
from gateway.exchange.submission import Outcome, Prepared, Submission
from gateway.model.errors import StoreError
from gateway.node import Node

__all__ = ["Unprepared", "take_in"]


@dataclass(frozen=True, slots=True)
class Unprepared:
    """A member that was not accepted, and why: it did not come as far (nothing of it is left but its event), or the
    store went away meanwhile."""

    why: Exception


def take_in(node: Node, group: Sequence[Submission | Prepared]) -> tuple[Outcome | Unprepared, ...]:
    """Prepare what is not prepared yet, then accept all of it; outcomes in the order of the members.

    One bad member never fails its neighbours.
    """
    fresh = [member for member in group if isinstance(member, Submission)]
    prepared = dict(zip(map(id, fresh), prepare_group(node, fresh), strict=True)) if fresh else {}
    ready = [prepared.get(id(member), member) for member in group]
    good = [member for member in ready if isinstance(member, Prepared)]
    accepted = iter(accept(node, good) if good else ())
    outcomes = (next(accepted) if isinstance(member, Prepared) else Unprepared(_why(member)) for member in ready)
    return tuple(Unprepared(each) if isinstance(each, StoreError) else each for each in outcomes)


def _why(member: Submission | Prepared | Exception) -> Exception:
    assert isinstance(member, Exception), "every submission was prepared, or has its reason why not"
    return member
