"""TLS of the rest channel: who is not trusted gets nothing, and says so."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from adapters.contract import Done, Retry, Unknown
from adapters.rest import rest_kind
from tests.support.certificates import Issued, name, new_key
from tests.support.folders import build_item, deliver
from tests.support.rest_servers import SIGNER, Asked, RestServer, answer

BODY = b"<edXML>" + b"x" * 200_000 + b"</edXML>"
ITEM = build_item(BODY)
KEY = ITEM.key


def takes(asked: Asked) -> bytes:
    """A recipient that keeps the rules and has taken it."""
    return answer(201 if asked.method == "POST" else 200, key=asked.key)


def certificate(common_name: str, *, issuer: Issued | None = None, host: str = "") -> Issued:
    """A certificate that is valid now, for a server `host` or as a client; without an issuer an authority."""
    key = new_key()
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common_name)).issuer_name(issuer.certificate.subject if issuer else name(common_name))
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )  # fmt: skip
    if issuer is None:
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
    else:
        above = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host or "client")]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above), critical=False)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        )  # fmt: skip
    made = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    return Issued(key=key, certificate=made)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PEM files: `ca`, `other-ca`, and of `ca` the pairs `server`, `elsewhere` (another name) and `node`."""
    folder = tmp_path_factory.mktemp("secrets")
    ca = certificate("CA tinh")
    issued = {"ca": ca, "other-ca": certificate("CA khac")}
    issued |= {"server": certificate("may chu", issuer=ca, host="localhost")}
    issued |= {"elsewhere": certificate("may khac", issuer=ca, host="khac.vn"), "node": certificate("nut", issuer=ca)}
    for word, one in issued.items():
        (folder / f"{word}.crt").write_bytes(one.certificate_pem)
        (folder / f"{word}.key").write_bytes(one.key_pem)
    return folder


def tls(secrets: Path, word: str = "server", *, asks: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(secrets / f"{word}.crt", secrets / f"{word}.key")
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(secrets / "ca.crt")
    return context


def test_tls_with_a_private_authority(secrets: Path) -> None:
    with RestServer(takes, tls=tls(secrets)) as server:
        assert isinstance(deliver(server.sink(ca_file=str(secrets / "ca.crt")), ITEM), Done)
        assert server.asked[0].digest == ITEM.digest


@pytest.mark.parametrize(
    ("word", "ca", "reason"),
    [
        ("server", "other-ca.crt", "rest.untrusted"),
        ("elsewhere", "ca.crt", "rest.untrusted"),
        ("server", "", "rest.untrusted"),
        ("server", "server.crt", "rest.untrusted"),  # it is no authority
        ("server", "absent.crt", "rest.secret_unreadable"),
        ("server", "ca.key", "rest.secret_unreadable"),
    ],
)
def test_an_untrusted_server_gets_nothing(secrets: Path, word: str, ca: str, reason: str) -> None:
    with RestServer(takes, tls=tls(secrets, word)) as server:
        sink = server.sink(ca_file=str(secrets / ca) if ca else "")
        assert deliver(sink, ITEM) == Retry(reason=reason)
        assert sink.probe().reason == reason
        assert server.asked == []


def test_a_server_that_speaks_no_tls_gets_nothing(secrets: Path) -> None:
    with RestServer(takes) as server:
        settings = {**server.settings(), "url": f"https://localhost:{server.port}/den"}
        assert deliver(rest_kind(lambda: SIGNER)(settings, "k").sink, ITEM) == Retry(reason="rest.tls")
        # its random bytes may hold line ends, which a server without TLS takes for a request of some sort
        assert [asked for asked in server.asked if asked.method in ("POST", "GET", "HEAD") or asked.size] == []


def test_mutual_tls(secrets: Path) -> None:
    with RestServer(takes, tls=tls(secrets, asks=True)) as server:
        ca = {"ca_file": str(secrets / "ca.crt")}
        pair = {"cert_file": str(secrets / "node.crt"), "key_file": str(secrets / "node.key")}
        assert isinstance(deliver(server.sink(**ca, **pair), ITEM), Done)
        assert isinstance(deliver(server.sink(**ca), ITEM), Unknown | Retry), "TLS 1.3 refuses after the first bytes"
        assert len(server.asked) == 1


def test_a_key_with_a_passphrase_asks_nobody(secrets: Path) -> None:
    key = serialization.load_pem_private_key((secrets / "node.key").read_bytes(), None)
    locked = secrets / "locked.key"
    how = serialization.BestAvailableEncryption(b"mat khau")
    locked.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))
    with RestServer(takes, tls=tls(secrets, asks=True)) as server:
        files = {"ca_file": str(secrets / "ca.crt"), "cert_file": str(secrets / "node.crt"), "key_file": str(locked)}
        sink = server.sink(**files)
        assert deliver(sink, ITEM) == Retry(reason="rest.secret_unreadable")
        assert "passphrase" in sink.probe().detail
        assert server.asked == []
