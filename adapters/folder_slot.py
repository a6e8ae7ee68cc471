"""What touches a channel's folder runs in a slot of its own, so that a disk that hangs holds nobody else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from adapters.folder_layout import FolderFault
from adapters.slot import Late, Slot

__all__ = ["HANGS", "FolderSlot"]

HANGS = "channel.hangs"

T = TypeVar("T")


class FolderSlot:
    """The slot of one folder; any thread may call."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._slot = Slot(f"folder {root.name}")

    def run(self, work: Callable[[], T], patience: float) -> T:
        """As `Slot.run`; raises FolderFault `channel.hangs` instead of Late."""
        try:
            return self._slot.run(work, patience)
        except Late:
            raise FolderFault(root=self._root, reason=HANGS) from None
