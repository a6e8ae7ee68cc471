"""Files over the wire: ranges, HEAD, attachments decoded, seals; and bytes that are not what they were."""

from __future__ import annotations

import hashlib
import os
import time
from typing import Any

import httpx2
import pytest

from edxml.seal import verify_seal
from tests.support.edge import RunningApi
from tests.support.patience import PATIENCE

LARGE = os.urandom(700_000)
SMALL = b"%PDF-1.7\n" + os.urandom(2_000)
FILES = (("Phụ lục “01” của sở.pdf", SMALL), ("bản đồ.bin", LARGE))


@pytest.fixture(scope="module", params=["small", "large"])
def body(request: pytest.FixtureRequest, api: RunningApi) -> bytes:
    return api.packet(files=FILES[:1] if request.param == "small" else FILES)


@pytest.fixture(scope="module")
def item(api: RunningApi, body: bytes) -> dict[str, Any]:
    sent = api.send(body)
    (found,) = [item for item in api.waiting() if item["packet_id"] == sent["packet_id"]]
    return found


def _get(api: RunningApi, item: dict[str, Any], **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.recipient.get(f"/v1/inbox/{item['delivery_id']}/packet", headers=named)


def test_head_tells_all_and_fetches_nothing(api: RunningApi, body: bytes, item: dict[str, Any]) -> None:
    got = api.recipient.head(f"/v1/inbox/{item['delivery_id']}/packet")
    assert (got.status_code, got.content) == (200, b"")
    assert got.headers["content-length"] == str(len(body))
    assert got.headers["etag"] == f'"{hashlib.sha256(body).hexdigest()}"'
    (again,) = [one for one in api.waiting() if one["delivery_id"] == item["delivery_id"]]
    assert again["state"] == "available"


def test_head_tells_of_every_file_what_a_get_sends_and_fetches_nothing(api: RunningApi) -> None:
    sent = api.send(api.packet(files=FILES))
    (item,) = [one for one in api.waiting() if one["packet_id"] == sent["packet_id"]]
    names = ("seal", "attachments/1", "attachments/2")
    asked = [
        *((api.sender, f"/v1/packets/{sent['packet_id']}/{name}") for name in ("packet", *names)),
        *((api.recipient, f"/v1/inbox/{item['delivery_id']}/{name}") for name in names),
        (api.sender, "/v1/seal-certificates.pem"),
    ]
    told = [client.head(path, headers={"Range": "bytes=0-3"}) for client, path in asked]
    (again,) = [one for one in api.waiting() if one["delivery_id"] == item["delivery_id"]]
    assert again["state"] == "available"
    missing = api.recipient.head(f"/v1/inbox/{item['delivery_id']}/attachments/9")
    assert (missing.status_code, missing.content) == (404, b"")
    assert api.foreign.head(asked[5][1]).status_code == 404
    for (client, path), head in zip(asked, told, strict=True):
        got = client.get(path)
        ours = {"x-request-id", "date"}
        assert (head.status_code, head.content) == (200, b""), path
        assert {n: v for n, v in head.headers.items() if n not in ours} == {
            n: v for n, v in got.headers.items() if n not in ours
        }


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=5-99", 5, 100), ("bytes=1000-", 1000, None), ("bytes=-7", -7, None),
     ("bytes=10-999999999", 10, None)],
)  # fmt: skip
def test_a_range(api: RunningApi, body: bytes, item: dict[str, Any], asked: str, start: int, end: int | None) -> None:
    got = _get(api, item, range=asked)
    wanted = body[start:end]
    first = start if start >= 0 else len(body) + start
    assert (got.status_code, got.content) == (206, wanted)
    assert got.headers["content-range"] == f"bytes {first}-{first + len(wanted) - 1}/{len(body)}"
    assert "content-digest" not in got.headers, "it would be of the part, which nobody summed"


def test_a_range_outside_is_refused(api: RunningApi, body: bytes, item: dict[str, Any]) -> None:
    for asked in (f"bytes={len(body)}-", "bytes=-0"):
        got = _get(api, item, range=asked)
        assert (got.status_code, got.json()["code"]) == (416, "api.bad_range")
        assert got.headers["content-range"] == f"bytes */{len(body)}"


@pytest.mark.parametrize("asked", ["bytes=0-1,3-4", "lines=1-2", "bytes=9-3", "bytes=-", "bytes=a-b"])
def test_what_is_no_single_range_gets_the_whole(api: RunningApi, body: bytes, item: dict[str, Any], asked: str) -> None:
    got = _get(api, item, range=asked)
    assert (got.status_code, got.content) == (200, body)


def test_if_range(api: RunningApi, body: bytes, item: dict[str, Any]) -> None:
    etag = f'"{item["digest"]}"'
    assert _get(api, item, range="bytes=0-3", if_range=etag).status_code == 206
    assert _get(api, item, range="bytes=0-3", if_range='"other"').status_code == 200


def test_a_confirmed_item_can_still_be_read(api: RunningApi, body: bytes) -> None:
    sent = api.send(api.packet())
    (item,) = [one for one in api.waiting() if one["packet_id"] == sent["packet_id"]]
    _get(api, item)
    api.recipient.post(f"/v1/inbox/{item['delivery_id']}/confirm")
    assert _get(api, item).status_code == 200


def test_attachments_are_decoded_for_both_sides(api: RunningApi) -> None:
    sent = api.send(api.packet(files=FILES))
    (item,) = [one for one in api.waiting() if one["packet_id"] == sent["packet_id"]]
    assert [(f["name"], f["length"]) for f in item["attachments"]] == [(n, len(d)) for n, d in FILES]
    for position, (_, data) in enumerate(FILES, 1):
        mine = api.sender.get(f"/v1/packets/{sent['packet_id']}/attachments/{position}")
        theirs = api.recipient.get(f"/v1/inbox/{item['delivery_id']}/attachments/{position}")
        assert mine.content == theirs.content == data
        assert theirs.headers["etag"] == f'"{hashlib.sha256(data).hexdigest()}"'
        assert theirs.headers["content-type"] == "application/octet-stream"
        assert theirs.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
        part = api.recipient.get(
            f"/v1/inbox/{item['delivery_id']}/attachments/{position}", headers={"Range": "bytes=100-1999"}
        )
        assert (part.status_code, part.content) == (206, data[100:2000])
    missing = api.recipient.get(f"/v1/inbox/{item['delivery_id']}/attachments/9")
    assert (missing.status_code, missing.json()["code"]) == (404, "api.unknown_attachment")
    done = api.recipient.post(f"/v1/inbox/{item['delivery_id']}/confirm")
    assert done.json() == {"state": "delivered"}, "reading an attachment is a fetch"


def test_the_seal_can_be_verified_by_both_sides(api: RunningApi) -> None:
    body = api.packet()
    sent = api.send(body)
    (item,) = [one for one in api.waiting() if one["packet_id"] == sent["packet_id"]]
    mine = api.sender.get(f"/v1/packets/{sent['packet_id']}/seal")
    theirs = api.recipient.get(f"/v1/inbox/{item['delivery_id']}/seal")
    assert mine.content == theirs.content
    assert mine.headers["content-type"].startswith("application/xml")
    statement = verify_seal(mine.content, certificates=[api.node.seal_key.certificate])
    assert (statement.packet_id, statement.packet_digest) == (sent["packet_id"], hashlib.sha256(body).hexdigest())


def test_the_senders_copy_is_the_senders_alone(api: RunningApi) -> None:
    body = api.packet()
    sent = api.send(body)
    got = api.sender.get(f"/v1/packets/{sent['packet_id']}/packet", headers={"Range": "bytes=3-9"})
    assert (got.status_code, got.content) == (206, body[3:10])
    for name in ("packet", "seal", "attachments/1"):
        for client in (api.recipient, api.foreign):
            assert client.get(f"/v1/packets/{sent['packet_id']}/{name}").status_code == 404


@pytest.mark.parametrize("files", [FILES[:1], FILES], ids=["small", "large"])
@pytest.mark.parametrize("harm", ["missing", "altered", "shortened"])
def test_a_blob_that_is_not_what_it_was_is_never_sent_whole(
    api: RunningApi, files: tuple[tuple[str, bytes], ...], harm: str
) -> None:
    body = api.packet(files=files)
    sent = api.send(body)
    (item,) = [one for one in api.waiting() if one["packet_id"] == sent["packet_id"]]
    blob = api.node.store.blobs.path(item["digest"])
    if harm == "missing":
        blob.unlink()
    else:
        blob.write_bytes(body[:-1] + b" " if harm == "altered" else body[:-1])
    try:
        got = _get(api, item)
        assert got.status_code == 503
        assert got.json()["code"] == ("blob.missing" if harm == "missing" else "blob.damaged")
        assert str(blob) not in got.text
    except httpx2.RemoteProtocolError:
        assert (harm, files) == ("altered", FILES), "only what is large can be begun and break off"
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        (line,) = api.sender.get(f"/v1/packets/{sent['packet_id']}").json()["recipients"]
        if line["state"] == "parked":
            break
        time.sleep(0.05)
    assert (line["state"], line["reason"]) == ("parked", f"blob_{'missing' if harm == 'missing' else 'damaged'}")
    again = _get(api, item)
    assert (again.status_code, again.json()["code"]) == (409, "inbox.parked")
    foreign = api.foreign.get(f"/v1/inbox/{item['delivery_id']}/packet")
    assert (foreign.status_code, foreign.json()["code"]) == (404, "inbox.unknown_item")


def test_a_small_file_out_of_a_damaged_packet_is_not_begun(api: RunningApi) -> None:
    body = api.packet(files=FILES)
    sent = api.send(body)
    (item,) = [one for one in api.waiting() if one["packet_id"] == sent["packet_id"]]
    at = body.index(b"JVBERi0") + 400
    api.node.store.blobs.path(item["digest"]).write_bytes(body[:at] + b"AAAAAAAA" + body[at + 8 :])
    mine = api.sender.get(f"/v1/packets/{sent['packet_id']}/attachments/1")
    assert (mine.status_code, mine.json()["code"]) == (503, "blob.damaged")
    theirs = api.recipient.get(f"/v1/inbox/{item['delivery_id']}/attachments/1")
    assert (theirs.status_code, theirs.json()["code"]) == (503, "blob.damaged")
    assert "chờ xử lý tay" in theirs.json()["vi"]


def test_of_a_small_damaged_packet_no_range_goes_out(api: RunningApi) -> None:
    body = api.packet()
    sent = api.send(body)
    (item,) = [one for one in api.waiting() if one["packet_id"] == sent["packet_id"]]
    api.node.store.blobs.path(item["digest"]).write_bytes(body[:-1] + b" ")
    assert _get(api, item, range="bytes=0-9").status_code == 503
    mine = api.sender.get(f"/v1/packets/{sent['packet_id']}/packet")
    assert (mine.status_code, mine.json()["code"]) == (503, "blob.damaged")


def test_a_reader_that_goes_away_leaves_the_item_to_be_fetched_again(api: RunningApi) -> None:
    big = (("lớn.bin", os.urandom(8 << 20)),)
    sent = api.send(api.packet(files=big))
    (item,) = [one for one in api.waiting() if one["packet_id"] == sent["packet_id"]]
    with api.raw() as opened:
        token = api.client("na-xa-16681-2025").headers["Authorization"]
        opened.sendall(
            f"GET /v1/inbox/{item['delivery_id']}/packet HTTP/1.1\r\nHost: t\r\nAuthorization: {token}\r\n\r\n".encode()
        )
        assert opened.recv(1000).startswith(b"HTTP/1.1 200")
    deadline = time.monotonic() + PATIENCE
    found: list[dict[str, Any]] = []
    while not found and time.monotonic() < deadline:
        time.sleep(0.1)
        found = [one for one in api.waiting() if one["delivery_id"] == item["delivery_id"]]
    assert [one["state"] for one in found] == ["fetched"]
