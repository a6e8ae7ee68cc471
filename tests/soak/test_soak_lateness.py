"""The report's line of lateness: what was slow though nothing was done to the province."""

from __future__ import annotations

from gateway.prove.ledger import Act, Meant, Record, Seen, Told
from tests.soak.lateness import measure


def meant(name: str) -> Meant:
    return Meant(name=name, act=Act.NEW, sender="s", digest=f"d-{name}", document=name, to=("a",))


def test_the_slowest_that_no_fault_touched_is_named() -> None:
    record = Record(
        meant=(meant("quick"), meant("slow"), meant("hit")),
        told=(
            Told(name="quick", status=202, packet_id="1", at=10.0),
            Told(name="slow", status=202, packet_id="2", at=10.0),
            Told(name="slow", status=202, packet_id="2", is_repeat=True, at=12.0),
            Told(name="hit", status=202, packet_id="3", at=20.0),
        ),
        seen=(
            Seen(agency="a", key="1", digest="d-quick", is_copy=True, at=10.5),
            Seen(agency="a", key="2", digest="d-slow", is_copy=True, at=13.0),
            Seen(agency="a", key="2", digest="d-slow", is_copy=False, at=19.0),
            Seen(agency="a", key="3", digest="d-hit", is_copy=True, at=60.0),
            Seen(agency="a", key="4", digest="d-strange", is_copy=True, at=60.0),
        ),
    )
    found = measure(record, [(15.0, 22.0)])
    assert (found.deliveries, found.quiet, found.slowest, found.slowest_quiet) == (3, 2, 40.0, 3.0)
    assert (found.name, found.agency) == ("slow", "a")
    assert measure(record, [(0.0, 99.0)]).quiet == 0


def test_where_nothing_came_nothing_is_late() -> None:
    assert "0 deliveries" in measure(Record(), []).line()
