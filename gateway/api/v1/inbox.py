"""Inbox (hộp đến): list with a long poll, confirm. Fetching is in `serve`."""

from __future__ import annotations

import asyncio
import re

import msgspec

from gateway.api.asked import Asked
from gateway.api.edge import Edge, Listed
from gateway.api.faults import bad_query
from gateway.api.json_body import read_json
from gateway.api.lanes import ask
from gateway.api.v1.doors import UUID
from gateway.api.v1.shapes_bodies import ConfirmBody
from gateway.exchange.collect import Confirm, Listing
from gateway.identity import Caller
from gateway.model.errors import BadRequest, Refusal

__all__ = ["agency_of", "confirm", "list_inbox"]

_MOST = 500
_LIMIT = re.compile(r"[0-9]{1,6}")
_IS_ID = re.compile(UUID).fullmatch
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
    """What waits for one agency, or comes `after` a delivery of it; with `wait`, as soon as there is something.

    Holds no thread while it waits.
    """
    caller = asked.caller = await edge.gate.admit(asked.header(b"authorization"))
    agency, limit, wait, after = _wishes(edge, asked, caller)
    if agency not in caller.agency_ids:
        agency = await edge.looking.run(agency_of, edge, caller, agency)
    edge.gate.asked_for(agency)
    wish = Listing(agency_id=agency, limit=limit, after=after)
    listed: Listed = await ask(edge.listing.submit, wish)
    answer = listed.body if listed.count or wait <= 0 else await _wait(edge, asked, caller, wish, wait)
    if answer is not None:
        await asked.answer(200, answer)


def _wishes(edge: Edge, asked: Asked, caller: Caller) -> tuple[str, int, float, str | None]:
    agency, limit, wait, after = "", 50, 0.0, None
    for name, value in asked.query():
        if name == "agency":
            agency = value.strip()
        elif name == "limit":
            limit = int(value) if _LIMIT.fullmatch(value) else 0
            if not 1 <= limit <= _MOST:
                raise bad_query(name, "not_between", value, least=1, most=_MOST)
        elif name == "wait":
            if _WAIT.fullmatch(value) is None:
                raise bad_query(name, "not_seconds", value)
            wait = min(float(value), edge.settings.long_poll)
        elif name == "after":
            if value and _IS_ID(value) is None:
                raise bad_query(name, "not_id", value)
            after = value
        else:
            raise bad_query(name, "unknown", value, allowed=("agency", "limit", "wait", "after"))
    if not agency and len(caller.agency_ids) == 1:
        (agency,) = caller.agency_ids
    if not agency or len(agency) > 100:
        raise BadRequest("api.agency_needed")
    return agency, limit, wait, after


async def _wait(edge: Edge, asked: Asked, caller: Caller, wish: Listing, wait: float) -> bytes | None:
    """Look, sleep until the inbox is called, look again; None where the caller went away meanwhile.

    The look after listening began closes the gap in which a wake-up would be lost.  Behind each look the caller is
    asked again who he is: his token may have ended meanwhile, or his right to this inbox.  Before he is told of a
    document, the rows are asked: what was accepted after his token was revoked is never listed.

    Raises what a new call of his would be refused with: Unauthenticated, Forbidden; and TooManyPolls, ShareOfPollsHeld
    before it waits.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + wait
    gone = asyncio.ensure_future(asked.watch_for_end())
    try:
        with edge.polls.hold(caller.system_id), edge.bell.listening(f"inbox:{wish.agency_id}") as called:
            while True:
                listed: Listed = await ask(edge.listing.submit, wish)
                admit = edge.gate.admit_again if listed.count else edge.gate.admit
                now = await admit(asked.header(b"authorization"))
                now.require_agency(wish.agency_id)
                left = until - loop.time()
                if listed.count or left <= 0 or edge.bell.is_closed:
                    return listed.body
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
    said = read_json(ConfirmBody, await asked.small_body() or b"{}", **asked.content())
    delivery_id = asked.ids["delivery_id"]
    wish = Confirm(caller=caller, delivery_id=delivery_id, arrived=said.arrived, reason=said.reason)
    outcome = await ask(edge.confirming.submit, wish)
    if isinstance(outcome, Refusal):
        raise outcome
    if said.arrived:
        edge.endings.forget(delivery_id)
    await asked.answer(200, _ENCODE({"state": outcome}))
