"""The RabbitMQ transport: the contract on a real broker, and what only it promises."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from gateway.transport.broker import BrokerAccess, BrokerError
from gateway.transport.rabbitmq import look_at_broker
from gateway.transport.topology import LAYOUT
from tests.service.transport_suite import BetweenProcesses, OpenTransport
from tests.support.announcing import NORMAL, announce_all, tickets
from tests.support.patience import until
from tests.support.rabbitmq import Broker, cluster

pytestmark = pytest.mark.xdist_group("rabbitmq")


def ground(broker: Broker, vhost: str = "") -> str:
    """What a process of tests.service.transport_child needs to know."""
    url = broker.url(vhost or broker.new_vhost())
    return json.dumps({"url": url, "files": broker.files})


class TestRabbitTransport(BetweenProcesses):
    kind = "rabbitmq"

    @pytest.fixture
    def where(self, broker: Broker) -> str:
        return ground(broker)

    def most_confirmed(self, slots: int, group: int) -> int:
        (normal,) = (queue for queue in LAYOUT if queue.carries == NORMAL)
        most = normal.arguments["x-max-length"]
        assert isinstance(most, int)
        return slots * group * 3 + most


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Broker]]:
    """Three nodes that are one broker."""
    with cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.mark.long
@pytest.mark.fault
class TestRabbitCluster(BetweenProcesses):
    """The same on three nodes; each test's processes are told of all three."""

    kind = "rabbitmq"

    @pytest.fixture
    def where(self, nodes: list[Broker]) -> str:
        vhost = nodes[0].new_vhost()
        urls = ",".join(node.url(vhost) for node in nodes)
        return json.dumps({"url": urls, "files": nodes[0].files})

    most_confirmed = TestRabbitTransport.most_confirmed

    def test_zy_without_its_majority_the_broker_confirms_nothing_and_comes_back(
        self, nodes: list[Broker], where: str, open_one: OpenTransport
    ) -> None:
        """Two of three killed: nothing is confirmed that could be lost, whoever asks is told; then all goes on."""
        sender, handled = open_one("relay"), set[str]()
        wanted = tickets(100, prefix="majority")
        announce_all(sender, wanted)
        for node in nodes[1:]:
            node.kill()
        try:
            until(lambda: not sender.announce(tickets(3, prefix="lonely")))
            for _ in range(3):
                assert sender.announce(tickets(3, prefix="lonely")) == ()
            ground = json.loads(where)
            with pytest.raises(BrokerError):
                look_at_broker(BrokerAccess.parse(ground["url"], **ground["files"]))
        finally:
            for node in nodes[1:]:
                node.launch()
            for node in nodes[1:]:
                node.wait()
        more = tickets(50, prefix="again")
        announce_all(sender, more)
        worker = open_one("worker")
        worker.listen(NORMAL, 2, lambda group: handled.update(ticket.transfer_id for ticket in group))
        until(lambda: handled >= {ticket.transfer_id for ticket in wanted + more})

    def test_zz_one_of_three_nodes_lost_loses_no_ticket(self, nodes: list[Broker], open_one: OpenTransport) -> None:
        """Killed while tickets wait: what was confirmed is handed out by the others. The last test of its class."""
        sender, handled = open_one("relay"), set[str]()
        wanted = tickets(500)
        announce_all(sender, wanted)
        nodes[0].kill()
        more = tickets(200, prefix="after")
        announce_all(sender, more)
        worker = open_one("worker")
        worker.listen(NORMAL, 2, lambda group: handled.update(ticket.transfer_id for ticket in group))
        until(lambda: handled >= {ticket.transfer_id for ticket in wanted + more})
        nodes[0].start_again()


@pytest.fixture(scope="module")
def khepri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A node that keeps users, queues and bindings as newer releases do: in Khepri instead of Mnesia."""
    with Broker.start(tmp_path_factory.mktemp("khepri")) as running:
        running.ctl("enable_feature_flag", "--opt-in", "khepri_db")
        yield running


@pytest.mark.long
class TestRabbitOnKhepri(BetweenProcesses):
    """The same where RabbitMQ's own metadata lies as it does by default from 4.2 on."""

    kind = "rabbitmq"

    @pytest.fixture
    def where(self, khepri: Broker) -> str:
        return ground(khepri)

    most_confirmed = TestRabbitTransport.most_confirmed

    def test_it_is_khepri(self, khepri: Broker) -> None:
        (flag,) = [each for each in khepri.ask("GET", "feature-flags") if each["name"] == "khepri_db"]
        assert flag["state"] == "enabled"
