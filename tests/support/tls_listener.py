"""A server that shows a certificate and ends every connection after the handshake: for faults that come before AMQP."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.certificates import name
from tests.support.listening import Listening

__all__ = ["TlsListener", "Vouched"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """An authority's file and a server certificate of it with its key, both in `folder`."""

    folder: Path

    @classmethod
    def make(
        cls, folder: Path, *, host: str = "localhost", begins: float = -1.0, ends: float = 7.0, unfit: str = ""
    ) -> Self:
        """A certificate for `host`, valid from `begins` until `ends`: days from now.

        `unfit`: "authority", which then does not say that it is one; "purpose": the certificate is a client's.
        """
        folder.mkdir(parents=True)
        now, keys = datetime.now(UTC), [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
        names = [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("192.0.2.1"))]
        for number, (key, subject) in enumerate(zip(keys, (name("Thu CA"), name(host)), strict=True)):
            days = (-30.0, 30.0) if number == 0 else (begins, ends)
            builder = (
                x509.CertificateBuilder()
                .subject_name(subject)
                .issuer_name(name("Thu CA"))
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now + timedelta(days=days[0]))
                .not_valid_after(now + timedelta(days=days[1]))
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()), critical=False)
            )
            if number or unfit != "authority":
                builder = builder.add_extension(x509.BasicConstraints(ca=number == 0, path_length=None), critical=True)
            if number and unfit == "purpose":
                client = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
                builder = builder.add_extension(client, critical=False)
            if number:
                builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
            made = builder.sign(keys[0], hashes.SHA256())
            word = ("ca", "server")[number]
            (folder / f"{word}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
            (folder / f"{word}.key").write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )
        return cls(folder=folder)

    @property
    def ca_file(self) -> str:
        """Whom a client is to trust."""
        return str(self.folder / "ca.pem")


class TlsListener(Listening):
    """`newest`: the newest TLS that it speaks."""

    def __init__(self, vouched: Vouched, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        super().__init__()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.maximum_version = newest
        self._context.load_cert_chain(vouched.folder / "server.pem", vouched.folder / "server.key")

    def _speak(self, connection: socket.socket) -> None:
        self._context.wrap_socket(connection, server_side=True).close()
