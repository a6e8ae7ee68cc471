"""`truc demo`: a province of 130 communes, killed and restarted on the way, accounted for at the end.

    plan     letters of every kind, right and wrong
    play     real processes, real HTTP, real folders; kill -9 of each role several times
    account  the books, the two ledgers kept outside, the slowest and the parked, one document's timeline

Ends by itself; the exit code is 0 only where the account closes and the ledgers agree.
"""

from __future__ import annotations

import random
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

import httpx2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from edxml.messages import Language
from gateway.compose import build_node
from gateway.model.errors import Conflict
from gateway.model.instants import VIETNAM
from gateway.settings import Settings, read_settings
from gateway.store import Store, has_database, open_store, views
from gateway.trial.clients import FolderSoftware, Polling, Sending
from gateway.trial.ledger import Ledger
from gateway.trial.plan import Errand, do_act, plan_errands
from gateway.trial.processes import Fleet
from gateway.trial.province import Place, Province, build_province
from gateway.trial.verdict import show_verdict

__all__ = ["run_demo"]

_ROLES = ("api", "relay", "deliver", "periodic", "intake")
_HANGS = 300.0
"""Seconds in which nothing moves, after which the demo ends and says so. How fast it moves is the machine's affair."""
_KILL_EVERY = 0.8
_KILLS = ("deliver", "api", "relay", "deliver", "intake", "api", "periodic", "deliver", "relay") * 2


@dataclass(slots=True)
class _Stage:
    """What the demo holds while it plays."""

    folder: Path
    url: str
    province: Province
    store: Store
    fleet: Fleet
    ledger: Ledger = field(default_factory=Ledger)
    done: threading.Event = field(default_factory=threading.Event)
    failures: list[str] = field(default_factory=list)


def run_demo(language: Language, *, keep: bool = False, console: Console | None = None) -> int:
    """Play the demo; 0 where the account closes and nothing is lost, seen twice or altered, else 1.

    On the PostgreSQL database and the broker of the environment, where there are any.  Raises Conflict where that
    database holds a node already: a real one is left alone, an old demo's is for looking at.
    """
    base = _read_settings()
    screen = Console(file=console.file if console else None, width=console.width if console else None, highlight=False)
    started = time.monotonic()
    with ExitStack() as closing:
        folder = Path(tempfile.mkdtemp(prefix="truc-demo-"))
        if not keep:
            closing.callback(shutil.rmtree, folder, ignore_errors=True)
        stage = _set_up(folder, base, closing)
        if _is_ready(stage):
            _play(stage, screen, language)
        closes = show_verdict(
            screen, language, stage.store, stage.ledger, stage.fleet.kills, stage.failures, time.monotonic() - started
        )
        _say_where_next(screen, language, folder, keep)
    return 0 if closes else 1


# --- setting up --------------------------------------------------------------------------------------------------


def _set_up(folder: Path, base: Settings, closing: ExitStack) -> _Stage:
    """What is begun here is ended by `closing`, however far it came."""
    port = _free_port()
    own = {"data": folder / "nut", "node": "nghe-an-demo", "port": port, "blobs": ""}
    settings = base.model_copy(update=own)
    node = build_node(settings, role="demo")  # makes the folder, the schema and the keys
    node.transport.close()
    province = build_province(node.store, folder / "don-vi", datetime.now(VIETNAM).date())
    node.store.close()
    environment = {
        "TRUC_DATA": str(settings.data),
        "TRUC_BLOBS": "",
        "TRUC_NODE": settings.node,
        "TRUC_PORT": str(port),
        "TRUC_LOG_FORMAT": "json",
        "TRUC_LOG_LEVEL": "warning",
        "TRUC_LEASE": "4",
        "TRUC_ANNOUNCE_AGAIN": "3",
        "TRUC_SWEEP": "1",
        "TRUC_LOOK": "1",
        "TRUC_FIRST_WAIT": "0.5",
    }
    fleet = Fleet(environment, folder / "nhat-ky")
    closing.callback(fleet.stop)
    for role in _ROLES:
        fleet.start(role)
    store = open_store(
        settings.data,
        node=settings.node,
        database=settings.database,
        password_file=settings.database_password_file,
        wait_seconds=settings.database_wait,
    )
    closing.callback(store.close)
    stage = _Stage(folder=folder, url=f"http://127.0.0.1:{port}", province=province, store=store, fleet=fleet)
    closing.callback(stage.done.set)
    return stage


def _read_settings() -> Settings:
    settings = read_settings()
    if settings.database and has_database(
        settings.data, database=settings.database, password_file=settings.database_password_file
    ):
        raise Conflict("cli.demo_database", database=settings.database)
    return settings


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_ready(stage: _Stage) -> bool:
    """Wait for the API; False, and a failure to be told, where a process ended by itself or the API never answers."""
    deadline = time.monotonic() + _HANGS
    while time.monotonic() < deadline and not stage.fleet.dead():
        try:
            if httpx2.get(f"{stage.url}/health/ready", timeout=20).status_code == 200:
                return True
        except httpx2.TransportError:
            pass  # not listening yet
        time.sleep(0.1)
    stage.failures += [stage.fleet.last_words(role) for role in stage.fleet.dead() or ["api"]]
    return False


# --- playing -----------------------------------------------------------------------------------------------------


def _play(stage: _Stage, screen: Console, language: Language) -> None:
    errands = plan_errands(stage.province)
    expected = sum(errand.deliveries for errand in errands)
    vi = language is Language.VI
    screen.print(
        f"[bold]Trục[/bold]: {len(stage.province.communes)} xã, phường và {len(stage.province.departments)} sở, ban "
        f"của Nghệ An (mã giả định); {len(errands)} văn bản, khoảng {expected} lượt chuyển; kho: {stage.folder}"
        if vi
        else f"[bold]Trục[/bold]: {len(stage.province.communes)} communes and {len(stage.province.departments)} "
        f"departments of Nghệ An (assumed codes); {len(errands)} documents, some {expected} deliveries; "
        f"data: {stage.folder}"
    )
    recipients = _start_recipients(stage)
    senders = list(_start_senders(stage, errands))
    killer = threading.Thread(target=_kill_by_turns, args=(stage,), daemon=True)
    for thread in (*senders, killer):
        thread.start()
    title = "Đã xong (kill -9 dọc đường)" if vi else "Settled (kill -9 on the way)"
    _watch(stage, screen, title, expected, senders)
    stage.done.set()
    killer.join(10)
    for recipient in recipients:
        recipient.join(10)
        if recipient.failure is not None:
            stage.failures.append(f"{recipient.name}: {recipient.failure!r}")
    stage.failures += [f"process {role} ended by itself" for role in stage.fleet.dead()]


def _start_recipients(stage: _Stage) -> list[Polling | FolderSoftware]:
    by_system: dict[str, list[Place]] = {}
    for place in stage.province.polling:
        by_system.setdefault(place.system, []).append(place)
    started: list[Polling | FolderSoftware] = [FolderSoftware(stage.province.folder_communes, stage.ledger, stage.done)]
    for system, places in by_system.items():
        started.append(Polling(stage.url, stage.province.tokens[system], places, stage.ledger, stage.done))
    for recipient in started:
        recipient.start()
    return started


def _start_senders(stage: _Stage, errands: Sequence[Errand]) -> Iterator[threading.Thread]:
    """Four senders at once, each with every fourth errand, so that errands that belong together stay in order."""
    for lane in range(4):
        mine = [errand for errand in errands if errand.lane % 4 == lane]
        yield threading.Thread(target=_run_errands, args=(stage, mine), daemon=True, name=f"sending-{lane}")


def _run_errands(stage: _Stage, errands: Sequence[Errand]) -> None:
    clients = {
        place.id: Sending(stage.url, stage.province.tokens[place.system], stage.ledger)
        for place in stage.province.departments
    }
    try:
        for errand in errands:
            errand.run(partial(do_act, stage.store, clients[errand.sender]))
    except Exception as why:  # noqa: BLE001 - told in the verdict, which then fails
        stage.failures.append(f"{threading.current_thread().name}: {why!r}")
    finally:
        for client in clients.values():
            client.close()


def _kill_by_turns(stage: _Stage) -> None:
    """kill -9 of one role after the other while letters are on their way."""
    chance = random.Random(7)  # noqa: S311 - a repeatable schedule
    for role in _KILLS:
        if stage.done.wait(_KILL_EVERY + chance.random()):
            return
        stage.fleet.kill(role)


_OPEN = frozenset({"waiting", "ready", "claimed", "handed_over", "available", "fetched"})


def _watch(stage: _Stage, screen: Console, title: str, expected: int, senders: Sequence[threading.Thread]) -> None:
    """The progress bar: until every sender is through and nothing is open, or nothing moves any more."""
    before, deadline = -1, 0.0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    calm = 0
    with Progress(*columns, console=screen, transient=not screen.is_terminal) as progress:
        task = progress.add_task(title, total=expected)
        while calm < 4:
            with stage.store.read() as connection:
                lines = views.backlog(connection)
            settled = sum(line.count for line in lines if line.state not in _OPEN and line.book == "documents")
            still = sum(line.count for line in lines if line.state in _OPEN)
            progress.update(task, completed=min(settled, expected))
            if settled != before:
                before, deadline = settled, time.monotonic() + _HANGS
            if time.monotonic() > deadline:
                stage.failures.append(f"not everything settled, and nothing moved for {_HANGS:.0f} s")
                return
            sending = any(thread.is_alive() for thread in senders)
            calm = 0 if sending or still else calm + 1
            time.sleep(0.5)


def _say_where_next(screen: Console, language: Language, folder: Path, keep: bool) -> None:
    data = folder / "nut"
    if language is Language.VI:
        screen.print("\n[bold]Xem tiếp[/bold]: docs/tutorial.vi.md (tự tay gửi một văn bản), README.vi.md (cam kết).")
        if keep:
            screen.print(f"Kho được giữ lại: TRUC_NODE=nghe-an-demo TRUC_DATA={data} truc account")
        else:
            screen.print("Giữ lại kho để xem: truc demo --keep")
    else:
        screen.print(
            "\n[bold]Next[/bold]: docs/tutorial.md (send one document by hand), docs/guarantees.md (promises)."
        )
        if keep:
            screen.print(f"The data was kept: TRUC_NODE=nghe-an-demo TRUC_DATA={data} truc account")
        else:
            screen.print("Keep the data to look around: truc demo --keep")
