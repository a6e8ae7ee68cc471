"""A multipart message taken apart while it comes (RFC 2046 §5.1): the bytes of each part, with their exact offsets.

The packet's own bytes say where its parts end: by a header in front of the first boundary where the file has one, else
by its first boundary line.  What a transport's Content-Type said is not among the bytes that are kept and is not asked:
the same bytes read the same for ever.

A message without its closing boundary is refused as cut off: nobody can tell whether its last file is whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Protocol

from edxml._mime_head import PartHead, read_fields, read_head, split_parameters
from edxml.findings import Refusal
from edxml.limits import Limits

__all__ = ["Multipart", "PartReader", "is_multipart", "take_opening"]

_OPENING = 16 * 1024
"""Bytes within which a message shows that it is one."""

_BOM = b"\xef\xbb\xbf"
_OUTSIDE = 64 * 1024  # bytes that may stand before the first boundary, and after the last
_MARKUP_FIRST = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*<")
_BLANK_FIRST = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*")
_HEADER_FIRST = re.compile(rb"[A-Za-z][A-Za-z0-9-]{0,60}[ \t]*:")
_HEADER_END = re.compile(rb"(?:\A|\n)\r?\n")
_TYPE_FIELD = re.compile(rb"(?:\A|\n)content-type[ \t]*:[ \t\r\n]*multipart/", re.IGNORECASE)
_BOUNDARY_LINE = re.compile(
    rb"(?:\A|\n)--([!-~](?:[ -~]{0,198}[!-~])?)[ \t]*\r?\n(?=[A-Za-z][A-Za-z0-9-]*[ \t]*:|\r?\n)"
)
_AFTER_BOUNDARY = re.compile(rb"(--)?[ \t]{0,64}(\r?\n|\Z)")
_LINE_REST = 70  # bytes after which it is clear whether a boundary line is one


class PartReader(Protocol):
    """Who takes the parts. Offsets are bytes from the beginning of the packet as received. All may raise Refusal."""

    def begin(self, head: PartHead, offset: int) -> None:
        """A part's content begins at `offset`."""

    def write(self, content: bytes) -> None:
        """Its next bytes, as they stand in the packet."""

    def end(self, offset: int) -> None:
        """It ended before `offset`."""


def take_opening(pieces: Iterator[bytes]) -> bytes:
    """The first bytes of a packet, enough for `is_multipart`; all where there are fewer."""
    opening = b""
    for piece in pieces:
        opening = opening + piece if opening else piece
        if len(opening) >= _OPENING or _MARKUP_FIRST.match(opening):
            break
    return opening


def is_multipart(opening: bytes) -> bool:
    """Whether a packet that begins so is a MIME message: by its header, or by a boundary line before any markup."""
    if _MARKUP_FIRST.match(opening):
        return False
    start = _after_blanks(opening)
    if _HEADER_FIRST.match(opening, start):
        end = _HEADER_END.search(opening, start)
        return _TYPE_FIELD.search(opening[start : end.start() if end else _OPENING]) is not None
    return _BOUNDARY_LINE.search(opening[start : max(opening.find(b"<", start), 0) or _OPENING]) is not None


def _after_blanks(opening: bytes) -> int:
    blanks = _BLANK_FIRST.match(opening)
    return blanks.end() if blanks else 0


class Multipart:
    """Takes a message's bytes in pieces and hands on its parts. Raises Refusal, nothing else.

    `repaired(name, line)` is told of what was put right.
    """

    def __init__(self, *, limits: Limits, parts: PartReader, repaired: Callable[[str, int], None]) -> None:
        self.start = ""  #: the Content-ID of the part that is read first, where the message names one
        self._limits = limits
        self._parts = parts
        self._repaired = repaired
        self._buffer = b""
        self._offset = 0  # of the buffer's first byte in the packet
        self._line = 1  # of the same
        self._boundary = b""
        self._is_crlf = True
        self._has_first = False
        self._outside = 0
        self._is_at_line_start = True
        self._final = False
        self._told: set[str] = set()
        self._step: Callable[[Multipart], bool] = Multipart._opening

    @property
    def line(self) -> int:
        """The line of the next byte that is handed on."""
        return self._line

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        self._buffer = self._buffer + piece if self._buffer else piece
        while self._step(self):
            pass

    def close(self) -> None:
        """No more bytes come."""
        self._final = True
        while self._step(self):
            pass
        if self._step is not Multipart._epilogue:
            code = "edxml.truncated" if self._has_first else "edxml.mime_boundary_missing"
            raise Refusal(code, line=self._line)

    # Each step below consumes what it can of the buffer; False asks for more bytes.

    def _opening(self) -> bool:
        if len(self._buffer) < _OPENING and not self._final:
            return False
        if self._buffer.startswith(_BOM):
            self._tell("bom", 1)
        self._skip(_after_blanks(self._buffer))
        self._is_at_line_start = True
        boundary = self._read_own_header() if _HEADER_FIRST.match(self._buffer) else b""
        if not boundary:
            found = _BOUNDARY_LINE.search(self._buffer)
            if found is None:
                raise Refusal("edxml.mime_boundary_missing", line=self._line)
            boundary = found[1]
        self._boundary = b"--" + boundary
        self._step = Multipart._preamble
        return True

    def _read_own_header(self) -> bytes:
        """The boundary that the message's own header names; b"" where it names none."""
        line = self._line
        block = self._take_header()
        if block is None:
            raise self._endless_header()
        _, parameters = split_parameters(read_fields(block, line).get("content-type", ""))
        self.start = parameters.get("start", "").removeprefix("<").removesuffix(">")
        boundary = parameters.get("boundary", "").encode()
        if not boundary:
            self._tell("mime_boundary_undeclared", line)
        return boundary

    def _take_header(self) -> bytes | None:
        """A header block up to its blank line, taken off the buffer; None where its end has not come yet."""
        found = _HEADER_END.search(self._buffer, 0, self._limits.part_header)
        if found is None:
            return None
        block = self._buffer[: found.start()]
        self._skip(found.end())
        self._is_at_line_start = True
        return block

    def _endless_header(self) -> Refusal:
        end = self._buffer.rfind(b"\n", 0, self._limits.part_header) + 1
        read_fields(self._buffer[:end], self._line)  # refuses what is no header at all, which says more
        if len(self._buffer) < self._limits.part_header:
            return Refusal("edxml.truncated", line=self._line)
        return Refusal("edxml.mime_header_too_large", line=self._line, limit=self._limits.part_header)

    def _preamble(self) -> bool:
        found, end = self._find_boundary()
        self._note_outside(self._buffer[:end], "edxml.mime_boundary_missing")
        self._skip(end)
        if found is None:
            return False
        self._has_first = True
        self._is_crlf = found[2] == b"\r\n"
        return self._pass_boundary(is_last=found[1] is not None)

    def _head(self) -> bool:
        line = self._line
        block = self._take_header()
        if block is None:
            if self._final or len(self._buffer) >= self._limits.part_header:
                raise self._endless_header()
            return False
        self._parts.begin(read_head(block, line), self._offset)
        self._step = Multipart._content
        return True

    def _content(self) -> bool:
        found, end = self._find_boundary()
        if end:
            self._parts.write(self._buffer[:end])
            self._skip(end)
        if found is None:
            return False
        self._parts.end(self._offset)
        return self._pass_boundary(is_last=found[1] is not None)

    def _epilogue(self) -> bool:
        found, end = self._find_boundary()
        self._note_outside(self._buffer[:end], "edxml.mime_after_end")
        if found is not None:
            raise Refusal("edxml.mime_after_end", line=self._line)
        if self._final:
            self._note_outside(self._buffer[end:], "edxml.mime_after_end")
            end = len(self._buffer)
        self._skip(end)
        return False

    def _note_outside(self, text: bytes, code: str) -> None:
        self._outside += len(text)
        if self._outside > _OUTSIDE:
            raise Refusal(code, line=self._line)
        if text.strip():
            self._tell("mime_text_outside", self._line)

    def _find_boundary(self) -> tuple[re.Match[bytes] | None, int]:
        """The rest of the next boundary line, None if it has not come; and how many bytes before it are clear."""
        buffer, boundary = self._buffer, self._boundary
        at = buffer.find(boundary)
        while at >= 0:
            if buffer[at - 1] == 10 if at else self._is_at_line_start:
                after = at + len(boundary)
                if len(buffer) - after < _LINE_REST and b"\n" not in buffer[after:] and not self._final:
                    return None, self._before(at)
                found = _AFTER_BOUNDARY.match(buffer, after)
                if found is not None:
                    return found, self._before(at)
            at = buffer.find(boundary, at + 1)
        return None, max(0, len(buffer) - len(boundary) - 2)

    def _before(self, at: int) -> int:
        """Where the line end that belongs to the boundary at `at` begins."""
        if not at:
            return 0
        return at - 2 if self._is_crlf and self._buffer[at - 2 : at - 1] == b"\r" else at - 1

    def _pass_boundary(self, *, is_last: bool) -> bool:
        """The buffer begins with a line end and a whole boundary line."""
        start = self._buffer.find(self._boundary)
        found = _AFTER_BOUNDARY.match(self._buffer, start + len(self._boundary))
        assert found is not None
        if found[2] == b"\n" or self._buffer[:start] == b"\n":
            self._tell("mime_bare_lf", self._line)
        self._skip(found.end())
        self._is_at_line_start = True
        self._outside = 0
        self._step = Multipart._epilogue if is_last else Multipart._head
        return True

    def _skip(self, end: int) -> None:
        if not end:
            return
        gone = self._buffer[:end]
        self._buffer = self._buffer[end:]
        self._offset += end
        self._line += gone.count(b"\n")
        self._is_at_line_start = gone.endswith(b"\n")

    def _tell(self, repair: str, line: int) -> None:
        """Once per message."""
        if repair not in self._told:
            self._told.add(repair)
            self._repaired(repair, line)
