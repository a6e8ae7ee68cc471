"""What a stranger to the interface tries first: odd texts, odd methods, damaged bytes, a locked database."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.api.v1 import shapes
from tests.support.edge import FOREIGN, RECIPIENT, SENDER, RunningApi, running_api
from tests.support.packets import build_status
from tests.support.patience import until

ABSENT = "0199b3f0-7c1e-7a52-9d0b-3f6a1c2d4e5f"


def _fetched(api: RunningApi) -> tuple[dict[str, Any], dict[str, Any]]:
    sent = api.send()
    (item,) = [one for one in api.waiting() if one["packet_id"] == sent["packet_id"]]
    assert api.recipient.get(f"/v1/inbox/{item['delivery_id']}/packet").status_code == 200
    return sent, item


@pytest.mark.parametrize("odd", ["\\u0001", "\\uffff", "\\u0000", "\\u001b", "\\ufffe"])
def test_a_text_that_edxml_cannot_carry_is_refused_before_anything_is_done(api: RunningApi, odd: str) -> None:
    sent, item = _fetched(api)
    at = f"/v1/inbox/{item['delivery_id']}"
    for path, field, body in (
        (
            "/v1/statuses",
            "description",
            f'{{"code":"03","delivery_id":"{item["delivery_id"]}","description":"a{odd}b"}}',
        ),
        (f"{at}/refuse", "reason", f'{{"reason":"a{odd}b"}}'),
        (f"{at}/confirm", "reason", f'{{"arrived":false,"reason":"a{odd}b"}}'),
    ):
        got = api.recipient.post(path, content=body, headers={"Content-Type": "application/json"})
        assert got.status_code == 400, (path, got.text)
        assert [one["code"] for one in got.json()["errors"]] == ["field.bad_text"], (path, got.text)
        assert f"body.{field}" in got.json()["vi"]
    shown = api.sender.get(f"/v1/packets/{sent['packet_id']}").json()
    assert (shown["statuses"], shown["recipients"][0]["state"]) == ([], "fetched")


def test_lines_accents_and_symbols_beyond_the_plane_are_texts(api: RunningApi) -> None:
    _, item = _fetched(api)
    reason = "Thiếu phụ lục:\n\t1. Bảng kê\r\n𠀋 \ufffd"
    assert api.recipient.post(f"/v1/inbox/{item['delivery_id']}/refuse", json={"reason": reason}).status_code == 202


def test_check_answers_for_a_status_as_submit_does(api: RunningApi) -> None:
    sent, _ = _fetched(api)
    number = sent["document_id"].rsplit(",", 1)[1].split("/")[0]
    known = {"issuer": api.organ(SENDER), "code": "01", "number": number, "document_id": sent["document_id"]}
    unknown = known | {"number": "98765", "document_id": None}
    for client, agency, values in (
        (api.recipient, RECIPIENT, unknown),
        (api.foreign, FOREIGN, known),
        (api.recipient, RECIPIENT, known | {"code": "13"}),
        (api.recipient, RECIPIENT, known),
    ):
        body = build_status(sender=api.organ(agency), **values)
        told = client.post("/v1/packets/check", content=body).json()
        done = client.post("/v1/packets", content=body)
        assert told["would_be_accepted"] == (done.status_code == 202), (values, told, done.text)
        if done.status_code != 202:
            assert done.json()["code"] in {finding["code"] for finding in told["findings"]}, values
    assert done.status_code == 202, "the last of them is right"


def test_a_status_is_answered_with_the_document_as_written(api: RunningApi) -> None:
    sent, item = _fetched(api)
    about = {"code": "03", "delivery_id": item["delivery_id"]}
    answers = [api.recipient.post("/v1/statuses", json=about).json() for _ in range(2)]
    assert [(a["document_id"], a["is_repeat"]) for a in answers] == [
        (item["document_id"], False), (item["document_id"], True)
    ]  # fmt: skip
    assert item["document_id"] == sent["document_id"]


@pytest.mark.parametrize(
    ("path", "methods", "allow"),
    [
        ("/v1/inbox", ("HEAD", "PUT", "DELETE", "POST"), "GET"),
        ("/v1/packets", ("PUT", "DELETE", "PATCH"), "GET, POST"),
        (f"/v1/inbox/{ABSENT}/packet", ("PUT", "POST", "DELETE"), "GET, HEAD"),
        (f"/v1/inbox/{ABSENT}/confirm", ("GET", "HEAD", "PUT"), "POST"),
        (f"/v1/inbox/{ABSENT}/attachments/1", ("PUT", "POST", "DELETE"), "GET, HEAD"),
        (f"/v1/packets/{ABSENT}/seal", ("PUT", "POST", "DELETE"), "GET, HEAD"),
        ("/v1/packets/check", ("HEAD", "PUT"), "POST"),
        ("/v1/me", ("HEAD", "POST"), "GET"),
        ("/v1/openapi.json", ("POST", "PUT"), "GET, HEAD"),
    ],
)
def test_a_method_that_a_path_does_not_have_is_405(
    api: RunningApi, path: str, methods: tuple[str, ...], allow: str
) -> None:
    for method in methods:
        got = api.sender.request(method, path)
        assert (got.status_code, got.headers["allow"]) == (405, allow), method
        if method != "HEAD":
            assert (got.json()["code"], got.headers["content-type"]) == ("api.no_method", "application/problem+json")


def test_health_may_be_asked_by_head(api: RunningApi) -> None:
    until(lambda: httpx2.get(f"{api.url}/health/ready").status_code == 200)  # all looks in their two seconds
    for path in ("/health/live", "/health/ready"):
        head, full = (httpx2.request(method, f"{api.url}{path}") for method in ("HEAD", "GET"))
        assert (head.status_code, head.content) == (full.status_code, b"") == (200, b"")
        assert head.headers["content-length"] == str(len(full.content))


_CODED = b"POST /v1/packets HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: %b\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        (b"FOO /v1/me HTTP/1.1\r\nHost: t\r\n\r\n", 400, "api.bad_http"),
        (b"POST /v1/packets HTTP/1.1\r\nHost: t\r\nContent-Length: many\r\n\r\n", 400, "api.bad_http"),
        (_CODED % b"gzip, chunked", 501, "api.coding_unknown"),
        (_CODED % b"chunked\r\nTransfer-Encoding: chunked", 400, "api.bad_http"),
        (_CODED % b"gzip", 501, "api.coding_unknown"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "api.bad_http"),
        (b"GET /v1/me HTTP/1.1\r\nHost: t\r\nX-Long: " + b"x" * 70_000 + b"\r\n\r\n", 431, "api.head_too_long"),
    ],
    ids=["method", "length", "packed", "twice", "endless", "tls", "head"],
)
def test_what_is_no_request_is_answered_with_a_problem(api: RunningApi, said: bytes, status: int, code: str) -> None:
    with api.raw() as opened:
        opened.sendall(said)
        answer = b"".join(iter(lambda: opened.recv(65_536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"content-type: application/problem+json" in head
    problem = json.loads(body)
    shapes.ProblemShape.model_validate(problem)
    assert (problem["code"], problem["status"]) == (code, status)
    assert problem["instance"].removeprefix("urn:truc:request:").encode() in head


@pytest.mark.parametrize(
    "query", ["wait=-1", "wait=²", "wait=nan", "wait=", "limit=x", "limit=0", "limit=501", "limit=²"]
)
def test_a_wrong_value_is_told_from_an_unknown_parameter(api: RunningApi, query: str) -> None:
    got = api.sender.get(f"/v1/inbox?{query}")
    assert (got.status_code, got.json()["code"]) == (400, "api.bad_field"), got.text
    assert f"query.{query.partition('=')[0]}" in got.json()["en"]
    assert api.sender.get("/v1/inbox?waits=1").json()["code"] == "api.bad_field"


def test_a_locked_database_is_not_ready_within_three_seconds_however_many_ask(tmp_path: Path) -> None:
    with running_api(tmp_path) as api, ThreadPoolExecutor(8) as pool:
        with api.node.store.write():
            began = time.monotonic()
            asked = list(pool.map(lambda _: httpx2.get(f"{api.url}/health/ready", timeout=30), range(8)))
            assert time.monotonic() - began < 20, "three seconds, on a busy machine more; and never one after the other"
            head = httpx2.head(f"{api.url}/health/ready", timeout=30)
            assert (head.status_code, head.content) == (503, b"")
            began = time.monotonic()
            assert api.sender.get("/v1/me").status_code == 200
            assert time.monotonic() - began < 10, "looks keep nobody else waiting"
        for got in asked:
            assert got.status_code == 503
            wrong = [(c["name"], c["code"]) for c in got.json()["checks"] if not c["is_ok"]]
            assert ("store", "store.busy") in wrong  # others where the machine is too busy for a look in time
        until(lambda: httpx2.get(f"{api.url}/health/ready").status_code == 200)


def test_a_full_disk_keeps_nobody_from_fetching(tmp_path: Path) -> None:
    """Whoever asks for nothing more is told what taking in needs, as ever."""
    with running_api(tmp_path, disk_reserve_mib=str(1 << 40)) as api:
        until(lambda: httpx2.get(f"{api.url}/health/ready?for=fetch").status_code == 200)
        told = {
            query: httpx2.get(f"{api.url}/health/ready{query}") for query in ("", "?for=submit", "?for=fetch", "?for=x")
        }
        assert [told[query].status_code for query in ("", "?for=submit", "?for=x")] == [503, 503, 400]
        assert "store.disk_reserve" in [c["code"] for c in told[""].json()["checks"] if not c["is_ok"]]
        assert {c["name"] for c in told["?for=fetch"].json()["checks"]} == {"store", "transport", "directory"}
        assert told["?for=x"].json()["code"] == "api.bad_field"
        assert api.recipient.get("/v1/inbox").status_code == 200


def test_a_packet_with_thousands_of_wrong_recipients_gets_a_short_answer(api: RunningApi) -> None:
    body = api.packet(recipients=[f"H99.{n}" for n in range(5000, 7000)])
    got = api.sender.post("/v1/packets", content=body)
    problem = got.json()
    shapes.ProblemShape.model_validate(problem)
    assert (got.status_code, len(problem["findings"])) == (422, 100)
    assert problem["findings_total"] >= 2000
    assert len(got.content) < 100_000


def test_an_answer_says_that_a_packet_reaches_nobody(api: RunningApi) -> None:
    body = api.packet(recipients=["H99.9999", "H99.9998"])
    first, again = (api.send(body, params={"recipients": "some"}) for _ in range(2))
    shapes.AcceptedShape.model_validate(first)
    assert [(a["is_repeat"], a["all_undeliverable"]) for a in (first, again)] == [(False, True), (True, True)]
    mixed = api.send(api.packet(recipients=["H99.9999", api.organ(RECIPIENT)]), params={"recipients": "some"})
    assert not mixed["all_undeliverable"]
    assert not api.send()["all_undeliverable"]


def _said(api: RunningApi, *lines: str, body: bytes, version: str = "1.1") -> bytes:
    head = (f"POST /v1/packets HTTP/{version}", "Host: t", f"Authorization: Bearer {api.tokens[SENDER]}", *lines)
    return "\r\n".join((*head, "", "")).encode() + body


def _answers(opened: socket.socket, count: int) -> list[tuple[bytes, dict[str, Any]]]:
    """(head, body) of so many answers of one connection, each with a length."""
    found = []
    with opened.makefile("rb") as stream:
        for _ in range(count):
            lines = list(iter(stream.readline, b"\r\n"))
            (length,) = [int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")]
            found.append((b"".join(lines), json.loads(stream.read(length))))
    return found


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("cut", [0, 40])
def test_a_body_beside_an_offer_of_another_protocol_is_taken(api: RunningApi, cut: int, is_chunked: bool) -> None:
    """As Java's own client sends it, unless it is told otherwise."""
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAAB")
    said = b""
    for body in (api.packet(), api.packet()):
        length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(body)}"
        said += _said(api, *offer, length, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if is_chunked else body)
    with api.raw() as opened:
        opened.sendall(said[:cut])
        opened.sendall(said[cut:])
        answers = _answers(opened, 2)
    assert [head.split(b"\r\n")[0] for head, _ in answers] == [b"HTTP/1.1 202 Accepted"] * 2, answers
    assert len({answer["packet_id"] for _, answer in answers}) == 2


def test_a_connection_is_not_turned_into_a_tunnel(api: RunningApi) -> None:
    with api.raw() as opened:
        opened.sendall(b"CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n")
        ((head, problem),) = _answers(opened, 1)
    assert (head.split(b" ")[1], problem["code"]) == (b"400", "api.bad_http")


def test_who_ends_his_side_behind_a_packet_is_answered_and_the_connection_ends(api: RunningApi) -> None:
    body = api.packet()
    with api.raw() as opened:
        opened.sendall(_said(api, f"Content-Length: {len(body)}", body=body))
        opened.shutdown(socket.SHUT_WR)
        ((head, answer),) = _answers(opened, 1)
        assert opened.recv(1) == b""
    assert (head.split(b" ")[1], answer["is_repeat"]) == (b"202", False)


def test_who_speaks_http_1_0_is_told_nothing_before_the_answer(api: RunningApi) -> None:
    body = api.packet()
    with api.raw() as opened:
        opened.sendall(_said(api, f"Content-Length: {len(body)}", "Expect: 100-continue", body=body, version="1.0"))
        ((head, _),) = _answers(opened, 1)
    assert head.startswith(b"HTTP/1.1 202 ")
