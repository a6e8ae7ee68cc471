"""What lies in an agency's folder and is never taken: so that a packet under a wrong name is not silently left there.

Not everything at once: a name that says "still being written" is right for a while, and what systems and file managers
leave everywhere is nobody's packet.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from adapters.folder_ground import Ground, open_ground
from adapters.folder_layout import FolderLayout
from adapters.folder_names import finished_name, is_packet_name, refusal_key

__all__ = ["Ignored", "IgnoredFile", "find_ignored"]

_OLD: Final = 600.0
"""Seconds after which a thing that nobody writes to any more is one that somebody should look at."""
_MOST: Final = 1_000
"""Where so many were counted, counting ends."""
_LITTER: Final = frozenset(
    {"thumbs.db", "desktop.ini", ".ds_store", "system volume information", "$recycle.bin", "lost+found", ".trashes"}
)
_OURS: Final = {
    "": frozenset({"den", "di", ".truc"}),
    "di": frozenset({"da-gui", "khong-gui"}),
    "den/tra-lai": frozenset({"da-nhan", "khong-nhan"}),
}
"""The folders that are looked into, and those in them that belong there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoredFile:
    """One thing that is not taken: its folder under the root ("" is the root), its name, and why, as a message code."""

    place: str
    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """How many things are not taken (`count` stops at 1,000), and the first of them by place and name."""

    count: int
    first: tuple[IgnoredFile, ...]


def find_ignored(layout: FolderLayout, most: int, *, older_than: float = _OLD) -> Ignored:
    """Everything in `di`, `den/tra-lai` and the root that no look takes and nobody wrote to for `older_than` seconds.

    Names at most `most`.  Changes nothing.  Raises FolderFault where a folder cannot be read.
    """
    found: list[IgnoredFile] = []
    with layout.faults(), open_ground(layout.root) as ground:
        for place in _OURS:
            found += _in(ground, place, time.time() - older_than, _MOST - len(found))
    found.sort(key=lambda one: (one.place, one.name))
    return Ignored(count=len(found), first=tuple(found[:most]))


def _in(ground: Ground, place: str, written_before: float, most: int) -> Iterator[IgnoredFile]:
    left = most
    try:
        found = ground.place(place)
    except FileNotFoundError:
        return
    with found.entries() as entries:
        for entry in entries:
            if not left:
                return
            why = "" if entry.name in _OURS[place] or entry.name.casefold() in _LITTER else _why(place, entry)
            if why and _is_old(entry, written_before):
                left -= 1
                yield IgnoredFile(place=place, name=_shown(entry.name), why=why)


def _why(place: str, entry: os.DirEntry[str]) -> str:
    """Why a look leaves it alone, as a message code; "" where it does not."""
    takes = is_packet_name(entry.name) if place == "di" else refusal_key(entry.name) is not None
    if place and takes:
        return ""
    if finished_name(entry.name):
        return "folder.ignored_unfinished"
    if entry.is_dir(follow_symlinks=False):
        return "folder.ignored_folder"
    return "folder.ignored_ending" if place else "folder.ignored_place"


def _is_old(entry: os.DirEntry[str], written_before: float) -> bool:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # taken away while we looked
        return False
    return status.st_mtime <= written_before or stat.S_ISLNK(status.st_mode)


def _shown(name: str) -> str:
    """The name as a screen can show it, whatever bytes it is made of."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(each if each.isprintable() else "\ufffd" for each in text)
