"""`truc prove agencies|run|check`: an installation is proved from outside, by test agencies of its own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from adapters.settings import without_passwords
from edxml.messages import Language, text
from gateway.cli.exits import ExitCode, RemoteUnreachable
from gateway.cli.output import AsJson, Voice, voice_of
from gateway.cli.remote import address_and_token, reaching
from gateway.model.errors import BadRequest
from gateway.model.instants import SECOND, as_local, wall_now
from gateway.prove.check import Judgement, WrongKind
from gateway.prove.ledger import Ledger
from gateway.prove.marks import ECHO, configuration
from gateway.prove.run import Installation, Proof, find_cast, is_followed, judge_folder, read_proof, running, settle

__all__ = ["last_line", "register"]

_Urls = Annotated[list[str] | None, typer.Option("--url", help="help.prove_urls")]
_Folder = Annotated[Path, typer.Option("--into", "-d", help="help.prove_folder", file_okay=False)]
_Patience = Annotated[float, typer.Option("--patience", min=1, help="help.prove_patience")]
_SHOWN = 50


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="help.prove", no_args_is_help=True)
    group.command("agencies", help="help.prove_agencies")(agencies)
    group.command("run", help="help.prove_run")(run)
    group.command("check", help="help.prove_check")(check)
    app.add_typer(group, name="prove")


def agencies(
    ctx: typer.Context, group: Annotated[str, typer.Option("--group", help="help.prove_group")] = "H99"
) -> None:
    """Print what `truc apply` takes; the system's token is given by `truc system rotate`."""
    voice_of(ctx).write(configuration(group))


def run(
    ctx: typer.Context,
    folder: _Folder = Path("kiem-chung"),
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, help="help.prove_minutes")] = 5.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="help.prove_seed", show_default=False)] = 0,
    rate: Annotated[float, typer.Option("--rate", min=0.1, max=200, help="help.prove_rate")] = 2.0,
    settle_seconds: Annotated[float, typer.Option("--settle", min=1, help="help.prove_settle")] = 300.0,
    patience: _Patience = 120.0,
    url: _Urls = None,
    as_json: AsJson = False,
) -> None:
    """Exit code 1 where a promise was broken or something is still under way. The ledgers stay, also of a kill."""
    voice = voice_of(ctx)
    installation = _installation(voice, url, patience)
    if (folder / "proof.json").exists():
        raise BadRequest("prove.folder_used", folder=str(folder))
    now = wall_now()
    with _reaching(voice, installation), Ledger(folder) as ledger:
        proof = Proof(
            seed=seed or random.SystemRandom().randrange(1, 1 << 32),
            run=now // SECOND,
            day=as_local(now).date().isoformat(),
            agencies=find_cast(installation, ledger, (ECHO,)),
        )
        proof.write(folder)
        senders = sum(one.sends for one in proof.agencies)
        voice.hint(
            "prove_told.begins", seed=proof.seed, senders=senders, recipients=len(proof.agencies) - senders,
            minutes=f"{minutes:g}", folder=folder,
        )  # fmt: skip
        left: tuple[str, ...] = ()
        with running(proof, installation, ledger, folder, rate=rate) as enough:
            if not enough.wait(minutes * 60):  # else somebody gave up, which the end of this block raises
                enough.set()
                voice.hint("prove_told.settling")
                left = settle(installation, ledger, folder, settle_seconds)
        if left:
            voice.hint("prove_told.left", count=len(left), seconds=f"{settle_seconds:g}")
        _judge(voice, installation, ledger, folder, as_json)


def check(
    ctx: typer.Context,
    folder: _Folder = Path("kiem-chung"),
    patience: _Patience = 120.0,
    url: _Urls = None,
    as_json: AsJson = False,
) -> None:
    """Judge an earlier proof again, e.g. after a restore, or one that was killed. Exit codes as `run`."""
    voice = voice_of(ctx)
    installation = _installation(voice, url, patience)
    read_proof(folder)  # before a ledger is opened where there is none
    with _reaching(voice, installation), Ledger(folder) as ledger:
        _judge(voice, installation, ledger, folder, as_json)


def _installation(voice: Voice, urls: list[str] | None, patience: float) -> Installation:
    found = [address_and_token(voice, url) for url in urls or [""]]
    return Installation(urls=tuple(address for address, _ in found), token=found[0][1], patience=patience)


@contextmanager
def _reaching(voice: Voice, installation: Installation) -> Iterator[None]:
    """Raises as `reaching`, and RemoteUnreachable where the installation was away for longer than it may."""
    urls = ", ".join(installation.urls)
    try:
        with reaching(urls):
            yield
    except TimeoutError as why:
        said = voice.say("remote.silent", seconds=f"{installation.patience:g}")
        raise RemoteUnreachable(url=without_passwords(urls), why=said) from why


def _judge(voice: Voice, installation: Installation, ledger: Ledger, folder: Path, as_json: bool) -> None:
    judged = judge_folder(installation, ledger, folder)
    if judged.wrongs and is_followed(installation, ledger, folder):
        voice.hint("prove_told.followed")
    _tell(voice, judged, ledger, read_proof(folder).seed, as_json)


def _tell(voice: Voice, judged: Judgement, ledger: Ledger, seed: int, as_json: bool) -> None:
    if as_json:
        voice.json({"seed": seed, "is_proof": judged.is_proof, "judgement": judged, "retries": ledger.retries})
    else:
        for wrong in judged.wrongs[:_SHOWN]:
            label = voice.label("prove_wrong", wrong.kind)
            voice.write(f"✗ {label}: {wrong.name} → {wrong.agency} {wrong.found}", "red")
        voice.tell(
            "prove_told.packets", packets=judged.packets, repeats=judged.repeats,
            refusals=sum(judged.refusals.values()), retries=ledger.retries,
            statuses=judged.statuses, open_statuses=judged.open_statuses,
        )  # fmt: skip
        for language in (Language.VI, Language.EN):
            voice.write(last_line(judged, seed, language))
    if not judged.is_proof:
        raise typer.Exit(ExitCode.FINDINGS)


def last_line(judged: Judgement, seed: int, language: Language, faults: str = "") -> str:
    """The account of a proof in one line; `faults`: what was injected, by kind."""
    return text(
        "prove_told.last",
        language,
        {
            "accepted": judged.accepted, **judged.fates,
            "lost": judged.count(WrongKind.LOST), "twice": judged.count(WrongKind.TWICE),
            "unexplained": len(judged.wrongs) - judged.count(WrongKind.LOST, WrongKind.TWICE),
            "faults": faults or text("prove_told.nobody", language, {}), "seed": seed,
        },
    )  # fmt: skip
