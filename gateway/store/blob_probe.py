"""Whether a file system does what a folder of packets stands on; asked of one that several machines share, at start.

exclusive    a name is made by one only
replacing    a rename puts one file in another's place in one step, also while that is being read
reading on   whoever has the old one open goes on reading it
syncing      a file and the folder that names it are made durable when asked
"""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from typing import Final

from gateway.model.errors import StoreUnsafe
from gateway.model.room import FULL
from gateway.store.blobs import BlobFolder, sync_folder
from monitoring import log

__all__ = ["check_semantics"]

_log = log.get("gateway.store")


_OLD: Final = b"the packet that was there"
_NEW: Final = b"the packet that came"


def check_semantics(blobs: BlobFolder) -> None:
    """Try it with two small files in this machine's spool, which are gone afterwards.

    Raises StoreUnsafe, naming what the file system would not do.  A full disk says nothing of that: the node starts,
    hands over what it has, and takes nothing in until there is room (its reserve sees to it); the log says that nothing
    was tried.
    """
    name = f"0-probe-{secrets.token_hex(8)}"
    old, new = blobs.spool_folder / f"{name}-old", blobs.spool_folder / f"{name}-new"
    step = "write"
    try:
        for path, content in ((old, _OLD), (new, _NEW)):
            with path.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        step = "exclusive"
        with suppress(FileExistsError):
            os.close(os.open(old, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            raise OSError("O_EXCL")
        step = "rename"
        with old.open("rb") as reading:
            os.rename(new, old)
            step = "read"
            _expect(reading.read(), _OLD)
        _expect(old.read_bytes(), _NEW)
        step = "fsync"
        sync_folder(blobs.spool_folder)
    except OSError as why:
        if why.errno in FULL:
            _log.warning("store.not_tried", error=errno.errorcode[why.errno])
            return
        raise StoreUnsafe(setting=f"{blobs.root}: {step}", value=str(why), wanted="POSIX") from why
    finally:
        for path in (old, new):
            path.unlink(missing_ok=True)


def _expect(found: bytes, wanted: bytes) -> None:
    if found != wanted:
        raise OSError("other bytes")
