"""A short life of the soak on the shared servers: a handful of faults of each sort, then both ledgers and the books.

In `make test` one process does everything; with parts apart, a process each, it is one of the long tests.  Both are
bounded by what happened, so many packets and so many faults, and never by time.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.prove.ledger import read_record
from tests.soak.life import live
from tests.soak.province import Ground, Province
from tests.soak.schedule import PARTS, Fault, read_schedule
from tests.support.postgres import cluster
from tests.support.rabbitmq import Broker

ALONE = (
    Fault(at=0.2, kind="reset", target="client>api", seconds=0.3),
    Fault(at=0.4, kind="error", target="rest", seconds=0.3),
    Fault(at=0.6, kind="cut", target="api>postgres", seconds=0.3),
    Fault(at=0.8, kind="half_open", target="api>broker", seconds=0.3),
    Fault(at=1.2, kind="kill", target="api", seconds=0.0),
)
APART = (
    Fault(at=0.5, kind="reset", target="client>api", seconds=0.8),
    Fault(at=0.8, kind="kill", target="deliver", seconds=0.1),
    Fault(at=1.2, kind="error", target="rest", seconds=0.5),
    Fault(at=1.6, kind="half_open", target="relay>broker", seconds=0.8),
    Fault(at=2.0, kind="kill", target="api", seconds=0.1),
    Fault(at=2.4, kind="cut", target="deliver>postgres", seconds=0.5),
    Fault(at=2.8, kind="freeze", target="relay", seconds=0.5),
)
_HOUSE = Path(__file__).parents[2]
_ENOUGH = 6


@pytest.mark.fault
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("alone", "faults"),
    [pytest.param(True, ALONE, id="alone"), pytest.param(False, APART, id="apart", marks=pytest.mark.long)],
)
def test_a_handful_of_faults_breaks_no_promise(
    tmp_path: Path, broker: Broker, alone: bool, faults: tuple[Fault, ...]
) -> None:
    def shared(closing: ExitStack, folder: Path) -> Ground:
        (folder / "data" / "blobs").mkdir(parents=True)
        url = cluster().create()
        closing.callback(cluster().drop, url)
        return Ground(cluster=cluster(), database=url, brokers=[broker], vhost=broker.new_vhost())

    with Province.lay(tmp_path, program=_HOUSE, ground=shared, settle_time=1) as province:
        province.start(dict.fromkeys(PARTS, 1) | {"inspect": 0}, alone=alone)
        outcome = live(province, tmp_path / "life", faults, seed=7, rate=8.0, quiet=0.0, least=_ENOUGH)
        assert outcome.is_proof, "\n".join([*outcome.lines(), province.tails()])
    assert sorted(map(str, outcome.faults)) == sorted(map(str, faults))
    assert read_schedule(tmp_path / "life" / "schedule.json")[0] == faults
    record = read_record(tmp_path / "life" / "so")
    accepted = {told.packet_id for told in record.told if told.is_accepted}
    assert outcome.judgement.packets == len(accepted) >= _ENOUGH
