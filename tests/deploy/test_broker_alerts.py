"""Alert rules about RabbitMQ, played by promtool: each fires on its fault, and none on a broker that is well."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.compose import vocabulary
from gateway.transport.broker import BrokerError
from gateway.transport.topology import LAYOUT
from tests.deploy.test_containers import DOCKER, run
from tests.support.processes import need_program

WELL = {
    **{f'up{{job="truc-api",instance="{name}"}}': "1x30" for name in "ab"},
    **{
        f'up{{job="truc-parts",part="{part}"}}': "1x30"
        for part in ("relay", "deliver", "periodic", "intake", "inspect")
    },
    **{f'up{{job="rabbitmq",instance="mq{number}"}}': "1x30" for number in (1, 2, 3)},
    **{f'rabbitmq_queue_messages{{queue="{queue.name}"}}': "3x30" for queue in LAYOUT if queue.carries},
    **{f'rabbitmq_queue_consumers{{queue="{queue.name}"}}': "2x30" for queue in LAYOUT if queue.carries},
    'rabbitmq_queue_messages{queue="truc-dead"}': "0x30",
    'truc_broker_link_up{link="publish"}': "1x30",
    'truc_broker_link_up{link="listen"}': "1x30",
    "truc_broker_blocked": "0x30",
    'truc_broker_faults_total{link="publish",reason="broker.away"}': "2x30",
    'truc_tickets_total{event="announced"}': "0+40x30",
    'truc_tickets_total{event="unconfirmed"}': "0+1x30",
}
"""Four samples a minute, seven minutes and a half: links had been cut, a few tickets come back now and then."""

FAULTS: dict[str, dict[str, str]] = {
    "TrucBrokerLinkDown": {'truc_broker_link_up{link="publish"}': "1x4 0x26"},
    "TrucBrokerBlocked": {"truc_broker_blocked": "0x4 1x26"},
    "TrucBrokerNodeDown": {'up{job="rabbitmq",instance="mq2"}': "1x4 0x26"},
    "TrucDeadTickets": {'rabbitmq_queue_messages{queue="truc-dead"}': "1x30"},
    "TrucBrokerRefuses": {'truc_broker_faults_total{link="publish",reason="broker.refused"}': "0x4 0+1x26"},
    "TrucTicketsUnconfirmed": {'truc_tickets_total{event="announced"}': "40x30"},
    "TrucQueueUnheard": {'rabbitmq_queue_consumers{queue="truc-deliver.urgent"}': "2x4 0x26"},
    "TrucQueueGrows": {'rabbitmq_queue_messages{queue="truc-deliver.normal"}': "12000x30"},
    "TrucConsumerTimeout": {'truc_broker_faults_total{link="listen",reason="broker.consumer_timeout"}': "0x10 1x20"},
}


_FIRING = 'ALERTS{alertstate="firing",alertname=~"Truc(Broker|Dead|Tickets|Queue|Consumer).*"}'


def _play(series: dict[str, str], expected: list[str]) -> dict[str, Any]:
    samples = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in expected]
    return {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f"count by (alertname) ({_FIRING})",
                "eval_time": "7m",
                "exp_samples": samples,
            }
        ],
    }


def _run(tmp_path: Path, tests: list[dict[str, Any]]) -> None:
    played = {"rule_files": [str(DOCKER / "prometheus/rules.yml")], "evaluation_interval": "15s", "tests": tests}
    (tmp_path / "played.json").write_text(json.dumps(played), "utf-8")
    run(need_program("promtool", "prometheus"), "test", "rules", str(tmp_path / "played.json"))


def test_each_fault_of_the_broker_raises_its_alert_and_no_other(tmp_path: Path) -> None:
    _run(tmp_path, [_play(WELL, []), *(_play(WELL | changed, [name]) for name, changed in FAULTS.items())])


def test_a_rule_that_would_not_fire_is_seen(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="TrucTicketsUnconfirmed"):
        _run(tmp_path, [_play(WELL, ["TrucTicketsUnconfirmed"])])


def test_every_rule_about_the_broker_is_played() -> None:
    text = (DOCKER / "prometheus/rules.yml").read_text("utf-8")
    about = r"alert: (\w+)\n\s+expr: '.*(?:rabbitmq|truc_broker|unconfirmed).*'"
    assert set(re.findall(about, text)) == set(FAULTS)


def test_what_cannot_get_better_by_waiting_is_an_alert() -> None:
    """Faults of settings and certificates; the others are of a broker that comes back by itself."""
    text = (DOCKER / "prometheus/rules.yml").read_text("utf-8")
    asked = re.search(r'truc_broker_faults_total\{reason=~"([^"]+)"', text)
    assert asked is not None
    codes = {code for code in vocabulary({}).reasons if code.startswith("broker.")}
    known = {code for code in codes if re.fullmatch(asked[1], code)}
    comes_back = {"error", "away", "frozen", "mislaid", "blocked", "queue_gone", "consumer_timeout", "not_used"}
    assert codes - known == {f"broker.{word}" for word in comes_back}
    assert BrokerError.code in codes
