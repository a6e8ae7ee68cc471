"""File names of the `folder` channel: which are keys, which are not finished, and how to make one safe and unique.

Names on disk are bytes; here they are `str` with surrogate escapes (PEP 383), so that a name in a lost code page
(TCVN3, cp1258) is moved and answered like any other.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = [
    "PACKET_SUFFIX", "REASON_SUFFIX", "finished_name", "is_key", "is_packet_name", "read_reason",
    "refusal_key",
]  # fmt: skip

PACKET_SUFFIX: Final = ".edxml"
REASON_SUFFIX: Final = ".tu-choi.txt"
"""A text file `<key>.tu-choi.txt` refuses (từ chối) the packet `<key>`."""

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_OURS = ("tra-lai",)
_UNFINISHED = (".part", ".tmp", ".temp", ".filepart", ".crdownload", ".partial", ".swp", ".bak", "~")
_COPY = re.compile(r"(?i)(?: - (?:copy|bản sao|sao chép)| copy(?: \d+)?| \((?:copy|bản sao)\)| \(\d+\))+\Z")
"""What file managers add to the name of a second copy. A key has no blank, so that nothing of it is taken for this."""
_REASON_LONGEST: Final = 2000


def is_key(name: str) -> bool:
    """Whether a delivery key can be a file name on every system: ASCII letters, digits and `.`, `_`, `-`."""
    return bool(_KEY.fullmatch(name)) and name not in _OURS


def finished_name(name: str) -> str:
    """The name that a file still being written will get; empty where `name` is not such a one.

    Hidden files, lock files of editors (`~$x`, `.~lock.x#`) and what copying programs write first
    (`x.part`, `x.tmp`, `x~`, `~x`): all are left alone.
    """
    if name.startswith((".~lock.", "~$", ".#", "#")):
        return name.removeprefix(".~lock.").lstrip("~$.#").rstrip("#") or name
    if name.startswith((".", "~")):
        return name.lstrip(".~") or name
    for suffix in _UNFINISHED:
        if name.casefold().endswith(suffix):
            return name[: -len(suffix)] or name
    return ""


def is_packet_name(name: str) -> bool:
    """Whether a file in `di` is offered for sending: `*.edxml`, whatever the case, and not an unfinished name."""
    return name.casefold().endswith(PACKET_SUFFIX) and not finished_name(name)


def refusal_key(name: str) -> str | None:
    """The key that a file in `den/tra-lai`, or a reason file, refuses; None where the name says nothing of the kind.

    Tolerates `<key>.edxml.tu-choi.txt`, and `.txt` twice, which editors that hide suffixes make; and the names of
    copies, `<key> (1).edxml`, `<key> - Copy.edxml`, `<key> - Bản sao.edxml`.
    """
    if finished_name(name):
        return None
    name = _without_copy(unicodedata.normalize("NFC", name))
    lower = name.casefold()
    stem = name[: -len(".txt")] if lower.endswith(".txt.txt") else name
    if stem.casefold().endswith(REASON_SUFFIX):
        stem = stem[: -len(REASON_SUFFIX)]
    elif not lower.endswith(PACKET_SUFFIX):
        return None
    stem = stem[: -len(PACKET_SUFFIX)] if stem.casefold().endswith(PACKET_SUFFIX) else stem
    return _COPY.sub("", stem)


def _without_copy(name: str) -> str:
    """`k.tu-choi (2).txt` as `k.tu-choi.txt`."""
    stem, dot, suffix = name.rpartition(".")
    return _COPY.sub("", stem) + dot + suffix


def read_reason(content: bytes) -> str:
    """The clerk's reason, from UTF-8, UTF-16 or cp1258, composed (NFC), on one line, at most 2,000 characters.

    cp1258 writes the tone as a mark of its own, so composing matters.  Never raises: what cannot be read is
    shown by the replacement character.
    """
    text = " ".join(unicodedata.normalize("NFC", _decode(content)).replace("\x00", " ").split())
    return text[:_REASON_LONGEST]


def _decode(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    zeros = content[:200].count(0)
    if zeros > len(content[:200]) // 4:  # UTF-16 without its mark: Latin text has a zero in every other byte
        return content.decode("utf-16-be" if content[0] == 0 else "utf-16-le", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":  # cut by the limit of what is read
            return content.decode("utf-8-sig", "ignore")
        return content.decode("cp1258", "replace")
