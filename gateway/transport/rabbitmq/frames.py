"""Frames of what is published without a confirm: the method, the header and the body of a message in one piece.

pika makes an object of each frame and packs it field by field, which costs more than all else that an event needs.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

__all__ = ["message_of"]

_FRAME: Final = struct.Struct(">BHI")  # type, channel, bytes that follow before the end
_HEADER: Final = struct.Struct(">HHQH")  # class, weight, bytes of the body, which properties there are
_METHOD_FRAME, _HEADER_FRAME, _BODY_FRAME = 1, 2, 3
_BASIC, _PUBLISH = 60, 40
_APP_ID: Final = 1 << 3
_END: Final = b"\xce"
_LONGEST_BODY: Final = 4_096 - 8
"""Every broker takes frames of this size (AMQP 0-9-1, 1.4.2.6)."""
_LONGEST_TEXT: Final = 255


def message_of(channel: int, exchange: str, key: str, sender: str, body: bytes) -> bytes | None:
    """What `basic.publish` on the channel of that number sends, `sender` as the only property (app_id).

    None where it needs more than these three frames, or a text is too long for its field: for pika to send or refuse.
    """
    texts = [text.encode() for text in (exchange, key, sender)]
    if not body or len(body) > _LONGEST_BODY or max(map(len, texts)) > _LONGEST_TEXT:
        return None
    header = _HEADER.pack(_BASIC, 0, len(body), _APP_ID) + _short(texts[2])
    return b"".join((
        _method(channel, texts[0], texts[1]), _framed(_HEADER_FRAME, channel, header),
        _framed(_BODY_FRAME, channel, body),
    ))  # fmt: skip


@lru_cache(1_024)
def _method(channel: int, exchange: bytes, key: bytes) -> bytes:
    """Few keys come again and again: one for each agency, direction and state."""
    payload = struct.pack(">HHH", _BASIC, _PUBLISH, 0) + _short(exchange) + _short(key) + b"\0"
    return _framed(_METHOD_FRAME, channel, payload)


def _short(text: bytes) -> bytes:
    return bytes((len(text),)) + text


def _framed(kind: int, channel: int, payload: bytes) -> bytes:
    return _FRAME.pack(kind, channel, len(payload)) + payload + _END
