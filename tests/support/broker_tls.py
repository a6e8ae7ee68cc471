"""Certificates for a broker and its clients, made by OpenSSL, valid from now: an authority, and whom it vouches for."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.support.processes import need_program

__all__ = ["Papers"]


@dataclass(frozen=True, slots=True)
class Papers:
    """A folder with `ca.pem`, and `<name>.pem`, `<name>.key` of everybody who was certified."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, *names: str) -> Self:
        """An authority of its own and certificates for `names`; every one is good for localhost."""
        folder.mkdir(parents=True)
        papers = cls(folder)
        papers._openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "7",
            "-subj", f"/CN=Thu {folder.name}", "-keyout", "ca.key", "-out", "ca.pem",
        )  # fmt: skip
        for name in names:
            papers.certify(name)
        return papers

    def certify(self, name: str) -> None:
        """A key and a certificate."""
        self._openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "7",
            "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-addext", "basicConstraints=critical,CA:FALSE", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-keyout", f"{name}.key", "-out", f"{name}.pem",
        )  # fmt: skip

    def files(self, name: str) -> dict[str, str]:
        """What a client is told: whom to trust and what to show."""
        return {
            "ca_file": str(self.folder / "ca.pem"),
            "cert_file": str(self.folder / f"{name}.pem"),
            "key_file": str(self.folder / f"{name}.key"),
        }

    def broker_settings(self, name: str) -> dict[str, str]:
        """Lines of rabbitmq.conf: TLS 1.3, and nobody without a certificate of this authority."""
        return {
            "ssl_options.cacertfile": str(self.folder / "ca.pem"),
            "ssl_options.certfile": str(self.folder / f"{name}.pem"),
            "ssl_options.keyfile": str(self.folder / f"{name}.key"),
            "ssl_options.verify": "verify_peer",
            "ssl_options.fail_if_no_peer_cert": "true",
            "ssl_options.versions.1": "tlsv1.3",
        }

    def _openssl(self, *arguments: str) -> None:
        command = [need_program("openssl", "openssl"), *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
