"""Handing packets over by POST (nơi giao), so that a lost answer is asked for, never guessed.

Why this sink is *checkable*.  The delivery key travels with every POST and names the packet on the other side:

    POST <url>          the packet's bytes     2xx with the key: arrived
    GET  <url>/<key>    did it arrive?         2xx with the key: yes; 404 with the key: surely not; else: cannot tell

Whatever was cut off after the first byte is `Unknown`; the machine then asks `find` before anything is sent again.  The
recipient must answer GET from what it has committed.  One that cannot is configured as `blind` (a person decides), one
that drops repeats of a key by itself as `idempotent` (docs/guides/channels/rest.md says what each must do).

The address is the operator's row, never a sender's word; private networks must be named in it all the same, so that a
name that suddenly points inwards reaches nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Final
from urllib.parse import quote

from adapters.blobs import BlobUnread, check_blob, read_checked
from adapters.contract import Done, HandOver, Outcome, Park, Probe, Retry, Scope, SinkKind, Unknown, boot_now
from adapters.folder_names import is_key
from adapters.rest_answers import outcome_of, repeats_key, words_of
from adapters.rest_http import Answer, Endpoint, NoAnswer, NotSent
from adapters.rest_signature import content_digest, sign_request
from edxml.crashpoints import crash_point, declare
from edxml.errors import TrucError
from edxml.sign.signer import Signer

__all__ = ["RestSink"]

declare("rest.half_sent", "part of the packet went out: surely not arrived, but only the recipient knows")
declare("rest.answered", "the recipient answered, nobody was told: arrived or not, as the recipient says")

_CHUNK: Final = 1 << 16
_COVERED: Final = (
    "content-digest", "content-length", "truc-key", "truc-packet", "truc-kind", "truc-recipients", "truc-note",
)  # fmt: skip
_PROBED: Final = "truc-probe"
"""A key that no delivery has: whoever says that it arrived would say so of every packet."""
_ASK_LIMIT: Final = 60.0
_FOREIGN: Final = frozenset({401, 403, 407})


@dataclass(frozen=True, slots=True, kw_only=True)
class RestSink:
    """Packets are posted to one URL. Keeps nothing; any number of processes may use one."""

    endpoint: Endpoint
    signer: Callable[[], Signer]  #: the node's seal key at this moment; raises TrucError where it is away
    kind: SinkKind
    answer_wait: float  #: seconds of silence after the last byte
    least_rate: float  #: bytes a second under which a recipient is too slow
    sending_limit: timedelta
    settle_time: timedelta

    def stage(self, item: HandOver) -> StagedPost | Retry | Park:
        """Check the stored bytes; nothing goes out. The recipient is not asked: where in doubt the machine does."""
        if not is_key(item.key):
            return Park(reason="rest.bad_key")
        try:
            check_blob(item)
        except BlobUnread as unread:
            return Park(reason=unread.reason)
        return StagedPost(sink=self, item=item)

    def limit_of(self, size: int) -> timedelta:
        """How long a packet of that many bytes may take: the waits, and its bytes at the least rate."""
        seconds = self.endpoint.connect_wait + self.answer_wait + size / self.least_rate
        return min(timedelta(seconds=seconds), self.sending_limit)

    def find(self, key: str) -> Done | None:
        """Ask the recipient. None only where it says "not here" and repeats the key.

        Raises RestFault (NotSent, NoAnswer) where it cannot be asked, or its answer does not speak of the key.
        """
        if self.kind is not SinkKind.CHECKABLE:
            raise self._fault("rest.not_checkable")
        answer = self._get(f"/{key}", key)
        if repeats_key(answer, key):
            if 200 <= answer.status < 300:
                return Done(evidence=f"GET {answer.status}")
            if answer.status == 404:
                return None
            raise self._fault("rest.cannot_say", f"{answer.status}: {words_of(answer)}")
        reason = "rest.not_admitted" if answer.status in _FOREIGN else "rest.answer_without_key"
        raise self._fault(reason, f"{answer.status}: {words_of(answer)}")

    def probe(self) -> Probe:
        """Ask for a key that never was: changes nothing, and shows whether the recipient keeps the rules of `find`.

        No reason of a probe speaks of a packet that may have arrived: none was sent.
        """
        try:
            if self.kind is SinkKind.CHECKABLE:
                if self.find(_PROBED) is not None:
                    return Probe(usable=False, reason="rest.says_yes_to_all", detail=self.endpoint.url)
            else:
                answer = self._get("", "")
                if answer.status >= 500 or answer.status in _FOREIGN:
                    reason = "rest.not_admitted" if answer.status in _FOREIGN else "rest.probe_error"
                    return Probe(usable=False, reason=reason, detail=f"{answer.status}: {words_of(answer)}")
            self.signer()
        except TrucError as fault:
            reason = "rest.probe_unanswered" if fault.reason == "rest.unanswered" else fault.reason
            return Probe(usable=False, reason=reason, detail=str(fault.params.get("why", self.endpoint.url)))
        return Probe(usable=True, detail=self.endpoint.url)

    def signed(self, method: str, suffix: str, headers: dict[str, str]) -> dict[str, str]:
        """The headers with the signature over them. Raises NotSent where the node's key is away."""
        uri = (self.endpoint.url + suffix) if suffix else self.endpoint.target
        now = int(time.time())
        try:
            signer = self.signer()
            made = sign_request(method=method, uri=uri, headers=headers, covered=_COVERED, signer=signer, created=now)
        except TrucError as away:
            raise NotSent(url=self.endpoint.url, reason=away.reason, why=str(away)) from away
        return headers | made

    def _get(self, suffix: str, key: str) -> Answer:
        headers = self.signed("GET", suffix, {"Accept": "application/json"} | ({"Truc-Key": key} if key else {}))
        until = boot_now() + min(_ASK_LIMIT, self.sending_limit.total_seconds())
        return self.endpoint.ask("GET", suffix, headers, (), until=until, answer_wait=self.answer_wait)

    def _fault(self, reason: str, why: str = "") -> NoAnswer:
        return NoAnswer(url=self.endpoint.url, reason=reason, why=why)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedPost:
    """A packet whose stored bytes are right, one request from the recipient."""

    sink: RestSink
    item: HandOver

    @property
    def sending_limit(self) -> timedelta:
        """By the packet's size: what it had not got by then is not waited for any longer."""
        return self.sink.limit_of(self.item.size)

    def hand_over(self, until: float) -> Outcome:
        """POST it, and tell what the answer means. Repeatable: the key is the same.

        Crash points: `rest.half_sent`, `rest.answered`.
        """
        until = min(until, boot_now() + self.sending_limit.total_seconds())
        pieces = read_checked(self.item, _CHUNK)
        try:
            first = next(pieces, b"")  # our store's faults show before anything goes out
        except (BlobUnread, TrucError) as unread:
            return Park(reason=unread.reason)
        try:
            headers = self.sink.signed("POST", "", self._headers())
            answer = self.sink.endpoint.ask(
                "POST", "", headers, _watched(chain((first,), pieces)), until=until, answer_wait=self.sink.answer_wait
            )
        except NotSent as fault:
            return Retry(reason=fault.reason)
        except NoAnswer as fault:
            return Unknown(reason=fault.reason)
        except BlobUnread as unread:  # cut off before its last bytes: the next look finds it damaged
            return Unknown(reason=unread.reason, scope=Scope.DOCUMENT)
        crash_point("rest.answered")
        return outcome_of(answer, self.item.key)

    def _headers(self) -> dict[str, str]:
        """Only codes and ids, so that no header can be broken by what a sender wrote."""
        item = self.item
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(item.size),
            "Content-Digest": content_digest(item.digest),
            "Accept": "application/json",
            "Idempotency-Key": item.key,
            "Truc-Key": item.key,
            "Truc-Packet": item.packet_id,
            "Truc-Kind": item.business_kind,
            "Truc-Recipients": ", ".join(quote(code, safe="") for code in item.recipients),
        }
        if item.note:
            headers["Truc-Note"] = quote(json.dumps(dict(item.note), ensure_ascii=False), safe="")
        return headers

    def discard(self) -> None:
        """Nothing is kept."""


def _watched(pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield piece
        crash_point("rest.half_sent")
