"""The examiner's process: `python -m gateway.cli.examiner DESCRIPTOR`, started by an API process and by nobody else.

The descriptor is a socket whose other end that API process holds.  It needs no lock and tells of no start: it lives
no longer than the process that asks it, whose lock is held.
"""

from __future__ import annotations

import signal
import socket
import sys
from contextlib import closing

from edxml.errors import TrucError
from gateway.cli.exits import ExitCode, exit_code_of
from gateway.cli.memory import settle_memory
from gateway.compose import build_node
from gateway.exchange.parcels import Carrier
from gateway.settings import read_settings
from gateway.workers import run_examiner
from monitoring import log

__all__ = ["main"]


_log = log.get("examiner")


def main(descriptor: int) -> int:
    """Read packets for whoever holds the other end of the socket `descriptor`, until that end is closed.

    Gives its exit code.  Where it cannot start, its store being away for instance, it says so in a line of the log that
    it shares with whoever asked, who goes on without it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # sent to all processes of a node at once: whoever asks ends first
    settings = read_settings()
    log.configure(settings.log_format, settings.log_level)
    with closing(Carrier(socket.socket(fileno=descriptor))) as carrier:
        try:
            node = build_node(settings, role="examiner")
        except TrucError as why:
            _log.warning("examiner.not_started", reason=why.reason)
            return exit_code_of(why)
        try:
            node.transport.close()
            settle_memory()
            run_examiner(node, carrier)
        finally:
            node.store.close()
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
