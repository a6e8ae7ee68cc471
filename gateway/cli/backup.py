"""`truc backup`, `truc restore`, `truc recover`: the node as it was at one moment, and what must be asked after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from edxml.errors import TrucError
from gateway.backup import (
    Backup,
    BackupDamaged,
    Beside,
    Manifest,
    UnknownPacket,
    begin_recovery,
    check_backup,
    check_empty,
    find_unknown,
    generations,
    make_backup,
    read_manifest,
    restore,
    restore_beside,
)
from gateway.cli.exits import ExitCode
from gateway.cli.lock import take_lock
from gateway.cli.moments import parse_moment
from gateway.cli.opening import ACTOR, open_local, open_node
from gateway.cli.output import AsJson, Voice, voice_of
from gateway.cli.release import release_name
from gateway.exchange.recover import Asked, end_recovery, recover_once
from gateway.model.errors import BadRequest, Conflict
from gateway.model.instants import Instant, local_iso, wall_now
from gateway.settings import Settings, read_settings
from gateway.store import recoveries
from gateway.store.carrying.dumping import DatabaseAccess
from gateway.store.homes import check_home

__all__ = ["register"]

_MOST_NAMED: Final = 10
_Keys = Annotated[Path | None, typer.Option("--keys", help="help.backup_keys", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("backup", help="help.backup")(backup)
    app.command("restore", help="help.restore")(restore_node)
    app.command("recover", help="help.recover")(recover)


# --- backup ------------------------------------------------------------------------------------------------------


def backup(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="help.backup_folder", show_default=False)],
    keys: _Keys = None,
    keys_beside: Annotated[bool, typer.Option("--keys-beside", help="help.backup_keys_beside")] = False,
    keep: Annotated[int, typer.Option("--keep", min=0, help="help.backup_keep")] = 0,
    rereads: Annotated[bool, typer.Option("--reread", help="help.backup_reread")] = False,
    shows: Annotated[bool, typer.Option("--list", help="help.backup_list")] = False,
    as_json: AsJson = False,
) -> None:
    """Back up the node, running or not. Exit code 1 where packets are lacking that the node itself has lost, and where
    --list or --keep finds a generation that cannot be read: the others are listed and counted all the same.
    """
    voice = voice_of(ctx)
    if shows:
        _list(voice, folder, as_json=as_json)
        return
    with open_local() as local, voice.steps("backup_told") as tell:
        made = make_backup(
            local.store, local.settings.data, folder, node=local.settings.node, release=release_name(),
            actor=ACTOR, tell=tell, access=_access(local.settings), keys=keys,
            keys_beside=keys_beside, keep=keep, rereads=rereads,
        )  # fmt: skip
    if as_json:
        voice.json(
            {
                **_as_dict(made.manifest), "folder": str(made.folder), "new_packets": made.new_blobs,
                "new_bytes": made.new_bytes, "keys_folder": str(made.keys_folder) if made.keys_folder else None,
                "removed": made.removed, "unread": tuple(made.unread),
            }
        )  # fmt: skip
    else:
        _tell_made(voice, made)
    for one in made.unread.values():
        voice.fault(one.text(voice.language), one.reason)
    if made.manifest.lacking or made.unread:
        raise typer.Exit(ExitCode.FINDINGS)


def _access(settings: Settings) -> DatabaseAccess | None:
    """The node's database on a server; None where it is a file."""
    if not settings.database:
        return None
    return DatabaseAccess(
        address=settings.database, node=settings.node, password_file=settings.database_password_file,
        wait_seconds=settings.database_wait,
    )  # fmt: skip


def _tell_made(voice: Voice, made: Backup) -> None:
    found = made.manifest
    voice.tell(
        "backup_told.made", name=found.generation, folder=str(made.folder), at=voice.moment(found.at),
        packets=found.rows["packets"], blobs=found.blobs, new=made.new_blobs,
    )  # fmt: skip
    if made.removed:
        voice.tell("backup_told.removed", names=", ".join(made.removed))
    if made.keys_folder is not None:
        voice.tell("backup_told.keys", folder=str(made.keys_folder))
    elif found.keys:
        voice.hint("backup_told.no_keys")
    if found.lacking:
        voice.fault(voice.say("backup.lacking", count=len(found.lacking), first=found.lacking[0]), "backup.lacking")


def _list(voice: Voice, folder: Path, *, as_json: bool) -> None:
    found: list[Manifest] = []
    unread: list[TrucError] = []
    for path in generations(folder):
        try:
            found.append(read_manifest(path))
        except (BackupDamaged, Conflict) as why:
            unread.append(why)
    if as_json:
        voice.json([_as_dict(one) for one in found])
    else:
        columns = ("generation", "at", "release", "#packets", "#lacking")
        voice.table(
            columns, [(m.generation, voice.moment(m.at), m.release, m.rows["packets"], len(m.lacking)) for m in found]
        )
    for one in unread:
        voice.fault(one.text(voice.language), one.reason)
    if unread:
        raise typer.Exit(ExitCode.FINDINGS)


def _as_dict(found: Manifest) -> dict[str, object]:
    return {
        "generation": found.generation, "node": found.node, "at": local_iso(found.at), "release": found.release,
        "schema": found.schema, "rows": dict(found.rows), "packets": found.blobs, "bytes": found.blob_bytes,
        "lacking": list(found.lacking), "keys": sorted(found.keys),
    }  # fmt: skip


# --- restore -----------------------------------------------------------------------------------------------------


def restore_node(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="help.restore_folder", show_default=False)],
    keys: _Keys = None,
    generation: Annotated[str, typer.Option("--generation", help="help.restore_generation", show_default=False)] = "",
    checks: Annotated[bool, typer.Option("--check", help="help.restore_check")] = False,
    is_beside: Annotated[bool, typer.Option("--beside", help="help.restore_beside")] = False,
    as_json: AsJson = False,
) -> None:
    """Put a node back into an empty data folder; with --check only read the backup whole.

    Exit code 1 where --beside finds packets in no backup.
    """
    voice = voice_of(ctx)
    settings = read_settings()
    if checks:
        with voice.steps("backup_told") as tell:
            checked = check_backup(
                folder, node=settings.node, tell=tell, generation=generation, keys=keys, needs_keys=False
            )
        if as_json:
            voice.json({**_as_dict(checked.manifest), "is_whole": True})
        else:
            voice.tell("backup_told.whole", name=checked.manifest.generation, blobs=checked.manifest.blobs)
        return
    access = _access(settings)
    if is_beside and access is None:
        raise BadRequest("restore.beside_what")
    check_empty(settings.data)
    with voice.steps("backup_told") as tell:
        checked = check_backup(folder, node=settings.node, tell=tell, generation=generation, keys=keys)
        shared = Path(settings.blobs) if settings.blobs else None
        if shared is not None:
            check_home(shared, settings.node)
        with _alone(settings):
            if is_beside and access is not None:
                beside = restore_beside(checked, settings.data, access, actor=ACTOR, tell=tell, shared=shared)
            else:
                done = restore(checked, settings.data, actor=ACTOR, tell=tell, access=access, shared=shared)
    if is_beside:
        _tell_beside(voice, settings, beside, as_json=as_json)
        return
    if as_json:
        voice.json({**_as_dict(done.manifest), "restored_at": local_iso(done.at), "in_doubt": done.doubted})
        return
    _tell_restored(voice, settings, done.manifest.at, done.doubted)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """The data folder for ourselves. Raises Conflict `restore.in_use`."""
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = take_lock(settings.data, settings.node)
    try:
        if not lock.is_alone:
            raise Conflict("restore.in_use", folder=str(settings.data.resolve()))
        yield
    finally:
        lock.close()


def _tell_restored(voice: Voice, settings: Settings, at: int, doubted: int) -> None:
    voice.tell(
        "backup_told.restored", node=settings.node, folder=str(settings.data.resolve()), at=voice.moment(at),
        count=doubted,
    )  # fmt: skip
    voice.hint("backup_told.after", at=voice.moment(at))


def _tell_beside(voice: Voice, settings: Settings, done: Beside, *, as_json: bool) -> None:
    """Ends with 1 where packets are lacking."""
    if as_json:
        told = {"lacking": list(done.lacking), "lacking_packets": done.lacking}
        voice.json({"at": local_iso(done.at), "in_doubt": done.doubted, **told})
    else:
        _tell_restored(voice, settings, done.at, done.doubted)
    if done.lacking:
        names = _names_of(voice, done.lacking)
        voice.fault(voice.say("restore.lacking", count=len(done.lacking), names=names), "restore.lacking")
        raise typer.Exit(ExitCode.FINDINGS)


def _names_of(voice: Voice, lacking: Mapping[str, tuple[str, ...]]) -> str:
    """The first packets with the digests of what they need, and how many more there are."""
    named = [f"{packet} ({digest})" for digest, found in lacking.items() for packet in found]
    names, more = ", ".join(named[:_MOST_NAMED]), len(named) - _MOST_NAMED
    return voice.say("backup_told.and_more", names=names, more=more) if more > 0 else names


# --- recover -----------------------------------------------------------------------------------------------------


def recover(
    ctx: typer.Context,
    asks: Annotated[bool, typer.Option("--ask", help="help.recover_ask")] = False,
    ends: Annotated[bool, typer.Option("--done", help="help.recover_done")] = False,
    unknown: Annotated[Path | None, typer.Option("--unknown", help="help.recover_unknown", show_default=False)] = None,
    begins: Annotated[str, typer.Option("--begin", help="help.recover_begin", show_default=False)] = "",
    as_json: AsJson = False,
) -> None:
    """Show how far a restored node came with asking its recipients; begin, ask, or end it. Exit code 1 meanwhile.

    With --unknown only list the packets of a folder that no row speaks of.
    """
    voice = voice_of(ctx)
    if unknown is not None:
        with open_local() as local:
            _tell_unknown(voice, find_unknown(local.store, unknown), as_json=as_json)
        return
    with open_node() as node:
        if begins:
            begin_recovery(node.store, backup="", backup_at=_past(begins), actor=ACTOR)
        asked = recover_once(node) if asks else None
        with node.store.read() as connection:
            last = recoveries.last(connection)
            left = () if last is None else recoveries.channels_in_doubt(connection, last)
        has_ended = ends and last is not None and end_recovery(node, last, actor=ACTOR)
    is_recovering = last is not None and last.ended_at is None and not has_ended
    silent = {} if asked is None else asked.silent
    if as_json:
        voice.json(
            {
                "is_recovering": is_recovering, "backup": last.backup if last else None,
                "backup_at": local_iso(last.backup_at) if last else None,
                "restored_at": local_iso(last.restored_at) if last else None,
                "asked": _asked_dict(asked), "silent": silent,
                "left": [
                    {
                        "channel": one.channel_id, "sink": one.sink, "transfers": one.count,
                        "may_land_until": local_iso(one.may_land_until),
                    }
                    for one in left
                ],
            }
        )  # fmt: skip
    else:
        _show_recovery(voice, last, left, asked, is_recovering=is_recovering)
    if is_recovering:
        raise typer.Exit(ExitCode.FINDINGS)


def _past(text: str) -> Instant:
    """The moment that a database was put back to. Raises BadRequest: of one that is still to come nothing would be in
    doubt, and the node push again what had arrived."""
    moment = parse_moment(text)
    if moment > wall_now():
        raise BadRequest("cli.future_moment", moment=text)
    return moment


def _tell_unknown(voice: Voice, found: tuple[UnknownPacket, ...], *, as_json: bool) -> None:
    if as_json:
        voice.json(found)
        return
    voice.table(
        ("at", "sender", "document", "#size", "digest"),
        [(voice.moment(one.at), one.sender, one.document, one.size, one.digest) for one in found if not one.fault],
    )
    for one in found:
        if one.fault:
            voice.fault(voice.say("backup_told.unreadable", digest=one.digest), one.fault)
    if found:
        voice.hint("backup_told.unknown", count=len(found))


def _asked_dict(asked: Asked | None) -> dict[str, int] | None:
    return None if asked is None else {"arrived": asked.arrived, "absent": asked.absent, "parked": asked.parked}


def _show_recovery(
    voice: Voice, last: recoveries.Recovery | None, left: tuple[recoveries.Unasked, ...], asked: Asked | None,
    *, is_recovering: bool,
) -> None:  # fmt: skip
    if last is None:
        voice.tell("backup_told.never_restored")
        return
    if asked is not None:
        voice.tell("backup_told.asked", arrived=asked.arrived, absent=asked.absent, parked=asked.parked)
        for channel, reason in asked.silent.items():
            voice.fault(voice.say("backup_told.silent", channel=channel, why=voice.say(reason)), reason)
    if left:
        voice.table(
            ("channel", "sink", "#transfers", "asked_from"),
            [(one.channel_id, one.sink, one.count, voice.moment(one.may_land_until)) for one in left],
        )
    code = "backup_told.recovering" if is_recovering else "backup_told.recovered"
    if last.backup:
        voice.tell(code, name=last.backup, at=voice.moment(last.backup_at))
    else:  # put back by the server's own tools
        voice.tell(f"{code}_to", at=voice.moment(last.backup_at))
