"""The echo agency: accepts, refuses or delays on demand."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from adapters.contract import AdapterError, Done, HandOver, Outcome, Park, Retry, Scope
from edxml.codes import StatusCode
from gateway.channels import Echoed, EchoSink, echo_kind
from gateway.model.errors import StoreBusy

BODY = b"<edXML/>"
ITEM = HandOver(
    key="k1", packet_id="p1", document_id="d1", business_kind="new", sender="H99", recipients=("H99.9",), urgent=False,
    size=len(BODY), digest=hashlib.sha256(BODY).hexdigest(), accepted_at=datetime(2026, 11, 24, tzinfo=UTC),
    open=lambda: io.BytesIO(BODY),
)  # fmt: skip


def hand_over(sink: EchoSink, item: HandOver = ITEM) -> Outcome:
    staged = sink.stage(item)
    return staged if isinstance(staged, Retry | Park) else staged.hand_over(0)


def test_it_accepts_and_tells_so_before_it_says_done() -> None:
    told: list[Echoed] = []
    sink = echo_kind(told.append)({"statuses": ["01", "03"]}, "echo").sink
    assert isinstance(hand_over(sink), Done)
    assert [(e.channel_id, [s.code for s in e.statuses]) for e in told] == [
        ("echo", [StatusCode.ARRIVED, StatusCode.ACCEPTED])
    ]


def test_it_refuses_with_its_reason() -> None:
    told: list[Echoed] = []
    sink = echo_kind(told.append)({"answer": "refuse", "reason": "Sai thẩm quyền"}, "echo").sink
    assert isinstance(hand_over(sink), Done)
    (status,) = told[0].statuses
    assert (status.code, status.description) == (StatusCode.REFUSED, "Sai thẩm quyền")


def test_it_never_answers_a_status() -> None:
    told: list[Echoed] = []
    assert isinstance(hand_over(echo_kind(told.append)({}, "echo").sink, replace(ITEM, business_kind="status")), Done)
    assert told == []


def test_it_delays_from_the_moment_the_axis_accepted() -> None:
    sink = echo_kind()({"delay": 60}, "echo").sink
    early = hand_over(replace(sink, now=lambda: ITEM.accepted_at + timedelta(seconds=20)))
    assert early == Retry(reason="echo.not_yet", scope=Scope.DOCUMENT, after=timedelta(seconds=40))
    assert isinstance(hand_over(replace(sink, now=lambda: ITEM.accepted_at + timedelta(seconds=60))), Done)


def test_what_a_clock_that_was_ahead_accepted_is_not_put_off_for_its_hour() -> None:
    sink = echo_kind()({"delay": 60}, "echo").sink
    right_again = hand_over(replace(sink, now=lambda: ITEM.accepted_at - timedelta(hours=1)))
    assert isinstance(right_again, Done)
    apart = hand_over(replace(sink, now=lambda: ITEM.accepted_at - timedelta(seconds=2)))
    assert apart == Retry(reason="echo.not_yet", scope=Scope.DOCUMENT, after=timedelta(seconds=62))


def test_down_is_the_channels_fault() -> None:
    sink = echo_kind()({"answer": "down"}, "echo").sink
    assert hand_over(sink) == Retry(reason="echo.down", scope=Scope.CHANNEL)
    assert not sink.probe().usable


def test_damaged_bytes_are_no_arrival() -> None:
    assert hand_over(echo_kind()({}, "echo").sink, replace(ITEM, digest="0" * 64)) == Park(reason="blob.damaged")


def test_what_cannot_be_told_has_not_arrived() -> None:
    def busy(_echoed: Echoed) -> None:
        raise StoreBusy(seconds=1)

    assert isinstance(hand_over(echo_kind(busy)({}, "echo").sink), Retry)


@pytest.mark.parametrize(
    "settings", [{"answr": "accept"}, {"answer": "maybe"}, {"delay": -1}, {"delay": True}, {"statuses": ["99"]},
                 {"statuses": "01"}],
)  # fmt: skip
def test_wrong_settings_are_named(settings: dict[str, object]) -> None:
    with pytest.raises(AdapterError) as why:
        echo_kind()(settings, "echo")
    assert why.value.params["setting"] in settings
