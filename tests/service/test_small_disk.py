"""The disk of the soak's fault `full` shrinks to what is used, also while somebody writes."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import SmallDisk


class _Busy(SmallDisk):
    """Somebody writes a mebibyte between the look and the remount, three times."""

    writes = 0

    def _try_mount(self, kind: str, options: str) -> subprocess.CompletedProcess[str]:
        if options.startswith("remount") and _Busy.writes < 3:
            _Busy.writes += 1
            (self.path / f"{_Busy.writes}").write_bytes(bytes(1 << 20))
        return SmallDisk._try_mount(self, kind, options)


def test_it_shrinks_though_more_was_written_meanwhile(tmp_path: Path) -> None:
    with _Busy(tmp_path / "disk", mib=16) as disk:
        disk.shrink(64 << 10)
        assert _Busy.writes == 3
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            (disk.path / "more").write_bytes(bytes(1 << 20))
