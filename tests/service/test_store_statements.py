"""Statements on the driver's own cursor come out as SQLAlchemy's do: rows, errors, transactions, lost connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Enum,
    Executable,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    event,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError, SQLAlchemyError

from gateway.model.errors import StoreConflict
from gateway.store import Store
from gateway.store.dialect import among
from gateway.store.statements import execute_one, execute_rows, select_one, select_rows
from gateway.store.together import Together
from tests.support.nodes import Database, build_house
from tests.support.stores import tell


class Colour(StrEnum):
    RED = "đỏ"
    BLUE = "xanh"


_things = Table(
    "thu_things",
    MetaData(),
    Column("id", Text, primary_key=True),
    Column("said", Text, unique=True),
    Column("count", BigInteger),
    Column("is_true", Boolean),
    Column("bytes", LargeBinary),
    Column("told", JSON(none_as_null=True)),
    Column("colour", Enum(Colour, native_enum=False)),
)
_ROWS: tuple[Mapping[str, Any], ...] = (
    {"id": "1", "said": "Công văn %(x)s % 'a' \"b\" \\", "count": 2**63 - 1, "is_true": True, "bytes": b"\x00\xff'\\",
     "told": {"a": [1, None, "đ"], "b": True}, "colour": Colour.BLUE},
    {"id": "2", "said": "", "count": -(2**63), "is_true": False, "bytes": b"", "told": [], "colour": Colour.RED},
    {"id": "3", "said": None, "count": None, "is_true": None, "bytes": None, "told": None, "colour": None},
)  # fmt: skip
_ALL = select(_things).order_by(_things.c.id)
_SPELT = select(_things.c.id).where(_things.c.id.in_(bindparam("ids", expanding=True))).order_by(_things.c.id)
_AMONG = select(_things.c.id).where(among(_things.c.id, "ids")).order_by(_things.c.id)
_TWO_LISTS = (
    select(_things.c.id)
    .where(or_(among(_things.c.id, "ids"), _things.c.said.in_(bindparam("words", expanding=True))))
    .order_by(_things.c.id)
)
_INSERT = insert(_things)
_COUNT = update(_things).where(_things.c.id == bindparam("b_id")).values(count=bindparam("count"))


@pytest.fixture(scope="module", params=[Database.SQLITE, Database.POSTGRESQL], ids=str)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    house = build_house(tmp_path_factory.mktemp("statements"), database=request.param)
    with house.node.store.write() as connection:
        _things.create(connection)
        connection.execute(_INSERT, [dict(row) for row in _ROWS])
    yield house.node.store
    house.close()


@pytest.fixture
def writing(store: Store) -> Iterator[Connection]:
    """A transaction that is undone at the end."""
    with store.write() as connection:
        yield connection
        connection.rollback()


@contextmanager
def heard(store: Store) -> Iterator[list[tuple[str, Any]]]:
    """Texts and parameters of all that is executed meanwhile."""
    seen: list[tuple[str, Any]] = []

    def hear(_connection: Any, _cursor: Any, text: str, values: Any, _context: Any, _many: bool) -> None:
        seen.append((text, values))

    event.listen(store.engine, "before_cursor_execute", hear)
    try:
        yield seen
    finally:
        event.remove(store.engine, "before_cursor_execute", hear)


# --- what comes out ----------------------------------------------------------------------------------------------


def test_rows_are_as_they_were_written_whatever_their_columns_are(writing: Connection) -> None:
    found = select_rows(writing, _ALL, {})
    assert [row._asdict() for row in found] == [dict(row) for row in _ROWS]
    assert [tuple(row) for row in found] == [tuple(row) for row in writing.execute(_ALL)]
    assert [row.is_true for row in found] == [True, False, None]
    assert {type(row.is_true) for row in found} == {bool, type(None)}
    assert found[0].told["a"][2] == "đ"
    assert found[0].colour is Colour.BLUE


def test_what_is_written_once_is_what_is_read(writing: Connection) -> None:
    names = ("said", "count", "is_true", "bytes", "told", "colour")
    change = update(_things).where(_things.c.id == bindparam("b_id")).values({n: bindparam(n) for n in names})
    for row in _ROWS:
        assert execute_one(writing, change, {"b_id": "3", **{n: row[n] for n in names}, "said": "x"}) == 1
        found = select_rows(writing, _ALL, {})[2]
        assert {n: getattr(found, n) for n in names} == {n: row[n] for n in names} | {"said": "x"}
    assert execute_one(writing, change, {"b_id": "9", **dict.fromkeys(names)}) == 0


def test_columns_without_a_name_of_their_own_and_none_at_all(writing: Connection) -> None:
    odd = select(func.count(), literal_column("'%'"), _things.c.id.label("chữ")).group_by(_things.c.id).order_by("chữ")
    assert [tuple(row) for row in select_rows(writing, odd, {})] == [(1, "%", "1"), (1, "%", "2"), (1, "%", "3")]
    assert select_one(writing, select(func.count()).select_from(_things), {}) == 3
    assert select_one(writing, select(_things.c.id).where(_things.c.id == bindparam("x")), {"x": "9"}) is None
    assert select_rows(writing, select(_things.c.id).where(_things.c.id == bindparam("x")), {"x": "9"}) == []


@pytest.mark.parametrize("statement", [_SPELT, _AMONG], ids=["spelt out", "among"])
def test_lists_may_be_of_any_length(writing: Connection, statement: Executable) -> None:
    for length in (0, 1, 2, 3, 4, 5, 255, 256, 257, 1_000):
        ids = [str(number) for number in range(2, 2 + length)]
        assert [row.id for row in select_rows(writing, statement, {"ids": ids})] == ["2", "3"][:length], length
    one = update(_things).where(among(_things.c.id, "ids")).values(count=bindparam("count"))
    for ids, changed in (["1", "2", "9"], 2), ([], 0), ([str(number) for number in range(300)], 3):
        assert execute_one(writing, one, {"ids": ids, "count": 5}) == changed


def test_two_lists_in_one_statement(writing: Connection) -> None:
    for ids, words, expected in (
        ([], [], []),
        ([], ["x", "y", "z"], []),
        (["3"], ["", "x", "y"], ["2", "3"]),
        (["1", "2", "3"], [], ["1", "2", "3"]),
    ):
        assert [row.id for row in select_rows(writing, _TWO_LISTS, {"ids": ids, "words": words})] == expected
    own = select(_things.c.id).where(_things.c.said.in_(["", "x", "y"]), among(_things.c.id, "ids"))
    for ids, expected in (["1", "2", "3"], ["2"]), (["1"], []):
        assert [row.id for row in select_rows(writing, own, {"ids": ids})] == expected


def test_few_texts_whatever_the_length_of_a_list(store: Store, writing: Connection) -> None:
    with heard(store) as seen:
        for length in range(200):
            select_rows(writing, _AMONG, {"ids": ["x"] * length})
    texts = {text for text, _ in seen}
    assert len(seen) == 200
    assert len(texts) == (10 if store.engine.dialect.name == "sqlite" else 1)


def test_a_value_that_is_forgotten_is_said(writing: Connection) -> None:
    with pytest.raises(AssertionError, match="b_id"):
        execute_one(writing, _COUNT, {"count": 1})


# --- who listens -------------------------------------------------------------------------------------------------


def test_who_listens_hears_every_statement_with_its_values(store: Store, writing: Connection) -> None:
    together = Together()
    together.add(_COUNT, [{"b_id": "1", "count": 7_001}, {"b_id": "2", "count": 7_002}])
    together.add(_COUNT, [{"b_id": "3", "count": 7_003}])
    with heard(store) as seen:
        select_rows(writing, _ALL, {})
        execute_one(writing, _COUNT, {"b_id": "1", "count": 4_711})
        execute_rows(writing, _COUNT, [{"b_id": "1", "count": 4_712}])
        execute_rows(writing, _COUNT, [{"b_id": "1", "count": 4_713}, {"b_id": "2", "count": 4_714}])
        together.execute(writing)
        writing.execute(_ALL)
    said = [str(values) for _, values in seen]
    assert len(seen) == (7 if store.engine.dialect.name == "sqlite" else 6)
    assert seen[0][0] == seen[-1][0]
    assert "4711" in said[1]
    assert "4712" in said[2]
    assert "4713" in said[3]
    assert "4714" in said[3]
    assert all(str(number) in "".join(said[4:]) for number in (7_001, 7_002, 7_003))


def test_what_is_done_before_the_others_may_be_of_the_same_rows(writing: Connection) -> None:
    doubled = update(_things).where(_things.c.id == bindparam("b_id")).values(count=_things.c.count * 2)
    said = update(_things).where(_things.c.id == bindparam("b_id")).values(said=bindparam("word"))
    for twice in (False, True):  # two rows of one change that are about one row are done one after the other
        together = Together()
        assert together.add(doubled, [{"b_id": "1"}]) == 0
        together.add(said, [{"b_id": "2", "word": "xong"}])
        together.add_before(_COUNT, [{"b_id": "1", "count": count} for count in ((5, 21) if twice else (21,))])
        assert together.execute(writing) == (1, 1)
        found = {row.id: row for row in select_rows(writing, _ALL, {})}
        assert (found["1"].count, found["2"].said) == (42, "xong")
    together.add_before(_COUNT, [{"b_id": "1", "count": 7}])
    assert together.execute(writing) == ()
    assert select_rows(writing, _ALL, {})[0].count == 7


def test_what_a_listener_raises_is_raised(store: Store) -> None:
    class Stop(Exception):
        pass

    def stop(*_: Any) -> None:
        raise Stop

    with store.read() as connection:
        event.listen(connection, "before_cursor_execute", stop)
        with pytest.raises(Stop):
            select_rows(connection, _ALL, {})
        event.remove(connection, "before_cursor_execute", stop)
        assert len(select_rows(connection, _ALL, {})) == 3


# --- what goes wrong ---------------------------------------------------------------------------------------------

_Wrong = Callable[[Connection, Executable, dict[str, Any]], Any]


def _fault(store: Store, run: _Wrong, statement: Executable, values: dict[str, Any]) -> Exception | None:
    found: Exception | None = None
    with store.write() as connection:
        try:
            run(connection, statement, values)
        except (SQLAlchemyError, OverflowError) as why:
            found = why
        assert not connection.invalidated
        connection.rollback()
    with store.write() as connection:
        assert len(select_rows(connection, _ALL, {})) == 3  # the same connection goes on
    return found


@pytest.mark.parametrize(
    ("statement", "values", "ever"),
    [
        (update(_things).where(_things.c.id == bindparam("b_id")).values(said=""), {"b_id": "1"}, IntegrityError),
        (select(literal_column("nothing_such")), {}, DBAPIError),
        (select(_things.c.id).where(literal_column("(") == bindparam("x")), {"x": 1}, DBAPIError),
        (select(_things.c.id).where(_things.c.id == bindparam("x")), {"x": object()}, DBAPIError),
        (select(_things.c.id).where(_things.c.count == bindparam("x")), {"x": 2**70}, None),
    ],
    ids=["a constraint", "no such column", "no statement", "no value for a database", "too big for one of them"],
)
def test_errors_are_the_same(
    store: Store, statement: Executable, values: dict[str, Any], ever: type[Exception] | None
) -> None:
    def as_ever(connection: Connection, statement: Executable, values: dict[str, Any]) -> Any:
        return connection.execute(statement, values).all()

    expected, *found = [_fault(store, run, statement, values) for run in (as_ever, execute_one, select_rows)]
    assert ever is None or isinstance(expected, ever)
    for fault in found:
        assert type(fault) is type(expected)
        if isinstance(fault, DBAPIError) and isinstance(expected, DBAPIError):
            assert (type(fault.orig), str(fault.orig)) == (type(expected.orig), str(expected.orig))
            assert fault.statement == expected.statement
            assert not fault.connection_invalidated


def test_a_constraint_that_refuses_one_of_many_rows_is_a_conflict(store: Store) -> None:
    rows = [{**dict.fromkeys(_things.c.keys()), "id": number} for number in ("7", "8", "1")]
    with pytest.raises(StoreConflict), store.write() as connection:
        execute_rows(connection, _INSERT, rows)
    with store.write() as connection:
        with pytest.raises(IntegrityError):
            execute_rows(connection, _INSERT, rows)
        connection.rollback()
    with store.read() as connection:
        assert [row.id for row in select_rows(connection, _ALL, {})] == ["1", "2", "3"]


def _lose(connection: Connection) -> None:
    """Take the connection away: the server ends it, or the file is closed under it."""
    if connection.dialect.name == "sqlite":
        connection.connection.driver_connection.close()  # type: ignore[union-attr]
    else:
        other = connection.engine.connect()
        tell(other, "SELECT pg_terminate_backend(?, 60000)", connection.connection.dbapi_connection.info.backend_pid)  # type: ignore[union-attr]
        other.close()


@pytest.mark.parametrize(
    "run",
    [
        lambda connection: connection.execute(_ALL).all(),
        lambda connection: select_rows(connection, _ALL, {}),
        lambda connection: execute_rows(connection, _COUNT, [{"b_id": "1", "count": 1}]),
    ],
    ids=["as ever", "select_rows", "execute_rows"],
)
def test_a_connection_that_was_lost_is_given_up_and_the_next_transaction_has_another(
    store: Store, run: Callable[[Connection], Any]
) -> None:
    with store.engine.connect() as connection:
        select_rows(connection, _ALL, {})
        _lose(connection)
        with pytest.raises(DBAPIError) as raised:
            run(connection)
        assert raised.value.connection_invalidated
        assert connection.invalidated
        with pytest.raises(InvalidRequestError, match="rolled back"):
            run(connection)
        connection.rollback()
        assert len(select_rows(connection, _ALL, {})) == 3  # it connects anew
    with store.write() as connection:
        assert len(select_rows(connection, _ALL, {})) == 3


def test_an_interrupted_statement_gives_its_connection_up(store: Store) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with store.engine.connect() as connection:
        event.listen(connection, "before_cursor_execute", interrupt)
        with pytest.raises(KeyboardInterrupt):
            select_rows(connection, _ALL, {})
        assert connection.invalidated
        event.remove(connection, "before_cursor_execute", interrupt)


# --- transactions ------------------------------------------------------------------------------------------------


def test_outside_of_a_transaction_one_begins(store: Store) -> None:
    with store.engine.connect() as connection:
        assert execute_rows(connection, _COUNT, [{"b_id": "1", "count": 3}]) == 1
        assert connection.in_transaction()
        assert select_rows(connection, _ALL, {})[0].count == 3
        connection.rollback()
        assert select_rows(connection, _ALL, {})[0].count == _ROWS[0]["count"]


def test_after_the_end_of_a_transaction_nothing_is_executed(store: Store) -> None:
    with store.write() as connection:
        connection.rollback()
        for run in (lambda: select_rows(connection, _ALL, {}), lambda: connection.execute(_ALL)):
            with pytest.raises(InvalidRequestError, match="closed transaction"):
                run()


def test_a_part_that_is_undone_leaves_the_rest(store: Store, writing: Connection) -> None:
    execute_rows(writing, _COUNT, [{"b_id": "1", "count": 3}])
    with pytest.raises(IntegrityError), writing.begin_nested():
        execute_rows(writing, _INSERT, [{**dict.fromkeys(_things.c.keys()), "id": "1"}])
    with writing.begin_nested() as part:
        execute_rows(writing, _COUNT, [{"b_id": "1", "count": 4}])
        assert select_rows(writing, _ALL, {})[0].count == 4
        part.rollback()
    assert select_rows(writing, _ALL, {})[0].count == 3
