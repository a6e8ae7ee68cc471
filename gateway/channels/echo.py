"""The echo channel (cơ quan thử): accepts, refuses or delays on demand, for those who connect their software.

What it does is in the channel's settings, so that each behaviour is an agency with a code of its own to send to;
docs/guides/echo.md says how to set one up.  It is idempotent: a repeat of a key is answered alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import BinaryIO

from adapters.contract import AdapterError, Done, HandOver, Outcome, Park, Probe, Retry, Scope, SinkKind
from adapters.settings import SettingsReader
from edxml.codes import StatusCode
from edxml.errors import TrucError
from gateway.model.instants import CLOCKS_APART

__all__ = ["EchoAnswer", "EchoChannel", "EchoSink", "EchoStatus", "Echoed", "OnReceived", "echo_kind"]

_PIECE = 1 << 20
_KIND_OF_STATUS = "status"


class EchoAnswer(StrEnum):
    """What an echo agency does with a packet."""

    ACCEPT = "accept"  #: takes it and sends `statuses` back
    REFUSE = "refuse"  #: takes it and sends 02 back, with `reason`
    DOWN = "down"  #: cannot be reached: shows retries and the breaker


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoStatus:
    """One status (trạng thái xử lý) that an echo agency sends back."""

    code: StatusCode
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Echoed:
    """What an echo agency received, and the statuses it sends back about it, in order."""

    channel_id: str
    item: HandOver
    statuses: tuple[EchoStatus, ...]


OnReceived = Callable[[Echoed], None]
"""Hands statuses to the exchange, as if the agency's own software had sent them.

Called before the hand-over is answered with Done, so that a crash between repeats both; it may be called again for
the same key and must then change nothing.  Not called where there is nothing to send back.
"""


def _send_nothing(_echoed: Echoed) -> None:
    """No statuses: a node whose workers wired nothing still accepts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoSink:
    """Takes packets and throws them away; what it answers is configured."""

    channel_id: str
    answer: EchoAnswer
    delay: timedelta
    statuses: tuple[EchoStatus, ...]
    on_received: OnReceived = _send_nothing
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    kind: SinkKind = SinkKind.IDEMPOTENT
    sending_limit: timedelta = timedelta(seconds=30)
    settle_time: timedelta = timedelta(0)

    def stage(self, item: HandOver) -> _Staged | Retry | Park:
        """Check the bytes; a packet whose delay is not over yet is put off until then.

        One that was accepted in the future, by a clock that was ahead, has waited long enough (protocol §13).
        """
        if self.answer is EchoAnswer.DOWN:
            return Retry(reason="echo.down", scope=Scope.CHANNEL)
        wait = item.accepted_at + self.delay - self.now()
        if timedelta(0) < wait <= self.delay + timedelta(microseconds=CLOCKS_APART):
            return Retry(reason="echo.not_yet", scope=Scope.DOCUMENT, after=wait)
        with item.open() as body:
            if _digest(body) != item.digest:
                return Park(reason="blob.damaged")
        return _Staged(sink=self, item=item)

    def find(self, key: str) -> Done | None:
        """Never asked: an idempotent sink is sent to again."""
        raise AdapterError(channel=self.channel_id, setting="kind", why=f"an echo remembers no keys: {key}")

    def probe(self) -> Probe:
        """Usable unless configured to be down."""
        if self.answer is EchoAnswer.DOWN:
            return Probe(usable=False, reason="echo.down")
        return Probe(usable=True)

    def receive(self, item: HandOver) -> Outcome:
        """Send the statuses back, then say that the packet arrived. A status about a status is never sent.

        Where the statuses cannot be sent now, nothing arrived: an agency that stays silent would be no echo.
        """
        if self.statuses and item.business_kind != _KIND_OF_STATUS:
            try:
                self.on_received(Echoed(channel_id=self.channel_id, item=item, statuses=self.statuses))
            except TrucError:
                return Retry(reason="echo.not_told", scope=Scope.DOCUMENT)
        return Done(evidence=f"echo {item.key}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Staged:
    sink: EchoSink
    item: HandOver

    def hand_over(self, until: float) -> Outcome:
        """Takes no time worth limiting."""
        del until
        return self.sink.receive(self.item)

    def discard(self) -> None:
        """Nothing was kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoChannel:
    """An echo agency hands over only; its statuses go by `on_received`."""

    sink: EchoSink
    source: None = None


def echo_kind(on_received: OnReceived = _send_nothing) -> Callable[[Mapping[str, object], str], EchoChannel]:
    """The opener of echo channels whose statuses go to `on_received`.

    Settings: `answer` (accept, refuse, down; default accept), `delay` (seconds from acceptance by the axis to
    arrival; default 0), `statuses` (codes sent back by accept; default ["01"]), `reason` (text of refuse).
    """

    def open_echo(settings: Mapping[str, object], channel_id: str) -> EchoChannel:
        return EchoChannel(sink=_open(settings, channel_id, on_received))

    return open_echo


_DEFAULTS: Mapping[str, object] = {
    "answer": "accept", "delay": 0, "statuses": ["01"], "reason": "Cơ quan thử từ chối theo cấu hình",
}  # fmt: skip


def _open(settings: Mapping[str, object], channel_id: str, on_received: OnReceived) -> EchoSink:
    reader = SettingsReader(settings, _DEFAULTS, channel_id)
    answer = EchoAnswer(reader.word("answer", tuple(map(str, EchoAnswer))))
    delay = reader.number("delay", least=0, most=86_400)
    codes = (StatusCode.REFUSED,) if answer is EchoAnswer.REFUSE else _codes(reader)
    reason = str(reader.raw("reason"))
    reader.check()
    return EchoSink(
        channel_id=channel_id,
        answer=answer,
        delay=timedelta(seconds=delay),
        statuses=tuple(
            EchoStatus(code=code, description=reason if code is StatusCode.REFUSED else "") for code in codes
        ),
        on_received=on_received,
    )


def _codes(reader: SettingsReader) -> tuple[StatusCode, ...]:
    known = {str(code): code for code in StatusCode}
    given = reader.words("statuses")
    for text in given:
        if text not in known:
            reader.note("statuses", "setting.word", text, ", ".join(known))
    return tuple(known[text] for text in given if text in known)


def _digest(body: BinaryIO) -> str:
    hasher = hashlib.sha256()
    while piece := body.read(_PIECE):
        hasher.update(piece)
    return hasher.hexdigest()
