"""A packet in UTF-16 on its way over REST: its bytes untouched, its files served decoded, the repair sealed."""

from __future__ import annotations

import base64
import hashlib
import os

from tests.support.edge import RunningApi

FILES = (("Phụ lục 1.pdf", b"%PDF-1.7\n" + os.urandom(2_000)), ("bản đồ.bin", os.urandom(400_000)))


def test_over_rest(api: RunningApi) -> None:
    body = api.packet(files=FILES).decode().replace('"UTF-8"', '"utf-16"').encode("utf-16")
    sent = api.send(body)
    (item,) = [one for one in api.waiting() if one["packet_id"] == sent["packet_id"]]
    for position, (name, data) in enumerate(FILES, 1):
        assert item["attachments"][position - 1]["name"] == name
        mine = api.sender.get(f"/v1/packets/{sent['packet_id']}/attachments/{position}")
        theirs = api.recipient.get(f"/v1/inbox/{item['delivery_id']}/attachments/{position}")
        assert mine.content == theirs.content == data
    got = api.recipient.get(f"/v1/inbox/{item['delivery_id']}/packet")
    assert got.content == body
    assert got.headers["etag"] == f'"{hashlib.sha256(body).hexdigest()}"'
    seal = api.sender.get(f"/v1/packets/{sent['packet_id']}/seal").content
    assert b"utf16" in seal
    assert hashlib.sha256(body).hexdigest().encode() in seal or base64.b64encode(hashlib.sha256(body).digest()) in seal
