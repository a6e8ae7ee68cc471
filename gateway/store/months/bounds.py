"""Between which ids rows lie, said beside what they are asked by: PostgreSQL then looks into those months alone, also
by a plan that it keeps.

    WHERE id = ANY(…) AND (id >= low OR id = low)

A plan is made once, for months that nobody knows yet; the bounds are known when it is executed, and months outside of
them are passed over before they are touched.  Said twice they open no index: `id >= low` alone looks, to a planner that
knows no values, like a few rows of the key, and would be read from there to the newest.

Ids sort by the time at which they were made, and what hangs on something is made after it: the deliveries of a chain
and of a packet have later ids than these.  Where the clocks of two machines disagree `new_id_after` sees to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Dialect, Select, any_, bindparam, func, literal_column, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import BinaryExpression
from sqlalchemy.types import UserDefinedType

from gateway.model.instants import DAY, id_floor
from gateway.store.arrays import array
from gateway.store.months.partitions import made_at

__all__ = ["among_ids", "low_of", "of_row", "one_of", "since"]


class _AmongIds(BinaryExpression[bool]):
    """A column of ids, by which its table goes to months, is one of a list."""

    inherit_cache = True


class _Ids(UserDefinedType[Sequence[str]]):
    """An array of ids as PostgreSQL reads it: the least and the greatest come first."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "TEXT[]"

    def bind_processor(self, _dialect: Dialect) -> Callable[[Any], Any]:
        return lambda ids: array([min(ids), max(ids), *ids] if ids else [])


@compiles(_AmongIds, "postgresql")
def _in_their_months(element: _AmongIds, compiler: Any, **more: Any) -> str:
    """One text of the statement however long the list is."""
    column = compiler.process(element.left, **more)
    ids = compiler.process(bindparam(element.right.key, type_=_Ids()), **more)
    least, greatest = f"({ids}::TEXT[])[1]", f"({ids}::TEXT[])[2]"
    return (
        f"({column} = ANY({ids}::TEXT[]) AND ({column} >= {least} OR {column} = {least})"
        f" AND ({column} <= {greatest} OR {column} = {greatest}))"
    )


def among_ids(column: ColumnElement[str], name: str = "ids") -> ColumnElement[bool]:
    """`column`, by which its table goes to months, is one of the ids that are bound to `name`, any number of them."""
    listed = column.in_(bindparam(name, expanding=True))
    return _AmongIds(listed.left, listed.right, listed.operator, type_=listed.type, negate=listed.negate)


def one_of(column: ColumnElement[str], found: Select[Any]) -> ColumnElement[bool]:
    """`column` is one of the texts that `found` gives, which PostgreSQL finds first: the rows are then looked up by
    index, and not the other way round while a table is small. For PostgreSQL alone, where rows are locked."""
    return column == any_(func.array(found.scalar_subquery()))


def of_row(column: ColumnElement[str]) -> ColumnElement[str]:
    """`column` as what a joined table is looked up by: nobody can begin at that table and look for `column`, which is
    what a planner likes while both are empty, and a plan that is kept goes on doing."""
    return column.concat(literal_column("''"))


def since(column: ColumnElement[str], name: str = "low") -> ColumnElement[bool]:
    """`column`, by which its table goes to months, sorts not before the id that is bound to `name`."""
    low: BindParameter[str] = bindparam(name)
    return or_(column >= low, column == low)


def low_of(ids: Iterable[str]) -> str:
    """What every delivery of these packets, or of these chains, sorts after; "" where there are none.

    A day less than the oldest: rows of before `new_id_after` were made by clocks that may have disagreed.
    """
    oldest = min(ids, default="")
    try:
        return id_floor(made_at(oldest) - DAY)
    except ValueError:  # an id that tells no time
        return ""
