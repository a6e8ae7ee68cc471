"""The rest channel against real servers: what goes out, what answers mean, trust, limits, and memory."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pytest

from adapters.contract import AdapterError, Done, HandOver, Outcome, Park, Retry, Scope, SinkKind, Unknown, boot_now
from adapters.rest import rest_kind
from adapters.rest_sink import RestSink
from edxml.sign import SigningKeyInvalid
from gateway.keys import KeysAway
from gateway.model.errors import BlobMissing
from tests.support.folders import build_item, deliver
from tests.support.rest_servers import SIGNER, Asked, RestServer, answer

BODY = b"<edXML>" + b"x" * 200_000 + b"</edXML>"
ITEM = build_item(BODY)
KEY = ITEM.key


def takes(asked: Asked) -> bytes:
    """A recipient that keeps the rules and has taken it."""
    return answer(201 if asked.method == "POST" else 200, key=asked.key)


def knows_nothing(asked: Asked) -> bytes:
    """A recipient that keeps the rules and has nothing."""
    return answer(404, key=asked.key)


def limited(sink: RestSink, seconds: float, item: HandOver = ITEM) -> Outcome:
    staged = sink.stage(item)
    assert not isinstance(staged, Retry | Park)
    return staged.hand_over(boot_now() + seconds)


# --- what goes out ---------------------------------------------------------------------------------------------------


def test_the_packets_bytes_and_nothing_of_the_sender_in_headers() -> None:
    item = replace(
        ITEM, recipients=("000.00.16.H99", "Xã\r\nX: y"), note={"merged": "Sáp nhập"}, business_kind="recall"
    )
    with RestServer(takes) as server:
        assert deliver(server.sink(), item) == Done(evidence="201")
        (asked,) = server.asked
    assert (asked.method, asked.target, asked.size, asked.digest) == ("POST", "/truc/den", len(BODY), item.digest)
    headers = asked.headers
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert headers["idempotency-key"] == headers["truc-key"] == KEY
    assert (headers["truc-packet"], headers["truc-kind"]) == (item.packet_id, "recall")
    assert headers["truc-recipients"] == "000.00.16.H99, X%C3%A3%0D%0AX%3A%20y"
    assert headers["truc-note"].startswith("%7B%22merged")
    assert "x" not in headers
    assert "authorization" not in headers


def test_a_token_is_read_each_time(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    with RestServer(takes) as server:
        sink = server.sink(token_file=str(token))
        assert isinstance(deliver(sink, ITEM), Done)
        token.write_text("second")
        assert isinstance(deliver(sink, ITEM), Done)
        for wrong in ("", "two words", "dấu", "x" * 10_000):
            token.write_text(wrong)
            assert deliver(sink, ITEM) == Retry(reason="rest.secret_unreadable")
        token.unlink()
        assert deliver(sink, ITEM) == Retry(reason="rest.secret_unreadable")
        assert [one.headers["authorization"] for one in server.asked] == ["Bearer first", "Bearer second"]


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    with RestServer(takes) as server:
        assert isinstance(deliver(server.sink(), ITEM), Done)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    with RestServer(takes) as other:
        goes = answer(status, Location=f"http://127.0.0.1:{other.port}/truc/den")
        with RestServer(lambda _: goes) as server:
            outcome = deliver(server.sink(), ITEM)
            assert isinstance(outcome, Retry if status in (307, 308) else Unknown)
        assert other.asked == []


# --- answers ---------------------------------------------------------------------------------------------------------


def test_a_refusal_bears_the_recipients_words() -> None:
    said = answer(422, b'{"detail": "Sai the thuc"}', Content_Type="application/problem+json")
    with RestServer(lambda _: said) as server:
        assert deliver(server.sink(), ITEM) == Park(reason="rest.refused", said="422: Sai the thuc")


def test_a_busy_recipient_says_when() -> None:
    with RestServer(lambda _: answer(503, Retry_After="17", Truc_Key=ITEM.key)) as server:
        assert deliver(server.sink(), ITEM) == Retry(reason="rest.later", after=timedelta(seconds=17))


def test_rule_5_a_proxy_that_says_busy_after_it_passed_the_packet_on_does_not_say_that_it_did_not_arrive() -> None:
    with RestServer(lambda _: answer(503, Retry_After="17")) as server:
        assert deliver(server.sink(), ITEM) == Unknown(reason="rest.answer_without_key")


def test_an_answer_before_the_end_of_the_packet_is_heard() -> None:
    """413 after the first KiB: the node stops sending 8 MiB, and parks; a yes to a part is no yes."""
    item = build_item(b"x" * (8 << 20))
    with RestServer(lambda _: answer(413), body_most=1024) as server:
        assert deliver(server.sink(), item) in (
            Park(reason="rest.refused", said=f"413: {HTTPStatus(413).phrase}"),
            Unknown(reason="rest.unanswered"),  # the reset came before the answer was read
        )
    with RestServer(takes, body_most=1024) as server:
        assert deliver(server.sink(), item) == Unknown(reason="rest.unanswered")


@pytest.mark.parametrize(
    "said",
    [
        None, b"", b"HTTP/1.1 20", b"gibberish\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 201 Created\r\n" + b"X: y\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
    ids=range(8),
)  # fmt: skip
def test_whatever_else_comes_back_may_have_arrived(said: bytes | None) -> None:
    with RestServer(lambda _: said) as server:
        assert deliver(server.sink(), ITEM) == Unknown(reason="rest.unanswered")


def test_a_cut_answer_counts_once_it_named_the_key() -> None:
    cut = b"HTTP/1.1 201 Created\r\nContent-Length: 50\r\nTruc-Key: "
    with RestServer(lambda _: cut) as server:
        assert deliver(server.sink(), ITEM) == Unknown(reason="rest.answer_without_key")
    with RestServer(lambda _: cut + KEY.encode() + b"\r\n\r\nhalf") as server:
        assert deliver(server.sink(), ITEM) == Done(evidence="201")


def test_an_answer_without_end_is_read_no_further() -> None:
    head = f"HTTP/1.1 201 Created\r\nTruc-Key: {KEY}\r\n\r\n".encode()
    with RestServer(lambda _: head + b"x" * (32 << 20)) as server:
        assert deliver(server.sink(), ITEM) == Done(evidence="201")


# --- find and probe --------------------------------------------------------------------------------------------------


def test_find_believes_only_answers_about_the_key() -> None:
    with RestServer(takes) as server:
        assert server.sink().find("k-1") == Done(evidence="GET 200")
        assert server.asked[0].target == "/truc/den/k-1"
    with RestServer(knows_nothing) as server:
        assert server.sink().find("k-1") is None


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (answer(200), "rest.answer_without_key"),
        (answer(404), "rest.answer_without_key"),
        (answer(404, key="another"), "rest.answer_without_key"),
        (answer(401), "rest.not_admitted"),
        (answer(302, key="k-1"), "rest.cannot_say"),
        (answer(500, key="k-1"), "rest.cannot_say"),
        (answer(410, key="k-1"), "rest.cannot_say"),
        (None, "rest.unanswered"),
    ],
)
def test_find_raises_where_it_cannot_tell(said: bytes | None, reason: str) -> None:
    with RestServer(lambda _: said) as server, pytest.raises(AdapterError) as caught:
        server.sink().find("k-1")
    assert caught.value.reason == reason


def test_who_cannot_be_asked_is_not() -> None:
    with RestServer(takes) as server:
        with pytest.raises(AdapterError) as caught:
            server.sink(sureness="blind").find("k-1")
        assert caught.value.reason == "rest.not_checkable"
        assert server.asked == []


@pytest.mark.parametrize(
    ("say", "sureness", "reason"),
    [
        (knows_nothing, SinkKind.CHECKABLE, ""),
        (takes, SinkKind.CHECKABLE, "rest.says_yes_to_all"),
        (lambda _: answer(404), SinkKind.CHECKABLE, "rest.answer_without_key"),
        (lambda _: answer(405), SinkKind.IDEMPOTENT, ""),
        (lambda _: answer(403), SinkKind.BLIND, "rest.not_admitted"),
        (lambda _: answer(502), SinkKind.BLIND, "rest.probe_error"),
        (lambda _: None, SinkKind.CHECKABLE, "rest.probe_unanswered"),
        (lambda _: None, SinkKind.IDEMPOTENT, "rest.probe_unanswered"),
    ],
)
def test_a_probe_asks_for_what_never_was(say: Callable[[Asked], bytes | None], sureness: SinkKind, reason: str) -> None:
    with RestServer(say) as server:
        probe = server.sink(sureness=str(sureness)).probe()
        assert (probe.usable, probe.reason) == (not reason, reason)
        (asked,) = server.asked
        assert (asked.method, asked.size) == ("GET", 0)
        assert asked.target == ("/truc/den/truc-probe" if sureness is SinkKind.CHECKABLE else "/truc/den")


# --- nothing was sent ------------------------------------------------------------------------------------------------


def test_what_was_not_sent_is_said_so() -> None:
    closed = socket.create_server(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    closed.close()
    own = {"plain_http": True, "connect_wait": 0.5}
    for url, reason in (
        (f"http://127.0.0.1:{port}/den", "channel.refused"),
        ("http://khong-co.invalid/den", "rest.name_unknown"),
        (f"http://localhost:{port}/den", "rest.address_refused"),
    ):
        sink = rest_kind(lambda: SIGNER)({**own, "url": url}, "k").sink
        assert deliver(sink, ITEM) == Retry(reason=reason)
        assert sink.probe().reason == reason


def test_only_named_networks_are_reached() -> None:
    with RestServer(takes) as server:
        assert deliver(server.sink(networks=["10.0.0.0/8"]), ITEM) == Retry(reason="rest.address_refused")
        assert isinstance(deliver(server.sink(networks=[]), ITEM), Done), "the operator spelt that address"
        named = {**server.settings(), "url": f"http://localhost:{server.port}/den"}
        assert isinstance(deliver(rest_kind(lambda: SIGNER)(named, "k").sink, ITEM), Done)
        assert len(server.asked) == 2


def test_no_time_left_means_nothing_is_sent() -> None:
    with RestServer(takes) as server:
        assert limited(server.sink(), -1) == Retry(reason="rest.out_of_time")
        assert server.asked == []


def test_a_key_that_is_away_sends_nothing() -> None:
    def away() -> object:
        raise KeysAway(SigningKeyInvalid("key_kind"))

    with RestServer(takes) as server:
        sink = replace(server.sink(), signer=away)
        outcome = deliver(sink, ITEM)
        assert isinstance(outcome, Retry)
        assert outcome.scope is Scope.CHANNEL
        with pytest.raises(AdapterError):  # never another error: the machine would not know what to do with it
            sink.find(KEY)
        assert not sink.probe().usable
        assert server.asked == []


def test_our_own_store_is_never_the_recipients_fault() -> None:
    with RestServer(takes) as server:
        sink = server.sink()
        assert deliver(sink, replace(ITEM, digest="0" * 64)) == Park(reason="blob.damaged")
        assert deliver(sink, replace(ITEM, size=ITEM.size - 1)) == Park(reason="blob.damaged")
        staged = sink.stage(ITEM)
        assert not isinstance(staged, Retry | Park)

        def gone() -> BinaryIO:
            raise BlobMissing(digest="x")

        assert replace(staged, item=replace(ITEM, open=gone)).hand_over(boot_now() + 5) == Park(reason="blob.missing")
        assert server.asked == []
        spoilt = replace(ITEM, open=lambda: BytesIO(BODY[:-1] + b"!"))
        assert replace(staged, item=spoilt).hand_over(boot_now() + 5) == Unknown(
            reason="blob.damaged", scope=Scope.DOCUMENT
        )
    assert all(one.size < ITEM.size for one in server.asked), "never completed"
