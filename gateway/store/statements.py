"""Statements of the hops: written as SQLAlchemy's, compiled once for each database, run past it.

    select_rows(connection, select(t.c.id, t.c.said).where(…), {"ids": […]})  →  rows with `.id` and `.said`
    execute_one(connection, update(t).where(…), {"ids": […]})                 →  how many rows it changed
    execute_rows(connection, insert(t), [{…}, {…}])                           →  the same, once per row

What SQLAlchemy does anew for each statement (a context, a result, a description of its columns) costs this process some
three times what the driver does; on PostgreSQL most of what the driver does is passed by too (`gateway.store.trips`).
All else is as with `Connection.execute`: the transaction, the errors, how a lost connection is given up, and who
listens for `before_cursor_execute` hears every statement.

A statement is remembered for as long as the process lives: it is made once, not for each call.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import ClauseElement, Connection, Dialect, Executable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ReturnsRows

from gateway.store.arrays import Arrays, as_arrays, picker

__all__ = [
    "COMMITTING", "Asked", "arrays_of", "change_and_select", "execute_one", "execute_rows", "execute_texts",
    "select_one", "select_rows", "select_together",
]  # fmt: skip

_CURSOR: Final = "truc_cursor"
"""Under this name a connection keeps its cursor: a new one for each statement costs a third of it."""

_SIZES: Final = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)
"""How many places a list has that is spelt out in a statement's text: few texts.  The last value fills them up."""

COMMITTING: Final = "truc_committing"
"""The option of a connection under which stands who is told just before a statement takes the commit along."""

_MOST: Final = 1 << 63
"""Whole numbers of a database reach from its negative to one less."""

_Process = Callable[[Any], Any]
_Row = Callable[[Sequence[Any]], Any]


class Asked(NamedTuple):
    """A statement as the driver takes it, and its parameters."""

    text: str
    values: Any
    row: _Row | None  #: makes a row of its columns; None: how many rows there were is enough


def select_rows(
    connection: Connection, statement: Executable, values: Mapping[str, Any], *, is_last: bool = False
) -> list[Any]:
    """The rows that a statement gives: tuples that know their columns by name, with `_asdict()` beside.

    `values` are all of its parameters, lists of any length among them.  Raises what `Connection.execute` raises.
    `is_last`: the transaction executes nothing after it, and may be committed in the same trip.
    """
    return select_together(connection, [(statement, values)], is_last=is_last)[0]


def select_together(
    connection: Connection, asked: Sequence[tuple[Executable, Mapping[str, Any]]], *, is_last: bool = False
) -> list[list[Any]]:
    """The rows of several statements, executed one after the other; on PostgreSQL in one trip. As `select_rows`."""
    return _select_behind(connection, [], asked, is_last=is_last)[1]


def change_and_select(
    connection: Connection,
    statement: Executable,
    rows: Sequence[dict[str, Any]],
    asked: Sequence[tuple[Executable, Mapping[str, Any]]],
) -> tuple[int, list[list[Any]]]:
    """What `execute_rows` gives, then what `select_together` does; on PostgreSQL in one trip."""
    (count,), told = _select_behind(connection, [_per_row(connection, statement, rows)], asked)
    return int(count), told


def select_one(connection: Connection, statement: Executable, values: Mapping[str, Any]) -> Any:
    """The first column of the first row that a statement gives, None where it gives none. As `select_rows`."""
    rows = select_rows(connection, statement, values)
    return rows[0][0] if rows else None


def execute_one(
    connection: Connection, statement: Executable, values: Mapping[str, Any], *, is_last: bool = False
) -> int:
    """Execute a statement once; gives how many rows it changed, or found. Parameters as those of `select_rows`."""
    given = _known(connection, statement, values, is_per_row=False).given(values)
    if given is None:
        return connection.execute(statement, dict(values)).rowcount
    return int(_run(connection, *given, None, is_last=is_last))


def execute_rows(
    connection: Connection, statement: Executable, rows: Sequence[dict[str, Any]], *, is_last: bool = False
) -> int:
    """Execute an insert, update or delete once per row; gives how many rows of the table it changed or made.

    Every row has the same keys, and values that the driver takes as they are.  `is_last` as for `select_rows`.
    """
    return int(_run_all(connection, [_per_row(connection, statement, rows)], is_last=is_last)[0])


def arrays_of(
    connection: Connection, statement: Executable, rows: Sequence[dict[str, Any]]
) -> tuple[str, dict[str, Any]] | None:
    """The text that does all these rows at once, and its parameters; None where they must be done row by row."""
    return _known(connection, statement, rows[0], is_per_row=True).of_many(rows)


def execute_texts(
    connection: Connection, asked: Sequence[tuple[str, Mapping[str, Any]]], *, is_last: bool = False
) -> list[tuple[Any, ...]]:
    """Execute statements that are made of others' texts (`arrays_of`), on PostgreSQL in one trip; gives the rows of the
    last of them, as the driver has them."""
    *first, (text, values) = asked
    trip = [*(Asked(*one, None) for one in first), Asked(text, values, tuple)]
    rows: list[tuple[Any, ...]] = _run_all(connection, trip, is_last=is_last)[-1]
    return rows


# --- what is known of a statement ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spelt:
    """A text with so many places for each list, and how all values become what the driver takes."""

    text: str
    places: tuple[tuple[str, tuple[str, ...]], ...]  #: a list's name, and those of its places
    pick: Callable[[Mapping[str, Any]], tuple[Any, ...]] | None  #: None: the driver takes values by name

    def given(self, values: dict[str, Any]) -> tuple[str, Any]:
        for name, names in self.places:
            listed = values[name]
            values.update(zip(names, [*listed, *listed[-1:] * (len(names) - len(listed))], strict=True))
        return self.text, values if self.pick is None else self.pick(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A statement as one database's driver takes it."""

    text: str
    fixed: dict[str, Any]  #: values that the statement brings itself
    pick: Callable[[Mapping[str, Any]], tuple[Any, ...]] | None  #: as that of `_Spelt`
    arrays: Arrays | None  #: for many rows at once, where the database can
    lists: tuple[str, ...]  #: parameters that are spelt out, value by value
    written: tuple[tuple[str, _Process], ...]  #: parameters that the driver does not take as they are
    read: tuple[tuple[int, _Process], ...]  #: columns that the driver does not give as they are
    row: _Row
    spell: Callable[[tuple[int, ...]], _Spelt]
    spelt: dict[tuple[int, ...], _Spelt] = field(default_factory=dict)  #: by the number of places

    def given(self, values: Mapping[str, Any]) -> tuple[str, Any] | None:
        """Text and parameters for the driver; None where a list is too long to be spelt out in a text that is kept."""
        full = {**self.fixed, **values}
        for name, process in self.written:
            full[name] = process(full[name])
        if not self.lists:
            return self.text, full if self.pick is None else self.pick(full)
        lengths = [len(full[name]) for name in self.lists]
        if max(lengths) > _SIZES[-1]:
            return None
        sizes = tuple(_SIZES[bisect_left(_SIZES, length)] for length in lengths)
        spelt = self.spelt.get(sizes)
        if spelt is None:
            spelt = self.spelt[sizes] = self.spell(sizes)
        return spelt.given(full)

    def of_many(self, rows: Sequence[dict[str, Any]]) -> tuple[str, dict[str, Any]] | None:
        """The same for many rows at once; None where they must be done row by row."""
        if self.arrays is None or (columns := self.arrays.of(rows)) is None:
            return None
        return self.arrays.text, {**self.fixed, **columns}

    @property
    def made(self) -> Callable[[Sequence[Any]], Any]:
        """What the driver is to make of each row."""
        return tuple if self.read else self.row

    def rows(self, found: list[Any]) -> list[Any]:
        """What the driver gave, as the statement's columns are."""
        if not self.read:
            return found
        made = []
        for each in found:
            values = list(each)
            for place, process in self.read:
                values[place] = process(values[place])
            made.append(self.row(values))
        return made


_remembered: dict[tuple[str, Executable, tuple[str, ...], bool], _Known] = {}


def _known(connection: Connection, statement: Executable, values: Mapping[str, Any], *, is_per_row: bool) -> _Known:
    key = (connection.dialect.name, statement, tuple(values), is_per_row)
    known = _remembered.get(key)
    if known is None:
        known = _remembered[key] = _compile(connection.dialect, statement, values, is_per_row=is_per_row)
    return known


def _compile(dialect: Dialect, statement: Executable, values: Mapping[str, Any], *, is_per_row: bool) -> _Known:
    """`values`: of its first call; those of others are of the same kinds."""
    made = cast(ClauseElement, statement).compile(dialect=dialect, column_keys=list(values) if is_per_row else None)
    assert isinstance(made, SQLCompiler)
    defaults = [column.name for column in (*made.insert_prefetch, *made.update_prefetch)]
    assert not defaults, f"defaults are not filled in here: {defaults}"
    missing = [name for bind, name in made.bind_names.items() if bind.required and name not in values]
    assert not missing, f"no values for {missing}"
    assert all(bind.expanding for bind in made.post_compile_params), "lists alone are spelt out late"
    lists = tuple(sorted({made.bind_names[bind] for bind in made.post_compile_params}))
    assert not (lists and is_per_row), "no lists here"
    fixed = {name: value for name, value in made.params.items() if name not in values}
    pick = None if lists else _picker(made.positiontup)
    text = str(made)
    return _Known(
        text=text,
        fixed=fixed,
        pick=pick,
        arrays=as_arrays(text, values) if is_per_row and pick is None else None,
        lists=lists,
        written=() if is_per_row else _written(dialect, made),
        read=() if is_per_row else _read(dialect, statement),
        row=tuple if is_per_row else _row_of(statement),
        spell=partial(_spell, made, dict.fromkeys(values), lists),
    )


def _written(dialect: Dialect, made: SQLCompiler) -> tuple[tuple[str, _Process], ...]:
    found = {
        name: process
        for bind, name in made.bind_names.items()
        if (process := bind.type.dialect_impl(dialect).bind_processor(dialect)) is not None
    }
    return tuple(found.items())


def _read(dialect: Dialect, statement: Executable) -> tuple[tuple[int, _Process], ...]:
    columns = statement.exported_columns if isinstance(statement, ReturnsRows) else ()
    processes = (column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns)
    return tuple((place, process) for place, process in enumerate(processes) if process is not None)


def _row_of(statement: Executable) -> Callable[[Sequence[Any]], Any]:
    """What makes a row of a sequence: without the look at its length that a named tuple takes by itself."""
    columns = statement.exported_columns.keys() if isinstance(statement, ReturnsRows) else []
    return partial(tuple.__new__, namedtuple("Row", columns, rename=True))


def _spell(made: SQLCompiler, values: dict[str, Any], lists: tuple[str, ...], sizes: tuple[int, ...]) -> _Spelt:
    sized = {name: [None] * size for name, size in zip(lists, sizes, strict=True)}
    state = made.construct_expanded_state({**values, **sized})
    places = tuple((name, tuple(state.parameter_expansion[name])) for name in lists)
    return _Spelt(text=state.statement, places=places, pick=_picker(state.positiontup))


def _picker(names: Sequence[str] | None) -> Callable[[Mapping[str, Any]], tuple[Any, ...]] | None:
    return None if names is None else picker(names)


def _per_row(connection: Connection, statement: Executable, rows: Sequence[dict[str, Any]]) -> Asked:
    known = _known(connection, statement, rows[0], is_per_row=True)
    if len(rows) > 1 and (found := known.of_many(rows)) is not None:
        return Asked(*found, None)
    full = [{**known.fixed, **row} for row in rows] if known.fixed else list(rows)
    picked = full if known.pick is None else [known.pick(row) for row in full]
    return Asked(known.text, picked if len(picked) > 1 else picked[0], None)


# --- on the connection -----------------------------------------------------------------------------------------


def _select_behind(
    connection: Connection,
    changes: list[Asked],
    asked: Sequence[tuple[Executable, Mapping[str, Any]]],
    *,
    is_last: bool = False,
) -> tuple[list[Any], list[list[Any]]]:
    """What changes and what is asked behind them give."""
    known = [_known(connection, statement, values, is_per_row=False) for statement, values in asked]
    given = [one.given(values) for one, (_, values) in zip(known, asked, strict=True)]
    if any(each is None for each in given):
        done = _run_all(connection, changes) if changes else []
        return done, [list(connection.execute(statement, dict(values))) for statement, values in asked]
    selects = [Asked(*each, one.made) for one, each in zip(known, given, strict=True) if each]
    told = _run_all(connection, [*changes, *selects], is_last=is_last)
    return told[: len(changes)], [one.rows(rows) for one, rows in zip(known, told[len(changes) :], strict=True)]


def _run(connection: Connection, text: str, values: Any, row: _Row | None, *, is_last: bool = False) -> Any:
    """The rows, or how many there were."""
    return _run_all(connection, [Asked(text, values, row)], is_last=is_last)[0]


def _run_all(connection: Connection, asked: Sequence[Asked], *, is_last: bool = False) -> list[Any]:
    """For each its rows, or how many there were: on PostgreSQL all of them in one trip, with the commit if that
    follows."""
    transaction = connection.get_transaction()
    if transaction is None or not transaction.is_active or connection.get_nested_transaction() is not None:
        return [_as_ever(connection, *one) for one in asked]
    at, done = asked[0], []
    try:
        heard = [_heard(connection, at := one) for one in asked]
        travel = getattr(connection.dialect, "travel", None)
        if travel is not None and all(_can_travel(one.values) for one in heard):
            if is_last:
                connection.get_execution_options().get(COMMITTING, _nobody)()
            done, why = travel(connection.connection, heard, is_last)
            if why is not None:
                at = heard[min(len(done), len(heard) - 1)]
                raise why
        else:
            done = [_on_cursor(connection, *(at := one)) for one in heard]
        _tell_done(connection, heard)
    except BaseException as why:
        connection.info.pop(_CURSOR, None)
        _translate(connection, why, at.text, at.values)
        raise
    return done


def _nobody() -> None:
    """Hears that a commit is sent."""


def _can_travel(values: Any) -> bool:
    """Whether all of these parameters are of kinds that are sent as they are; others are for the driver to judge."""
    if not isinstance(values, dict):
        return False
    return _PLAIN.issuperset(map(type, values.values())) or all(map(_is_plain, values.values()))


_PLAIN: Final = frozenset({str, bytes, bool, type(None)})
"""Of these kinds all can travel: nearly all are texts, arrays among them."""


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | bytes) or (isinstance(value, int) and -_MOST <= value < _MOST)


def _listening(connection: Connection) -> Any:
    """Who listens to its engine, and to itself where anybody does: both are put together anew for each connection that
    is lent, which costs a tenth of a short transaction."""
    return connection.dispatch if connection._has_events else connection.engine.dispatch


def _tell_done(connection: Connection, done: Sequence[Asked]) -> None:
    for hear in _listening(connection).after_cursor_execute:
        for one in done:
            hear(connection, None, one.text, one.values, None, isinstance(one.values, list))


def _as_ever(connection: Connection, text: str, values: Any, row: _Row | None) -> Any:
    """By SQLAlchemy, which begins a transaction, or says what is wrong with this one."""
    result = connection.exec_driver_sql(text, values)
    return result.rowcount if row is None else list(map(row, result.fetchall()))


def _heard(connection: Connection, one: Asked) -> Asked:
    """What is left of it when all who listen have heard it."""
    for hear in _listening(connection).before_cursor_execute:
        text, values = hear(connection, None, one.text, one.values, None, isinstance(one.values, list))
        one = Asked(text, values, one.row)
    return one


def _on_cursor(connection: Connection, text: str, values: Any, row: _Row | None) -> Any:
    """On the driver's cursor; `values` is a list where the text is to be executed for each of them."""
    kept = connection.info
    cursor = kept.get(_CURSOR)
    if cursor is None:
        cursor = kept[_CURSOR] = connection.connection.cursor()
    if isinstance(values, list):
        connection.dialect.do_executemany(cursor, text, values)
    else:
        connection.dialect.do_execute(cursor, text, values)
    return cursor.rowcount if row is None else list(map(row, cursor.fetchall()))


def _translate(connection: Connection, why: BaseException, text: str, values: Any) -> None:
    """Raises what SQLAlchemy would: the driver's errors as its own, all else as it is; gives up a lost connection."""
    is_drivers = isinstance(why, connection.dialect.loaded_dbapi.Error)
    connection._handle_dbapi_exception(why, text if is_drivers else None, values, None, None)
