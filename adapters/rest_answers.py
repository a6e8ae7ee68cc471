"""What an agency's answer means. One rule above all: only an answer that repeats the delivery key speaks of the packet.

Proxies, portals and error pages answer too, with 200 and 404 alike; none of them knows the key.  The key is repeated in
the header `Truc-Key` or, in a JSON body, as `key`.

| answer | means |
| --- | --- |
| 2xx or 409, repeating the key | arrived |
| 2xx or 409 otherwise | may have arrived: `find` is asked |
| 408, 425, 429, 503, repeating the key | surely not arrived: again later, after `Retry-After` |
| 408, 425, 429, 503 otherwise | may have arrived: a proxy says so too, after it has passed the packet on |
| 401, 403, 404, 405, 407, 421, 426 without the key; 307, 308 | surely not arrived: the channel is set up wrongly |
| any other 4xx | surely not arrived: the recipient does not take this packet; a person looks |
| anything else | may have arrived |
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from adapters.contract import Done, Outcome, Park, Retry, Scope, Unknown
from adapters.rest_http import Answer

__all__ = ["outcome_of", "repeats_key", "words_of"]

_LATER: Final = frozenset({408, 425, 429, 503})
_OF_THE_CHANNEL: Final = {
    401: "rest.not_admitted", 403: "rest.not_admitted", 407: "rest.not_admitted", 404: "rest.no_such_address",
    405: "rest.no_such_address", 421: "rest.no_such_address", 426: "rest.no_such_address",
    307: "rest.redirected", 308: "rest.redirected",
}  # fmt: skip
_CONFLICT: Final = 409
_LONGEST_WAIT: Final = timedelta(hours=1)
"""A recipient may put us off so long at once, no longer: a wrong date must not hold documents until they expire."""
_MOST_WORDS: Final = 300
_NAMES_OF_WORDS: Final = ("detail", "reason", "message", "title", "error")


def outcome_of(answer: Answer, key: str) -> Outcome:
    """What the answer to a packet's POST means for it."""
    status, speaks_of_it = answer.status, repeats_key(answer, key)
    if 200 <= status < 300 or status == _CONFLICT:
        if speaks_of_it and (answer.took_all or status == _CONFLICT):
            return Done(evidence=f"{status} {_evidence(answer)}".strip())
        return Unknown(reason="rest.answer_without_key" if answer.took_all else "rest.unanswered")
    if status in _LATER:
        if speaks_of_it:
            return Retry(reason="rest.later", after=_retry_after(answer))
        return Unknown(reason="rest.answer_without_key")
    if status in _OF_THE_CHANNEL and (status < 400 or not speaks_of_it):
        return Retry(reason=_OF_THE_CHANNEL[status])
    if 400 <= status < 500:
        return Park(reason="rest.refused", said=f"{status}: {words_of(answer)}")
    scope = Scope.DOCUMENT if speaks_of_it else Scope.CHANNEL
    return Unknown(reason="rest.server_error" if status >= 500 else "rest.redirected", scope=scope)


def repeats_key(answer: Answer, key: str) -> bool:
    """Whether the answer names the delivery that it speaks of."""
    return answer.headers.get("truc-key", "").strip() == key or _json(answer).get("key") == key


def words_of(answer: Answer) -> str:
    """The recipient's own words, one printable line of at most 300 characters; of an HTML page the status line only."""
    told = _json(answer)
    found = next((told[name] for name in _NAMES_OF_WORDS if isinstance(told.get(name), str) and told[name]), "")
    if not found and answer.headers.get("content-type", "").startswith("text/plain"):
        found = answer.body.decode("utf-8", "replace")
    line = " ".join(str(found or answer.phrase).split())
    return "".join(each if each.isprintable() else "\ufffd" for each in line)[:_MOST_WORDS]


def _evidence(answer: Answer) -> str:
    """The recipient's own number for it, where it gives one."""
    found = _json(answer).get("id")
    line = found if isinstance(found, str) else ""
    return "".join(each for each in line if each.isprintable())[:100]


def _json(answer: Answer) -> dict[str, object]:
    if "json" not in answer.headers.get("content-type", ""):
        return {}
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _retry_after(answer: Answer) -> timedelta | None:
    """RFC 9110 §10.2.3: seconds, or a date; None where it says neither."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(timedelta(seconds=int(value[:9])), _LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(timedelta(0), min(moment - datetime.now(UTC), _LONGEST_WAIT))
