"""Wrong requests in JSON: each answer names the field, what stood there and what may stand there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.api.v1 import shapes
from tests.support.edge import RECIPIENT, RunningApi

ABSENT = "0199b3f0-7c1e-7a52-9d0b-3f6a1c2d4e5f"
STATUSES = "/v1/statuses"
REFUSE = f"/v1/inbox/{ABSENT}/refuse"
CONFIRM = f"/v1/inbox/{ABSENT}/confirm"
ROUTES = pytest.mark.parametrize("path", [STATUSES, REFUSE, CONFIRM])


def _problem(api: RunningApi, path: str, body: bytes, status: int = 400, **headers: str) -> dict[str, Any]:
    got = api.recipient.post(path, content=body, headers=headers)
    assert got.status_code == status, got.text
    assert got.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = got.json()
    shapes.ProblemShape.model_validate(problem)
    assert problem["vi"] != problem["en"]
    return problem


def _faults(api: RunningApi, path: str, body: Any) -> list[tuple[str, str, str | None]]:
    """(code, pointer, what stood there) of each wrong field."""
    problem = _problem(api, path, body if isinstance(body, bytes) else json.dumps(body).encode())
    assert problem["code"] == "api.bad_field"
    for fault in problem["errors"]:
        where = ".".join(("body", *fault["pointer"].split("/")[1:]))
        assert fault["in"] == "body"
        assert where in fault["vi"]
        assert where in fault["en"]
        names_value = fault["value"] is not None and fault["code"] not in ("field.unknown", "field.twice")
        assert not names_value or fault["value"] in fault["en"]
    return [(fault["code"], fault["pointer"], fault["value"]) for fault in problem["errors"]]


def test_a_number_for_a_code_gets_the_codes_with_their_meaning(api: RunningApi) -> None:
    problem = _problem(api, STATUSES, json.dumps({"code": 3, "delivery_id": ABSENT}).encode())
    (fault,) = problem["errors"]
    assert (fault["code"], fault["pointer"], fault["value"]) == ("field.not_allowed", "/code", "3")
    assert {"value": "03", "vi": "Đã tiếp nhận", "en": "accepted"} in fault["allowed"]
    assert [one["value"] for one in fault["allowed"]] == ["01", "02", "03", "04", "05", "06", "16"]
    assert "03 (Đã tiếp nhận)" in problem["vi"]
    assert "body.code may not be 3." in problem["en"]
    described = api.sender.get("/v1/openapi.json").json()["components"]["schemas"]["StatusBody"]["properties"]["code"]
    assert "03: Đã tiếp nhận / accepted" in described["description"]


@pytest.mark.parametrize("code", [None, "", "99", "13", True, 3.5, ["03"], {"a": 1}, "0" * 5_000])
def test_whatever_stands_for_a_code_the_list_is_told(api: RunningApi, code: object) -> None:
    (fault,) = _problem(api, STATUSES, json.dumps({"code": code, "delivery_id": ABSENT}).encode())["errors"]
    assert (fault["pointer"], len(fault["allowed"])) == ("/code", 7)
    assert len(fault["value"]) < 100


def test_missing_unknown_and_wrong_members_are_told_together(api: RunningApi) -> None:
    problem = _problem(api, STATUSES, b'{"cod": "03", "description": 5}')
    told = {fault["pointer"]: fault for fault in problem["errors"]}
    assert {pointer: fault["code"] for pointer, fault in told.items()} == {
        "/cod": "field.unknown",
        "/code": "field.missing_choice",
        "/description": "field.not_text",
    }
    assert [one["value"] for one in told["/cod"]["allowed"]][:2] == ["code", "description"]
    assert told["/code"]["value"] is None
    assert len(told["/code"]["allowed"]) == 7
    assert _faults(api, REFUSE, {}) == [("field.missing", "/reason", None)]


def test_types_are_not_guessed(api: RunningApi) -> None:
    for wrong in ("yes", "true", 1, 0, None):
        told = [("field.not_boolean", "/arrived", json.dumps(wrong))]
        assert _faults(api, CONFIRM, {"arrived": wrong}) == told
    assert _faults(api, CONFIRM, {"arrived": False, "reason": None}) == [("field.not_text", "/reason", "null")]
    assert _faults(api, REFUSE, {"reason": "x" * 1_001}) == [("field.too_long", "/reason", f'"{"x" * 79}…')]


@ROUTES
def test_an_object_is_wanted(api: RunningApi, path: str) -> None:
    for body, told in ((b"[1]", "[…]"), (b'"a"', '"a"'), (b"3", "3"), (b"null", "null"), (b"NaN", "NaN")):
        assert _faults(api, path, body) == [("field.not_object", "", told)]


@ROUTES
@pytest.mark.parametrize(
    ("body", "line", "column", "found", "code"),
    [
        (b"{\n  'reason': 1}", 2, 3, "\"'reason': 1}\"", "api.bad_json"),
        (b'{"reason": "a" "b"}', 1, 16, '"\\"b\\"}"', "api.bad_json"),
        (b'{"reason": "a\x01"}', 1, 14, '"\\u0001\\"}"', "api.bad_json"),
        (b'{} {"reason": "a"}', 1, 4, None, "api.bad_json"),
        (b'{"reason": tru', 1, 12, '"tru"', "api.bad_json"),
        (b'{"reason":', 1, 11, None, "api.json_ends"),
        (b"{", 1, 2, None, "api.json_ends"),
        (b"{\x00\"\x00", 1, 2, None, "api.bad_json"),
        (b"<edXML/>", 1, 1, '"<edXML/>"', "api.bad_json"),
    ],
)  # fmt: skip
def test_where_broken_json_breaks(
    api: RunningApi, path: str, body: bytes, line: int, column: int, found: str | None, code: str
) -> None:
    problem = _problem(api, path, body)
    assert problem["code"] == code
    assert f"line {line}, column {column}," in problem["en"]
    assert f"dòng {line}, cột {column}" in problem["vi"]
    assert found is None or found in problem["vi"]
    assert problem["vi"].isprintable()


@ROUTES
def test_what_is_no_utf8_and_other_charsets(api: RunningApi, path: str) -> None:
    problem = _problem(api, path, b'{"reason": "\xff"}')
    assert (problem["code"], "byte 13 is 0xff" in problem["en"]) == ("api.not_utf8", True)
    assert _problem(api, path, '{"reason": "a"}'.encode("utf-16"))["code"] == "api.not_utf8"
    kind = {"Content-Type": "application/json; charset=windows-1258"}
    problem = _problem(api, path, b"{}", 415, **kind)
    assert (problem["code"], "windows-1258" in problem["vi"]) == ("api.bad_charset", True)
    assert _problem(api, path, b"x", 415, **{"Content-Encoding": "gzip"})["code"] == "api.bad_encoding"


@ROUTES
def test_a_member_that_comes_twice_is_refused(api: RunningApi, path: str) -> None:
    assert _faults(api, path, b'{"reason": "a", "reason": "b"}') == [("field.twice", "/reason", '"b"')]


@ROUTES
def test_huge_numbers_and_deep_nests_are_told_shortly(api: RunningApi, path: str) -> None:
    for number in (b"9" * 60_000, b"1e999999", b"-" + b"1" * 5_000, b"0." + b"1" * 50_000):
        (told,) = [one for one in _faults(api, path, b'{"x": %b}' % number) if one[1] == "/x"]
        assert told[0] == "field.unknown"
        assert told[2] is not None
        assert len(told[2]) < 100
    for nest in (b"[" * 60_000, b'{"a":' * 10_000, b"[" * 30_000 + b"]" * 30_000):
        problem = _problem(api, path, b'{"reason": %b}' % nest)
        assert problem["code"] in ("api.json_too_deep", "api.bad_field", "api.json_ends")
        assert len(problem["vi"]) < 500


def test_ten_thousand_unknown_members_get_a_short_answer(api: RunningApi) -> None:
    body = json.dumps({f"n{number}": 1 for number in range(5_000)}).encode()
    problem = _problem(api, CONFIRM, body)
    assert (len(problem["errors"]), "5000" in problem["vi"]) == (100, True)
    assert len(problem["vi"]) < 1_000


@pytest.mark.parametrize("odd", ["a\u001b[2Jb", "\u202egnp.exe", "\x00", "x\ud800", "\ufffe"])
def test_what_is_shown_has_no_control_characters(api: RunningApi, odd: str) -> None:
    for body in ({"reason": odd}, {"reason": "x", odd: odd}, {"reason": [odd]}):
        if body == {"reason": "\u202egnp.exe"}:
            continue  # a text that edXML carries
        text = _problem(api, REFUSE, json.dumps(body).encode())
        assert text["vi"].isprintable()
        assert all(str(fault["value"]).isprintable() and fault["pointer"].isprintable() for fault in text["errors"])


@pytest.mark.parametrize(
    ("query", "code", "pointer", "value"),
    [
        ("/v1/packets?limit=0", "field.too_small", "/limit", '"0"'),
        ("/v1/packets?limit=501", "field.too_large", "/limit", '"501"'),
        ("/v1/notices?limit=viele", "field.not_whole", "/limit", '"viele"'),
        ("/v1/notices?after=x", "field.not_id", "/after", '"x"'),
        ("/v1/inbox?limit=0", "field.not_between", "/limit", '"0"'),
        ("/v1/inbox?wait=soon", "field.not_seconds", "/wait", '"soon"'),
        ("/v1/inbox?after=x", "field.not_id", "/after", '"x"'),
        ("/v1/inbox?waits=1", "field.unknown", "/waits", '"1"'),
        ("/v1/repairs?from=2026-02-30", "field.not_day", "/from", '"2026-02-30"'),
        ("/v1/repairs?to=30/02/2026", "field.not_day", "/to", '"30/02/2026"'),
        ("/v1/agencies?on=29.02.2027", "field.not_day", "/on", '"29.02.2027"'),
        ("/v1/documents", "field.missing", "/id", None),
        ("/v1/documents?id=%00", "field.bad_text", "/id", '"\\u0000"'),
        ("/health/ready?for=x", "field.not_allowed", "/for", '"x"'),
        ("/v1/packets/not-an-id", "field.not_id", "/packet_id", '"not-an-id"'),
        (f"/v1/packets/{ABSENT}/attachments/0", "field.too_small", "/position", '"0"'),
    ],
)
def test_a_wrong_parameter_is_named_with_its_value(
    api: RunningApi, query: str, code: str, pointer: str, value: str | None
) -> None:
    got = api.sender.get(query)
    assert (got.status_code, got.json()["code"]) == (400, "api.bad_field"), got.text
    (fault,) = got.json()["errors"]
    assert (fault["code"], fault["pointer"], fault["value"]) == (code, pointer, value)
    assert fault["vi"] in got.json()["vi"]
    assert fault["in"] == ("path" if "packets/" in query else "query")


def _delivered(api: RunningApi) -> tuple[str, str]:
    """A document that its recipient has: ids of the packet and of the delivery."""
    sent = api.send()["packet_id"]
    (item,) = [one["delivery_id"] for one in api.waiting() if one["packet_id"] == sent]
    api.recipient.get(f"/v1/inbox/{item}/packet").raise_for_status()
    api.recipient.post(f"/v1/inbox/{item}/confirm").raise_for_status()
    return sent, item


@pytest.mark.parametrize("said", [{}, {"description": ""}, {"description": " \n"}])
@pytest.mark.parametrize("code", ["02", "16"])
def test_a_refusal_says_why(api: RunningApi, code: str, said: dict[str, str]) -> None:
    sent, item = _delivered(api)
    ((fault, pointer, _),) = _faults(api, STATUSES, {"code": code, "delivery_id": item, **said})
    assert (fault, pointer) == ("field.no_reason", "/description")
    assert _faults(api, f"/v1/inbox/{item}/refuse", {"reason": "  "}) == [("field.no_reason", "/reason", '"  "')]
    assert api.sender.get(f"/v1/packets/{sent}").json()["statuses"] == []


def test_nobody_is_asked_for_staff_who_has_no_field_for_it(api: RunningApi) -> None:
    _, item = _delivered(api)
    said = {"code": "02", "delivery_id": item, "description": "Gửi nhầm cơ quan"}
    assert api.recipient.post(STATUSES, json=said).json()["findings"] == []
    _, item = _delivered(api)
    assert api.recipient.post(f"/v1/inbox/{item}/refuse", json={"reason": "Gửi nhầm"}).json()["findings"] == []


def test_a_refusal_after_finished_is_a_conflict(api: RunningApi) -> None:
    sent, item = _delivered(api)
    refusal = {
        "code": "02",
        "document_id": api.sender.get(f"/v1/packets/{sent}").json()["packet"]["document_id"],
        "agency": RECIPIENT,
        "description": "Gửi nhầm",
    }
    assert api.recipient.post(STATUSES, json={"code": "06", "delivery_id": item}).status_code == 202
    assert api.recipient.post(STATUSES, json={"code": "03", "delivery_id": item}).status_code == 202
    for path, body in ((STATUSES, refusal), (f"/v1/inbox/{item}/refuse", {"reason": "Gửi nhầm"})):
        got = api.recipient.post(path, json=body)
        assert (got.status_code, got.json()["code"]) == (409, "status.after_finished"), got.text
    statuses = api.sender.get(f"/v1/packets/{sent}").json()["statuses"]
    assert [one["code"] for one in statuses] == ["06", "03"]


def test_a_refusal_that_came_before_finished_stays_the_same_answer(api: RunningApi) -> None:
    sent, item = _delivered(api)
    refusal = {"reason": "Gửi nhầm"}
    first = api.recipient.post(f"/v1/inbox/{item}/refuse", json=refusal).json()
    assert api.recipient.post(STATUSES, json={"code": "06", "delivery_id": item}).status_code == 202
    again = api.recipient.post(f"/v1/inbox/{item}/refuse", json=refusal)
    assert (again.status_code, again.json()["packet_id"]) == (202, first["packet_id"]), again.text
    assert again.json()["is_repeat"]
    assert len(api.sender.get(f"/v1/packets/{sent}").json()["statuses"]) == 2
