"""`truc broker check|apply|show` and what is wrong with a broker: each one sentence in both languages, exit code 8."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pika
import pytest

from edxml.messages import Language
from gateway.transport.broker import BrokerAccess, BrokerError
from gateway.transport.rabbitmq import RabbitTransport, look_at_broker, make_layout
from gateway.transport.topology import EXCHANGES, LAYOUT, LEAST_RIGHTS
from tests.support.announcing import NORMAL, announce_all, tickets
from tests.support.broker_tls import Papers
from tests.support.old_broker import OldBroker
from tests.support.patience import until
from tests.support.rabbitmq import USER, Broker, free_ports
from tests.support.terminal import Terminal

pytestmark = pytest.mark.xdist_group("rabbitmq")

Setting = Callable[..., None]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Setting:
    """Set TRUC_BROKER… for the commands of this test."""

    def tell(url: str, **files: str) -> None:
        monkeypatch.setenv("TRUC_BROKER", url)
        for name, path in files.items():
            monkeypatch.setenv(f"TRUC_BROKER_{name.upper()}", path)

    return tell


def _says(truc: Terminal, code: str, *words: str, exit_code: int = 8) -> None:
    """`truc broker check` ends so, with one sentence per language that has its code and these words in it."""
    for language in Language:
        truc("--lang", str(language), "broker", "check", code=exit_code)
        assert truc.out == ""
        assert truc.err.count("\n") == 1, truc.err
        assert f"[{code}]" in truc.err
        for word in words:
            assert word in truc.err


def test_apply_makes_what_check_misses(truc: Terminal, told: Setting, broker: Broker) -> None:
    vhost = broker.new_vhost()
    told(broker.url(vhost), **broker.files)
    names = {each.name for each in (*EXCHANGES, *LAYOUT)}
    truc("broker", "check", code=8)
    assert "[broker.mislaid]" in truc.err
    assert {name for name in names if name in truc.err} == names
    truc("broker", "apply")
    assert "4.0" in truc("broker", "check")
    truc("broker", "apply")
    found = truc.json("broker", "show")
    assert {each["name"]: each["messages"] for each in found["queues"]} == {each.name: 0 for each in LAYOUT}
    bindings = broker.ask("GET", f"bindings/{vhost}")
    bound = {(each["source"], each["destination"], each["routing_key"]) for each in bindings if each["source"]}
    assert bound == {(each.exchange, each.name, each.key) for each in LAYOUT}


def test_the_live_broker_says_what_the_topology_says(broker: Broker) -> None:
    """By the broker's own management interface, not by what our check asks."""
    vhost = broker.new_vhost()
    make_layout(broker.access(vhost))
    queues = {each["name"]: each for each in broker.ask("GET", f"queues/{vhost}")}
    assert {name: each["arguments"] for name, each in queues.items()} == {
        each.name: dict(each.arguments) for each in LAYOUT
    }
    assert {each["type"] for each in queues.values()} == {"quorum"}
    exchanges = {each["name"]: (each["type"], each["durable"]) for each in broker.ask("GET", f"exchanges/{vhost}")}
    assert {each.name: exchanges[each.name] for each in EXCHANGES} == {
        each.name: (each.kind, each.is_durable) for each in EXCHANGES
    }
    for queue in LAYOUT:
        assert "x-delivery-limit" in queue.arguments
        assert ("x-dead-letter-exchange" in queue.arguments) == bool(queue.carries)


def test_what_is_laid_out_otherwise_is_named_and_replaced_on_demand(
    truc: Terminal, told: Setting, broker: Broker
) -> None:
    vhost = broker.new_vhost()
    told(broker.url(vhost), **broker.files)
    make_layout(broker.access(vhost))
    broker.delete_queue(vhost, "truc-deliver.slow")
    broker.ask("PUT", f"queues/{vhost}/truc-deliver.slow", {"durable": True, "arguments": {"x-queue-type": "classic"}})
    _says(truc, "broker.mislaid", "truc-deliver.slow")
    truc("broker", "apply", code=8)
    assert look_at_broker(broker.access(vhost)).different == ("truc-deliver.slow",)
    truc("broker", "apply", "--replace")
    truc("broker", "check")


def test_a_wrong_address_is_said(truc: Terminal, told: Setting) -> None:
    told(f"amqp://127.0.0.1:{free_ports(1)[0]}/truc")
    _says(truc, "broker.away", "127.0.0.1", "TRUC_BROKER")


@pytest.mark.parametrize("url", ["http://mq/truc", "amqps://ai:mat-khau@mq/truc", "amqps://a/t,amqp://b/t", "mq:5671"])
def test_an_address_of_the_wrong_form_is_a_wrong_setting(truc: Terminal, told: Setting, url: str) -> None:
    told(url)
    _says(truc, "settings.wrong", "TRUC_BROKER", "amqps://", exit_code=4)


def test_a_file_that_is_not_there_is_a_wrong_setting(truc: Terminal, told: Setting) -> None:
    told("amqps://mq/truc", password_file="khong-co")
    _says(truc, "settings.wrong", "TRUC_BROKER_PASSWORD_FILE", "khong-co", exit_code=4)


def test_a_node_without_a_broker_says_so(truc: Terminal, told: Setting) -> None:
    told("")
    _says(truc, "broker.not_used", "TRUC_BROKER", exit_code=6)


def test_a_wrong_password_is_said(truc: Terminal, told: Setting, broker: Broker, tmp_path: Path) -> None:
    wrong = tmp_path / "sai"
    wrong.write_text("khong phai the")
    told(broker.url(broker.new_vhost()), **{**broker.files, "password_file": str(wrong)})
    _says(truc, "broker.refused", USER)


def test_a_password_that_is_no_text_is_said_without_its_bytes(truc: Terminal, told: Setting, tmp_path: Path) -> None:
    wrong = tmp_path / "sai"
    wrong.write_bytes(b"m\xe1t")
    told("amqp://127.0.0.1:1/truc", password_file=str(wrong))
    _says(truc, "broker.unreadable", str(wrong), "UTF-8")
    assert "e1" not in truc.err.replace(str(tmp_path), "")


def test_a_virtual_host_that_is_not_there_is_said(truc: Terminal, told: Setting, broker: Broker) -> None:
    told(broker.url("khong-co"), **broker.files)
    _says(truc, "broker.forbidden", "khong-co", "truc broker show --rights")


def test_a_broker_older_than_four_is_said(truc: Terminal, told: Setting) -> None:
    with OldBroker("3.13.7") as old:
        told(f"amqp://127.0.0.1:{old.port}/truc")
        _says(truc, "broker.old", "RabbitMQ 3.13.7", "4")


def test_the_transport_does_not_use_a_broker_older_than_four() -> None:
    with OldBroker() as old:
        transport = RabbitTransport(BrokerAccess.parse(f"amqp://127.0.0.1:{old.port}/truc"), "relay")
        assert transport.announce(tickets(1)) == ()
        transport.close()


# --- TLS -----------------------------------------------------------------------------------------------------------


def test_both_sides_show_certificates_over_tls_1_3(
    truc: Terminal, told: Setting, broker: Broker, papers: Papers
) -> None:
    vhost = broker.new_vhost()
    told(broker.url(vhost, tls=True), **broker.files, **papers.files("node"))
    truc("broker", "apply")
    assert truc.json("broker", "check")["tls"] is True
    transport, handled = RabbitTransport(broker.access(vhost, **papers.files("node")), "serve"), set[str]()
    transport.listen(NORMAL, 1, lambda group: handled.update(ticket.transfer_id for ticket in group))
    announce_all(transport, tickets(5))
    until(lambda: len(handled) == 5)
    (connection, *_) = (
        each for each in _connections(broker, 1) if each["vhost"] == vhost and each["ssl_protocol"] is not None
    )
    assert connection["ssl_protocol"] == "tlsv1.3"
    transport.close()


def _connections(broker: Broker, least: int) -> list[dict[str, Any]]:
    """What the management interface knows, which is a few seconds late."""
    found: list[dict[str, Any]] = []

    def known() -> bool:
        found[:] = [each for each in broker.ask("GET", "connections") if each.get("ssl_protocol")]
        return len(found) >= least

    until(known)
    return found


def test_a_stranger_on_either_side_is_not_trusted(
    truc: Terminal, told: Setting, broker: Broker, papers: Papers, tmp_path: Path
) -> None:
    vhost, strangers = broker.new_vhost(), Papers.make(tmp_path / "strangers", "node")
    told(broker.url(vhost, tls=True), **broker.files, **papers.files("node"))
    told(broker.url(vhost, tls=True), ca_file=strangers.files("node")["ca_file"])
    _says(truc, "broker.certificate_unknown", "TRUC_BROKER_CA_FILE")
    ours = {name: path for name, path in strangers.files("node").items() if name != "ca_file"}
    told(broker.url(vhost, tls=True), ca_file=papers.files("node")["ca_file"], **ours)
    _says(truc, "broker.certificate_ours", "TRUC_BROKER_CERT_FILE")
    told(broker.url(vhost, tls=True), cert_file="", key_file="")
    _says(truc, "broker.certificate_ours", "TRUC_BROKER_CERT_FILE")


def test_a_certificate_that_is_none_is_named(truc: Terminal, told: Setting, broker: Broker, tmp_path: Path) -> None:
    nothing = tmp_path / "rong.pem"
    nothing.write_text("")
    told(broker.url("x", tls=True), **broker.files, ca_file=str(nothing))
    _says(truc, "broker.unreadable", str(nothing))


# --- least rights --------------------------------------------------------------------------------------------------


@pytest.fixture
def least(broker: Broker, tmp_path: Path) -> tuple[str, dict[str, str]]:
    """A virtual host and a user with the rights that the guide and `truc broker show --rights` name."""
    vhost = broker.new_vhost()
    user, password = f"nut-{vhost}", "mat-khau-khac"
    broker.add_user(user, password)
    broker.allow(user, vhost, **LEAST_RIGHTS)
    files = {}
    for name, text in (("user", user), ("password", password)):
        (tmp_path / name).write_text(text + "\n")
        files[f"{name}_file"] = str(tmp_path / name)
    return vhost, files


def test_the_least_rights_are_enough(broker: Broker, least: tuple[str, dict[str, str]]) -> None:
    vhost, files = least
    access = broker.access(vhost, **files)
    transport, handled = RabbitTransport(access, "serve"), set[str]()
    other = RabbitTransport(access, "api")
    transport.listen(NORMAL, 1, lambda group: handled.update(ticket.transfer_id for ticket in group))
    announce_all(other, tickets(5))
    other.publish_event("agency.1.inbox", b"{}")
    until(lambda: len(handled) == 5)
    other.close()
    transport.close()
    assert look_at_broker(access).missing == ()


def test_the_least_rights_are_no_more(broker: Broker, least: tuple[str, dict[str, str]]) -> None:
    """The node's user makes and reads nothing of anybody else's."""
    vhost, files = least
    make_layout(broker.access(vhost))
    broker.ask("PUT", f"queues/{vhost}/cua-nguoi-khac", {"durable": True})
    user, password = (Path(files[name]).read_text().strip() for name in ("user_file", "password_file"))
    credentials = pika.PlainCredentials(user, password)
    connection = pika.BlockingConnection(
        pika.ConnectionParameters("localhost", broker.ports["amqp"], vhost, credentials)
    )
    for wrong in (
        lambda channel: channel.queue_declare("cua-toi"),
        lambda channel: channel.queue_delete("cua-nguoi-khac"),
        lambda channel: channel.basic_get("cua-nguoi-khac"),
        lambda channel: channel.queue_bind("cua-nguoi-khac", "truc-tickets", NORMAL),
        lambda channel: channel.queue_bind("truc-deliver.normal", "amq.topic", "#"),
    ):
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"):
            wrong(connection.channel())
    connection.close()


def test_the_guide_and_the_command_name_the_same_rights(truc: Terminal) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "rabbitmq.md").read_text("utf-8")
    assert truc.json("broker", "show", "--rights") == dict(LEAST_RIGHTS)
    assert " ".join(f"'{pattern}'" for pattern in LEAST_RIGHTS.values()) in guide


def test_without_rights_the_fault_is_told_and_the_node_lives(broker: Broker, tmp_path: Path) -> None:
    vhost = broker.new_vhost()
    broker.add_user("khong-quyen", "x")
    for name, text in (("user", "khong-quyen"), ("password", "x")):
        (tmp_path / name).write_text(text)
    files = {f"{name}_file": str(tmp_path / name) for name in ("user", "password")}
    with pytest.raises(BrokerError) as why:
        look_at_broker(broker.access(vhost, **files))
    assert why.value.reason == "broker.forbidden"
    transport = RabbitTransport(broker.access(vhost, **files), "relay")
    assert transport.announce(tickets(3)) == ()
    transport.close()
