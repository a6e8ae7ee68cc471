"""The front: the outermost ASGI application. Answers the hot routes itself, hands all others to FastAPI.

It is the one place that names every request, counts it, turns errors into problems and notes refusals, so that no
route can forget it and the hot ones pass no middleware.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from edxml.errors import TrucError
from gateway.api.asked import Asked, ClientGone, Message, Receive, Send, request_id_of
from gateway.api.edge import Edge
from gateway.api.problems import TooSlow, full_disk, problem_of
from gateway.api.routes import CONFIRM, INBOX, INBOX_PACKET, PACKETS
from gateway.api.v1.inbox import confirm, list_inbox
from gateway.api.v1.serve import fetch_packet
from gateway.api.v1.submit import Accounted, submit
from monitoring import log

__all__ = ["Front"]

_log = log.get("api")

Application = Callable[[Message, Receive, Send], Awaitable[None]]
Door = Callable[[Edge, Asked], Awaitable[None]]

_ITEM_DOORS: dict[tuple[str, str], tuple[Door, str]] = {
    ("GET", "packet"): (fetch_packet, INBOX_PACKET),
    ("HEAD", "packet"): (fetch_packet, INBOX_PACKET),
    ("POST", "confirm"): (confirm, CONFIRM),
}
_INBOX = INBOX + "/"
_ID = 36


class Front:
    """The application that uvicorn runs."""

    def __init__(self, edge: Edge, inner: Application) -> None:
        self.edge = edge
        self._inner = inner

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request, or the life of the process."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        found = _find_door(scope["method"], scope["path"])
        request_id = request_id_of(scope["headers"])
        if found is None:
            await self._hand_on(scope, receive, send, request_id)
            return
        door, template, ids = found
        asked = Asked(scope, receive, send, ids, request_id)
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

    async def _hand_on(self, scope: Message, receive: Receive, send: Send, request_id: str) -> None:
        """FastAPI's routes; `scope["truc"]` is how they meet the edge."""
        scope["truc"] = asked = Asked(scope, receive, send, {}, request_id)
        mark = (b"x-request-id", request_id.encode())

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                asked.status = message["status"]
                message["headers"] = [*message.get("headers", ()), mark]
            await send(message)

        try:
            await self._inner(scope, receive, send_marked)
        except ClientGone:
            asked.status = asked.status or 400
        except Exception as why:  # noqa: BLE001 - what FastAPI's own handlers let through
            if not asked.is_told:
                await self._refuse(asked, why, _template_of(scope))
        self.edge.node.metrics.count_request(_template_of(scope), asked.status)


def _template_of(scope: Message) -> str:
    return str(getattr(scope.get("route"), "path", ""))


def _find_door(method: str, path: str) -> tuple[Door, str, dict[str, str]] | None:
    if path.startswith(_INBOX):
        delivery_id, _, rest = path[len(_INBOX) :].partition("/")
        found = _ITEM_DOORS.get((method, rest))
        # an id of another length is no id: FastAPI's table answers, like for everything else that is not there
        return None if found is None or len(delivery_id) != _ID else (*found, {"delivery_id": delivery_id})
    if method == "POST" and path == PACKETS:
        return submit, PACKETS, {}
    if method == "GET" and path == INBOX:
        return list_inbox, INBOX, {}
    return None
