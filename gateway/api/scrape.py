"""The small server of processes without an API: /metrics and /health/live, out of the standard library."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from gateway.node import Node
from monitoring.metrics import CONTENT_TYPE

__all__ = ["Scrape", "start_scrape"]


class Scrape:
    """A small server with /metrics and /health/live, in threads of its own. Close it by `close`."""

    def __init__(self, node: Node, host: str, port: int) -> None:
        self._server = ThreadingHTTPServer((host, port), _handler(node))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="scrape", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it really has."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """End it. Safe to repeat."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(node: Node) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, CONTENT_TYPE, node.metrics.render())
            elif self.path == "/health/live":
                self._answer(200, "application/json", b'{"status":"live"}')
            else:
                self._answer(404, "application/json", b"{}")

        def do_HEAD(self) -> None:
            self.do_GET()

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """The access log is off: what is asked here is nobody's secret and nobody's news."""

    return Handler


def start_scrape(node: Node, port: int, *, host: str = "127.0.0.1") -> Scrape:
    """Serve this process's metrics on `port` (0 picks one, see `.port`). Raises OSError where it is taken."""
    return Scrape(node, host, port)
