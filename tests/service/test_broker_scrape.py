"""What the alert rules ask RabbitMQ's own metrics for is there under these names, on a real broker."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2
import pytest

from gateway.transport.rabbitmq import make_layout
from gateway.transport.topology import LAYOUT
from tests.support.patience import until
from tests.support.rabbitmq import Broker, free_ports

pytestmark = [pytest.mark.xdist_group("rabbitmq"), pytest.mark.long]

RULES = Path(__file__).parents[2] / "docker" / "prometheus" / "rules.yml"


def test_the_broker_tells_what_the_rules_ask_for(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    told = {"prometheus.tcp.port": str(port), "prometheus.tcp.ip": "127.0.0.1"}
    with Broker.lay(tmp_path, **told) as broker:  # type: ignore[arg-type]
        (broker.folder / "plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].")
        broker.launch()
        broker.wait()
        vhost = broker.new_vhost()
        make_layout(broker.access(vhost))
        asked = set(re.findall(r"\brabbitmq_\w+", RULES.read_text("utf-8")))
        wanted = {(name, queue.name) for name in asked for queue in LAYOUT}
        assert len(asked) >= 2
        until(lambda: not wanted - _said(port))  # figures of a queue come some seconds after it was made


def _said(port: int) -> set[tuple[str, str]]:
    """Which metric is told of which queue."""
    answer = httpx2.get(f"http://127.0.0.1:{port}/metrics/per-object", timeout=20)
    assert answer.status_code == 200
    return set(re.findall(r'^(\w+){[^}]*\bqueue="([^"]+)"[^}]*} ', answer.text, re.MULTILINE))
