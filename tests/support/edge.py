"""A real API on a port of its own, over a node with three agencies that have an inbox each."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from gateway.api.app import create_app
from gateway.api.edge import Patience
from gateway.api.front import Front
from gateway.api.server import ApiServer
from gateway.compose import build_node
from gateway.configuration import apply, init_rows, parse
from gateway.identity import rotate_token
from gateway.node import Node
from gateway.settings import read_settings
from tests.support.packets import build_packet

__all__ = ["FOREIGN", "RECIPIENT", "SENDER", "RunningApi", "running_api"]

SENDER = "na-so-stc"
RECIPIENT = "na-xa-16681-2025"
FOREIGN = "na-so-snv"

_ROWS = "\n".join(
    f'[[system]]\nname = "{agency}"\nspeaks_for = ["{agency}"]\n'
    f'[[channel]]\nid = "hop-{agency}"\nkind = "inbox"\nserves = ["{agency}"]\n'
    for agency in (SENDER, RECIPIENT, FOREIGN)
)


@dataclass(slots=True)
class RunningApi:
    """The running server, and callers with a token each: `sender`, `recipient`, `foreign`."""

    node: Node
    front: Front
    server: ApiServer
    tokens: dict[str, str]
    clients: dict[str, httpx2.Client] = field(default_factory=dict)
    numbers: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.port}"

    def client(self, agency: str) -> httpx2.Client:
        """A client with the agency's token."""
        if agency not in self.clients:
            headers = {"Authorization": f"Bearer {self.tokens[agency]}"}
            self.clients[agency] = httpx2.Client(base_url=self.url, headers=headers, timeout=30)
        return self.clients[agency]

    @property
    def sender(self) -> httpx2.Client:
        """Who sends."""
        return self.client(SENDER)

    @property
    def recipient(self) -> httpx2.Client:
        """Who receives."""
        return self.client(RECIPIENT)

    @property
    def foreign(self) -> httpx2.Client:
        """Who has nothing to do with it."""
        return self.client(FOREIGN)

    def organ(self, agency: str) -> str:
        """The organ code of an agency today."""
        found = self.node.channels.snapshot().directory.by_id(agency)
        assert found is not None
        code = found.organ_code_on(self.node.today())
        assert code is not None
        return code.code

    def packet(self, **overrides: Any) -> bytes:
        """A right packet from sender to recipient; each call another document."""
        self.numbers += 1
        values: dict[str, Any] = {
            "sender": self.organ(SENDER), "recipients": [self.organ(RECIPIENT)], "number": str(self.numbers),
        }  # fmt: skip
        return build_packet(**values | overrides)

    def send(self, body: bytes | None = None, **rest: Any) -> dict[str, Any]:
        """Submit, which must be accepted; gives the answer."""
        got = self.sender.post("/v1/packets", content=self.packet() if body is None else body, **rest)
        assert got.status_code == 202, got.text
        return dict(got.json())

    def waiting(self) -> list[dict[str, Any]]:
        """The recipient's inbox."""
        got = self.recipient.get("/v1/inbox", params={"agency": RECIPIENT, "limit": 500})
        assert got.status_code == 200, got.text
        return list(got.json()["items"])

    def raw(self) -> socket.socket:
        """A socket, for what no client library would say."""
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=20)

    def spooled(self) -> list[str]:
        """Names of the files in the spool."""
        return sorted(path.name for path in (self.node.store.blobs.root / "spool").iterdir())

    def events(self, kind: str) -> list[tuple[str, str]]:
        """(reason, system) of the events of one kind, oldest first."""
        with self.node.store.read() as connection:
            rows = connection.exec_driver_sql(
                "SELECT reason, system_id FROM events WHERE kind = ? ORDER BY rowid", (kind,)
            ).all()
        return [(row[0], row[1]) for row in rows]


@contextmanager
def running_api(folder: Path, *, patience: Patience = Patience(), **settings: str) -> Iterator[RunningApi]:
    """Serve until the block ends; `settings` are environment variables without TRUC_."""
    values = {"DATA": str(folder / "var"), "PORT": "0", "DISK_RESERVE_MIB": "1", **settings}
    read = read_settings({f"TRUC_{name.upper()}": value for name, value in values.items()})
    node = build_node(read, role="api")
    init_rows(node.store)
    apply(node.store, parse(_ROWS), actor="test")
    node.channels.refresh()
    tokens = {name: rotate_token(node.store, name, actor="test").token for name in (SENDER, RECIPIENT, FOREIGN)}
    listening = threading.Event()
    front = create_app(node, read, patience=patience)
    server = ApiServer(front, read, lambda _host, _port: listening.set())
    thread = threading.Thread(target=server.serve_until_stopped, name="test-api")
    thread.start()
    api = RunningApi(node, front, server, tokens)
    try:
        assert listening.wait(20)
        yield api
    finally:
        for client in api.clients.values():
            client.close()
        server.stop()
        thread.join(30)
        node.transport.close()
        node.store.close()
        assert not thread.is_alive()
