"""Slow servers, large packets, and each fault of the stand-in, over the rest channel."""

from __future__ import annotations

import hashlib
import socket
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.contract import AdapterError, Done, Outcome, Retry, SinkKind, Unknown
from adapters.rest import rest_kind
from tests.support.folders import build_item, deliver
from tests.support.rest_servers import SHORT, SIGNER, Asked, RestServer, answer
from tests.support.sinks import Fault, SinkProcess

BODY = b"<edXML>" + b"x" * 200_000 + b"</edXML>"
ITEM = build_item(BODY)
KEY = ITEM.key


def takes(asked: Asked) -> bytes:
    """A recipient that keeps the rules and has taken it."""
    return answer(201 if asked.method == "POST" else 200, key=asked.key)


# --- slow servers, large packets -------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> Callable[[], float]:
    began = time.monotonic()
    return lambda: time.monotonic() - began


def test_one_that_reads_a_byte_at_a_time_is_cut_off(clock: Callable[[], float]) -> None:
    item = build_item(b"x" * (8 << 20))
    with RestServer(takes, reads_at=0.05) as server:
        assert deliver(server.sink(**SHORT), item) == Unknown(reason="rest.unanswered")
    assert clock() < 60


def test_one_that_answers_a_byte_at_a_time_is_cut_off_by_size_and_rate(clock: Callable[[], float]) -> None:
    with RestServer(takes, writes_at=0.5) as server:
        sink = server.sink(**SHORT, least_rate=1000)
        assert sink.limit_of(ITEM.size) < timedelta(seconds=2.5)
        assert deliver(sink, ITEM) == Unknown(reason="rest.unanswered")
    assert 1.5 < clock() < 60


def test_one_that_never_answers_is_left(clock: Callable[[], float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = {"url": f"http://127.0.0.1:{silent.getsockname()[1]}/den", "plain_http": True, "answer_wait": 1}
        assert deliver(rest_kind(lambda: SIGNER)(settings, "k").sink, ITEM) == Unknown(reason="rest.unanswered")
    assert clock() < 20


def test_200_mib_go_out_in_flat_memory(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as stream:
        stream.truncate(200 << 20)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    item = replace(ITEM, size=200 << 20, digest=digest, open=lambda: path.open("rb"))
    with RestServer(takes) as server:
        sink = server.sink()
        tracemalloc.start()
        try:
            assert isinstance(deliver(sink, item), Done)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        (asked,) = server.asked
    assert (asked.size, asked.digest) == (item.size, digest)
    assert peak < 3 << 20


# --- the stand-in recipient's faults ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "outcome", "landed"),
    [
        (Fault(act="error"), Retry(reason="rest.later"), 0),
        (Fault(act="drop"), Unknown(reason="rest.unanswered"), 0),
        (Fault(act="drop", lands=True), Unknown(reason="rest.unanswered"), 1),
        (Fault(act="hang", lands=True), Unknown(reason="rest.unanswered"), 1),
        (Fault(act="die", lands=True), Unknown(reason="rest.unanswered"), 1),
        (Fault(act="twice"), Done(evidence="201"), 1),
        (Fault(act="delay", seconds=0.3), Done(evidence="201"), 1),
        (Fault(act="crawl", lands=True, seconds=1), Unknown(reason="rest.unanswered"), 1),
        (Fault(act="refuse"), Retry(reason="channel.refused"), 0),
    ],
    ids=lambda value: f"{value.act}-{value.lands}" if isinstance(value, Fault) else "",
)
def test_each_fault_of_the_stand_in(tmp_path: Path, fault: Fault, outcome: Outcome, landed: int) -> None:
    with SinkProcess(tmp_path, SinkKind.CHECKABLE) as recipient:
        hasty, patient = (
            rest_kind(lambda: SIGNER)({**recipient.rest_settings(), **waits}, "k").sink
            for waits in (SHORT, {"idle_wait": 20, "answer_wait": 20})
        )
        sink = hasty if fault.act in ("hang", "crawl") else patient
        recipient.set_fault(fault)
        assert deliver(sink, ITEM) == outcome
        if fault.act == "die":
            recipient.wait_dead()
            with pytest.raises(AdapterError):
                sink.find(KEY)
            recipient.start()
        recipient.clear()
        assert len(recipient.ledger()) == landed
        assert (patient.find(KEY) is not None) is bool(landed)
        if not landed:
            assert deliver(patient, ITEM) == Done(evidence="201")
        assert recipient.copies(KEY) == 1
