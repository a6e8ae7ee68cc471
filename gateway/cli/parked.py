"""`truc parked list|release|resend|arrived`: what waits for a person (chờ xử lý tay), and what a person can say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

import typer

from gateway.cli.exits import ExitCode
from gateway.cli.names import Names
from gateway.cli.opening import ACTOR, open_local, open_node
from gateway.cli.output import AsJson, Voice, voice_of
from gateway.exchange.release import check_release, check_resend, check_vouch
from gateway.exchange.release import release as release_delivery
from gateway.exchange.release import resend as resend_delivery
from gateway.exchange.release import vouch as vouch_for_delivery
from gateway.model.errors import BadRequest, Refusal
from gateway.model.states import DeliveryState
from gateway.node import Node
from gateway.store import Store
from gateway.store.agencies import load_directory
from gateway.store.views import DeliveryLine
from gateway.store.views import parked as list_parked

__all__ = ["register"]

_PAGE = 200
_Outcome = tuple[str, str, dict[str, str]]
"""A delivery, the code of what came of it, and that text's parameters."""
_Ids = Annotated[list[str] | None, typer.Argument(help="help.delivery_ids", show_default=False)]
_Reason = Annotated[str, typer.Option("--reason", help="help.parked_reason")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="help.dry_run")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Act:
    """What a person says: the act itself, and the question whether it may be, for a dry run."""

    do: Callable[..., DeliveryState]
    check: Callable[[Node, str], None]


_RELEASE = _Act(do=release_delivery, check=check_release)
_RESEND = _Act(do=resend_delivery, check=check_resend)
_VOUCH = _Act(do=vouch_for_delivery, check=check_vouch)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="help.parked", no_args_is_help=True)
    group.command("list", help="help.parked_list")(list_all)
    group.command("release", help="help.parked_release")(release)
    group.command("resend", help="help.parked_resend")(resend)
    group.command("arrived", help="help.parked_arrived")(arrived)
    app.add_typer(group, name="parked")


def list_all(ctx: typer.Context, reason: _Reason = "", as_json: AsJson = False) -> None:
    """Show what waits for a person, the oldest first."""
    voice = voice_of(ctx)
    with open_local() as local:
        lines = list(_parked_for(voice, local.store, reason))
        with local.store.read() as connection:
            now = local.store.now(connection)
            names = Names.of_directory(load_directory(connection))
    if as_json:
        voice.json(lines)
        return
    voice.table(
        ("delivery", "age", "to", "document", "reason", "detail", "holder"),
        [
            (line.delivery_id, voice.span((now - line.since) / 1e6), names.of(line.agency_id, line.since),
             line.document_id, voice.reason(line.reason), voice.reason(line.detail) if line.detail else "",
             voice.label("holder", line.holder))
            for line in lines
        ],
    )  # fmt: skip
    if lines:
        voice.hint("parked_told.reasons", reasons=_counted(lines))


def _counted(lines: Iterable[DeliveryLine]) -> str:
    """The reasons as `--reason` takes them, and how many wait for each."""
    return ", ".join(f"{reason} ({count})" for reason, count in sorted(Counter(line.reason for line in lines).items()))


def _parked_for(voice: Voice, store: Store, reason: str) -> list[DeliveryLine]:
    """What is parked for that reason. Raises BadRequest `parked_told.reason_unknown` where there is no such reason.

    Nothing waits for a misspelt one, which would read as if all were well.
    """
    lines = list(_parked(store, reason))
    if not lines and reason and voice.reason(reason) == reason:
        others = _counted(_parked(store, ""))
        raise BadRequest("parked_told.reason_unknown", given=reason, reasons=others or "–")
    return lines


def _parked(store: Store, reason: str) -> Iterator[DeliveryLine]:
    """All parked deliveries, page by page; of one reason, or of one of the channel's own, where it is named."""
    after = ""
    while True:
        with store.read() as connection:
            page = list_parked(connection, limit=_PAGE, after=after)
        yield from (line for line in page if reason in ("", line.reason, line.detail))
        if len(page) < _PAGE:
            return
        after = page[-1].delivery_id


def release(
    ctx: typer.Context, deliveries: _Ids = None, reason: _Reason = "", dry_run: _DryRun = False, as_json: AsJson = False
) -> None:
    """Let parked deliveries go on. Exit code 1 where one could not."""
    _act(ctx, _RELEASE, deliveries, reason, dry_run, as_json)


def resend(
    ctx: typer.Context, deliveries: _Ids = None, reason: _Reason = "", dry_run: _DryRun = False, as_json: AsJson = False
) -> None:
    """Send deliveries again under a new key, where the first may have been lost. Exit code 1 where one could not."""
    _act(ctx, _RESEND, deliveries, reason, dry_run, as_json)


def arrived(
    ctx: typer.Context, deliveries: _Ids = None, reason: _Reason = "", dry_run: _DryRun = False, as_json: AsJson = False
) -> None:
    """Write down that recipients have what was in doubt: somebody asked them. Exit code 1 where one could not."""
    _act(ctx, _VOUCH, deliveries, reason, dry_run, as_json)


def _act(
    ctx: typer.Context,
    act: _Act,
    named: list[str] | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    voice = voice_of(ctx)
    if bool(named) == bool(reason):
        raise BadRequest("parked_told.ids_or_reason")
    with open_node() as node:
        wanted = list(dict.fromkeys(named or [line.delivery_id for line in _parked_for(voice, node.store, reason)]))
        others = "" if wanted else _counted(_parked(node.store, ""))
        outcomes = list(_each(voice, node, act, wanted, dry_run=dry_run))
    if as_json:
        voice.json([{**params, "delivery": delivery_id, "outcome": code} for delivery_id, code, params in outcomes])
    else:
        for delivery_id, code, params in outcomes:
            voice.write(f"{delivery_id}  {_said(voice, code, params)}")
        for code, count in sorted(Counter(_kind(code) for _, code, _ in outcomes).items()):
            voice.hint(code, count=count)
        if not outcomes:
            voice.hint("parked_told.none", reason=reason, reasons=others or "–")
    if any(not code.startswith("parked_told.") for _, code, _ in outcomes):
        raise typer.Exit(ExitCode.FINDINGS)


def _kind(code: str) -> str:
    """The code of the sentence that counts outcomes like this one."""
    counted = {"parked_told.done": "parked_told.count_done", "parked_told.would": "parked_told.count_would"}
    return counted.get(code, "parked_told.count_refused")


def _said(voice: Voice, code: str, params: dict[str, str]) -> str:
    shown = {name: voice.label("state", value) if name == "state" else value for name, value in params.items()}
    return voice.say(code, **shown)


def _each(voice: Voice, node: Node, act: _Act, wanted: list[str], *, dry_run: bool) -> Iterator[_Outcome]:
    with voice.progress() as progress:
        for delivery_id in progress.track(wanted, description=voice.say("parked_told.working")):
            try:
                if dry_run:
                    act.check(node, delivery_id)
                    yield delivery_id, "parked_told.would", {}
                else:
                    state = act.do(node, delivery_id, actor=ACTOR)
                    yield delivery_id, "parked_told.done", {"state": str(state)}
            except Refusal as why:
                yield delivery_id, why.reason, {name: str(value) for name, value in why.params.items()}
