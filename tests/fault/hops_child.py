"""A process that does one hop and then says so: what `test_durability_order` watches under strace.

`python -m tests.fault.hops_child accept|deliver|intake|finish DATA ANSWER [lose-fsync]` works on the node in DATA and
writes the line `ANSWER` into the file ANSWER when its caller would be answered.  `lose-fsync` makes every fsync of
Python a lie, so that the test is seen to fail.  `finish` goes on until no transfer is open, or nothing moved for so
long that nothing will; it knows the channel kind `stand_in` of `tests.support.sinks`.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gateway.channels import KINDS
from gateway.compose import build_node
from gateway.exchange.accept import accept
from gateway.exchange.deliver import deliver
from gateway.exchange.examine import prepare
from gateway.exchange.submission import Answer, Submission
from gateway.exchange.sweep import sweep_once
from gateway.identity import Caller
from gateway.node import Node
from gateway.settings import read_settings
from gateway.store import picking
from gateway.transport.contract import Ticket
from gateway.workers.intake_round import intake_once
from tests.support.sinks import open_stand_in

QUIET = 40.0
"""Seconds in which nothing moved: many times what a lease or a wait lasts here, on a machine however busy."""
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


def take_all_files(node: Node) -> None:
    """Look through the folders until nothing is left in them."""
    while intake_once(node):
        pass


def finish(node: Node) -> None:
    """Hand over, look again, sweep: whatever time and workers do by themselves."""
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < QUIET:
        moved = sweep_once(node)
        with node.store.read() as connection:
            now = node.store.now(connection)
            due = picking.pick_due(connection, now=now, since=now, most=10)
        moved += sum(outcome is not None for outcome in deliver(node, [Ticket(d.transfer_id, d.turn) for d in due]))
        if moved:
            quiet_since = time.monotonic()
        with node.store.read() as connection:
            if not connection.exec_driver_sql("SELECT 1 FROM transfers WHERE state IN ('ready', 'claimed')").first():
                return
        time.sleep(0.1)


HOPS: dict[str, Callable[[Node], None]] = {
    "accept": accept_body,
    "deliver": deliver_due,
    "intake": take_files,
    "intake-all": take_all_files,
    "finish": finish,
}


def main(hop: str, data: str, answer: str, *faults: str) -> None:
    kinds = {**KINDS, "stand_in": open_stand_in}
    node = build_node(read_settings({**os.environ, "TRUC_DATA": data}), kinds=kinds)
    if "lose-fsync" in faults:
        os.fsync = lambda _descriptor: None  # type: ignore[assignment]
    told = os.open(Path(answer), os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(told, b"BEGIN\n")
    HOPS[hop](node)
    os.write(told, b"ANSWER\n")
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
