"""What this test process leaves behind when it ends: nothing. A worker of a parallel run knows no `atexit`."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["at_the_end", "folder_of_this_process", "leave"]

_OWNER = os.getpid()
_left: list[Callable[[], object]] = []


def at_the_end(do: Callable[[], object]) -> None:
    """Have this done once when the process ends, last things first; children that inherit the list do nothing."""
    _left.append(do)


def folder_of_this_process(what: str) -> Path:
    """A new folder that goes with the process."""
    folder = Path(tempfile.mkdtemp(prefix=f"truc-{what}-"))
    at_the_end(lambda: shutil.rmtree(folder, ignore_errors=True))
    return folder


@atexit.register
def leave() -> None:
    """Do what is to be done at the end; again: nothing."""
    while _left and os.getpid() == _OWNER:
        _left.pop()()
