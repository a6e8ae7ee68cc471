"""Disks without room: whoever writes a large file says which one could not take it, and leaves nothing half-written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["FULL", "naming_full_disk", "out_of_room"]

FULL: Final = (errno.ENOSPC, errno.EDQUOT)
"""What the system says where a disk, or a quota, has no room left."""


@contextmanager
def naming_full_disk(folder: Path) -> Iterator[None]:
    """What is written in here goes to `folder`: an OSError of a full disk names it, where it names no file itself.

    (The system names no file where it refuses a write.)
    """
    try:
        yield
    except OSError as why:
        if why.errno not in FULL or why.filename is not None:
            raise
        raise OSError(why.errno, why.strerror, str(folder)) from why


def out_of_room(path: Path) -> OSError:
    """What the system would say of a full disk, for a program or a library that says it in its own words."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
