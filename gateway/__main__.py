"""`truc`, and `python -m gateway`."""

from __future__ import annotations

import signal
import sys

__all__ = ["run"]


def run() -> None:
    """Run the command line. Until it is loaded Ctrl+C ends it as any program, without a trace of calls."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from gateway.cli import main

    sys.exit(main())


if __name__ == "__main__":
    run()
