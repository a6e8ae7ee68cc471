"""One run of the soak: a province, its test agencies at work, a schedule of faults, quiet, and the judgement.

Everything of it stays in its folder: `schedule.json` (to play it again), `so/` (ledgers), `logs/`, `report.json`, and,
since the database goes with its disk, `rows.json` of the packets over which the books do not close.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from threading import Event
from typing import Final

from edxml.messages import Language
from gateway.account import Account, close_books
from gateway.cli.prove import last_line
from gateway.model.instants import wall_now
from gateway.prove.check import Judgement, judge
from gateway.prove.ledger import Ledger, Record, read_record
from gateway.prove.marks import ECHO
from gateway.prove.run import Installation, Proof, ProofFailed, ask_account, find_cast, running, settle
from tests.soak.faults import Blows
from tests.soak.lateness import Lateness, measure
from tests.soak.operator import Operator
from tests.soak.province import Province, rows_of
from tests.soak.recipients import BLIND, FOLDER, REST, FolderClerk, seen_by_server
from tests.soak.schedule import Fault, table, write_schedule
from tests.support.patience import until

__all__ = ["Outcome", "live"]

_PATIENCE: Final = 240.0
_SETTLE: Final = 240.0
_HANDS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended. `faults`: those that began and were healed; `failures`: what went wrong beside the ledgers."""

    seed: int
    judgement: Judgement
    account: Account
    faults: tuple[Fault, ...]
    failures: tuple[str, ...]
    lateness: Lateness
    machine: str = ""  #: whether it stood, and for how long

    @property
    def is_proof(self) -> bool:
        """Every promise was kept, the books close, and everybody lives."""
        return self.judgement.is_proof and self.account.closes and not self.failures

    def lines(self) -> list[str]:
        """What a person reads: what is wrong, the table of faults, the account in two languages."""
        said = [f"✗ {wrong}" for wrong in (*self.failures, *self.judgement.wrongs[:50], *self.account.gaps[:20])]
        hits = table(self.faults)
        for kind, targets in hits.items():
            said.append(f"{kind:14} " + ", ".join(f"{target} {count}" for target, count in sorted(targets.items())))
        kinds = Counter(fault.kind for fault in self.faults)
        summed = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
        said += [self.lateness.line(), self.machine]
        return said + [last_line(self.judgement, self.seed, language, summed) for language in Language]


def live(
    province: Province, folder: Path, faults: Sequence[Fault], *, seed: int, rate: float, quiet: float = 5.0,
    run: int = 0, least: int = 1,
) -> Outcome:  # fmt: skip
    """Send under the faults, heal, wait until nothing is under way, judge. The province must run, and goes on.

    Sending goes on for `quiet` seconds after the last fault, and until `least` packets were accepted.
    """
    folder.mkdir()
    write_schedule(folder / "schedule.json", faults, seed=seed, rate=rate, quiet=quiet)
    blows, failures = Blows(province), []
    with Ledger(folder / "so") as ledger:
        installation = Installation(urls=province.urls, token=province.token, patience=_PATIENCE)
        pushed = (FOLDER, *REST)
        proof = Proof(
            seed=seed, run=run or int(time.time()), day=date.today().isoformat(),  # noqa: DTZ011
            agencies=find_cast(installation, ledger, (ECHO, *pushed)), pushed=pushed,
        )  # fmt: skip
        proof.write(folder / "so")
        left: tuple[str, ...] = ()
        try:
            with (
                _clerk(province, ledger) as clerk,
                _operator(province) as operator,
                running(proof, installation, ledger, folder / "so", rate=rate) as enough,
            ):
                failures += _play(blows, faults)
                _say(f"{len(blows.hits)} of {len(faults)} faults were struck and healed")
                enough.wait(quiet)
                until(lambda: _accepted(folder / "so") >= least, province.tails, timeout=_PATIENCE, every=0.2)
                enough.set()
                province.await_ready()
                _say("sending has ended, both interfaces are ready")
                left = settle(installation, ledger, folder / "so", _SETTLE)
        except ProofFailed as why:
            failures.append(str(why))
        _say(f"{len(left)} packets are under way")
        failures += [repr(one.failure) for one in (clerk, operator) if one.failure is not None]
        failures += [f"under way after {_SETTLE:.0f} s: {' '.join(left)}"] if left else []
        failures += [defect for part in province.parts.values() for defect in part.defects]
        record = _with_servers(read_record(folder / "so"), province, folder)
        said = ask_account(installation, ledger, record)
        judgement = judge(record, said, unwatched=proof.unwatched, blind=BLIND)
    outcome = Outcome(
        seed=seed, judgement=judgement, account=_close(province), faults=tuple(blows.hits), failures=tuple(failures),
        lateness=measure(record, blows.windows), machine=province.clock.line(),
    )  # fmt: skip
    _report(folder, outcome, province)
    return outcome


def _accepted(ledgers: Path) -> int:
    return len({told.packet_id for told in read_record(ledgers).told if told.is_accepted})


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)


def _play(blows: Blows, faults: Sequence[Fault]) -> list[str]:
    """Strike at the times that the schedule says. The threads stay until all is over: a server must not outlive the
    thread that started it by mistake (it is told to end with it). Gives what could not be done."""
    begun, pending = time.monotonic(), list[tuple[Fault, Future[None]]]()
    pool = _pool(blows.province)
    for fault in faults:
        time.sleep(max(0.0, begun + fault.at - time.monotonic()))
        pending.append((fault, pool.submit(blows.strike, fault)))
    failures = []
    for fault, future in pending:
        if (why := future.exception(_PATIENCE)) is not None:
            failures.append(f"{fault}: {why!r}")
    return failures


def _pool(province: Province) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(_HANDS, "blows")
    province.closing.push(lambda *_: pool.shutdown(wait=False))
    return pool


@contextmanager
def _clerk(province: Province, ledger: Ledger) -> Iterator[FolderClerk]:
    done = Event()
    clerk = FolderClerk(province.folder / FOLDER, ledger, done)
    clerk.start()
    try:
        yield clerk
    finally:
        done.set()
        clerk.join(30)


@contextmanager
def _operator(province: Province) -> Iterator[Operator]:
    done = Event()
    operator = Operator(province, done)
    operator.start()
    try:
        yield operator
    finally:
        done.set()
        operator.join()
        _say(f"an operator said: {dict(operator.said) or 'nothing'}")


def _with_servers(record: Record, province: Province, folder: Path) -> Record:
    """The ledgers with what the agencies' servers saw of this run's packets."""
    mine = {meant.digest for meant in record.meant}
    seen = [line for name, server in province.servers.items() for line in seen_by_server(name, server.folder)]
    strange = [line for line in seen if line.digest not in mine]
    (folder / "strange.json").write_text(json.dumps([asdict(line) for line in strange]), "utf-8")
    return replace(record, seen=(*record.seen, *seen))


def _close(province: Province) -> Account:
    store = province.open()
    try:
        return close_books(store, 0, wall_now() + 3_600_000_000)
    finally:
        store.close()


def _report(folder: Path, outcome: Outcome, province: Province) -> None:
    words = {
        "seed": outcome.seed, "is_proof": outcome.is_proof, "accepted": outcome.judgement.accepted,
        "fates": dict(outcome.judgement.fates), "packets": outcome.judgement.packets,
        "wrongs": [asdict(wrong) for wrong in outcome.judgement.wrongs], "failures": list(outcome.failures),
        "gaps": [str(gap) for gap in outcome.account.gaps],
        "faults": {kind: dict(targets) for kind, targets in table(outcome.faults).items()},
        "lateness": asdict(outcome.lateness),
        "machine_stood": [{"at": at, "seconds": seconds} for at, seconds in province.clock.stands],
        "ended": {name: dict(part.ends) for name, part in province.parts.items()},
    }  # fmt: skip
    (folder / "report.json").write_text(json.dumps(words, ensure_ascii=False, indent=1), "utf-8")
    if suspects := {gap.packet_id for gap in outcome.account.gaps}:
        kept = rows_of(province, sorted(suspects))
        (folder / "rows.json").write_text(json.dumps(kept, ensure_ascii=False, indent=1), "utf-8")
