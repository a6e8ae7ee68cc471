"""How much markup a packet may have, counted before lxml builds anything of it."""

from __future__ import annotations

import re

from edxml.findings import Refusal
from edxml.limits import Limits

__all__ = ["MarkupBounds"]

_NO_START = (b"</", b"<!", b"<?")
_RECIPIENT_ENDS = (b"</edXML:To>", b"</To>")
_TAG = re.compile(rb"<[^\s<>\"'][^<>\"']*(?:\"[^\"]*\"[^<>\"']*|'[^']*'[^<>\"']*)*>?")
_VALUE = re.compile(rb"(\sxmlns[^\s=]*\s*=\s*(?:\"[^\"]*\"|'[^']*'))|\"[^\"]*\"|'[^']*'")


class MarkupBounds:
    """Sums up the markup of one packet as it goes by."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._fed = 0
        self.tags = 0  #: every "<" of the markup: at least the number of elements
        self._starts = 0  # those that may open an element
        self._equals = 0
        self._recipients = 0
        self._names: set[bytes] = set()  # every different tag, without values

    def add(self, markup: bytes, line: int) -> None:
        """The next markup begins at `line`. Raises Refusal where it is too much."""
        limits = self._limits
        self._fed += len(markup)
        self.tags += markup.count(b"<")
        self._starts += markup.count(b"<") - sum(map(markup.count, _NO_START))
        self._equals += markup.count(b"=")
        if self._fed > limits.header:
            raise Refusal("edxml.header_too_large", line=line, limit=limits.header)
        self._recipients += sum(map(markup.count, _RECIPIENT_ENDS))
        if self._starts > limits.elements or self.tags > 2 * limits.elements:
            if self._recipients > limits.recipients:
                raise Refusal("edxml.too_many_recipients", line=line, limit=limits.recipients)
            raise Refusal("edxml.too_many_elements", line=line, limit=limits.elements)
        if self._equals > limits.attributes:
            raise Refusal("edxml.too_many_attributes", line=line, limit=limits.attributes)
        if self._fed > limits.names:  # before that there cannot be so many
            self._names.update(_VALUE.sub(rb"\1", tag) for tag in set(_TAG.findall(markup)))
            if sum(map(len, self._names)) > limits.names:
                raise Refusal("edxml.too_many_names", line=line, limit=limits.names)
