"""The front: the outermost ASGI application. Answers the hot routes itself, hands all others to FastAPI.

It is the one place that names every request, counts it, turns errors into problems and notes refusals, so that no
route can forget it and the hot ones pass no middleware.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

from edxml.errors import TrucError
from gateway.api.asked import Asked, ClientGone, Message, Receive, Send
from gateway.api.edge import Edge
from gateway.api.problems import Ending, NotAllowed, TooSlow, full_disk, problem_of
from gateway.api.routes import CONFIRM, INBOX, INBOX_PACKET, PACKETS
from gateway.api.v1.doors import UUID
from gateway.api.v1.inbox import confirm, list_inbox
from gateway.api.v1.serve import fetch_packet
from gateway.api.v1.submit import Accounted, submit
from monitoring import log

__all__ = ["Front", "template_of"]

_log = log.get("api")

Application = Callable[[Message, Receive, Send], Awaitable[None]]
Door = Callable[[Edge, Asked], Awaitable[None]]

_DOORS: dict[tuple[str, str], Door] = {
    ("POST", PACKETS): submit,
    ("GET", INBOX): list_inbox,
    ("GET", INBOX_PACKET): fetch_packet,
    ("HEAD", INBOX_PACKET): fetch_packet,
    ("POST", CONFIRM): confirm,
}
_ITEM_PATHS = {"packet": INBOX_PACKET, "confirm": CONFIRM}
_ALLOWED = {PACKETS: "GET, POST", INBOX: "GET", INBOX_PACKET: "GET, HEAD", CONFIRM: "POST"}
"""Methods of the hot paths, FastAPI's own among them: its table does not know all of them."""

_ELSEWHERE = frozenset({("GET", PACKETS)})
"""Of those methods the ones that FastAPI answers."""

_INBOX = INBOX + "/"
_IS_ID = re.compile(UUID).fullmatch


class Front:
    """The application that uvicorn runs."""

    def __init__(self, edge: Edge, inner: Application) -> None:
        self.edge = edge
        self._inner = inner
        self.cut_off = 0  #: requests whose answer the end of the process did not wait for

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request, or the life of the process."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        found = _find_door(scope["method"], scope["path"])
        asked = Asked(scope, receive, send, found[2] if found else {})
        try:
            await (self._hand_on(asked, receive, send) if found is None else self._open(found, asked))
        except asyncio.CancelledError:  # the server's time to answer what was begun is over
            self.cut_off += 1
            if not asked.status:
                await asked.refuse(problem_of(Ending(), asked.request_id))
            elif not asked.break_off():
                raise

    async def _open(self, found: tuple[Door, str, dict[str, str]], asked: Asked) -> None:
        door, template, _ = found
        try:
            await door(self.edge, asked)
        except ClientGone:
            asked.status = asked.status or 400
        except Exception as why:  # noqa: BLE001 - whatever it is, the caller gets a problem and the log its class
            await self._refuse(asked, why, template)
        self.edge.node.metrics.count_request(template, asked.status)

    async def _refuse(self, asked: Asked, why: Exception, template: str) -> None:
        is_accounted = isinstance(why, Accounted)
        reason: BaseException = why.why if isinstance(why, Accounted) else why
        if isinstance(why, TimeoutError):
            reason = TooSlow("api.too_slow")
        reason = full_disk(reason, self.edge.node.store.blobs)
        if not isinstance(reason, TrucError):
            _log.exception("request.failed", route=template, exc_info=reason)
        if asked.status:  # the answer has begun: breaking the connection off is all that can still be said
            raise reason
        if not is_accounted:
            await self.edge.gate.note(reason, asked.caller)
        await asked.refuse(problem_of(reason, asked.request_id))

    async def _hand_on(self, asked: Asked, receive: Receive, send: Send) -> None:
        """FastAPI's routes; `scope["truc"]` is how they meet the edge."""
        scope = asked.scope
        scope["truc"] = asked
        mark = (b"x-request-id", asked.request_id.encode())

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                asked.status = message["status"]
                message["headers"] = [*message.get("headers", ()), mark]
            await send(message)

        async def receive_words() -> Message:
            """What FastAPI reads by itself, and would without an end: a few words, of whoever may come in."""
            if asked.is_body_read:
                return await receive()
            asked.caller = await self.edge.gate.admit(asked.header(b"authorization"))
            return {"type": "http.request", "body": await asked.small_body(), "more_body": False}

        try:
            await self._inner(scope, receive_words, send_marked)
        except ClientGone:
            asked.status = asked.status or 400
        except Exception as why:  # noqa: BLE001 - what FastAPI's own handlers let through
            if not asked.is_told:
                await self._refuse(asked, why, template_of(scope))
        self.edge.node.metrics.count_request(template_of(scope), asked.status)


def template_of(scope: Message) -> str:
    """The path of the route of FastAPI's that was found, as `gateway.api.routes` spells it; "" where none was."""
    return str(getattr(scope.get("route"), "path", ""))


def _find_door(method: str, path: str) -> tuple[Door, str, dict[str, str]] | None:
    if path.startswith(_INBOX):
        delivery_id, _, rest = path[len(_INBOX) :].partition("/")
        template = _ITEM_PATHS.get(rest)
        if template is None or _IS_ID(delivery_id) is None:
            # no id of ours: FastAPI's table answers, like for everything else that is not there, before the store is
            # asked for characters that it does not take
            return None
        return _DOORS.get((method, template), _refuse_method), template, {"delivery_id": delivery_id}
    if path not in _ALLOWED or (method, path) in _ELSEWHERE:
        return None
    return _DOORS.get((method, path), _refuse_method), path, {}


async def _refuse_method(_edge: Edge, asked: Asked) -> None:
    """A hot path under a method that it does not have."""
    found = _find_door("", asked.scope["path"])
    assert found is not None, "only such a path leads here"
    raise NotAllowed("api.no_method", allow=_ALLOWED[found[1]])
