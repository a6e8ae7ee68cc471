"""The stand-in recipients do what the fault tests believe they do."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.contract import AdapterError, Done, Outcome, Retry, SinkKind, Unknown
from tests.support.folders import build_item
from tests.support.patience import until
from tests.support.sinks import Fault, SinkProcess, StagedBytes, StandInSink

ITEM = build_item(b"<edXML>" + b"x" * 100_000 + b"</edXML>", "key-1")


@pytest.fixture(params=list(SinkKind), ids=str)
def recipient(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SinkProcess]:
    with SinkProcess(tmp_path / "recipient", request.param) as process:
        yield process


def send(recipient: SinkProcess, seconds: float = 5.0) -> Outcome:
    staged = recipient.sink().stage(ITEM)
    assert isinstance(staged, StagedBytes)
    return staged.hand_over(time.clock_gettime(time.CLOCK_BOOTTIME) + seconds)


def test_a_repeat_is_dropped_by_the_idempotent_only(recipient: SinkProcess) -> None:
    assert send(recipient) == Done(evidence="OK 1")
    repeat = "AGAIN 2" if recipient.kind is SinkKind.IDEMPOTENT else "OK 2"
    assert send(recipient) == Done(evidence=repeat)
    assert recipient.copies("key-1") == (1 if recipient.kind is SinkKind.IDEMPOTENT else 2)
    assert {arrival.digest for arrival in recipient.ledger()} == {ITEM.digest}


def test_only_the_checkable_can_be_asked(recipient: SinkProcess) -> None:
    sink = recipient.sink()
    if recipient.kind is not SinkKind.CHECKABLE:
        with pytest.raises(AdapterError):
            sink.find("key-1")
        return
    assert sink.find("key-1") is None
    send(recipient)
    assert sink.find("key-1") == Done(evidence="YES 1")


@pytest.mark.parametrize(
    ("fault", "outcome", "landed"),
    [
        (Fault(act="error"), Retry(reason="channel.error"), 0),
        (Fault(act="drop"), Unknown(reason="channel.unanswered"), 0),
        (Fault(act="drop", lands=True), Unknown(reason="channel.unanswered"), 1),
        (Fault(act="hang"), Unknown(reason="channel.unanswered"), 0),
        (Fault(act="hang", lands=True), Unknown(reason="channel.unanswered"), 1),
        (Fault(act="twice"), Done(evidence="OK 1"), 1),
        (Fault(act="delay", seconds=0.1), Done(evidence="OK 1"), 1),
        (Fault(act="error", key="another"), Done(evidence="OK 1"), 1),
    ],
    ids=lambda value: f"{value.act}-{value.lands}" if isinstance(value, Fault) else "",
)
def test_faults(tmp_path: Path, fault: Fault, outcome: Outcome, landed: int) -> None:
    with SinkProcess(tmp_path, SinkKind.CHECKABLE) as recipient:
        recipient.set_fault(fault)
        assert send(recipient, 1.0 if fault.act == "hang" else 5.0) == outcome
        assert len(recipient.ledger()) == landed
        recipient.clear()
        assert isinstance(send(recipient), Done)


@pytest.mark.parametrize("lands", [False, True])
def test_it_dies_and_remembers(tmp_path: Path, lands: bool) -> None:
    with SinkProcess(tmp_path, SinkKind.CHECKABLE) as recipient:
        recipient.set_fault(Fault(act="die", lands=lands))
        assert isinstance(send(recipient), Unknown)
        assert recipient.wait_dead() == -signal.SIGKILL
        assert send(recipient) == Retry(reason="channel.refused")
        recipient.start()
        assert (recipient.sink().find("key-1") is not None) is lands


def test_bytes_land_after_the_sender_gave_up(tmp_path: Path) -> None:
    """The trace of protocol §14: a `find` says no, then the old bytes land."""
    with SinkProcess(tmp_path, SinkKind.CHECKABLE) as recipient:
        recipient.set_fault(Fault(act="delay", late=True, seconds=2.0))
        assert isinstance(send(recipient, 0.2), Unknown)
        assert recipient.sink().find("key-1") is None
        until(lambda: recipient.sink().find("key-1") is not None)
        assert len(recipient.ledger()) == 1


def test_it_refuses_until_cleared(tmp_path: Path) -> None:
    with SinkProcess(tmp_path, SinkKind.BLIND) as recipient:
        recipient.set_fault(Fault(act="refuse"))
        assert send(recipient) == Retry(reason="channel.refused")
        assert not recipient.sink().probe().usable
        recipient.clear()
        assert isinstance(send(recipient), Done)
        assert recipient.sink().probe().usable


def test_nothing_is_sent_after_the_limit(recipient: SinkProcess) -> None:
    assert send(recipient, -1) == Retry(reason="channel.refused")
    assert recipient.ledger() == ()


def test_settings_reach_the_sink(recipient: SinkProcess) -> None:
    sink = recipient.sink(settle_time=3)
    assert isinstance(sink, StandInSink)
    assert (sink.settle_time, sink.kind) == (timedelta(seconds=3), recipient.kind)
