"""Short ways through uvicorn: a body that is there already, an answer that is whole, without steps of the loop.

ASGI hands a body and an answer over in messages, and uvicorn looks at each of them anew; of a small request on a hot
route that is a third of what it costs.  What is said here of uvicorn's cycle a test holds against its text.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

__all__ = ["CYCLE", "SMALL", "break_off", "take_whole", "write_whole"]

SMALL = 64 * 1024
"""Bytes up to which pieces are joined; larger ones are written as they come, never copied."""

CYCLE = "uvicorn_cycle"
"""Where the scope of a request keeps uvicorn's side of it, for `take_whole` and `write_whole`."""


def take_whole(cycle: RequestResponseCycle) -> bytes | None:
    """The body of a request, where all of it is there: what `receive` would give, without a step of the loop. Else
    None, and nothing was done."""
    if cycle.more_body or cycle.waiting_for_100_continue or cycle.disconnected or cycle.response_complete:
        return None
    body = bytes(cycle.body)
    cycle.body = bytearray()
    cycle.message_event.clear()
    return body


def break_off(cycle: RequestResponseCycle) -> None:
    """End the connection of an answer that has begun and will not be whole: its caller sees that it was cut."""
    cycle.disconnected = True
    cycle.transport.close()


def write_whole(cycle: RequestResponseCycle, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bool:
    """A whole answer in one write: what uvicorn's `send` does in two steps that look at each header anew. `headers`
    name the content's length. False, and nothing was done, where that is not all: the connection is gone or full, the
    answer has begun, or it is large.

    Raises ValueError for a header that would be two.
    """
    if cycle.response_started or cycle.disconnected or cycle.flow.write_paused or len(body) > SMALL:
        return False
    lines = [*cycle.default_headers, *headers]
    if not cycle.keep_alive:
        lines.append((b"connection", b"close"))
    head = b"\r\n".join(map(b": ".join, lines))
    if not head.count(b"\n") == head.count(b"\r") == len(lines) - 1:
        raise ValueError("a line's end in a header")
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write_now(b"".join((STATUS_LINE[status], head, b"\r\n\r\n", body)))  # type: ignore[attr-defined]
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True
