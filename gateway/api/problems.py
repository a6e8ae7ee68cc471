"""Errors as `application/problem+json` (RFC 9457), in both languages: the one table from class to HTTP status.

The code is stable, is the metric's `reason` and the runbook's file name; the sentence may be reworded at any time.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from http import HTTPStatus

import msgspec

from edxml.errors import TrucError
from edxml.findings import Finding, Severity
from edxml.messages import Language, text
from gateway.api.faults import BadFields, FieldFault
from gateway.channels import ProfileUnreadable
from gateway.exchange.submission import PacketRefusal
from gateway.keys import KeysAway
from gateway.model.errors import (
    BadRequest,
    BlobDamaged,
    BlobMissing,
    Conflict,
    DiskReserve,
    Forbidden,
    GatewayError,
    Gone,
    NotFound,
    Refusal,
    StoreBusy,
    StoreUnsure,
    TooLarge,
    Unauthenticated,
)
from gateway.store.blobs import BlobFolder

__all__ = [
    "MOST_FINDINGS",
    "PROBLEM_JSON",
    "CodingUnknown",
    "Crowded",
    "Ending",
    "HeadTooLong",
    "ItemDamaged",
    "ItemMissing",
    "NotAcceptedKind",
    "NotAllowed",
    "Overloaded",
    "Problem",
    "RangeNotSatisfiable",
    "ShareHeld",
    "ShareOfBytesHeld",
    "ShareOfPollsHeld",
    "TooManyBytes",
    "TooManyPolls",
    "TooSlow",
    "code_of",
    "full_disk",
    "language_of",
    "problem_of",
    "title_of",
]

PROBLEM_JSON = "application/problem+json"


class Overloaded(GatewayError):
    """As many submissions as fit are under way; parameter `most`. Nothing of this one was taken in."""

    code = "api.overloaded"
    retryable = True


class Crowded(Overloaded):
    """As many connections as fit are there; parameter `most`. Nothing of this one was read."""

    code = "api.crowded"


class TooManyBytes(Overloaded):
    """Of the submissions under way as many bytes come as fit; parameter `most` in MiB. Nothing of this one was kept."""

    code = "api.too_many_bytes"


class TooManyPolls(Overloaded):
    """As many long polls as fit wait; parameter `most`."""

    code = "api.too_many_polls"


class ShareHeld(GatewayError):
    """The caller's system has as many submissions under way as one system may; parameter `most`. Nothing of this one
    was taken in."""

    code = "api.share_held"
    retryable = True


class ShareOfBytesHeld(ShareHeld):
    """As many bytes of one system come as may; parameter `most` in MiB. Nothing of this one was kept."""

    code = "api.share_of_bytes_held"


class ShareOfPollsHeld(ShareHeld):
    """As many long polls of one system wait as may; parameter `most`."""

    code = "api.share_of_polls_held"


class Ending(GatewayError):
    """The process ends, and has no time left to answer. What was asked may have been done: a repeat finds out."""

    code = "api.ending"
    retryable = True


class TooSlow(BadRequest):
    """The body did not come in time; parameter `seconds`."""


class NotAllowed(BadRequest):
    """The path is there, the method is not."""


class HeadTooLong(BadRequest):
    """Request line and headers are too long; parameter `limit` in bytes."""


class CodingUnknown(BadRequest):
    """The body comes in another transfer coding than `chunked` alone (RFC 9112, 6.1)."""


class NotAcceptedKind(BadRequest):
    """The body is of a kind that is not taken here; parameter `kind`."""


class RangeNotSatisfiable(BadRequest):
    """No byte of the range asked for is there; parameter `size`."""


class ItemDamaged(BlobDamaged):
    """The same, said to the recipient of an item that waits for a person now."""

    def text(self, language: Language) -> str:
        """What became of the item, and who acts."""
        return text("inbox.damaged", language, self.params)


class ItemMissing(BlobMissing):
    """The same, said to the recipient of an item that waits for a person now."""

    def text(self, language: Language) -> str:
        """What became of the item, and who acts."""
        return text("inbox.missing", language, self.params)


_STATUSES: tuple[tuple[type[TrucError], HTTPStatus], ...] = (
    (PacketRefusal, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Unauthenticated, HTTPStatus.UNAUTHORIZED),
    (Forbidden, HTTPStatus.FORBIDDEN),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (Gone, HTTPStatus.GONE),
    (TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (TooSlow, HTTPStatus.REQUEST_TIMEOUT),
    (HeadTooLong, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    (CodingUnknown, HTTPStatus.NOT_IMPLEMENTED),
    (NotAllowed, HTTPStatus.METHOD_NOT_ALLOWED),
    (NotAcceptedKind, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    (RangeNotSatisfiable, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE),
    (BadRequest, HTTPStatus.BAD_REQUEST),
    (DiskReserve, HTTPStatus.INSUFFICIENT_STORAGE),
    (ShareHeld, HTTPStatus.TOO_MANY_REQUESTS),
    (Overloaded, HTTPStatus.SERVICE_UNAVAILABLE),
    (Ending, HTTPStatus.SERVICE_UNAVAILABLE),
    (StoreBusy, HTTPStatus.SERVICE_UNAVAILABLE),
    (KeysAway, HTTPStatus.SERVICE_UNAVAILABLE),
    (ProfileUnreadable, HTTPStatus.SERVICE_UNAVAILABLE),
    (BlobMissing, HTTPStatus.SERVICE_UNAVAILABLE),
    (BlobDamaged, HTTPStatus.SERVICE_UNAVAILABLE),
)
"""The first class that fits decides; what fits none is ours to mend: 500, with an id and nothing from inside."""

_TOLD_AS: tuple[tuple[type[TrucError], str], ...] = (
    (StoreUnsure, "health.store_unsure"),
    (StoreBusy, "health.store"),
    (KeysAway, "health.keys"),
)
"""Their own sentences name servers, folders and variables: those are for whoever runs the node, a caller is told which
part is away."""

RETRY_AFTER = 2
"""Seconds after which a busy store, a full disk or a crowd is worth asking again."""

_RETRY_OWN = 5
"""The same for whoever must first end something of his own."""


MOST_FINDINGS = 100
"""Findings in one problem: ten thousand wrong recipients are no reason for a megabyte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One answer that says no."""

    status: int
    code: str
    vi: str
    en: str
    findings: tuple[Finding, ...] = ()
    faults: tuple[FieldFault, ...] = ()
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())

    def body(self, language: Language, request_id: str) -> bytes:
        """The JSON document; `detail` and `title` in the language asked for, both languages beside it."""
        return msgspec.json.encode(
            {
                "type": f"urn:truc:problem:{self.code}",
                "title": title_of(self.status, language),
                "status": self.status,
                "code": self.code,
                "detail": self.vi if language is Language.VI else self.en,
                "vi": self.vi,
                "en": self.en,
                "findings": [finding.as_dict() for finding in _first(self.findings)],
                "findings_total": len(self.findings),
                "errors": [fault.as_dict() for fault in self.faults],
                "instance": f"urn:truc:request:{request_id}",
            }
        )


def _first(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """As many as a person will read: errors before warnings where not all of them fit."""
    if len(findings) <= MOST_FINDINGS:
        return findings
    return tuple(sorted(findings, key=lambda finding: finding.severity is not Severity.ERROR))[:MOST_FINDINGS]


def full_disk(why: BaseException, blobs: BlobFolder) -> BaseException:
    """A disk that others filled since its reserve was looked at, as the refusal that it is; else `why`."""
    if isinstance(why, OSError) and why.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskReserve(free=blobs.free() >> 20, reserve=blobs.reserve >> 20)
    return why


def problem_of(why: BaseException, request_id: str) -> Problem:
    """The problem that an error is. Unknown errors give 500 with the request's id: the log has the rest."""
    status = next((status for kind, status in _STATUSES if isinstance(why, kind)), None)
    if status is None or not isinstance(why, TrucError):
        params = {"id": request_id}
        return Problem(
            status=HTTPStatus.INTERNAL_SERVER_ERROR,
            code=code_of(why),
            vi=text("api.internal", Language.VI, params),
            en=text("api.internal", Language.EN, params),
        )
    told = next((code for kind, code in _TOLD_AS if isinstance(why, kind)), "")
    return Problem(
        status=status,
        code=code_of(why),
        vi=text(told, Language.VI, {}) if told else why.text(Language.VI),
        en=text(told, Language.EN, {}) if told else why.text(Language.EN),
        findings=why.findings if isinstance(why, PacketRefusal) else (),
        faults=why.faults if isinstance(why, BadFields) else (),
        headers=_headers(why),
    )


def code_of(why: BaseException) -> str:
    """The stable code of an error; `api.internal` for whatever is not ours to show."""
    if isinstance(why, Refusal):
        return why.reason
    return why.code if isinstance(why, TrucError) else "api.internal"


def _headers(why: TrucError) -> tuple[tuple[bytes, bytes], ...]:
    if isinstance(why, Unauthenticated):
        return ((b"www-authenticate", b'Bearer realm="truc"'),)
    if isinstance(why, (Overloaded, Ending, StoreBusy, DiskReserve, KeysAway, ProfileUnreadable)):
        return ((b"retry-after", str(RETRY_AFTER).encode()),)
    if isinstance(why, ShareHeld):
        return ((b"retry-after", str(_RETRY_OWN).encode()),)
    if isinstance(why, NotAllowed):
        return ((b"allow", str(why.params.get("allow", "")).encode()),)
    if isinstance(why, RangeNotSatisfiable):
        return ((b"content-range", f"bytes */{why.params.get('size', 0)}".encode()),)
    return ()


def title_of(status: int, language: Language) -> str:
    """What a problem of this status is called. By its number: Python names some of them otherwise from 3.13 on."""
    return text(f"problem.{int(status)}", language, {})


def language_of(accept_language: str) -> Language:
    """Vietnamese unless the header wants English more (RFC 9110 §12.5.4)."""
    if not accept_language:
        return Language.VI
    wanted: dict[str, float] = {}
    for choice in accept_language[:200].split(","):
        tag, _, rest = choice.partition(";")
        quality = rest.strip().removeprefix("q=")
        name = tag.strip().lower().split("-", 1)[0]
        wanted[name] = max(wanted.get(name, 0.0), _quality(quality))
    return Language.EN if wanted.get("en", 0.0) > max(wanted.get("vi", 0.0), wanted.get("*", 0.0)) else Language.VI


def _quality(text_: str) -> float:
    try:
        return float(text_) if text_ else 1.0
    except ValueError:
        return 0.0
