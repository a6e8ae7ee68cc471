"""What a stranger to the interface tries first: odd texts, odd methods, damaged bytes, a locked database."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.edge import RunningApi


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
