"""The product as a contestant: a real node of the real province, driven through its REST interface.

`python -m gateway serve` on a data folder of its own with the directory of Nghệ An, one department that sends and 32
communes with an inbox each; logs as JSON lines into a file, everything else as it comes.
"""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.contestants import RECIPIENTS, Contestant, Entry
from benchmarks.load import Agency, LoadPlan
from benchmarks.measure import LoadRun
from gateway.account import Gap, close_books
from gateway.compose import build_node
from gateway.configuration import apply, init_rows, parse
from gateway.identity import rotate_token
from gateway.node import Node
from gateway.settings import read_settings

__all__ = ["PRODUCT", "PRODUCT_API", "gaps_of", "opened", "prepare", "product"]

_SENDER: Final = "na-so-stc"
_COMMUNE: Final = re.compile(r"na-xa-\d+-2025")
_SYSTEM: Final = "bench"
_ACTOR: Final = "bench"
_FAR: Final = 1 << 62


@contextmanager
def opened(folder: Path, more: Mapping[str, str] | None = None) -> Iterator[Node]:
    """The node in `folder`, opened in this process and closed again. `more`: settings beyond the usual ones."""
    node = build_node(read_settings(_environment(folder) | dict(more or {})), role="bench")
    try:
        yield node
    finally:
        node.transport.close()
        node.store.close()


def _environment(folder: Path) -> dict[str, str]:
    return {"TRUC_DATA": str(folder / "data"), "TRUC_PORT": "0", "TRUC_LOG_FORMAT": "json"}


def prepare(
    folder: Path,
    role: str = "serve",
    runner: tuple[str, ...] = ("-m", "gateway"),
    more: Mapping[str, str] | None = None,
) -> Entry:
    """A fresh node in `folder`: directory, one system for all agencies, an inbox for each recipient, a token."""
    with opened(folder, more) as node:
        init_rows(node.store)
        directory = node.channels.refresh().directory
        communes = [agency for agency in directory.in_force(node.today()) if _COMMUNE.fullmatch(agency.id)]
        recipients = communes[:RECIPIENTS]
        sender = next(agency for agency in directory.in_force(node.today()) if agency.id == _SENDER)
        ids = [agency.id for agency in (sender, *recipients)]
        apply(node.store, parse(_configuration(ids)), actor=_ACTOR)
        token = rotate_token(node.store, _SYSTEM, actor=_ACTOR).token
        known = []
        for agency in (sender, *recipients):
            code = agency.organ_code_on(node.today())
            assert code is not None, f"{agency.id} has no organ code"
            name = agency.name_on(node.today())
            known.append(Agency(id=agency.id, code=code.code, name=name, token=token))
    return Entry(
        command=(sys.executable, *runner, role),
        sender=known[0],
        recipients=tuple(known[1:]),
        environment=_environment(folder) | dict(more or {}),
    )


def _configuration(ids: list[str]) -> str:
    lines = [f'[[system]]\nname = "{_SYSTEM}"\nspeaks_for = {ids!r}\n']
    lines += [f'[[channel]]\nid = "inbox-{agency}"\nkind = "inbox"\nserves = ["{agency}"]\n' for agency in ids]
    return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    packets: int
    delivered: int
    fetched: int
    blobs: int


def _match(folder: Path, plan: LoadPlan, run: LoadRun) -> tuple[str, ...]:
    """The rows and blobs are what the load generator did, and the account (cân sổ) closes."""
    documents = plan.warm_up + run.result.confirmed
    wanted = _Counted(packets=documents, delivered=documents, fetched=documents, blobs=documents)
    counted = _count(folder)
    wrong = [] if counted == wanted else [f"the product's rows say {counted}, not {wanted}"]
    gaps = gaps_of(folder)
    wrong += [f"the account has {len(gaps)} gaps, the first: {gaps[0]}"] if gaps else []
    return tuple(wrong)


def gaps_of(folder: Path, more: Mapping[str, str] | None = None) -> tuple[Gap, ...]:
    """What does not add up in the account (cân sổ) of the node in `folder`, over all time."""
    with opened(folder, more) as node:
        return close_books(node.store, 0, _FAR).gaps


def _count(folder: Path) -> _Counted:
    with closing(sqlite3.connect(folder / "data" / "truc.db")) as connection:

        def count(sql: str) -> int:
            return int(connection.execute(sql).fetchone()[0])

        return _Counted(
            packets=count("SELECT count(*) FROM packets"),
            delivered=count("SELECT count(*) FROM deliveries WHERE state = 'delivered'"),
            fetched=count("SELECT count(DISTINCT delivery_id) FROM attempts"),
            blobs=sum(1 for _ in (folder / "data" / "blobs").glob("??/*")),
        )


def product(role: str, runner: tuple[str, ...] = ("-m", "gateway")) -> Contestant:
    """The product with one role's process; `runner` is what Python is told to run."""
    return Contestant(
        name=f"truc {role}",
        dialect="v1",
        prepare=lambda folder: prepare(folder, role, runner),
        match=_match,
    )


PRODUCT = product("serve")
"""The whole node in one process."""

PRODUCT_API = product("api")
"""Its API process alone: all that a polled recipient needs."""
