"""What an answer means: only one that repeats the key speaks of the packet."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from adapters.contract import Done, Outcome, Park, Retry, Scope, Unknown
from adapters.rest_answers import outcome_of, words_of
from adapters.rest_http import Answer
from edxml.messages import Language, text

KEY = "0198f2c0-key"


def build(
    status: int, *, key: str = "", body: bytes = b"", kind: str = "", took_all: bool = True, after: str = ""
) -> Answer:
    headers = {"truc-key": key, "content-type": kind, "retry-after": after}
    return Answer(
        status=status, phrase="Phrase", headers={k: v for k, v in headers.items() if v}, body=body, took_all=took_all
    )


@pytest.mark.parametrize(
    ("status", "with_key", "without"),
    [
        (200, Done(evidence="200"), Unknown(reason="rest.answer_without_key")),
        (201, Done(evidence="201"), Unknown(reason="rest.answer_without_key")),
        (204, Done(evidence="204"), Unknown(reason="rest.answer_without_key")),
        (409, Done(evidence="409"), Unknown(reason="rest.answer_without_key")),
        (302, Unknown(reason="rest.redirected", scope=Scope.DOCUMENT), Unknown(reason="rest.redirected")),
        (303, Unknown(reason="rest.redirected", scope=Scope.DOCUMENT), Unknown(reason="rest.redirected")),
        (307, Retry(reason="rest.redirected"), Retry(reason="rest.redirected")),
        (308, Retry(reason="rest.redirected"), Retry(reason="rest.redirected")),
        (400, Park(reason="rest.refused", said="400: Phrase"), Park(reason="rest.refused", said="400: Phrase")),
        (401, Park(reason="rest.refused", said="401: Phrase"), Retry(reason="rest.not_admitted")),
        (403, Park(reason="rest.refused", said="403: Phrase"), Retry(reason="rest.not_admitted")),
        (404, Park(reason="rest.refused", said="404: Phrase"), Retry(reason="rest.no_such_address")),
        (405, Park(reason="rest.refused", said="405: Phrase"), Retry(reason="rest.no_such_address")),
        (408, Retry(reason="rest.later"), Unknown(reason="rest.answer_without_key")),
        (413, Park(reason="rest.refused", said="413: Phrase"), Park(reason="rest.refused", said="413: Phrase")),
        (425, Retry(reason="rest.later"), Unknown(reason="rest.answer_without_key")),
        (429, Retry(reason="rest.later"), Unknown(reason="rest.answer_without_key")),
        (500, Unknown(reason="rest.server_error", scope=Scope.DOCUMENT), Unknown(reason="rest.server_error")),
        (502, Unknown(reason="rest.server_error", scope=Scope.DOCUMENT), Unknown(reason="rest.server_error")),
        (503, Retry(reason="rest.later"), Unknown(reason="rest.answer_without_key")),
        (504, Unknown(reason="rest.server_error", scope=Scope.DOCUMENT), Unknown(reason="rest.server_error")),
    ],
)
def test_each_status(status: int, with_key: Outcome, without: Outcome) -> None:
    assert outcome_of(build(status, key=KEY), KEY) == with_key
    assert outcome_of(build(status), KEY) == without
    assert outcome_of(build(status, key="another"), KEY) == without


def test_the_key_may_stand_in_a_json_body_with_the_recipients_number() -> None:
    body = json.dumps({"key": KEY, "id": "den-\u202e17"}).encode()
    assert outcome_of(build(200, body=body, kind="application/json; charset=utf-8"), KEY) == Done(evidence="200 den-17")
    assert isinstance(outcome_of(build(200, body=body, kind="text/html"), KEY), Unknown)
    for broken in (b"[]", b"{", b"[" * 10_000, b"null", b'{"key": 3}', b"\xff"):
        assert isinstance(outcome_of(build(200, body=broken, kind="application/json"), KEY), Unknown)


def test_a_yes_to_half_a_packet_is_none() -> None:
    assert outcome_of(build(200, key=KEY, took_all=False), KEY) == Unknown(reason="rest.unanswered")
    assert isinstance(outcome_of(build(409, key=KEY, took_all=False), KEY), Done)
    assert isinstance(outcome_of(build(413, took_all=False), KEY), Park)


@pytest.mark.parametrize(
    ("after", "wait"),
    [
        ("120", timedelta(seconds=120)),
        ("999999999999", timedelta(hours=1)),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("²", None),
        (format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True), timedelta(0)),
        (format_datetime(datetime(2999, 1, 1, tzinfo=UTC), usegmt=True), timedelta(hours=1)),
        ("Mon, 99 Foo 20x6 00:00:00 GMT", None),
        ("Thu, 01 Jan 99999 00:00:00 GMT", None),
    ],
)
def test_retry_after(after: str, wait: timedelta | None) -> None:
    assert outcome_of(build(503, key=KEY, after=after), KEY) == Retry(reason="rest.later", after=wait)


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (
            b'{"title": "No", "detail": "Sai \\u001b[31mthe\\nthuc"}',
            "application/problem+json",
            "Sai \ufffd[31mthe thuc",
        ),
        ('{"message": "Quá lớn"}'.encode(), "application/json", "Quá lớn"),
        ("  Quá \r\n lớn ".encode(), "text/plain; charset=utf-8", "Quá lớn"),
        (b"<html><h1>secret</h1>", "text/html", "Phrase"),
        (b"x" * 1000, "text/plain", "x" * 300),
        (b'{"detail": 5}', "application/json", "Phrase"),
    ],
)
def test_the_recipients_own_words_are_bounded_and_clean(body: bytes, kind: str, words: str) -> None:
    assert words_of(build(400, body=body, kind=kind)) == words


@pytest.mark.parametrize("reason", ["rest.unanswered", "rest.server_error", "rest.answer_without_key"])
def test_what_is_said_of_a_doubt_holds_on_a_blind_channel_too(reason: str) -> None:
    """Whom nobody can ask waits for a person: no text says that the node asks, whatever the channel."""
    english, vietnamese = text(reason, Language.EN, {}), text(reason, Language.VI, {})
    assert english.endswith("; a channel that can be asked is asked before anything is sent again.")
    assert vietnamese.endswith("; kênh hỏi lại được thì nút liên thông hỏi trước khi gửi lại.")
