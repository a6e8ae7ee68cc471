"""Is this container's process well? Exit code 0 or 1, and the answer; asked by the image's HEALTHCHECK.

A process with the API (`truc serve`, `truc api`) is asked /health/ready: could it take a document now?  Any other has
its metrics port alone and is asked /health/live.  Which it is, process 1 says by its own command line: the program, or
Docker's small one that started it and names it.
"""

from __future__ import annotations

import http.client
import os
import sys
from pathlib import Path

_SECONDS = 4.0  # below the time-out of the HEALTHCHECK, so that the reason is written down
_WITH_API = {"serve", "api"}


def question(words: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Port and path to ask, for a process started with `words`."""
    if _WITH_API.intersection(words):
        return int(environment.get("TRUC_PORT") or 8080), "/health/ready"
    return int(environment.get("TRUC_METRICS_PORT") or 0), "/health/live"


def main() -> int:
    """Ask and say; 1 for whatever is not a 200."""
    words = Path("/proc/1/cmdline").read_text("utf-8").split("\0")
    port, path = question(words, dict(os.environ))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        print(answer.status, answer.read(4096).decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException) as why:
        print(f"{path} on port {port}: {why}")
        return 1
    finally:
        connection.close()
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
