"""An inbox that nobody polls is told of: by the doctor, in the list of channels, as figures and by an alert."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edxml.codes import Priority
from gateway.identity import rotate_token
from gateway.identity.sightings import Sightings
from gateway.model.instants import HOUR, MINUTE, SECOND
from gateway.store import Connection, sightings, views
from gateway.store.sightings import Whose
from gateway.workers.figures import alerts_of, figures_once
from monitoring.alerts import AlertSeverity
from tests.support.edge import RECIPIENT, SENDER, running_api
from tests.support.nodes import Database, House, build_house
from tests.support.patience import PATIENCE, until
from tests.support.postgres import cluster
from tests.support.processes import NodeProcesses, need_program
from tests.support.terminal import Terminal

RULES = Path(__file__).parents[2] / "docker" / "prometheus" / "rules.yml"
ALERT = "TrucInboxUnfetched"


def samples(metrics: bytes) -> dict[str, float]:
    """What a process shows, as Prometheus names series."""
    return {
        f"{sample.name}{{{','.join(f'{name}={json.dumps(value)}' for name, value in sorted(sample.labels.items()))}}}":
            sample.value
        for family in text_string_to_metric_families(metrics.decode())
        for sample in family.samples
    }  # fmt: skip


def plays(tmp_path: Path, metrics: bytes, expected: list[dict[str, str]]) -> bool:
    """Whether our alert fires with these labels, and no others, where a process says this for two minutes."""
    test = {
        "interval": "15s",
        "input_series": [{"series": name, "values": f"{value}x10"} for name, value in samples(metrics).items()],
        "promql_expr_test": [
            {
                "expr": f'ALERTS{{alertname="{ALERT}",alertstate="firing"}}',
                "eval_time": "2m",
                "exp_samples": [{"labels": f"ALERTS{json_labels(each)}", "value": 1} for each in expected],
            }
        ],
    }
    played = {"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": [test]}
    (tmp_path / "played.json").write_text(json.dumps(played), "utf-8")
    command = [need_program("promtool", "prometheus"), "test", "rules", str(tmp_path / "played.json")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def json_labels(labels: dict[str, str]) -> str:
    named = {"alertname": ALERT, "alertstate": "firing", **labels}
    return "{" + ",".join(f"{name}={json.dumps(value)}" for name, value in named.items()) + "}"


def told_by(truc: Terminal) -> dict[str, Any]:
    """What the doctor says of inboxes."""
    [found] = [one for one in truc.json("doctor") if one["code"] in ("alert.inbox_unfetched", "doctor.inboxes")]
    return dict(found)


def listed_by(truc: Terminal) -> dict[str, Any]:
    """What the list of channels says of the recipient's inbox."""
    [row] = [row for row in truc.json("channel", "list") if row["id"] == f"hop-{RECIPIENT}"]
    return dict(row["inboxes"][0])


def test_an_inbox_that_nobody_polls_is_told_of_until_somebody_does(
    tmp_path: Path, truc: Terminal, database: Database
) -> None:
    rows = cluster().create() if database is Database.POSTGRESQL else ""
    settings = {"database": rows, "unfetched": "900", "node": "thu"}
    with running_api(tmp_path, **settings) as api:
        truc.set(data=str(tmp_path / "var"), **settings)
        for priority in (Priority.EXPRESS, Priority.NORMAL):
            api.send(api.packet(priority=priority))
        api.node.callers.sightings.flush()  # as the node does by itself twice a minute
        figures_once(api.node)
        assert plays(tmp_path, api.node.metrics.render(), [])
        assert told_by(truc)["code"] == "doctor.inboxes"
        assert listed_by(truc)["polled_at"] is None

    settings |= {"unfetched_urgent": "1"}
    with running_api(tmp_path, **settings) as api:
        truc.set(**settings)
        until(lambda: listed_by(truc)["oldest_seconds"]["urgent"] > 1)
        figures_once(api.node)
        shown = api.node.metrics.render()
        whom = {"agency": RECIPIENT, "system": RECIPIENT, "urgency": "urgent"}
        assert plays(tmp_path, shown, [{**whom, "severity": "critical"}])
        assert not plays(tmp_path, shown, []), "what does not fire is seen here"
        who = f'agency="{RECIPIENT}",system="{RECIPIENT}"'
        assert samples(shown)[f'truc_inbox_oldest_seconds{{{who},urgency="urgent"}}'] > 1
        assert samples(shown)[f'truc_system_seen_age_seconds{{system="{SENDER}"}}'] >= 0, "it sent"
        found = told_by(truc)
        assert (found["code"], found["level"]) == ("alert.inbox_unfetched", "warn"), "the node itself works"
        agency = api.node.channels.snapshot().directory.by_id(RECIPIENT)
        assert agency is not None
        for word in (agency.name_on(api.node.today()), RECIPIENT, "2 văn bản", "khẩn", "giây", "chưa lần nào"):
            assert word in found["vi"]
        row = listed_by(truc)
        assert (row["system"], row["unfetched"]) == (RECIPIENT, 2)
        assert row["oldest_seconds"].keys() == {"urgent", "ordinary"}
        assert "khẩn" in truc("channel", "show", f"hop-{RECIPIENT}")

        for item in api.waiting():
            assert api.recipient.get(f"/v1/inbox/{item['delivery_id']}/packet").status_code == 200
        api.node.callers.sightings.flush()
        figures_once(api.node)
        shown = api.node.metrics.render()
        assert plays(tmp_path, shown, [])
        assert not [name for name in samples(shown) if name.startswith("truc_inbox_oldest_seconds")]
        assert told_by(truc)["code"] == "doctor.inboxes"
        row = listed_by(truc)
        assert (row["unfetched"], row["polled_at"] is None, row["seen_at"] is None) == (0, False, False)
        assert row["polled_at"].endswith("+07:00")


def unfetched(house: House) -> list[tuple[AlertSeverity, str, str]]:
    """(severity, agency, urgency) of what is told of inboxes now."""
    figures_once(house.node)
    with house.node.store.read() as connection:
        seen = views.snapshot(connection, house.now())
    found = [one for one in alerts_of(house.node, seen) if one.code == "alert.inbox_unfetched"]
    return [(one.severity, one.params["agency"], one.params["urgency"]) for one in found]


def test_urgent_ones_are_told_of_sooner_and_each_inbox_once(house: House) -> None:
    house.send(["inbox-a", "inbox-b"], "1")
    house.pass_time(3 * HOUR)
    house.send(["inbox-b"], "2", priority=Priority.URGENT)
    assert unfetched(house) == []
    house.pass_time(15 * MINUTE)
    urgent = (AlertSeverity.CRITICAL, "Cơ quan inbox-b", "urgency.urgent")
    assert unfetched(house) == [urgent]
    house.pass_time(HOUR)
    ordinary = (AlertSeverity.WARNING, "Cơ quan inbox-a", "urgency.ordinary")
    assert unfetched(house) == [urgent, ordinary]
    for delivery in house.shown("inbox-b"):
        house.fetch("inbox-b", delivery)
    assert unfetched(house) == [ordinary], "fetched, if not confirmed"


def test_an_inbox_that_no_system_may_poll_is_told_of(house: House) -> None:
    house.send(["inbox-a"])
    with house.node.store.write() as connection:
        connection.exec_driver_sql("DELETE FROM system_agencies WHERE agency_id = 'inbox-a'")
    house.pass_time(5 * HOUR)
    assert unfetched(house) == [(AlertSeverity.WARNING, "Cơ quan inbox-a", "urgency.ordinary")]
    oldest = 'truc_inbox_oldest_seconds{agency="inbox-a",system="none",urgency="ordinary"}'
    assert samples(house.node.metrics.render())[oldest] == pytest.approx(5 * 3600)
    assert 'truc_labels_unknown_total{label="system"}' not in samples(house.node.metrics.render())


def seen(connection: Connection, system: str) -> int | None:
    [found] = [one.seen_at for one in views.inboxes(connection, 0) if one.system == system]
    return found


@pytest.mark.parametrize("ends", [False, True], ids=["nobody calls again", "its process ends"])
def test_when_an_inbox_was_asked_for_is_written_down(tmp_path: Path, ends: bool) -> None:
    with closing(build_house(tmp_path)) as house:
        token = rotate_token(house.node.store, "s-inbox-a", actor="test").token
        settings = {"node": "thu", "disk_reserve_mib": "1"} | ({} if ends else {"sweep": "0.1"})

        def told() -> int:
            with house.node.store.read() as connection:
                [inbox] = [one for one in views.inboxes(connection, 0) if one.agency_id == "inbox-a"]
            assert (inbox.polled_at is None) or inbox.seen_at, "its system was seen before"
            return inbox.polled_at or 0

        with NodeProcesses(tmp_path / "data", settings) as node:
            for _ in range(2):
                before = told()
                if "api" not in node.running():
                    node.start("api")
                headers = {"Authorization": f"Bearer {token}"}
                assert httpx2.get(f"{node.url}/v1/inbox", headers=headers, timeout=PATIENCE).status_code == 200
                if ends:
                    node.stop()
                until(partial(_is_later, told, before))


def _is_later(told: Callable[[], int], before: int) -> bool:
    return told() > before


def test_what_was_seen_later_stays(house: House) -> None:
    with house.node.store.read() as connection:
        system_id = connection.exec_driver_sql("SELECT id FROM systems WHERE name = 's-inbox-a'").scalar_one()
    ours, began = Sightings(house.node.store), house.now()
    for _ in range(2):
        house.pass_time(30 * SECOND)
        ours.note(Whose.SYSTEM, system_id)
    ours.flush()
    with house.node.store.write() as connection:
        sightings.note(connection, {(Whose.SYSTEM, system_id): began})
    with house.node.store.read() as connection:
        assert seen(connection, "s-inbox-a") == began + 60 * SECOND, "another process is late with what it saw"
        assert seen(connection, "s-inbox-b") is None
