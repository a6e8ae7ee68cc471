"""Submit (trình gửi): POST /v1/packets, the first hop's door for REST."""

from __future__ import annotations

from edxml.errors import TrucError
from gateway.api.asked import Asked
from gateway.api.edge import Edge
from gateway.api.faults import bad_query
from gateway.api.lanes import ask
from gateway.api.spooling import Coming, admit_body, spool_body
from gateway.api.v1.words import encode_answer
from gateway.exchange.examine import prepare
from gateway.exchange.submission import Answer, Outcome, Submission
from gateway.exchange.take_in import Unprepared
from gateway.identity import Caller
from gateway.model.errors import BadRequest
from routing.plan import RecipientsMode

__all__ = ["Wishes", "submit", "wishes_of"]

_MOST_KEY = 200
_MOST_TO = 2_000
_MODES = {"": RecipientsMode.ALL, **{str(mode): mode for mode in RecipientsMode}}


class Wishes:
    """How a sender wants its packet treated: which recipients, and under which key a repeat is known."""

    __slots__ = ("key", "mode", "only")

    def __init__(self, mode: RecipientsMode, only: tuple[str, ...], key: str) -> None:
        self.mode = mode
        self.only = only
        self.key = key


def wishes_of(asked: Asked) -> Wishes:
    """Out of query and headers. Raises BadRequest naming what cannot be meant."""
    mode, only = asked.header(b"truc-recipients"), []
    for name, value in asked.query():
        if name == "recipients":
            mode = value
        elif name == "to":
            only.append(value)
        else:
            raise bad_query(name, "unknown", value, allowed=("recipients", "to"))
    key = asked.header(b"idempotency-key").strip()
    if mode not in _MODES:
        raise BadRequest("api.bad_recipients")
    if len(key) > _MOST_KEY or not key.isprintable():
        raise BadRequest("api.bad_idempotency_key", most=_MOST_KEY)
    if len(only) > _MOST_TO or any(not organ.strip() or len(organ) > 100 for organ in only):
        raise BadRequest("api.bad_to", most=_MOST_TO)
    return Wishes(_MODES[mode], tuple(only), key)


async def submit(edge: Edge, asked: Asked) -> None:
    """Take a packet in, accept it, answer 202 after the commit. A repeat gets the first answer with today's states.

    Raises what `admit_body`, `spool_body`, `prepare` and `accept` refuse with.
    """
    caller = asked.caller = await edge.gate.admit(asked.header(b"authorization"))
    wishes = wishes_of(asked)
    with admit_body(edge, asked, caller) as coming:
        outcome = await _take(edge, asked, caller, wishes, coming)
    if isinstance(outcome, Unprepared):
        raise outcome.why
    if isinstance(outcome, Answer):
        await asked.answer(202, encode_answer(outcome))
        return
    raise Accounted(outcome)


async def _take(edge: Edge, asked: Asked, caller: Caller, wishes: Wishes, coming: Coming) -> Outcome | Unprepared:
    """The body in, and what came of it."""
    spooled = await spool_body(edge, asked, coming)
    submission = Submission(
        caller=caller,
        spooled=spooled.path,
        digest=spooled.known_digest,
        size=spooled.size,
        body=spooled.body,
        received_at=edge.node.now(),
        mode=wishes.mode,
        only=wishes.only,
        idempotency_key=wishes.key,
    )
    if spooled.body is None:  # a large one is prepared beside the group, which it must not keep waiting
        return await edge.submitting.chain(lambda settle: edge.accepting.submit(prepare(edge.node, submission), settle))
    return await ask(edge.examining.submit, submission)


class Accounted(Exception):
    """A refusal that the hop itself has written down as an event already."""

    def __init__(self, why: TrucError) -> None:
        self.why = why
        super().__init__(str(why))
