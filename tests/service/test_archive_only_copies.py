"""An archive may be the only copy of its month: nothing writes one in its place that holds less."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.archive import months
from gateway.model.errors import Conflict
from tests.support.archives import KEPT, archive, let_go, month_of_house, pass_month
from tests.support.nodes import Database, House, build_house


@pytest.fixture
def house(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    """A node whose month is over, with one packet that was delivered; on SQLite where nothing else is asked for."""
    made = build_house(tmp_path, database=getattr(request, "param", Database.SQLITE))
    made.send(["idem"])
    made.work()
    with made.node.store.write() as connection:  # statuses that the node owes for the agency are paid behind the hops
        connection.exec_driver_sql("UPDATE deliveries SET owes = ''")
    pass_month(made)
    yield made
    made.close()


@pytest.mark.parametrize(
    "house",
    [Database.SQLITE, pytest.param(Database.POSTGRESQL, marks=pytest.mark.long)],
    ids=str, indirect=True,
)  # fmt: skip
def test_a_month_that_went_is_not_written_again_over_its_archive(house: House, tmp_path: Path) -> None:
    month = month_of_house(house)
    file = archive(house, tmp_path)
    whole = file.read_bytes()
    let_go(house, file)
    with pytest.raises(Conflict) as told:
        archive(house, tmp_path, month)
    assert told.value.reason == "archive.gone"
    assert file.read_bytes() == whole
    assert not list(tmp_path.glob("*.part"))


def test_an_archive_that_holds_more_than_the_node_stays(house: House, tmp_path: Path) -> None:
    """As after a restore from a backup that is older than the archive: the node knows of less than it did."""
    file = archive(house, tmp_path)
    other = build_house(tmp_path / "khac")
    other.send(["idem"])
    pass_month(other)
    with pytest.raises(Conflict) as told:
        archive(other, tmp_path)
    other.close()
    assert told.value.reason == "archive.holds_more"
    assert told.value.params["packet"] == house.rows("SELECT id FROM packets")[0]["id"]
    let_go(house, file)


def test_what_lies_there_damaged_or_outdated_is_no_archive_of_the_month(house: House, tmp_path: Path) -> None:
    """The timetable (`truc archive run`) writes it anew: another file of that name stopped it for ever."""

    def lies_there(file: Path) -> bool:
        (state,) = months(house.node.store, KEPT)
        return state.lies_in(file)

    (tmp_path / "truoc").mkdir()
    before = archive(house, tmp_path / "truoc")
    assert lies_there(before)
    assert not lies_there(tmp_path / "none.zip")
    last = archive(house, tmp_path)
    assert lies_there(last)
    before.write_bytes(last.read_bytes()[:-1])
    assert not lies_there(before)
