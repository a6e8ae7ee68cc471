"""One step of a folder channel as a process of its own, so that a test can kill or trace it.

    python -m tests.support.folder_steps deliver ROOT KEY PACKET_FILE [LARGEST_FILE]
    python -m tests.support.folder_steps take ROOT COPY_FOLDER

`deliver` does what the machine does after a crash: look first, stage and hand over only on a no, and prints the
outcome.  `take` copies what the source finds into COPY_FOLDER (the commit) and acknowledges it.  Both write
COMMITTED to standard error where the machine's commit stands.
"""

from __future__ import annotations

import hashlib
import resource
import sys
from pathlib import Path

from adapters.contract import IncomingKind, Verdict
from adapters.folder import FolderChannel, open_folder
from adapters.folder_staged import StagedFile
from tests.support.folders import build_item, far

__all__ = ["CHANNEL"]

CHANNEL = "kenh-16"


def deliver(channel: FolderChannel, key: str, packet: bytes) -> None:
    """Look, stage, commit the attempt, hand over."""
    outcome: object = channel.sink.find(key)
    if outcome is None:
        staged = channel.sink.stage(build_item(packet, key))
        outcome = staged
        if isinstance(staged, StagedFile):
            print("COMMITTED", file=sys.stderr, flush=True)
            outcome = staged.hand_over(far())
    print(outcome, flush=True)


def take(channel: FolderChannel, copies: Path) -> None:
    """Find, commit (a repeat changes nothing, as in the exchange), acknowledge."""
    for item in channel.source.look(100):
        if item.kind is IncomingKind.PACKET:
            assert item.open is not None
            with item.open() as stream:
                content = stream.read()
            (copies / hashlib.sha256(content).hexdigest()).write_bytes(content)
        print("COMMITTED", file=sys.stderr, flush=True)
        channel.source.acknowledge(item, Verdict(accepted=item.kind is not IncomingKind.DAMAGED, reference="ref"))
        print("acknowledged", flush=True)


def main() -> None:
    """See the module."""
    step, root, *rest = sys.argv[1:]
    channel = open_folder({"root": root, "settle": 0, "unpack": True}, CHANNEL)
    if step == "take":
        take(channel, Path(rest[0]))
        return
    if len(rest) == 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(rest[2]), int(rest[2])))
    deliver(channel, rest[0], Path(rest[1]).read_bytes())


if __name__ == "__main__":
    main()
