"""A process that does one hop and then says so: what `test_durability_order` watches under strace.

`python -m tests.fault.hops_child accept|deliver|intake DATA ANSWER [lose-fsync]` works on the node in DATA and writes
the line `ANSWER` into the file ANSWER when its caller would be answered.  `lose-fsync` makes every fsync of Python a
lie, so that the test is seen to fail.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from gateway.compose import build_node
from gateway.exchange.accept import accept
from gateway.exchange.deliver import deliver
from gateway.exchange.examine import prepare
from gateway.exchange.submission import Answer, Submission
from gateway.identity import Caller
from gateway.node import Node
from gateway.settings import read_settings
from gateway.store import picking
from gateway.transport.contract import Ticket
from gateway.workers.intake import intake_once

BODY = "body.edxml"
"""The packet beside the data folder that `accept` takes in for the agency `don`."""


def accept_body(node: Node) -> None:
    """Take in, prepare, accept: as an API's request does."""
    body = (node.store.blobs.root.parent.parent / BODY).read_bytes()
    spooled = node.store.blobs.spool()
    spooled.write_bytes(body)
    caller = Caller(system_id="s-don", name="s-don", agency_ids=frozenset({"don"}), is_operator=False)
    submission = Submission(
        caller=caller, spooled=spooled, digest=hashlib.sha256(body).hexdigest(), size=len(body), received_at=node.now()
    )
    assert isinstance(accept(node, [prepare(node, submission)])[0], Answer)


def deliver_due(node: Node) -> None:
    """Hand over everything that is due."""
    with node.store.read() as connection:
        now = node.store.now(connection)
        due = picking.pick_due(connection, now=now, since=now, most=10)
    assert due, "nothing is due"
    deliver(node, [Ticket(one.transfer_id, one.turn) for one in due])


def take_files(node: Node) -> None:
    """Look through the folders."""
    assert intake_once(node) > 0


HOPS: dict[str, Callable[[Node], None]] = {"accept": accept_body, "deliver": deliver_due, "intake": take_files}


def main(hop: str, data: str, answer: str, *faults: str) -> None:
    node = build_node(read_settings({**os.environ, "TRUC_DATA": data}))
    if "lose-fsync" in faults:
        os.fsync = lambda _descriptor: None  # type: ignore[assignment]
    told = os.open(Path(answer), os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(told, b"BEGIN\n")
    HOPS[hop](node)
    os.write(told, b"ANSWER\n")
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
