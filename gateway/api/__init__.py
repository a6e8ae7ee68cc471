"""The edge (cửa ngõ): REST `/v1`, health and metrics over HTTP. Asynchronous here, and nowhere else in the house.

FastAPI and uvicorn are loaded when an API is asked for, not by every process that imports this package: a relay needs
neither, and they cost a third of its memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.api.scrape import Scrape, start_scrape

if TYPE_CHECKING:
    from gateway.api.front import Front
    from gateway.node import Node
    from gateway.settings import Settings

__all__ = ["Scrape", "create_app", "run_api", "start_scrape"]


def create_app(node: Node, settings: Settings) -> Front:
    """The ASGI application of one API process. Its threads end with its lifespan; the node stays open."""
    from gateway.api import app

    return app.create_app(node, settings)


def run_api(
    node: Node,
    settings: Settings,
    *,
    on_listening: Callable[[str, int], None] | None = None,
    on_told: Callable[[], None] | None = None,
) -> None:
    """Serve the API until the process is told to end (SIGTERM, SIGINT), then finish what was begun and return.

    `on_listening(host, port)` is called when it takes connections, with the port that it really has; `on_told()` when
    a signal tells it to end, in the signal's handler.  Raises OSError where the address cannot be had.  The node stays
    open: whoever built it closes it.
    """
    from gateway.api import server

    server.run_api(node, settings, on_listening=on_listening, on_told=on_told)
