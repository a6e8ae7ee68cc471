"""Inbox (hộp đến): list with a long poll, confirm. Fetching is in `serve`."""

from __future__ import annotations

import asyncio
import re

import msgspec

from gateway.api.asked import Asked
from gateway.api.edge import Edge
from gateway.api.free_text import check_text
from gateway.api.lanes import ask
from gateway.api.v1.words import encode_items, read_said
from gateway.exchange import collect
from gateway.exchange.collect import Confirm
from gateway.identity import Caller
from gateway.model.errors import BadRequest, Refusal

__all__ = ["agency_of", "confirm", "list_inbox"]

_MOST = 500
_LIMIT = re.compile(r"[0-9]{1,6}")
_WAIT = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_LOOK_AGAIN = 10.0
"""Seconds after which a long poll looks again though nobody woke it: wake-ups are hints."""

_ENCODE = msgspec.json.Encoder().encode


def agency_of(edge: Edge, caller: Caller, text: str) -> str:
    """Our id of the agency that `text` names by id or by organ code; in a thread.

    Raises Forbidden where the caller does not speak for it, whether it exists or not.
    """
    if text not in caller.agency_ids:
        directory = edge.node.channels.snapshot().directory
        agency = directory.find(text, edge.node.today())
        text = text if agency is None else agency.id
    caller.require_agency(text)
    return text


async def list_inbox(edge: Edge, asked: Asked) -> None:
    """What waits for one agency; with `wait`, as soon as there is something. Holds no thread while it waits."""
    caller = asked.caller = await edge.gate.admit(asked.header(b"authorization"))
    agency, limit, wait = _wishes(edge, asked, caller)
    agency_id, found, body = await edge.looking.run(_list, edge, caller, agency, limit)
    answer = body if found or wait <= 0 else await _wait(edge, asked, agency_id, limit, wait)
    if answer is not None:
        await asked.answer(200, answer)


def _wishes(edge: Edge, asked: Asked, caller: Caller) -> tuple[str, int, float]:
    agency, limit, wait = "", 50, 0.0
    for name, value in asked.query():
        if name == "agency":
            agency = value.strip()
        elif name == "limit":
            limit = int(value) if _LIMIT.fullmatch(value) else 0
            if not 1 <= limit <= _MOST:
                raise BadRequest("api.bad_parameter", where="query.limit")
        elif name == "wait":
            if _WAIT.fullmatch(value) is None:
                raise BadRequest("api.bad_parameter", where="query.wait")
            wait = min(float(value), edge.settings.long_poll)
        else:
            raise BadRequest("api.unknown_parameter", name=name[:60])
    if not agency and len(caller.agency_ids) == 1:
        (agency,) = caller.agency_ids
    if not agency or len(agency) > 100:
        raise BadRequest("api.agency_needed")
    return agency, limit, wait


def _list(edge: Edge, caller: Caller, agency: str, limit: int) -> tuple[str, int, bytes]:
    agency_id = agency_of(edge, caller, agency)
    items = collect.list_items(edge.node, agency_id, limit)
    return agency_id, len(items), encode_items(items)


def _list_again(edge: Edge, agency_id: str, limit: int) -> tuple[int, bytes]:
    items = collect.list_items(edge.node, agency_id, limit)
    return len(items), encode_items(items)


async def _wait(edge: Edge, asked: Asked, agency_id: str, limit: int, wait: float) -> bytes | None:
    """Look, sleep until the inbox is called, look again; None where the caller went away meanwhile.

    The look after listening began closes the gap in which a wake-up would be lost.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + wait
    gone = asyncio.ensure_future(asked.watch_for_end())
    try:
        with edge.bell.listening(f"inbox:{agency_id}") as called:
            while True:
                found, body = await edge.looking.run(_list_again, edge, agency_id, limit)
                left = until - loop.time()
                if found or left <= 0 or edge.bell.is_closed:
                    return body
                bell = asyncio.ensure_future(called.wait())
                await asyncio.wait((bell, gone), timeout=min(left, _LOOK_AGAIN), return_when=asyncio.FIRST_COMPLETED)
                bell.cancel()
                called.clear()
                if gone.done():
                    return None
    finally:
        gone.cancel()


async def confirm(edge: Edge, asked: Asked) -> None:
    """The recipient's receipt, or its transport failure. A repeat gets the same answer."""
    caller = asked.caller = await edge.gate.admit(asked.header(b"authorization"))
    body = await asked.small_body()
    try:
        said = read_said(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError) as why:
        raise BadRequest("api.bad_json", why=str(why)[:200]) from why
    check_text("body.reason", said.reason)
    delivery_id = asked.ids["delivery_id"]
    wish = Confirm(caller=caller, delivery_id=delivery_id, arrived=said.arrived, reason=said.reason)
    outcome = await ask(edge.confirming.submit, wish)
    if isinstance(outcome, Refusal):
        raise outcome
    if said.arrived:
        edge.endings.forget(delivery_id)
    await asked.answer(200, _ENCODE({"state": outcome}))
