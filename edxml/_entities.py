"""References to entities that nobody declared: lxml says of one only that no element was found."""

from __future__ import annotations

import re

__all__ = ["Entities"]

_LONGEST = 60  # characters of a name that is told
_REFERENCE = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos);)([A-Za-z_][\w.-]{0,%d});" % _LONGEST)
_BEGUN = re.compile(rb"&[\w.-]{0,%d}\Z" % (_LONGEST + 1))


class Entities:
    """Watches markup go by in pieces of any size; `first` is the first that XML does not know, and its line."""

    __slots__ = ("_begun", "first")

    def __init__(self) -> None:
        self.first: tuple[str, int] | None = None
        self._begun = b""

    def look(self, markup: bytes, line: int) -> None:
        """The next piece begins at `line`."""
        if self.first is not None or not (self._begun or b"&" in markup):
            return
        seen = self._begun + markup
        if found := _REFERENCE.search(seen):
            self.first = found[1].decode(), line + seen.count(b"\n", 0, found.start())
        begun = _BEGUN.search(seen, max(0, len(seen) - _LONGEST - 2))
        self._begun = begun[0] if begun else b""
