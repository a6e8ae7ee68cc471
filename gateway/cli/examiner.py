"""The examiner's process: `python -m gateway.cli.examiner DESCRIPTOR`, started by an API process and by nobody else.

The descriptor is a socket whose other end that API process holds.  It needs no lock and tells of no start: it lives
no longer than the process that asks it, whose lock is held.
"""

from __future__ import annotations

import signal
import socket
import sys
from contextlib import closing

from gateway.cli.memory import settle_memory
from gateway.compose import build_node
from gateway.exchange.parcels import Carrier
from gateway.settings import read_settings
from gateway.workers import run_examiner
from monitoring import log

__all__ = ["main"]


def main(descriptor: int) -> None:
    """Read packets for whoever holds the other end of the socket `descriptor`, until that end is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # sent to all processes of a node at once: whoever asks ends first
    settings = read_settings()
    log.configure(settings.log_format, settings.log_level)
    with closing(Carrier(socket.socket(fileno=descriptor))) as carrier:
        node = build_node(settings, role="examiner")
        try:
            node.transport.close()
            settle_memory()
            run_examiner(node, carrier)
        finally:
            node.store.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
