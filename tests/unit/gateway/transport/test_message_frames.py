"""A message without a confirm is byte for byte what pika would send; what does not fit is left to pika."""

from __future__ import annotations

import pytest
from pika import frame, spec

from gateway.transport.rabbitmq.frames import message_of


@pytest.mark.parametrize("exchange", ["truc-events", ""])
@pytest.mark.parametrize("key", ["agency.H99.215.sent.delivered", "", "văn bản", "x" * 255])
@pytest.mark.parametrize("sender", ["", "1a2b3c4d5e6f7081"])
@pytest.mark.parametrize("body", [b"x", b"\xce\0" * 2_044])
def test_it_is_what_pika_sends(exchange: str, key: str, sender: str, body: bytes) -> None:
    method = spec.Basic.Publish(exchange=exchange, routing_key=key)
    header = frame.Header(513, len(body), spec.BasicProperties(app_id=sender))
    wanted = frame.Method(513, method).marshal() + header.marshal() + frame.Body(513, body).marshal()
    assert message_of(513, exchange, key, sender, body) == wanted


@pytest.mark.parametrize(
    ("key", "sender", "body"), [("x" * 256, "", b"x"), ("ă" * 128, "", b"x"), ("k", "s" * 256, b"x"),
                                ("k", "", b"x" * 4_089), ("k", "", b"")]
)  # fmt: skip
def test_what_does_not_fit_is_for_pika(key: str, sender: str, body: bytes) -> None:
    assert message_of(1, "truc-events", key, sender, body) is None
