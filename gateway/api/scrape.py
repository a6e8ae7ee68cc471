"""The small server of processes without an API: /metrics and /health/live, out of the standard library."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from edxml.messages import Language
from gateway.api.asked import request_id_of
from gateway.api.problems import PROBLEM_JSON, problem_of
from gateway.api.watchers import admit_watcher
from gateway.model.errors import Forbidden
from gateway.node import Node
from gateway.settings import Settings
from monitoring.metrics import CONTENT_TYPE

__all__ = ["Scrape", "start_scrape"]


class Scrape:
    """A small server with /metrics and /health/live, in threads of its own. Close it by `close`."""

    def __init__(self, node: Node, settings: Settings) -> None:
        self._server = ThreadingHTTPServer((settings.host, settings.metrics_port), _handler(node, settings))
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


def _handler(node: Node, settings: Settings) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._show_metrics()
            elif self.path == "/health/live":
                self._answer(200, "application/json", b'{"status":"live"}')
            else:
                self._answer(404, "application/json", b"{}")

        def do_HEAD(self) -> None:
            self.do_GET()

        def _show_metrics(self) -> None:
            try:
                admit_watcher(settings, self.client_address[0], self.headers)
            except Forbidden as why:
                request_id = request_id_of(())
                self._answer(403, PROBLEM_JSON, problem_of(why, request_id).body(Language.VI, request_id))
            else:
                self._answer(200, CONTENT_TYPE, node.metrics.render())

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


def start_scrape(node: Node, settings: Settings) -> Scrape:
    """Serve this process's metrics on `metrics_port` (0 picks one, see `.port`). Raises OSError where it is taken."""
    return Scrape(node, settings)
