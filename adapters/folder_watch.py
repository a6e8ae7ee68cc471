"""A hint that a folder changed, so that a scan need not wait for its turn.

Only a hint: network file systems send no events, and a watch may die; the periodic scan is what finds everything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import watchfiles

from adapters.folder_layout import FolderLayout
from adapters.folder_names import is_packet_name, refusal_key

__all__ = ["FolderWatch", "watch"]

_DEBOUNCE_MS = 200


class FolderWatch:
    """A running watch; `close` ends it, at the latest after half a second. Safe to repeat."""

    def __init__(self, layout: FolderLayout, on_change: Callable[[], None]) -> None:
        self._layout = layout
        self._on_change = on_change
        self._folders = (layout.outgoing, layout.arrived, layout.returned)
        self._watched = self._which()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch {layout.root.name}", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether changes are still told of.

        No where the folder or the machine lets nobody watch, and where a folder is no longer the one that is watched:
        made anew, or a share mounted over it or taken away.
        """
        return self._thread.is_alive() and self._which() == self._watched

    def _which(self) -> tuple[tuple[int, int] | None, ...]:
        """Which folders the names mean now."""

        def identity(folder: Path) -> tuple[int, int] | None:
            try:
                status = folder.stat()
            except OSError:
                return None
            return status.st_dev, status.st_ino

        return tuple(identity(folder) for folder in self._folders)

    def close(self) -> None:
        """End the watch and wait for its thread."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    def _concerns_us(self, _change: watchfiles.Change, path: str) -> bool:
        changed = Path(path)
        if changed.parent == self._layout.outgoing:
            return is_packet_name(changed.name)
        if changed.parent == self._layout.returned:
            return refusal_key(changed.name) is not None
        return changed.parent == self._layout.arrived and changed.suffix == ".txt"

    def _run(self) -> None:
        try:
            for _changes in watchfiles.watch(
                *self._folders, watch_filter=self._concerns_us, debounce=_DEBOUNCE_MS, stop_event=self._stop,
                rust_timeout=500, yield_on_timeout=False, recursive=False, raise_interrupt=False,
            ):  # fmt: skip
                self._on_change()
        except OSError:  # no watches left, folder gone: the scan goes on without hints
            return


def watch(layout: FolderLayout, on_change: Callable[[], None]) -> FolderWatch:
    """Call `on_change` from a thread soon after a packet or refusal may have come. Never raises for the folder."""
    return FolderWatch(layout, on_change)
