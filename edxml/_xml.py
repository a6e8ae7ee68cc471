"""The one hardened XML parser of the project: markup to lxml, attachment text past it.

A packet is markup of some kilobytes around attachment text of up to a gigabyte.  The splitter looks at the raw
bytes as they come, gives the markup to lxml's push parser and the text inside `ContentTransferEncoded` to whoever
decodes it, with its exact byte offsets.  So the tree never holds an attachment, and no
attachment passes through a tree.

Why the two readings cannot disagree: outside comments, CDATA sections and processing instructions, which the
splitter skips as XML defines them, a `<` in well-formed XML always opens a tag; every `<` stays in the markup that lxml
judges; and what is taken out must be base64, blanks or character references to blanks, or the packet is refused.

Hardening: UTF-8 only (UTF-16 is recoded before anyone looks, a declaration that lies is overruled and recorded), so
`<!DOCTYPE` has one spelling; any declaration is refused before lxml sees it, hence no entities, no external anything;
sizes and counts are bounded before lxml builds nodes; libxml2's own limits stay switched on (no huge_tree).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

from lxml import etree

from edxml._bounds import MarkupBounds
from edxml._entities import Entities
from edxml._syntax import find_prefix, say_why
from edxml._utf16 import Recoder, is_named_rightly, look_for_utf16, reads_ascii, width
from edxml.findings import Refusal
from edxml.limits import Limits
from edxml.messages import Term

__all__ = ["ContentReader", "Element", "Splitter", "Unread"]

Element = Any  # lxml's element: lxml has no types of its own

_INTERESTING = re.compile(rb"<(?:[!?]|(?:[^\s<>/!?:\"']+:)?ContentTransferEncoded(?=[\s/>]))")
_TAG_REST = re.compile(rb"[^<>\"']*(?:\"[^<\"]*\"[^<>\"']*|'[^<']*'[^<>\"']*)*>")
_DECLARED = re.compile(rb"<\?xml[^>]*?encoding\s*=\s*[\"']([^\"'>]{1,40})[\"']")
_OTHER_ENCODINGS = {b"\xff\xfe": "UTF-32", b"\x00": "UTF-32", b"<\x00": "UTF-32", b"\x4c\x6f\xa7\x94": "EBCDIC"}
_BOM = b"\xef\xbb\xbf"
_CDATA = b"<![CDATA["
_JUNK = 4096  # bytes that may stand before the first "<"
_MALFORMED = {
    int(etree.ErrorTypes.ERR_INVALID_ENCODING): "edxml.encoding_invalid",
    int(etree.ErrorTypes.ERR_TAG_NOT_FINISHED): "edxml.truncated",
}
_TOO_DEEP = int(etree.ErrorTypes.ERR_RESOURCE_LIMIT)
_UNSAID = ("no element found", "line 1, column 1", "line 1, column 2")
"""What lxml says of a reference to an entity that nobody declared, read at once and in pieces."""


class ContentReader(Protocol):
    """Who takes the text of attachments. Offsets are bytes from the beginning of the packet as received."""

    def begin(self, element: Element, offset: int, line: int, encoding: str = "") -> None:
        """The text of `element` begins; the tree holds all that came before it. May raise Refusal.

        It is given in ASCII, whatever `encoding` it has in the packet (`Splitter.encoding`).
        """

    def begin_section(self, offset: int) -> None:
        """The text stands in a CDATA section that begins at `offset`. Raises Refusal if other text came before."""

    def write(self, text: bytes) -> None:
        """The next part of the text, untouched. May raise Refusal."""

    def end(self, offset: int) -> None:
        """The text ended before `offset`. May raise Refusal."""


class Unread:
    """Lets the text of attachments go by: for whoever wants the markup alone."""

    def begin(self, element: Element, offset: int, line: int, encoding: str = "") -> None:
        """Nothing to do."""

    def begin_section(self, offset: int) -> None:
        """Nothing to do."""

    def write(self, text: bytes) -> None:
        """Nothing to do."""

    def end(self, offset: int) -> None:
        """Nothing to do."""


class Splitter:
    """Takes a packet's bytes in pieces; `close` gives the root of its markup. Raises Refusal, nothing else."""

    def __init__(
        self,
        *,
        limits: Limits,
        contents: ContentReader,
        repaired: Callable[[str, int], None],
        keep_instructions: bool = False,
        first_line: int = 1,
    ) -> None:
        """`keep_instructions` leaves processing instructions in the tree: no value reads them, signatures sign them.

        `repaired(name, line)` is told of what was put right.  `first_line` is where the bytes begin, if they are part
        of something longer.
        """
        self._limits = limits
        self._contents = contents
        self._repaired = repaired
        self._parser = etree.XMLPullParser(
            events=("start",),
            tag="{*}ContentTransferEncoded",
            encoding="utf-8",
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            dtd_validation=False,
            attribute_defaults=False,
            remove_comments=True,
            remove_pis=not keep_instructions,
            huge_tree=False,
        )
        self.encoding = ""  #: of the packet's bytes, where it is not UTF-8
        self._recoder: Recoder | None = None
        self._buffer = b""
        self._offset = 0  # of the buffer's first byte in the packet
        self._bounds = MarkupBounds(limits)
        self._entities = Entities()
        self._lines_cut: list[tuple[int, int]] = []  # (line in the tree, lines cut out before it)
        self._line = 1  # in the tree, of the end of what was fed
        self._cut = 0
        self._note_cut(first_line - 1)
        self._final = False
        self._declared: tuple[str, int] | None = None  # another encoding that reads ASCII alike, and on which line
        self._has_letters = False  # beyond ASCII
        self._step: Callable[[Splitter], bool] = Splitter._look  # unbound: no circle keeps a tree alive

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        if self._recoder is not None:
            piece = self._recoder.recode(piece)
        self._buffer = self._buffer + piece if self._buffer else piece
        self._go_on()

    def _go_on(self) -> None:
        while self._step(self):
            pass
        if self._recoder is not None and self._recoder.is_broken:
            line = self._line + self._cut + self._buffer.count(b"\n")
            raise Refusal("edxml.encoding_invalid", line=line)

    def close(self) -> Element:
        """No more bytes come: the root element of the markup."""
        self._final = True
        self._go_on()
        is_cut = self._recoder is not None and self._recoder.is_cut
        if self._step is not Splitter._markup or self._buffer or is_cut:  # inside what never ended
            raise Refusal("edxml.truncated", line=self._line + self._cut)
        root = self._finish()
        if any(True for _ in self._parser.read_events()):  # a text that went by as markup would be a file lost unseen
            raise Refusal("edxml.malformed", line=self._line + self._cut, why=Term("xml.markup"))
        if self._declared is not None and self._has_letters:
            self._repaired("encoding_misdeclared", self._declared[1])
        return root

    @property
    def undeclared(self) -> Refusal | None:
        """The first prefix that no declaration covers: lxml tells of it at the end, and reading may end before."""
        for entry in self._parser.feed_error_log:
            if (prefix := find_prefix(entry.type, entry.message)) is not None:
                return Refusal("edxml.prefix_undeclared", line=entry.line + self._cut_before(entry.line), prefix=prefix)
        return None

    def _finish(self) -> Element:
        try:
            return self._parser.close()
        except etree.XMLSyntaxError as error:
            raise self._malformed(error) from None

    @property
    def tags(self) -> int:
        """Every "<" of the markup so far: at least the number of elements."""
        return self._bounds.tags

    def line_of(self, element: Element) -> int | None:
        """The line of `element` in the packet as received, 1-based."""
        line: int | None = element.sourceline
        if line is None:
            return None
        return line + self._cut_before(line)

    def _cut_before(self, line: int) -> int:
        cut = 0
        for at, lines in self._lines_cut:
            if line < at:
                break
            cut = lines
        return cut

    # Each step below consumes what it can of the buffer; False asks for more bytes.

    def _look(self) -> bool:
        buffer = self._buffer
        if len(buffer) < 4 and not self._final:
            return False
        if (wide := look_for_utf16(buffer)) is not None:
            self.encoding = wide.encoding
            self._repaired("utf16", self._line + self._cut)
            self._recoder = Recoder(wide.encoding)
            self._offset = wide.mark
            self._buffer = self._recoder.recode(buffer[wide.mark :])
        for start, name in _OTHER_ENCODINGS.items():
            if buffer.startswith(start) and not self.encoding:
                raise Refusal("edxml.encoding_unsupported", line=1, encoding=name)
        self._step = Splitter._begin
        return True

    def _begin(self) -> bool:
        buffer = self._buffer
        start = len(_BOM) if buffer.startswith(_BOM) and not self.encoding else 0
        opening = buffer.find(b"<", start, _JUNK + start)
        if opening < 0:
            if len(buffer) > _JUNK or self._final:
                raise Refusal("edxml.not_xml" if buffer.strip() else "edxml.empty", line=1)
            return False
        if len(buffer) < opening + 128 and not self._final:
            return False  # the declaration in one piece
        if start:
            self._repaired("bom", self._line + self._cut)
        declared = buffer.startswith(b"<?xml", opening)
        if opening > start and (declared or buffer[start:opening].strip()):
            self._repaired("junk_before_prolog", self._line + self._cut)
        if declared and (found := _DECLARED.match(buffer, opening)):
            self._hear_encoding(found[1], self._line + self._cut + buffer.count(b"\n", 0, opening))
        self._note_cut(buffer.count(b"\n", 0, opening))
        self._skip(opening)
        self._step = Splitter._markup
        return True

    def _hear_encoding(self, declared: bytes, line: int) -> None:
        """What the declaration says: a lie at once, or one once there is a letter that it would read otherwise."""
        name = declared.decode("ascii", "replace")
        if not (is_named_rightly(name, self.encoding) if self.encoding else reads_ascii(name)):
            self._repaired("encoding_misdeclared", line)
        elif not self.encoding and name.lower() not in ("utf-8", "utf8"):
            self._declared = name, line

    def _markup(self) -> bool:
        buffer = self._buffer
        position = 0
        while found := _INTERESTING.search(buffer, position):
            start = found.start()
            kind = buffer[start + 1 : start + 2]
            if kind == b"!":
                end = self._end_of_declaration(start)
            elif kind == b"?":
                end = _after(buffer.find(b"?>", start), 2)
            else:
                rest = _TAG_REST.match(buffer, found.end())
                if rest is not None:
                    self._open_content(rest.end())
                    return True
                end = 0
            if not end:
                return self._wait_from(start)
            position = end
        start = buffer.rfind(b"<", position)
        if start >= 0 and buffer.find(b">", start) < 0:
            return self._wait_from(start)
        self._give(len(buffer))
        return False

    def _end_of_declaration(self, start: int) -> int:
        """Where the comment or CDATA section at `start` ends, 0 if not yet; anything else is refused."""
        buffer = self._buffer
        if buffer.startswith(b"<!--", start):
            return _after(buffer.find(b"-->", start + 4), 3)
        if buffer.startswith(_CDATA, start):
            return _after(buffer.find(b"]]>", start), 3)
        if len(buffer) - start < len(_CDATA) and not self._final:
            return 0
        line = self._line + self._cut + buffer.count(b"\n", 0, start)
        if buffer[start + 2 : start + 3].isalpha():
            raise Refusal("edxml.dtd_forbidden", line=line)
        raise Refusal("edxml.malformed", line=line, why=Term("xml.declaration"))

    def _open_content(self, end: int) -> None:
        is_empty = self._buffer[end - 2 : end] == b"/>"
        self._give(end)
        opened = [element for _, element in self._parser.read_events()]
        if len(opened) != 1:  # libxml2 saw no such tag there: let it say what it saw
            self._finish()
            raise Refusal("edxml.malformed", line=self._line + self._cut, why=Term("xml.markup"))
        self._contents.begin(opened[0], self._offset, self._line + self._cut, self.encoding)
        if is_empty:
            self._contents.end(self._offset)
        else:
            self._step = Splitter._content

    def _content(self) -> bool:
        buffer = self._buffer
        end = buffer.find(b"<")
        if end < 0:
            self._take(len(buffer))
            return False
        if end:
            self._take(end)
            buffer = self._buffer
        if len(buffer) < len(_CDATA):
            return False
        if buffer.startswith(_CDATA):
            self._repaired("content_cdata", self._line + self._cut)
            self._skip(len(_CDATA))
            self._contents.begin_section(self._offset)
            self._step = Splitter._section
            return True
        self._contents.end(self._offset)
        return self._leave_content()

    def _section(self) -> bool:
        end = self._buffer.find(b"]]>")
        if end < 0:
            self._take(max(0, len(self._buffer) - 2))
            return False
        self._take(end)
        self._contents.end(self._offset)
        self._skip(3)
        self._step = Splitter._after_section
        return True

    def _after_section(self) -> bool:
        end = self._buffer.find(b"<")
        blanks = self._buffer[:end] if end >= 0 else self._buffer
        if blanks.strip():
            raise Refusal("edxml.attachment_mixed", line=self._line + self._cut)
        self._note_cut(blanks.count(b"\n"))
        self._skip(len(blanks))
        return len(self._buffer) >= len(b"</") and self._leave_content()

    def _leave_content(self) -> bool:
        if not self._buffer.startswith(b"</"):
            raise Refusal("edxml.attachment_mixed", line=self._line + self._cut)
        self._step = Splitter._markup
        return True

    def _take(self, end: int) -> None:
        text = self._buffer[:end]
        self._note_cut(text.count(b"\n"))
        self._skip(end)
        self._contents.write(text)

    def _note_cut(self, lines: int) -> None:
        if lines:
            self._cut += lines
            self._lines_cut.append((self._line, self._cut))

    def _skip(self, end: int) -> None:
        self._offset += width(self._buffer[:end]) if self.encoding else end
        self._buffer = self._buffer[end:]

    def _wait_from(self, start: int) -> bool:
        self._give(start)
        if len(self._buffer) > self._limits.markup:
            raise Refusal("edxml.markup_too_long", line=self._line + self._cut, limit=self._limits.markup)
        return False

    def _give(self, end: int) -> None:
        """The first `end` bytes of the buffer are markup: bound them, then let lxml read them."""
        markup = self._buffer[:end] if end < len(self._buffer) else self._buffer
        self._skip(end)
        if not markup:
            return
        line = self._line + self._cut
        self._bounds.add(markup, line)
        if b"\0" in markup:
            line += markup.count(b"\n", 0, markup.find(b"\0"))
            raise Refusal("edxml.malformed", line=line, why=Term("xml.character"))
        self._entities.look(markup, line)
        self._has_letters = self._has_letters or not markup.isascii()
        try:
            self._parser.feed(markup)
        except etree.XMLSyntaxError as error:
            raise self._malformed(error) from None
        self._line += markup.count(b"\n")

    def _malformed(self, error: etree.XMLSyntaxError) -> Refusal:
        if self._entities.first is not None and (error.msg or "").endswith(_UNSAID):
            name, at = self._entities.first
            return Refusal("edxml.entity_undeclared", line=at, name=name)
        if error.code == _TOO_DEEP and "depth" in (error.msg or ""):
            return Refusal("edxml.too_deep", line=(error.lineno or self._line) + self._cut, limit=self._limits.depth)
        code = _MALFORMED.get(error.code, "edxml.malformed")
        line = error.lineno or self._line
        if (prefix := find_prefix(error.code, error.msg or "")) is not None:
            return Refusal("edxml.prefix_undeclared", line=line + self._cut_before(line), prefix=prefix)
        if code == "edxml.encoding_invalid" and self._declared is not None:  # it was no lie
            return Refusal("edxml.encoding_unsupported", line=self._declared[1], encoding=self._declared[0])
        return Refusal(code, line=line + self._cut, why=say_why(error))


def _after(found: int, length: int) -> int:
    return found + length if found >= 0 else 0
