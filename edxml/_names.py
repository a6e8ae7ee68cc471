"""Names of one parser alone: what a packet's tags and attributes are called is forgotten with its tree.

libxml2 keeps every name, and many a short text, in a dictionary, and lxml shares one dictionary among all parsers of a
thread for as long as the thread lives: a sender who invents names would make the process grow by megabytes a packet
until the dictionary is full, and then every packet with a name that is not in it would be refused.  lxml finds the
dictionary by an entry in the thread's state; while the entry is another, so is the dictionary.  Trees keep theirs, as
trees that move between threads do.
"""

from __future__ import annotations

import ctypes
import threading
from types import TracebackType
from typing import Any, Final

__all__ = ["OwnNames"]

_ENTRY: Final = "_ParserDictionaryContext"  # lxml's; were it called otherwise, names would be shared as before
_thread_state_dict = ctypes.PYFUNCTYPE(ctypes.c_void_p)(("PyThreadState_GetDict", ctypes.pythonapi))


class _Thread(threading.local):
    """What lxml keeps for this thread."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = ctypes.cast(_thread_state_dict(), ctypes.py_object).value


_thread = _Thread()


class OwnNames:
    """Around every call of one parser: `with names: parser.feed(…)`. May be entered again, not within itself."""

    __slots__ = ("_others", "_ours")

    def __init__(self) -> None:
        self._ours: Any = None
        self._others: Any = None

    def __enter__(self) -> None:
        self._others = _change(self._ours)

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ours, self._others = _change(self._others), None


def _change(entry: Any) -> Any:
    """Put `entry` in place (None: lxml makes a new one when it asks), and give what stood there."""
    state = _thread.state
    found = state.pop(_ENTRY, None)
    if entry is not None:
        state[_ENTRY] = entry
    return found
