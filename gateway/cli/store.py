"""`truc store move`, `truc store back`: a node's rows from SQLite to PostgreSQL, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from gateway.account import Account, close_books
from gateway.backup import begin_recovery
from gateway.cli.exits import ExitCode
from gateway.cli.lock import take_lock
from gateway.cli.opening import ACTOR
from gateway.cli.output import AsJson, Voice, voice_of
from gateway.model.errors import BadRequest, Conflict, NotFound, StoreBusy
from gateway.model.instants import wall_now
from gateway.settings import Settings, read_settings
from gateway.store import Store, open_store
from gateway.store.carrying import fillings, moving
from gateway.store.carrying.copying import find_lacking
from gateway.store.carrying.fillings import Filling, FillingKind
from gateway.store.engines import name_of, open_postgres

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="help.store", no_args_is_help=True)
    group.command("move", help="help.store_move")(move)
    group.command("back", help="help.store_back")(back)
    app.add_typer(group, name="store")


# --- there -------------------------------------------------------------------------------------------------------


def move(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Copy the rows of the stopped node into the database that TRUC_DATABASE names, compare both, and go over to it.

    Exit code 1 where both do not hold the same: the node then stays where it was, until the command ends well.
    """
    voice = voice_of(ctx)
    settings = _settings_of_both()
    with _stopped(settings) as source, voice.steps("move_told") as tell:
        target = open_postgres(
            settings.database, node=settings.node, password_file=settings.database_password_file,
            wait_seconds=settings.database_wait,
        )  # fmt: skip
        try:
            left = moving.leave_source(source, node=settings.node, target=target)
            filling = moving.claim_target(target, left, source=name_of(source.engine))
            if filling.ended_at is not None:
                moving.close_source(source, left.id, filling.ended_at)
                _tell_done(voice, settings, as_json=as_json)
                return
            moving.copy_rows(source, target, filling, tell, ahead=settings.months_ahead)
            before = moving.total_rows(source.engine, tell, "reads_old")
            after = moving.total_rows(target, tell, "reads_new")
            books = (_books(source), _books_there(settings))
            with source.read() as connection:
                lacking = find_lacking(connection, source.blobs)
            is_same = before == after and _same(*books)
            if is_same:
                moving.finish_move(source, target, filling)
        finally:
            target.dispose()
    _tell_totals(voice, before, after, books, lacking, as_json=as_json)
    if not is_same:
        voice.fault(voice.say("move.differs"), "move.differs")
        raise typer.Exit(ExitCode.FINDINGS)
    if not as_json:
        _tell_done(voice, settings, as_json=False)
    if lacking:
        voice.fault(voice.say("move.lacking", count=len(lacking), first=lacking[0]), "move.lacking")
        raise typer.Exit(ExitCode.FINDINGS)


def _settings_of_both() -> Settings:
    """Raises BadRequest `move.no_target` where none says where to, NotFound `move.no_source` where nothing is there."""
    settings = read_settings()
    if not settings.database:
        raise BadRequest("move.no_target")
    if not (settings.data / "truc.db").is_file():
        raise NotFound("move.no_source", folder=str(settings.data.resolve()))
    return settings


@contextmanager
def _stopped(settings: Settings) -> Iterator[Store]:
    """The old database of a node that does not run. Raises Conflict `move.running` where it does."""
    lock = take_lock(settings.data, settings.node)
    try:
        if not lock.is_alone:
            raise Conflict("move.running", node=settings.node)
        store = open_store(
            settings.data, node=settings.node, reserve=settings.disk_reserve_mib << 20,
            wait_seconds=settings.database_wait, may_be_marked=True,
        )  # fmt: skip
        try:
            yield store
        finally:
            store.close()
    finally:
        lock.close()


def _books(store: Store) -> Account:
    """The account of everything ever accepted."""
    return close_books(store, 0, wall_now() + 1)


def _books_there(settings: Settings) -> Account:
    store = open_store(
        settings.data, node=settings.node, database=settings.database, password_file=settings.database_password_file,
        wait_seconds=settings.database_wait, may_be_marked=True,
    )  # fmt: skip
    try:
        return _books(store)
    finally:
        store.close()


def _same(one: Account, other: Account) -> bool:
    """Whether two accounts are the same to the figure, gaps too; their ends are the moments of asking."""
    kept = ("books", "gaps", "packets", "events")
    return all(getattr(one, name) == getattr(other, name) for name in kept)


def _tell_totals(
    voice: Voice, before: tuple[moving.TableTotal, ...], after: tuple[moving.TableTotal, ...],
    books: tuple[Account, Account], lacking: list[str], *, as_json: bool,
) -> None:  # fmt: skip
    pairs = list(zip(before, after, strict=True))
    is_same_account = _same(*books)
    if as_json:
        voice.json(
            {
                "is_moved": before == after and is_same_account,
                "tables": [{"before": asdict(old), "after": asdict(new), "is_same": old == new} for old, new in pairs],
                "account": {"packets": books[1].packets, "events": books[1].events, "is_same": is_same_account},
                "lacking": lacking,
            }
        )
        return
    rows = [
        (old.table, old.rows, new.rows, old.digest[:12], new.digest[:12], "=" if old == new else "≠")
        for old, new in pairs
    ]
    voice.table(("table", "#rows_old", "#rows_new", "digest_old", "digest_new", "same"), rows)
    code = "move_told.account_same" if is_same_account else "move_told.account_differs"
    voice.tell(code, packets=books[1].packets, events=books[1].events)


def _tell_done(voice: Voice, settings: Settings, *, as_json: bool) -> None:
    if as_json:
        voice.json({"is_moved": True})
        return
    where = settings.database
    voice.tell("move_told.moved", node=settings.node, where=where)
    voice.hint("move_told.after", folder=str(settings.data.resolve()))


# --- and back ----------------------------------------------------------------------------------------------------


def back(
    ctx: typer.Context,
    loses: Annotated[bool, typer.Option("--lose", help="help.store_back_lose")] = False,
    as_json: AsJson = False,
) -> None:
    """Let the stopped node use its SQLite database again, whether the move had ended or not.

    What came since the move ended is lost with --lose, as after a restore: the node recovers first.
    """
    voice = voice_of(ctx)
    settings = _settings_of_both()
    with _stopped(settings) as source:
        with source.read() as connection:
            left = fillings.find(connection)
        if left is None or left.kind is not FillingKind.MOVED_AWAY:
            raise NotFound("move.not_moved", folder=str(settings.data.resolve()))
        since = _close_target(settings, source, left, loses=loses)
        if since is not None:
            begin_recovery(source, backup="store move", backup_at=since, actor=ACTOR, may_repeat=True)
        with source.write() as connection:
            fillings.forget(connection, left.id)
    if as_json:
        voice.json({"is_back": True, "is_recovering": since is not None})
        return
    voice.tell("move_told.back", folder=str(settings.data.resolve()))
    if since is not None:
        voice.hint("move_told.back_lost")


def _close_target(settings: Settings, source: Store, left: Filling, *, loses: bool) -> int | None:
    """Let nobody open the new database any more; since when it was the node's, where anything came into it or may have.

    Raises Conflict `move.used_since`, and StoreBusy where it is away, unless what came is to be lost.
    """
    target = open_postgres(
        settings.database, node=settings.node, password_file=settings.database_password_file,
        wait_seconds=settings.database_wait,
    )  # fmt: skip
    try:
        if left.other != name_of(target):
            raise Conflict("move.elsewhere", where=left.other)
        return moving.close_target(target, left, moved=moving.count_events(source.engine), loses=loses)
    except StoreBusy:
        if not loses:
            raise
        return left.ended_at if left.ended_at is not None else left.began_at
    finally:
        target.dispose()
