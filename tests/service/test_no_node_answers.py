"""What answers where a node is looked for is something else: it is told as such, in one sentence, at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.terminal import Terminal

_ANSWERS = {
    "a page": b"<html></html>",
    "of another encoding": '{"x": "Đ\xe9"}'.encode("cp1258"),
    "a list": b"[]",
    "a text": b'"x"',
}


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server that answers everything alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(request.param)))
            self.end_headers()
            self.wfile.write(request.param)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("served", _ANSWERS.values(), ids=_ANSWERS, indirect=True)
def test_a_command_that_asks_a_node_says_so(served: str, truc: Terminal) -> None:
    truc.set(token="truc_x", url=served)
    truc("inbox", "list", code=7)
    assert "nơi trả lời không phải nút liên thông" in truc.err


@pytest.mark.parametrize("served", [*_ANSWERS.values(), b"{}"], ids=[*_ANSWERS, "an empty one"], indirect=True)
def test_a_proof_says_so(served: str, truc: Terminal, tmp_path: Path) -> None:
    truc.set(token="truc_x", url=served)
    truc("prove", "run", "--into", str(tmp_path / "so"), code=7)
    assert "nơi trả lời không phải nút liên thông" in truc.err
