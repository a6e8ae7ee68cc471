"""Bodies that lie, never end, come too slowly, break off or are no packets: each refused, nothing kept, memory flat."""

from __future__ import annotations

import json
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from gateway.api.edge import Patience
from gateway.model.events import EventKind
from tests.support.edge import RECIPIENT, RunningApi, running_api
from tests.support.packets import build_packet
from tests.support.patience import PATIENCE, until

MIB = 1 << 20


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    with running_api(tmp_path_factory.mktemp("api"), packet_mib="1") as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_is_left_in_the_spool(api: RunningApi) -> Iterator[None]:
    yield
    deadline = time.monotonic() + PATIENCE
    while api.spooled() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert api.spooled() == []


def _head(api: RunningApi, *lines: str) -> bytes:
    token = api.tokens["na-so-stc"]
    return "\r\n".join(
        ("POST /v1/packets HTTP/1.1", "Host: t", f"Authorization: Bearer {token}", *lines, "", "")
    ).encode()


def _answer(opened: socket.socket) -> tuple[int, dict[str, object]]:
    """Status and JSON body of the one answer that comes."""
    with opened, opened.makefile("rb") as stream:
        status = int(stream.readline().split()[1])
        length = 0
        while (line := stream.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = stream.read(length)
    return status, json.loads(body) if body else {}


def test_a_length_over_the_limit_is_refused_before_the_body_is_read(api: RunningApi) -> None:
    opened = api.raw()
    opened.sendall(_head(api, f"Content-Length: {1 << 40}"))  # and not one byte of it
    status, problem = _answer(opened)
    assert (status, problem["code"]) == (413, "submission.too_large")


def test_expect_continue_is_refused_without_continue(api: RunningApi) -> None:
    opened = api.raw()
    opened.sendall(_head(api, f"Content-Length: {MIB + 1}", "Expect: 100-continue"))
    status, problem = _answer(opened)
    assert (status, problem["code"]) == (413, "submission.too_large")


def test_a_chunked_body_is_refused_while_it_comes(api: RunningApi) -> None:
    opened = api.raw()
    opened.sendall(_head(api, "Transfer-Encoding: chunked"))
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    for _ in range(18):
        opened.sendall(chunk)
    status, problem = _answer(opened)
    assert (status, problem["code"]) == (413, "submission.too_large")


def test_a_gigabyte_of_blanks_costs_no_memory(api: RunningApi) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def blanks() -> Iterator[bytes]:
        for _ in range(1024):
            yield b" " * MIB

    try:
        got = api.sender.post("/v1/packets", content=blanks())
        assert (got.status_code, got.json()["code"]) == (413, "submission.too_large")
    except (httpx2.WriteError, httpx2.ReadError):
        pass  # cut off while it still sent: as good as any refusal
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 20 * 1024, f"{grown} KiB more"
    assert api.node.metrics.render().count(b'status="413"') > 0


def test_a_body_shorter_than_its_length_leaves_nothing(api: RunningApi) -> None:
    opened = api.raw()
    opened.sendall(_head(api, "Content-Length: 600000") + b"<" + b" " * 500_000)
    deadline = time.monotonic() + PATIENCE
    while not api.spooled() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(api.spooled()) == 1, "it was spooled while it came"
    opened.close()


def test_a_body_that_stops_is_given_up(tmp_path: Path) -> None:
    with running_api(tmp_path, patience=Patience(between_chunks=0.3)) as api:
        opened = api.raw()
        opened.sendall(_head(api, "Content-Length: 600000") + b"<edXML")
        status, problem = _answer(opened)
        assert (status, problem["code"]) == (408, "api.too_slow")


def test_a_body_that_drips_is_given_up(tmp_path: Path) -> None:
    with running_api(tmp_path, patience=Patience(at_first=0.6)) as api:
        opened = api.raw()
        opened.sendall(_head(api, "Content-Length: 600000"))
        began = time.monotonic()
        while time.monotonic() - began < 1.2:
            try:
                opened.sendall(b" ")
            except OSError:
                break
            time.sleep(0.05)
        status, problem = _answer(opened)
        assert (status, problem["code"]) == (408, "api.too_slow")
        assert api.spooled() == []


def test_a_head_without_an_end_is_refused(api: RunningApi) -> None:
    opened = api.raw()
    opened.sendall(b"GET /v1/me HTTP/1.1\r\nHost: t\r\nX-Long: ")
    with opened:
        for _ in range(40):
            try:
                opened.sendall(b"x" * 4096)
            except OSError:
                break
            time.sleep(0.002)
        try:
            assert b" 431 " in opened.recv(200)
        except ConnectionResetError:
            pass  # the answer went under in the reset that our own unread bytes caused


def test_a_long_head_in_one_piece_is_refused(api: RunningApi) -> None:
    with api.raw() as opened:
        opened.sendall(b"GET /v1/me HTTP/1.1\r\nHost: t\r\nX-Long: " + b"x" * 70_000 + b"\r\n\r\n")
        assert b" 431 " in opened.recv(200)


BAD: list[tuple[str, bytes, str]] = [
    ("not_xml", b"PK\x03\x04" + b"\0" * 100, "edxml."),
    ("dtd", b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "edxml.dtd_forbidden"),
    ("root", b"<a/>", "edxml.root_unknown"),
    ("nul", b"<edXML>\0</edXML>", "edxml."),
    ("utf32", "<edXML/>".encode("utf-32"), "edxml.encoding_unsupported"),
    ("utf16", "<a/>".encode("utf-16"), "edxml.root_unknown"),
    ("blanks", b" " * 5000, "edxml.empty"),
]


@pytest.mark.parametrize(("body", "code"), [(body, code) for _, body, code in BAD], ids=[name for name, _, _ in BAD])
def test_what_is_no_packet_is_refused_with_findings(api: RunningApi, body: bytes, code: str) -> None:
    before = len(api.events(EventKind.PACKET_REFUSED))
    got = api.sender.post("/v1/packets", content=body)
    problem = got.json()
    assert (got.status_code, problem["code"]) == (422, "packet.refused"), problem
    assert problem["findings"][0]["code"].startswith(code), problem["findings"]
    assert problem["findings"][0]["vi"] != problem["findings"][0]["en"]
    system = api.sender.get("/v1/me").json()["system_id"]
    told = api.events(EventKind.PACKET_REFUSED)[before:]
    assert told == [(problem["findings"][0]["code"], system)]


def test_a_truncated_packet_is_refused(api: RunningApi) -> None:
    got = api.sender.post("/v1/packets", content=api.packet()[:-200])
    assert (got.status_code, got.json()["findings"][0]["code"]) == (422, "edxml.truncated")


def test_every_finding_comes_with_its_place(api: RunningApi) -> None:
    body = build_packet(sender=api.organ("na-so-stc"), recipients=["H99.9999", "H99.8888"], number="5")
    problem = api.sender.post("/v1/packets", content=body).json()
    found = [f for f in problem["findings"] if f["code"] == "route.unknown_recipient"]
    assert len(found) == 2
    assert all(f["path"] for f in found)


def test_a_secret_packet_leaves_only_the_rule(api: RunningApi) -> None:
    before = len(api.events(EventKind.PACKET_REFUSED))
    body = api.packet(subject="TUYỆT MẬT: kế hoạch phòng thủ")
    got = api.sender.post("/v1/packets", content=body)
    assert (got.status_code, got.json()["code"]) == (422, "packet.secret")
    ((reason, _),) = api.events(EventKind.PACKET_REFUSED)[before:]
    assert reason == "edxml.secrecy_mark:top_secret"
    assert got.json()["findings"][0]["code"] == "edxml.secrecy_mark"
    assert "phòng thủ" not in got.text
    with api.node.store.read() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM events").all()
    assert "phòng thủ" not in str(rows)
    assert not any(api.node.store.blobs.names())


def test_an_empty_body_and_wrong_kinds(api: RunningApi) -> None:
    assert api.sender.post("/v1/packets").json()["code"] == "api.empty"
    wrong = api.sender.post("/v1/packets", content=b"{}", headers={"Content-Type": "application/json"})
    assert (wrong.status_code, wrong.json()["code"]) == (415, "api.bad_kind")
    packed = api.sender.post("/v1/packets", content=b"x", headers={"Content-Encoding": "gzip"})
    assert (packed.status_code, packed.json()["code"]) == (415, "api.bad_encoding")
    asked = api.sender.post("/v1/packets", content=b"x", params={"recipients": "most"})
    assert (asked.status_code, asked.json()["code"]) == (400, "api.bad_recipients")


def test_wrong_words_of_a_confirmation(api: RunningApi) -> None:
    path = "/v1/inbox/0199b3f0-7c1e-7a52-9d0b-3f6a1c2d4e5f/confirm"
    wrong = {
        b"{": "api.json_ends",
        b"[]": "api.bad_field",
        b'{"arived":true}': "api.bad_field",
        b"\xff": "api.not_utf8",
    }
    for body, code in wrong.items():
        got = api.recipient.post(path, content=body)
        assert (got.status_code, got.json()["code"]) == (400, code), body
    got = api.recipient.post(path, content=b'{"reason":"' + b"x" * 70_000 + b'"}')
    assert got.status_code == 413


def test_what_is_not_there_and_what_is_not_done(api: RunningApi) -> None:
    assert api.sender.get("/v1/nichts").json()["code"] == "api.no_route"
    got = api.sender.delete("/v1/packets")
    assert (got.status_code, got.json()["code"]) == (405, "api.no_method")
    assert api.sender.get("/v1/packets/not-an-id").json()["code"] == "api.bad_field"
    assert api.sender.get("/v1/inbox/not-an-id/packet").status_code in (400, 404)


def test_some_recipients_go_where_all_would_be_refused(api: RunningApi) -> None:
    body = build_packet(sender=api.organ("na-so-stc"), recipients=[api.organ(RECIPIENT), "H99.9999"], number="4711")
    assert api.sender.post("/v1/packets", content=body).status_code == 422
    answer = api.send(body, params={"recipients": "some"})
    assert sorted(line["state"] for line in answer["recipients"]) == ["available", "undeliverable"]


def test_below_the_disk_reserve_nothing_is_read(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        free = api.node.store.blobs.free()
    with running_api(tmp_path, disk_reserve_mib=str((free >> 20) + 1024)) as api:
        opened = api.raw()
        opened.sendall(_head(api, "Content-Length: 1000"))  # and not one byte of it
        status, problem = _answer(opened)
        assert (status, problem["code"]) == (507, "store.disk_reserve")

        def wrong() -> list[str]:
            ready = httpx2.get(f"{api.url}/health/ready")
            assert ready.status_code == 503
            return [c["name"] for c in ready.json()["checks"] if not c["is_ok"]]

        until(lambda: wrong() == ["disk"], wrong)  # what was not looked at in time is not ready either
        assert httpx2.get(f"{api.url}/health/live").json() == {"status": "live"}


def test_a_busy_store_is_said_and_loses_nothing(tmp_path: Path) -> None:
    with running_api(tmp_path, database_wait="0.2") as api:
        body = api.packet()
        api.sender.get("/v1/me")
        with api.node.store.write():
            got = api.sender.post("/v1/packets", content=body)
            assert (got.status_code, got.json()["code"]) == (503, "store.busy")
            assert got.headers["retry-after"] == "2"
        assert not api.send(body)["is_repeat"]
