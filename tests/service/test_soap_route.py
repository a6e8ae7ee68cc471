"""A packet of dialect D on its way: over REST and through a folder; its bytes untouched, its files served decoded."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import pytest

from edxml import Packet, read
from gateway.workers.intake_round import intake_once
from tests.support.edge import RECIPIENT, SENDER, RunningApi
from tests.support.folders import files_under
from tests.support.nodes import build_house, organ
from tests.support.soap import BOUNDARY, build_soap

SMALL = (("Phụ lục “01”.pdf", b"%PDF-1.7\n" + os.urandom(2_000)), ("ghi chú.txt", "Xin chào\r\n".encode()))
LARGE = (*SMALL, ("bản đồ.bin", os.urandom(700_000)))
KIND = {"Content-Type": f'multipart/related; type="text/xml"; boundary="{BOUNDARY}"; start="Start"'}


@pytest.mark.parametrize("transfer", ["base64", "binary", "quoted-printable"])
@pytest.mark.parametrize("files", [SMALL, LARGE], ids=["small", "large"])
def test_over_rest(api: RunningApi, files: tuple[tuple[str, bytes], ...], transfer: str) -> None:
    api.numbers += 1
    body = build_soap(
        files=files, transfer=transfer, sender=api.organ(SENDER), recipients=[api.organ(RECIPIENT)],
        number=str(api.numbers),
    )  # fmt: skip
    sent = api.send(body, headers=KIND)
    (item,) = [one for one in api.waiting() if one["packet_id"] == sent["packet_id"]]
    assert [(each["name"], each["length"]) for each in item["attachments"]] == [
        (name, len(data)) for name, data in files
    ]
    for position, (_, data) in enumerate(files, 1):
        mine = api.sender.get(f"/v1/packets/{sent['packet_id']}/attachments/{position}")
        theirs = api.recipient.get(f"/v1/inbox/{item['delivery_id']}/attachments/{position}")
        assert mine.content == theirs.content == data
        part = api.recipient.get(
            f"/v1/inbox/{item['delivery_id']}/attachments/{position}", headers={"Range": "bytes=5-11"}
        )
        assert part.content == data[5:12]
    got = api.recipient.get(f"/v1/inbox/{item['delivery_id']}/packet")
    assert got.content == body
    assert got.headers["content-type"] == "application/octet-stream", "it is no XML"
    assert got.headers["etag"] == f'"{hashlib.sha256(body).hexdigest()}"'


def test_the_same_document_in_another_form_is_the_same_document(api: RunningApi) -> None:
    plain = api.packet(files=SMALL)
    packet = read_packet(plain)
    sent = api.send(plain)
    kept = api.sender.get(f"/v1/packets/{sent['packet_id']}/packet")
    assert (kept.content, kept.headers["content-type"]) == (plain, "application/xml")
    again = api.sender.post("/v1/packets", content=build_soap(files=SMALL, **fields(packet)), headers=KIND)
    assert again.status_code in (200, 202), again.text
    assert again.json()["packet_id"] == sent["packet_id"]


def read_packet(data: bytes) -> Packet:
    found = read(io.BytesIO(data)).packet
    assert isinstance(found, Packet)
    return found


def fields(packet: Packet) -> dict[str, Any]:
    assert packet.sender.organ_id is not None
    return {
        "sender": packet.sender.organ_id.text,
        "recipients": [str(each.organ_id) for each in packet.recipients],
        "number": packet.code_number,
    }


def test_a_cut_message_is_refused(api: RunningApi) -> None:
    body = build_soap(sender=api.organ(SENDER), recipients=[api.organ(RECIPIENT)], number="900")
    got = api.sender.post("/v1/packets", content=body[:-30], headers=KIND)
    assert (got.status_code, got.json()["findings"][0]["code"]) == (422, "edxml.truncated")
    other = api.sender.post("/v1/packets", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert (other.status_code, other.json()["code"]) == (415, "api.bad_kind")


def test_from_a_folder_to_a_folder(tmp_path: Path) -> None:
    house = build_house(tmp_path, folders=True)
    try:
        house.node.channels.sink("folder").probe()
        body = build_soap(files=SMALL, transfer="binary", sender=organ("folder-a"), recipients=[organ("folder-b")])
        (house.root / "di" / "van-ban.edxml").write_bytes(body)
        assert intake_once(house.node) == 1
        house.work()
        [arrived] = (house.root / "den").glob("*.edxml")
        assert arrived.read_bytes() == body
        assert "van-ban.edxml" not in files_under(house.root / "di")
    finally:
        house.close()
