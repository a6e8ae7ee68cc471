"""Builders for the folder channel: packets to hand over, and a look at what the agency's software sees."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TypeVar

from adapters.contract import HandOver, Outcome, Park, Retry, Sink

__all__ = ["as_nobody", "build_item", "deliver", "far", "files_under", "mounted"]

T = TypeVar("T")


def build_item(
    content: bytes = b"<edXML/>",
    key: str = "0198f2c0-key",
    *,
    digest: str | None = None,
    opens: Callable[[], BinaryIO] | None = None,
    note: Mapping[str, str] | None = None,
) -> HandOver:
    """One transfer as a sink sees it; `digest` and `opens` lie where a test wants them to."""
    return HandOver(
        key=key,
        packet_id="0198f2c0-packet",
        document_id="000.00.01.H99,2026/11/24,0001",
        business_kind="new",
        sender="000.00.01.H99",
        recipients=("000.00.16.H99", "000.00.17.H99"),
        urgent=False,
        size=len(content),
        digest=digest or hashlib.sha256(content).hexdigest(),
        accepted_at=datetime(2026, 11, 24, 1, 2, 3, tzinfo=UTC),
        open=opens or (lambda: io.BytesIO(content)),
        note=note or {},
    )


def far() -> float:
    """A limit that no test reaches."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) + 60


def deliver(sink: Sink, item: HandOver) -> Outcome:
    """Stage and hand over, as the machine does with nothing going wrong."""
    staged = sink.stage(item)
    return staged if isinstance(staged, Retry | Park) else staged.hand_over(far())


def files_under(folder: Path) -> dict[str, bytes]:
    """Relative name → content of all regular files under `folder`."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@contextmanager
def mounted(target: Path, *arguments: str) -> Iterator[Path]:
    """A real mount for the length of a test. Needs root: without it this fails and says so, it never skips."""
    target.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *arguments, target], capture_output=True, text=True)
    assert done.returncode == 0, f"this test mounts a small disk and needs root with mount: {done.stderr}"
    try:
        yield target
    finally:
        subprocess.run(["umount", "-l", target], check=True)


def as_nobody(call: Callable[[], T]) -> T:
    """Do it as a user whom permissions stop."""
    assert os.geteuid() == 0, "this test gives up root's rights and needs to be root first"
    os.seteuid(65534)
    try:
        return call()
    finally:
        os.seteuid(0)
