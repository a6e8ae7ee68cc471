"""A file system that hangs: whoever asks it anything waits, as behind a file server that is gone."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["hanging"]


@contextmanager
def hanging(target: Path) -> Iterator[Callable[[], None]]:
    """Mounted over `target` for the length of a test; call what this gives to end the waiting: askers get an error.

    The kernel's FUSE with a server that answers nothing.  Needs root and /dev/fuse; skipped by name where they are
    not there.
    """
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("a file system that hangs needs root and /dev/fuse")
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    if libc.mount(b"truc-hangs", os.fsencode(target), b"fuse", 0, options.encode()):
        os.close(device)
        pytest.skip(f"a file system that hangs cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    held = [device]

    def end() -> None:
        while held:
            os.close(held.pop())

    try:
        yield end
    finally:
        end()
        subprocess.run(["umount", "-l", target], check=True)
