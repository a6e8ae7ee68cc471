"""Everything that may be wrong with the broker's certificate, and what else answers there: a sentence for each."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from edxml.messages import Language
from gateway.transport.broker import BrokerAccess, BrokerUntrusted
from gateway.transport.rabbitmq import RabbitTransport
from tests.support.announcing import tickets
from tests.support.old_broker import OldBroker
from tests.support.terminal import Terminal
from tests.support.tls_listener import TlsListener, Vouched

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook" / "broker.md"


def _says(truc: Terminal, monkeypatch: pytest.MonkeyPatch, code: str, *words: str, port: int, ca_file: str) -> None:
    """`truc broker check` ends with exit code 8 and one sentence in each language; the runbook has a line for it."""
    monkeypatch.setenv("TRUC_BROKER", f"amqps://localhost:{port}/truc")
    monkeypatch.setenv("TRUC_BROKER_CA_FILE", ca_file)
    for language in Language:
        truc("--lang", str(language), "broker", "check", code=8)
        assert truc.err.count("\n") == 1, truc.err
        assert f"[{code}]" in truc.err
        for word in words:
            assert word in truc.err
    assert re.search(rf"^\| `{re.escape(code)}` \| \S", RUNBOOK.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    ("begins", "ends", "word"), [(-9.0, -2.0, "expired"), (2.0, 9.0, "not yet valid")], ids=["over", "to come"]
)
def test_a_certificate_out_of_date_is_said(
    truc: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, begins: float, ends: float, word: str
) -> None:
    vouched = Vouched.make(tmp_path / "that", begins=begins, ends=ends)
    with TlsListener(vouched) as listener:
        _says(truc, monkeypatch, "broker.certificate_over", word, port=listener.port, ca_file=vouched.ca_file)


def test_a_certificate_for_another_name_is_said(
    truc: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    vouched = Vouched.make(tmp_path / "that", host="mq9.tinh.vn")
    words = ("“localhost”", "TRUC_BROKER")
    with TlsListener(vouched) as listener:
        _says(truc, monkeypatch, "broker.certificate_name", *words, port=listener.port, ca_file=vouched.ca_file)


def test_a_certificate_of_nobody_we_know_is_said(
    truc: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known, unknown = (Vouched.make(tmp_path / word) for word in ("known", "unknown"))
    with TlsListener(unknown) as listener:
        for ca_file in (known.ca_file, ""):
            words = ("TRUC_BROKER_CA_FILE",)
            _says(truc, monkeypatch, "broker.certificate_unknown", *words, port=listener.port, ca_file=ca_file)


@pytest.mark.parametrize("unfit", ["authority", "purpose"])
def test_certificates_that_are_made_for_something_else_are_said(
    truc: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unfit: str
) -> None:
    """An authority that does not say that it is one, as `openssl x509 -req` makes it; a broker's of a client's use."""
    vouched = Vouched.make(tmp_path / "that", unfit=unfit)
    with TlsListener(vouched) as listener:
        words = ("CA:TRUE", "serverAuth")
        _says(truc, monkeypatch, "broker.certificate_unfit", *words, port=listener.port, ca_file=vouched.ca_file)


def test_who_ends_the_connection_after_the_handshake_minds_our_certificate(
    truc: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    vouched, words = Vouched.make(tmp_path / "that"), ("TRUC_BROKER_CERT_FILE", "TRUC_BROKER_KEY_FILE")
    with TlsListener(vouched) as listener:
        _says(truc, monkeypatch, "broker.certificate_ours", *words, port=listener.port, ca_file=vouched.ca_file)


def test_who_speaks_no_tls_of_ours_is_said(truc: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    vouched = Vouched.make(tmp_path / "that")
    with TlsListener(vouched, ssl.TLSVersion.TLSv1_2) as old, OldBroker() as plain:
        for port in (old.port, plain.port):
            _says(truc, monkeypatch, "broker.not_tls", "5671", port=port, ca_file=vouched.ca_file)


def test_a_key_with_a_passphrase_asks_nobody_and_is_said(
    truc: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    vouched = Vouched.make(tmp_path / "that")
    key = serialization.load_pem_private_key((vouched.folder / "server.key").read_bytes(), None)
    locked = vouched.folder / "locked.key"
    how = serialization.BestAvailableEncryption(b"mat khau")
    locked.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))
    monkeypatch.setenv("TRUC_BROKER_CERT_FILE", str(vouched.folder / "server.pem"))
    monkeypatch.setenv("TRUC_BROKER_KEY_FILE", str(locked))
    with TlsListener(vouched) as listener:
        _says(truc, monkeypatch, "broker.key_locked", str(locked), port=listener.port, ca_file=vouched.ca_file)


def test_a_certificate_with_another_s_key_is_said_with_both_files(
    truc: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    vouched, other = (Vouched.make(tmp_path / word) for word in ("that", "other"))
    files = (str(vouched.folder / "server.pem"), str(other.folder / "server.key"))
    monkeypatch.setenv("TRUC_BROKER_CERT_FILE", files[0])
    monkeypatch.setenv("TRUC_BROKER_KEY_FILE", files[1])
    with TlsListener(vouched) as listener:
        _says(truc, monkeypatch, "broker.unreadable", *files, port=listener.port, ca_file=vouched.ca_file)


def test_a_running_node_says_the_same_and_goes_on_trying(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The transport, of whatever process: nothing is confirmed, nothing raises."""
    vouched = Vouched.make(tmp_path / "that", host="mq9.tinh.vn")
    with TlsListener(vouched) as listener:
        access = BrokerAccess.parse(f"amqps://localhost:{listener.port}/truc", ca_file=vouched.ca_file)
        transport = RabbitTransport(access, "relay")
        assert not transport.takes_tickets
        assert transport.announce(tickets(3)) == ()
        transport.close()


def test_every_fault_of_trust_is_one_of_trust() -> None:
    assert {kind.code.removeprefix("broker.") for kind in BrokerUntrusted.__subclasses__()} == {
        "certificate_name",
        "certificate_ours",
        "certificate_over",
        "certificate_unfit",
        "certificate_unknown",
        "not_tls",
    }
