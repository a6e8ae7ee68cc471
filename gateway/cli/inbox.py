"""`truc inbox list|fetch|confirm|refuse`: an agency's inbox (hộp văn bản đến) over HTTP."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.exits import ExitCode, RemoteRefused
from gateway.cli.output import AsJson, Voice, voice_of
from gateway.cli.remote import Remote, open_remote

__all__ = ["register"]

_Agency = Annotated[str, typer.Option("--agency", help="help.inbox_agency")]
_Ids = Annotated[list[str], typer.Argument(help="help.inbox_ids", show_default=False)]
_Url = Annotated[str, typer.Option("--url", help="help.url")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="help.inbox", no_args_is_help=True)
    group.command("list", help="help.inbox_list")(list_all)
    group.command("fetch", help="help.inbox_fetch")(fetch)
    group.command("confirm", help="help.inbox_confirm")(confirm)
    group.command("refuse", help="help.inbox_refuse")(refuse)
    app.add_typer(group, name="inbox")


def list_all(
    ctx: typer.Context,
    agency: _Agency = "",
    limit: Annotated[int, typer.Option(min=1, max=500, help="help.limit")] = 50,
    wait: Annotated[float, typer.Option(min=0, help="help.wait")] = 0.0,
    all_: Annotated[bool, typer.Option("--all", help="help.list_all")] = False,
    url: _Url = "",
    as_json: AsJson = False,
) -> None:
    """Show what waits for the agency."""
    voice = voice_of(ctx)
    with open_remote(voice, url) as remote:
        items = list(remote.walk_inbox(agency)) if all_ else remote.list_inbox(agency, limit, wait)
    if as_json:
        voice.json(items)
        return
    voice.table(
        ("delivery", "kind", "sender", "notation", "subject", "#size", "state"),
        [
            (item["delivery_id"], voice.label("packet_kind", item["kind"]), item["sender"], item["notation"],
             item["subject"], item["size"], voice.label("state", item["state"]))
            for item in items
        ],
    )  # fmt: skip


def fetch(
    ctx: typer.Context,
    deliveries: Annotated[list[str] | None, typer.Argument(help="help.inbox_ids", show_default=False)] = None,
    into: Annotated[Path, typer.Option("--into", "-d", help="help.into", file_okay=False)] = Path(),
    all_: Annotated[bool, typer.Option("--all", help="help.fetch_all")] = False,
    confirm_too: Annotated[bool, typer.Option("--confirm", help="help.fetch_confirm")] = False,
    agency: _Agency = "",
    url: _Url = "",
    as_json: AsJson = False,
) -> None:
    """Fetch packets into `<delivery key>.edxml`, each written whole and synced before it is confirmed.

    The key stays the same over all fetches, so a repeat writes the same file again.
    """
    voice = voice_of(ctx)
    into.mkdir(parents=True, exist_ok=True)
    with open_remote(voice, url) as remote:
        waiting = (item["delivery_id"] for item in remote.walk_inbox(agency)) if all_ else ()
        wanted = chain(deliveries or (), waiting)

        def act(delivery_id: str) -> tuple[str, dict[str, Any]]:
            path = _fetch(voice, remote, delivery_id, into)
            state = remote.confirm(delivery_id) if confirm_too else ""
            return "inbox_told.fetched", {"path": str(path), "state": state}

        _each(voice, wanted, act, as_json)


def _fetch(voice: Voice, remote: Remote, delivery_id: str, into: Path) -> Path:
    part = into / f".{delivery_id}.part"
    with voice.progress(is_bytes=True) as progress, part.open("wb") as file:
        bar = progress.add_task(delivery_id, total=None)
        headers = remote.fetch(
            delivery_id, file, lambda done, total: progress.update(bar, completed=done, total=total or None)
        )
        file.flush()
        os.fsync(file.fileno())
    path = into / f"{headers.get('truc-key', delivery_id)}.edxml"
    part.replace(path)
    descriptor = os.open(into, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)  # a confirmation must not outlive the file's name
    finally:
        os.close(descriptor)
    return path


def confirm(ctx: typer.Context, deliveries: _Ids, url: _Url = "", as_json: AsJson = False) -> None:
    """Say that items arrived. A repeat gets the same answer."""
    voice = voice_of(ctx)
    with open_remote(voice, url) as remote:
        _each(voice, deliveries, lambda item: ("inbox_told.state", {"state": remote.confirm(item)}), as_json)


def refuse(
    ctx: typer.Context,
    deliveries: _Ids,
    reason: Annotated[str, typer.Option("--reason", help="help.refuse_reason", show_default=False)],
    url: _Url = "",
    as_json: AsJson = False,
) -> None:
    """Refuse items (02); their senders read the reason."""
    voice = voice_of(ctx)
    with open_remote(voice, url) as remote:
        _each(voice, deliveries, lambda item: ("inbox_told.refused", {"packet": remote.refuse(item, reason)}), as_json)


def _each(
    voice: Voice, deliveries: Iterable[str], act: Callable[[str], tuple[str, dict[str, Any]]], as_json: bool
) -> None:
    """Do it with each; one that is refused does not hold up the others. Exit code 7 where one was refused."""
    told, is_refused = [], False
    for delivery_id in deliveries:
        try:
            code, params = act(delivery_id)
        except RemoteRefused as why:
            is_refused = True
            told.append({"delivery": delivery_id, "problem": why.reason})
            voice.fault(f"{delivery_id}: {why.text(voice.language)}", why.reason)
            continue
        told.append({"delivery": delivery_id, **params})
        if not as_json:
            shown = params | {"state": voice.label("state", params.get("state", ""))}
            voice.tell(code, delivery=delivery_id, **shown)
    if as_json:
        voice.json(told)
    if is_refused:
        raise typer.Exit(ExitCode.REMOTE)
