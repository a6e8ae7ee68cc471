"""`python -m gateway.inspector ORDERS`: started by the node alone."""

from __future__ import annotations

import sys

from gateway.inspector.serving import serve

if __name__ == "__main__":
    serve(sys.argv[1].encode(), sys.stdin.buffer, sys.stdout.buffer)
