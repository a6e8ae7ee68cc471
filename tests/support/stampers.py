"""Time-stamp authorities for tests: `openssl ts` signs real RFC 3161 tokens, called as a function or over HTTP."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.certificates import Authority, Issued
from tests.support.processes import need_program

__all__ = ["STAMP_ROOT", "StampServer", "Stamper", "authority_for_time", "new_stamper"]

STAMP_ROOT = Authority("Time root")
_CONFIG: Final = """
[tsa]
default_tsa = own
[own]
serial = {folder}/serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
ess_cert_id_alg = {ess}
accuracy = secs:1
ordering = no
tsa_name = no
"""


def authority_for_time(root: Authority = STAMP_ROOT, **options: Any) -> Issued:
    """A certificate for stamping time, valid now as well as at NOW: openssl stamps by the real clock."""
    options.setdefault("days", (3650, 3650))
    return root.issue("TSA", **{"uses": (ExtendedKeyUsageOID.TIME_STAMPING,), "uses_critical": True, **options})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamper:
    """An authority of openssl in a folder of its own."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, authority: Issued, ess: str = "sha256") -> Stamper:
        """With the certificate of `authority`; `ess` is how its signatures name that."""
        folder.mkdir()
        (folder / "serial").write_text("01\n")
        (folder / "tsa.cnf").write_text(_CONFIG.format(folder=folder, ess=ess))
        (folder / "tsa.key").write_bytes(authority.key_pem)
        (folder / "tsa.pem").write_bytes(authority.certificate_pem)
        return cls(folder=folder)

    def answer(self, query: bytes, *more: str) -> bytes:
        """The TimeStampResp to a TimeStampReq; "-token_out": the token alone."""
        (self.folder / "query").write_bytes(query)
        return _openssl(
            "ts", "-reply", "-config", self.folder / "tsa.cnf", "-section", "own", "-queryfile", self.folder / "query",
            "-inkey", self.folder / "tsa.key", "-signer", self.folder / "tsa.pem", *more,
        )  # fmt: skip

    def __call__(self, data: bytes) -> bytes:
        """The token over `data`, with the certificate within."""
        query = _openssl("ts", "-query", "-data", "/dev/stdin", "-sha256", "-cert", data=data)
        return self.answer(query, "-token_out")


def new_stamper(folder: Path, authority: Issued, ess: str = "sha256") -> Callable[[bytes], bytes]:
    """A time-stamp authority of openssl with the certificate of `authority`."""
    return Stamper.make(folder, authority, ess)


def _openssl(*command: str | Path, data: bytes | None = None) -> bytes:
    program = need_program("openssl", "openssl")
    done = subprocess.run([program, *map(str, command)], input=data, capture_output=True, timeout=240)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


@dataclass(slots=True)
class StampServer:
    """The authority over HTTP on loopback. `answer` may be exchanged, to answer as none should."""

    answer: Callable[[bytes], bytes]
    status: int = 200
    asked: list[tuple[str, bytes]] = field(default_factory=list)  #: (content type, query)
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_port}/tsa"

    def __enter__(self) -> Self:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                query = self.rfile.read(int(self.headers["content-length"]))
                owner.asked.append((self.headers["content-type"], query))
                body = owner.answer(query)
                self.send_response(owner.status)
                self.send_header("content-type", "application/timestamp-reply")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
