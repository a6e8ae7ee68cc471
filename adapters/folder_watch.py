"""A hint that a folder changed, so that a scan need not wait for its turn.

Only a hint: network file systems send no events, and a watch may die; the periodic scan is what finds everything.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import watchfiles

from adapters.folder_ground import open_ground
from adapters.folder_layout import ARRIVED, OUTGOING, RETURNED, FolderLayout
from adapters.folder_names import is_packet_name, refusal_key

__all__ = ["FolderWatch", "watch"]

_DEBOUNCE_MS = 200
_LOOK_MS = 500
_SAME_AGAIN: Final = 2.0  # seconds from one look whether the names still mean what is watched to the next
_WATCHED: Final = (OUTGOING, ARRIVED, RETURNED)


class FolderWatch:
    """A running watch; `close` ends it, at the latest after half a second. Safe to repeat."""

    def __init__(self, layout: FolderLayout, on_change: Callable[[], None], *, same_again: float = _SAME_AGAIN) -> None:
        self._layout = layout
        self._on_change = on_change
        self._same_again = same_again
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch {layout.root.name}", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether changes are still told of.

        No where the folder or the machine lets nobody watch, and soon after a folder is no longer the one that is
        watched: made anew, or a share mounted over it or taken away.
        """
        return self._thread.is_alive()

    def close(self) -> None:
        """End the watch and wait for its thread, unless the folder keeps that waiting."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._watch()
        except OSError:  # no watches left, folder gone or another one: the scan goes on without hints
            return

    def _watch(self) -> None:
        """Tell of changes. Raises OSError once the names mean other folders than at the beginning."""
        looked = time.monotonic()
        with ExitStack() as held:
            ground = held.enter_context(open_ground(self._layout.root))
            handles = [ground.place(where).handle for where in _WATCHED]
            paths = {f"/proc/self/fd/{handle}": where for handle, where in zip(handles, _WATCHED, strict=True)}
            watched = [_identity(handle) for handle in handles]

            def concerns_us(_change: watchfiles.Change, path: str) -> bool:
                return _concerns_us(paths.get(str(Path(path).parent), ""), Path(path).name)

            try:
                for changes in watchfiles.watch(
                    *paths, watch_filter=concerns_us, debounce=_DEBOUNCE_MS, stop_event=self._stop,
                    rust_timeout=_LOOK_MS, yield_on_timeout=True, recursive=False, raise_interrupt=False,
                ):  # fmt: skip
                    held.close()  # the watch stands: handles that stay open would keep a share from being unmounted
                    if changes:
                        self._on_change()
                    if time.monotonic() - looked >= self._same_again:
                        looked = time.monotonic()
                        self._check(watched)
            except RuntimeError:  # a name that is no UTF-8: the library cannot say it, and ends the watch
                self._on_change()
                self._stop.wait(_LOOK_MS / 1000)

    def _check(self, watched: list[tuple[int, int]]) -> None:
        with open_ground(self._layout.root) as ground:
            if [_identity(ground.place(where).handle) for where in _WATCHED] != watched:
                raise FileNotFoundError


def _identity(handle: int) -> tuple[int, int]:
    status = os.fstat(handle)
    return status.st_dev, status.st_ino


def _concerns_us(where: str, name: str) -> bool:
    if where == OUTGOING:
        return is_packet_name(name)
    if where == RETURNED:
        return refusal_key(name) is not None
    return where == ARRIVED and name.endswith(".txt")


def watch(layout: FolderLayout, on_change: Callable[[], None]) -> FolderWatch:
    """Call `on_change` from a thread soon after a packet or refusal may have come. Never raises for the folder."""
    return FolderWatch(layout, on_change)
