"""Which stored bytes were held against their digest a short while ago, so that ranges of them may be sent.

A range cannot be checked by itself.  Before the first one, all of it is read once; the file's identity, size and times
are remembered, and for a while ranges of that very file go out at once.  A changed file is another one.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from typing import BinaryIO, Final

__all__ = ["Vouched"]

_STANDS: Final = 3600.0  # seconds
_MOST: Final = 1_000

_Key = tuple[str, int, int, int, int, int]


class Vouched:
    """What was found right, at most a thousand things, each for an hour. For one thread."""

    def __init__(self, stands: float = _STANDS) -> None:
        self._stands = stands
        self._since: OrderedDict[_Key, float] = OrderedDict()

    def is_fresh(self, file: BinaryIO, digest: str) -> bool:
        """Whether the bytes of `digest` out of this file, as it is now, were found right within the hour."""
        since = self._since.get(_key(file, digest))
        return since is not None and time.monotonic() - since < self._stands

    def remember(self, key: _Key) -> None:
        """They were found right in the file that `key_of` told of before it was read."""
        self._since.pop(key, None)
        self._since[key] = time.monotonic()
        if len(self._since) > _MOST:
            self._since.popitem(last=False)

    @staticmethod
    def key_of(file: BinaryIO, digest: str) -> _Key:
        """The file as it is now, and what is to be in it."""
        return _key(file, digest)


def _key(file: BinaryIO, digest: str) -> _Key:
    status = os.fstat(file.fileno())
    return digest, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
