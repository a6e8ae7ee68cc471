"""`truc account`: closes the books (đối soát) of a period, and names everything that does not add up."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.account import Account, BookLine, Fate, close_books
from gateway.cli.exits import ExitCode
from gateway.cli.moments import parse_moment
from gateway.cli.names import Names
from gateway.cli.opening import open_local
from gateway.cli.output import AsJson, Voice, voice_of
from gateway.model.errors import BadRequest
from gateway.model.instants import local_iso
from gateway.model.states import Book
from gateway.store.agencies import load_directory

__all__ = ["register", "show_account"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("account", help="help.account")(account)


def account(
    ctx: typer.Context,
    start: Annotated[str, typer.Option("--from", metavar="2026-07-01", help="help.account_from")] = "",
    end: Annotated[str, typer.Option("--to", metavar="2026-07-31", help="help.account_to")] = "",
    agencies: Annotated[bool, typer.Option("--agencies", help="help.account_agencies")] = False,
    as_json: AsJson = False,
) -> None:
    """Close the books of what was accepted in a period. Exit code 1 where they do not close.

    Raises BadRequest for moments that are none, or a period that ends before it begins: nothing would close as well.
    """
    voice = voice_of(ctx)
    with open_local() as local:
        with local.store.read() as connection:
            now = local.store.now(connection)
            names = Names.of_directory(load_directory(connection))
        first = parse_moment(start) if start else 0
        last = parse_moment(end, is_end=True) if end else now + 1
        if first > last:
            raise BadRequest("cli.bad_period", first=start, last=end or local_iso(now))
        with voice.err.status(voice.say("account_told.closing")):
            closed = close_books(local.store, first, last)
    if as_json:
        voice.json(
            {
                "closes": closed.closes, "from": local_iso(closed.start), "to": local_iso(closed.end),
                "packets": closed.packets, "events": closed.events,
                "totals": {book: closed.total(book) for book in Book}, "agencies": closed.books,
                "gaps": closed.gaps,
            }
        )  # fmt: skip
    else:
        show_account(voice, closed, names, has_agencies=agencies)
    if not closed.closes:
        raise typer.Exit(ExitCode.FINDINGS)


def show_account(voice: Voice, closed: Account, names: Names, *, has_agencies: bool = False) -> None:
    """Print an account: totals, agencies where wished or where they do not balance, and every gap."""
    columns = ("book", "to", "#accepted", *(f"#{fate}" for fate in Fate), "balances")
    lines = [line for line in closed.books if has_agencies or not line.balances]
    rows = [_row(voice, line, names.of(line.agency_id, closed.end) if line.agency_id else "?") for line in lines]
    totals = [_row(voice, closed.total(book), voice.say("account_told.all")) for book in Book]
    voice.table(columns, [*rows, *totals])
    for gap in closed.gaps:
        params = {name: getattr(gap, name) for name in ("packet_id", "delivery_id", "agency_id", "expected", "found")}
        voice.write("✗ " + voice.say(gap.code, **params), "red")
    code = "account_told.closes" if closed.closes else "account_told.open"
    voice.tell(code, packets=closed.packets, events=closed.events, gaps=len(closed.gaps))


def _row(voice: Voice, line: BookLine, name: str) -> tuple[object, ...]:
    fates = (getattr(line, fate) for fate in Fate)
    return voice.label("book", line.book), name, line.accepted, *fates, line.balances
