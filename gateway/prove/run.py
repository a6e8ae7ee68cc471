"""A proof from beginning to end: who takes part, for how long, and what the installation says of it afterwards.

It is a client and nothing more: everything goes by `/v1` with one system's token, and everything it knows stands in its
folder (`proof.json`, `told.jsonl`, `seen.jsonl`), so that a proof that was killed can be judged, or gone on with.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from http.client import NOT_FOUND
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from gateway.prove.actors import Asking, Recipient, Sender
from gateway.prove.check import Account, Copy, Judgement, judge
from gateway.prove.ledger import Ledger, Record, read_record
from gateway.prove.marks import ECHO, NotAlone, NotMarked, ProofError, TestAgency, cast_of
from gateway.prove.plan import plan, run_of

__all__ = [
    "Installation", "Proof", "ProofFailed", "ask_account", "find_cast", "is_followed", "judge_folder", "read_proof",
    "running", "settle",
]  # fmt: skip

_READERS = 4
_BRISK, _SLUGGISH = 0.05, 4.0
"""Seconds between two looks: every third recipient is sluggish, so that recalls come before their documents went."""


class ProofFailed(ProofError):
    """Somebody who takes part gave up: the installation was away for too long, or said what it must not. `why`."""

    code = "prove.failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """How an installation is reached: its APIs, a token, and how many seconds it may be away."""

    urls: tuple[str, ...]
    token: str
    patience: float = 60.0

    def asking(self, ledger: Ledger) -> Asking:
        """A connection of its own for one thread."""
        return Asking(self.urls, self.token, ledger, patience=self.patience)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What makes a proof the same again: its seed; `run` tells its documents from those of another run."""

    seed: int
    run: int
    day: str
    agencies: tuple[TestAgency, ...]
    unwatched: tuple[str, ...] = (ECHO,)  #: nobody outside sees what they get
    pushed: tuple[str, ...] = ()  #: whoever they are writes their own lines: they poll no inbox

    def write(self, folder: Path) -> None:
        """Into `proof.json`, before the first document."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "proof.json").open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())


def read_proof(folder: Path) -> Proof:
    """As it was written. Raises OSError, ValueError where the folder holds none."""
    return msgspec.json.decode((folder / "proof.json").read_bytes(), type=Proof)


def find_cast(installation: Installation, ledger: Ledger, also: Sequence[str] = ()) -> tuple[TestAgency, ...]:
    """Who takes part, read from the installation.

    Raises NotMarked, also where one of `also` is not there, TimeoutError, HTTPStatusError where it says no, and
    JSONDecodeError where what answers is no node.
    """
    asking = installation.asking(ledger)
    try:
        answers = [asking.ask("GET", path) for path in ("/v1/me", *(f"/v1/agencies/{one}" for one in also))]
    finally:
        asking.close()
    for name, answer in zip(("", *also), answers, strict=True):
        if name and answer.status_code == NOT_FOUND:
            raise NotMarked(why=name)
        answer.raise_for_status()
    me, *others = answers
    return cast_of(_told(me, "is_operator"), [_told(other, "agency_id") for other in others])


def _told(answer: httpx2.Response, field: str) -> dict[str, Any]:
    """What a node says there, that field among it. Raises JSONDecodeError where it is something else that answers."""
    said = answer.content.decode("utf-8", "replace")
    found = json.loads(said)
    if not isinstance(found, dict) or field not in found:
        raise json.JSONDecodeError(f"no {field}", said, 0)
    return found


@contextmanager
def running(
    proof: Proof, installation: Installation, ledger: Ledger, folder: Path, *, rate: float
) -> Iterator[threading.Event]:
    """Senders and recipients at work, `rate` packets a second together; set the event to have the senders stop.

    The event is set as well where somebody gave up: what is still to come would prove nothing.  At the end of the block
    everybody has stopped. Raises NotAlone where a later proof has begun, ProofFailed where somebody gave up otherwise.
    """
    senders = [agency for agency in proof.agencies if agency.sends]
    polled = [agency for agency in proof.agencies if agency.id not in (*proof.unwatched, *proof.pushed)]
    enough, done = threading.Event(), threading.Event()
    record = read_record(folder)
    actors: list[Sender | Recipient] = [
        Recipient(
            one.id, installation.asking(ledger), ledger, done, [s.key for s in record.seen if s.agency == one.id],
            look=_SLUGGISH if number % 3 == 2 else _BRISK, run=proof.run,
        )
        for number, one in enumerate(sorted(polled, key=lambda one: one.id))
    ]  # fmt: skip
    to = [agency for agency in proof.agencies if not agency.sends]
    for one in senders:
        steps = plan(proof.seed, proof.run, one, to, date.fromisoformat(proof.day))
        pause = len(senders) / rate
        actors.append(Sender(one.id, steps, installation.asking(ledger), ledger, enough, pause=pause))
    for actor in actors:
        actor.on_failure = enough.set
        actor.start()
    try:
        yield enough
    finally:
        enough.set()
        done.set()
        for actor in actors:
            actor.join(installation.patience + 60)
    if any(isinstance(actor.failure, NotAlone) for actor in actors):
        raise NotAlone
    failed = [f"{actor.name}: {actor.failure!r}" for actor in actors if actor.failure is not None or actor.is_alive()]
    if failed:
        raise ProofFailed(why="; ".join(failed))


@dataclass(frozen=True, slots=True)
class _Said:
    """What the installation says of one packet: each recipient's copy, and the statuses that were reported about it."""

    copies: Mapping[str, Copy]
    statuses: tuple[str, ...]

    @property
    def is_under_way(self) -> bool:
        return any(copy.fate == "open" for copy in self.copies.values())


def ask_account(installation: Installation, ledger: Ledger, record: Record) -> Account:
    """What the installation says of every packet that was accepted and of every status, recipient by recipient."""
    said = _ask_all(installation, ledger, sorted(_letters(record) | _statuses(record)))
    further = {status for one in said.values() for status in one.statuses} - said.keys()
    said |= _ask_all(installation, ledger, sorted(further))
    return {packet_id: one.copies for packet_id, one in said.items()}


def _letters(record: Record) -> set[str]:
    return {told.packet_id for told in record.told if told.is_accepted}


def _statuses(record: Record) -> set[str]:
    return {reported.packet_id for reported in record.reported if reported.packet_id}


def _unanswered(record: Record) -> set[str]:
    """Packets that a recipient refuses, and was not answered about."""
    answered = {(reported.agency, reported.about) for reported in record.reported}
    return {seen.packet_id for seen in record.seen if seen.refused and (seen.agency, seen.packet_id) not in answered}


def _ask_all(installation: Installation, ledger: Ledger, wanted: Sequence[str]) -> dict[str, _Said]:
    local = threading.local()
    opened: list[Asking] = []

    def ask(packet_id: str) -> _Said | None:
        if not hasattr(local, "asking"):
            local.asking = installation.asking(ledger)
            opened.append(local.asking)
        answer = local.asking.ask("GET", f"/v1/packets/{packet_id}")
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        words = answer.json()
        copies = {
            line["agency_id"]: Copy(
                state=line["state"], reason=line["reason"], may_have_arrived=line["may_have_arrived"], key=line["key"]
            )
            for line in words["recipients"]
        }
        return _Said(copies, tuple(line["packet_id"] for line in words["statuses"]))

    try:
        with ThreadPoolExecutor(_READERS, "account") as pool:
            answers = pool.map(ask, wanted)
            return {packet_id: said for packet_id, said in zip(wanted, answers, strict=True) if said is not None}
    finally:
        for asking in opened:
            asking.close()


def settle(installation: Installation, ledger: Ledger, folder: Path, seconds: float) -> tuple[str, ...]:
    """Wait until no copy and no reported status is under way any more, at most so long; the packets of which one is.

    Those that ended are not asked again: a state that changes afterwards is seen when the proof is judged.
    """
    deadline = time.monotonic() + seconds
    ended: set[str] = set()
    record = read_record(folder)
    while True:
        asked = sorted((_letters(record) | _statuses(record)) - ended)
        said = _ask_all(installation, ledger, asked)
        under_way = {one for one in asked if one in said and said[one].is_under_way}
        ended.update(set(asked) - under_way)
        record = read_record(folder)  # a refusal ends a copy before its recipient is answered and writes that down
        left = under_way | _unanswered(record) | (_statuses(record) - ended)
        if not left or time.monotonic() > deadline:
            return tuple(sorted(left))
        time.sleep(0.5)


def judge_folder(installation: Installation, ledger: Ledger, folder: Path) -> Judgement:
    """Judge a proof's folder against what the installation says now. Senders and recipients must have stopped."""
    record = read_record(folder)
    proof = read_proof(folder)
    return judge(record, ask_account(installation, ledger, record), unwatched=proof.unwatched, run=proof.run)


def is_followed(installation: Installation, ledger: Ledger, folder: Path) -> bool:
    """Whether a later proof sent by the same test agencies: what this one left in their inboxes it may have taken."""
    asking, run = installation.asking(ledger), read_proof(folder).run
    try:
        answer = asking.ask("GET", "/v1/packets?limit=100")
    finally:
        asking.close()
    answer.raise_for_status()
    return any(run_of(sent["document_id"]) > run for sent in answer.json()["items"])
