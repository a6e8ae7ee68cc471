"""Just enough DER to ask for a time stamp and take it apart: definite lengths, low tags, nothing past the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["BOOLEAN", "INTEGER", "OCTETS", "OID", "SEQUENCE", "SET", "TIME", "Node", "NotDer", "encode", "parse"]

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
OCTETS: Final = 0x04
OID: Final = 0x06
TIME: Final = 0x18  # GeneralizedTime
SEQUENCE: Final = 0x30
SET: Final = 0x31


class NotDer(ValueError):
    """The bytes are not what they should be."""


@dataclass(frozen=True, slots=True)
class Node:
    """One value: its tag, its content, and both with the length between them."""

    tag: int
    content: bytes
    whole: bytes

    def children(self) -> list[Node]:
        """The values within. Raises NotDer."""
        return list(_walk(self.content))

    def expect(self, *tags: int) -> list[Node]:
        """The values within, which begin with these tags. Raises NotDer."""
        found = self.children()
        if tuple(one.tag for one in found[: len(tags)]) != tags:
            raise NotDer
        return found

    def oid(self) -> str:
        """The dotted form of an object identifier. Raises NotDer."""
        if self.tag != OID or not self.content or self.content[-1] & 0x80:
            raise NotDer
        numbers: list[int] = []
        value = 0
        for byte in self.content:
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                numbers.append(value)
                value = 0
        first = min(numbers[0] // 40, 2)
        return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def parse(data: bytes) -> Node:
    """The one value that `data` is. Raises NotDer."""
    found = list(_walk(data))
    if len(found) != 1:
        raise NotDer
    return found[0]


def encode(tag: int, *contents: bytes) -> bytes:
    """One value with these contents behind each other."""
    content = b"".join(contents)
    if len(content) < 0x80:
        return bytes((tag, len(content))) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _walk(data: bytes) -> Iterator[Node]:
    at = 0
    while at < len(data):
        tag = data[at]
        if tag & 0x1F == 0x1F or at + 1 >= len(data):
            raise NotDer
        length, start = data[at + 1], at + 2
        if length & 0x80:
            width = length & 0x7F
            if not 0 < width <= 4 or start + width > len(data):
                raise NotDer
            length, start = int.from_bytes(data[start : start + width], "big"), start + width
        end = start + length
        if end > len(data):
            raise NotDer
        yield Node(tag, data[start:end], data[at:end])
        at = end
