"""What a stranger to the interface tries first: odd texts, odd methods, damaged bytes, a locked database."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.edge import FOREIGN, RECIPIENT, SENDER, RunningApi
from tests.support.packets import build_status


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
        assert (got.status_code, got.json()["code"]) == (400, "api.bad_text"), (path, got.text)
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
