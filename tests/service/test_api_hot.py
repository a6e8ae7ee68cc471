"""The four hot routes against a real server: submit, list, fetch, confirm; who may, and what repeats do."""

from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import httpx2
import pytest

from gateway.identity import rotate_token
from gateway.model.events import EventKind
from tests.support.edge import FOREIGN, RECIPIENT, SENDER, RunningApi
from tests.support.packets import build_packet
from tests.support.patience import PATIENCE, until


def _only_item(api: RunningApi, packet_id: str) -> dict[str, object]:
    (item,) = [item for item in api.waiting() if item["packet_id"] == packet_id]
    return item


def test_a_document_goes_its_whole_way(api: RunningApi) -> None:
    body = api.packet()
    sent = api.send(body)
    assert not sent["is_repeat"]
    (line,) = sent["recipients"]
    assert (line["agency_id"], line["state"]) == (RECIPIENT, "available")
    item = _only_item(api, sent["packet_id"])
    assert item["size"] == len(body)
    assert item["digest"] == hashlib.sha256(body).hexdigest()
    assert [file["name"] for file in item["attachments"]] == ["van-ban.pdf"]  # type: ignore[attr-defined]
    got = api.recipient.get(f"/v1/inbox/{item['delivery_id']}/packet")
    assert (got.status_code, got.content) == (200, body)
    assert got.headers["truc-key"] == item["key"]
    assert got.headers["etag"] == f'"{item["digest"]}"'
    done = api.recipient.post(f"/v1/inbox/{item['delivery_id']}/confirm", json={})
    assert (done.status_code, done.json()) == (200, {"state": "delivered"})
    again = api.recipient.post(f"/v1/inbox/{item['delivery_id']}/confirm", json={})
    assert again.json() == {"state": "delivered"}
    assert item["delivery_id"] not in {i["delivery_id"] for i in api.waiting()}
    shown = api.sender.get(f"/v1/packets/{sent['packet_id']}").json()
    assert [(r["state"], r["reason"]) for r in shown["recipients"]] == [("delivered", "confirmed")]


def test_an_item_is_not_confirmed_before_it_was_fetched(api: RunningApi) -> None:
    item = _only_item(api, api.send()["packet_id"])
    got = api.recipient.post(f"/v1/inbox/{item['delivery_id']}/confirm")
    assert (got.status_code, got.json()["code"]) == (409, "inbox.not_fetched")


def test_an_item_is_listed_again_after_its_response_ended_unconfirmed(api: RunningApi) -> None:
    item = _only_item(api, api.send()["packet_id"])
    assert api.recipient.get(f"/v1/inbox/{item['delivery_id']}/packet").status_code == 200
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        again = [i for i in api.waiting() if i["delivery_id"] == item["delivery_id"]]
        if again:
            break
        time.sleep(0.1)
    assert [i["state"] for i in again] == ["fetched"]


def test_a_failed_transport_parks_and_tells_the_sender(api: RunningApi) -> None:
    sent = api.send()
    item = _only_item(api, sent["packet_id"])
    api.recipient.get(f"/v1/inbox/{item['delivery_id']}/packet")
    got = api.recipient.post(
        f"/v1/inbox/{item['delivery_id']}/confirm", json={"arrived": False, "reason": "không giải mã được"}
    )
    assert got.json() == {"state": "parked"}
    notices = api.sender.get("/v1/notices").json()["items"]
    assert [n["code"] for n in notices if n["packet_id"] == sent["packet_id"]] == ["delivery.recipient_failed"]


def test_the_same_bytes_get_the_first_answer(api: RunningApi) -> None:
    body = api.packet()
    first, again = api.send(body), api.send(body)
    assert again["is_repeat"]
    assert again["packet_id"] == first["packet_id"]
    assert again["recipients"] == first["recipients"]


def test_an_idempotency_key_repeats_for_the_same_body_and_conflicts_for_another(api: RunningApi) -> None:
    body, key = api.packet(), {"Idempotency-Key": "so-tai-chinh-1"}
    first, again = api.send(body, headers=key), api.send(body, headers=key)
    assert (again["is_repeat"], again["packet_id"]) == (True, first["packet_id"])
    other = api.sender.post("/v1/packets", content=api.packet(), headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "submission.idempotency_conflict")
    body = build_packet(sender=api.organ(FOREIGN), recipients=[api.organ(RECIPIENT)], number="77")
    theirs = api.foreign.post("/v1/packets", content=body, headers=key)
    assert theirs.status_code == 202, "another system's key is another key"


@pytest.mark.parametrize("name", ["Authorization", "Idempotency-Key", "Truc-Recipients", "Content-Type"])
def test_a_header_with_one_value_that_comes_twice_is_refused(api: RunningApi, name: str) -> None:
    """Of two keys or tokens nobody can say which was meant, and a proxy before the node may see the other one."""
    meant = {"Authorization": f"Bearer {api.tokens[SENDER]}", "Content-Type": "application/xml"}.get(name, "some")
    twice = [(name, meant), (name, meant)]
    answer = api.sender.post("/v1/packets", content=api.packet(), headers=twice)
    assert (answer.status_code, answer.json()["code"]) == (400, "api.header_twice")
    assert name.lower() in answer.json()["detail"]
    if name == "Authorization":  # on the routes that FastAPI answers too
        assert api.sender.get("/v1/packets", headers=twice).json()["code"] == "api.header_twice"


def test_fifty_submissions_at_once_each_get_their_own_answer(api: RunningApi) -> None:
    bodies = [api.packet() for _ in range(50)]
    with ThreadPoolExecutor(50) as pool, httpx2.Client(timeout=30) as client:
        headers = {"Authorization": f"Bearer {api.tokens[SENDER]}"}
        answers = list(
            pool.map(lambda body: client.post(f"{api.url}/v1/packets", content=body, headers=headers).json(), bodies)
        )
    numbers = [answer["document_id"].rsplit(",", 1)[1].split("/")[0] for answer in answers]
    assert numbers == [str(n) for n in range(api.numbers - 49, api.numbers + 1)]
    assert len({answer["packet_id"] for answer in answers}) == 50
    with api.node.store.read() as connection:
        ids = [answer["packet_id"] for answer in answers]
        marks = ",".join("?" * len(ids))
        commits = connection.exec_driver_sql(
            f"SELECT count(DISTINCT recorded_at) FROM packets WHERE id IN ({marks})", tuple(ids)
        ).scalar_one()
    assert commits < 50, "no two of fifty shared a transaction"


def test_a_long_poll_is_woken_by_a_document(api: RunningApi) -> None:
    agency = FOREIGN
    body = build_packet(sender=api.organ(SENDER), recipients=[api.organ(agency)], number="9001")
    got: list[httpx2.Response] = []
    began = time.monotonic()
    poll = threading.Thread(
        target=lambda: got.append(api.foreign.get("/v1/inbox", params={"agency": agency, "wait": "60"}))
    )
    poll.start()
    time.sleep(0.5)
    assert poll.is_alive(), "it waits"
    api.send(body)
    poll.join()
    assert [item["notation"] for item in got[0].json()["items"]] == ["9001/UBND-VX"]
    assert time.monotonic() - began < 50, "it would have waited for sixty"


def test_a_long_poll_ends_empty_after_its_time(api: RunningApi) -> None:
    began = time.monotonic()
    got = api.sender.get("/v1/inbox", params={"agency": SENDER, "wait": "0.4"})
    assert got.json() == {"items": []}
    assert time.monotonic() - began >= 0.4


def test_an_agency_may_be_named_by_its_code(api: RunningApi) -> None:
    got = api.sender.get("/v1/inbox", params={"agency": api.organ(SENDER)})
    assert got.json() == {"items": []}


def test_a_foreign_inbox_and_an_absent_one_answer_alike(api: RunningApi) -> None:
    answers = [api.foreign.get("/v1/inbox", params={"agency": name}) for name in (RECIPIENT, "na-khong-co")]
    assert [a.status_code for a in answers] == [403, 403]
    assert _without_instance(answers[0]) == _without_instance(answers[1])


def _without_instance(answer: httpx2.Response) -> dict[str, object]:
    return {name: value for name, value in answer.json().items() if name != "instance"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/inbox/{}/packet"),
        ("POST", "/v1/inbox/{}/confirm"),
        ("GET", "/v1/inbox/{}/seal"),
        ("GET", "/v1/inbox/{}/attachments/1"),
    ],
)
def test_foreign_and_absent_items_answer_alike(api: RunningApi, method: str, path: str) -> None:
    item = _only_item(api, api.send()["packet_id"])
    foreign = api.foreign.request(method, path.format(item["delivery_id"]))
    absent = api.foreign.request(method, path.format(uuid4()))
    assert foreign.status_code == absent.status_code == 404
    assert _without_instance(foreign) == _without_instance(absent)


def test_without_a_token_nothing_is_said_and_an_event_is_written(api: RunningApi) -> None:
    got = httpx2.post(f"{api.url}/v1/packets", content=b"<edXML/>")
    assert got.status_code == 401
    assert got.headers["www-authenticate"].startswith("Bearer")
    assert got.headers["content-type"] == "application/problem+json"
    assert got.json()["code"] == "identity.no_token"
    wrong = httpx2.get(f"{api.url}/v1/inbox", headers={"Authorization": "Bearer truc_" + "x" * 43})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "identity.bad_token")
    reasons = {reason for reason, _ in api.events(EventKind.CALLER_REFUSED)}
    assert {"identity.no_token", "identity.bad_token"} <= reasons


def test_two_tokens_are_good_while_one_takes_the_others_place(api: RunningApi) -> None:
    old = api.tokens[FOREIGN]
    new = rotate_token(api.node.store, FOREIGN, grace=timedelta(days=1), actor="test").token
    for token in (old, new):
        got = httpx2.get(f"{api.url}/v1/me", headers={"Authorization": f"Bearer {token}"})
        assert (got.status_code, got.json()["name"]) == (200, FOREIGN)
    rotate_token(api.node.store, FOREIGN, grace=timedelta(0), actor="test")
    until(lambda: httpx2.get(f"{api.url}/v1/me", headers={"Authorization": f"Bearer {old}"}).status_code == 401)
    if (client := api.clients.pop(FOREIGN, None)) is not None:  # another test may have made it, with the old token
        client.close()
    api.tokens[FOREIGN] = rotate_token(api.node.store, FOREIGN, actor="test").token


def test_the_senders_agency_must_be_the_callers(api: RunningApi) -> None:
    body = build_packet(sender=api.organ(SENDER), recipients=[api.organ(RECIPIENT)], number="8123")
    got = api.foreign.post("/v1/packets", content=body)
    assert (got.status_code, got.json()["code"]) == (403, "identity.foreign_sender")
    system = api.foreign.get("/v1/me").json()["system_id"]
    assert ("identity.foreign_sender", system) in api.events(EventKind.CALLER_REFUSED)
    assert api.spooled() == []


def test_the_languages_of_a_problem(api: RunningApi) -> None:
    asked = {"Accept-Language": "en-GB, vi;q=0.5", "X-Request-Id": "yeu-cau-1"}
    english = httpx2.get(f"{api.url}/v1/inbox", headers=asked)
    problem = english.json()
    assert problem["detail"] == problem["en"] != problem["vi"]
    assert english.headers["x-request-id"] == "yeu-cau-1"
    assert problem["instance"] == "urn:truc:request:yeu-cau-1"
    vietnamese = httpx2.get(f"{api.url}/v1/inbox").json()
    assert vietnamese["detail"] == vietnamese["vi"]


def test_requests_are_counted_by_template(api: RunningApi) -> None:
    api.send()
    api.sender.get(f"/v1/packets/{uuid4()}")
    text = httpx2.get(f"{api.url}/metrics").text
    assert 'truc_http_requests_total{route="/v1/packets",status="202"}' in text
    assert 'truc_http_requests_total{route="/v1/packets/{packet_id}",status="404"}' in text
    assert 'truc_labels_unknown_total{label="route"}' not in text


def test_a_walk_goes_on_behind_what_is_never_confirmed_and_waits_there(api: RunningApi) -> None:
    sent = [api.send()["packet_id"] for _ in range(3)]
    asked: dict[str, str] = {"agency": RECIPIENT, "limit": "1", "after": ""}
    seen, last = list[str](), ""
    while not seen or asked["after"]:
        page = api.recipient.get("/v1/inbox", params=asked).json()
        seen += [item["packet_id"] for item in page["items"]]
        last = page["items"][-1]["delivery_id"] if page["items"] else asked["after"]
        asked["after"] = page["next"]
    assert len(seen) == len(set(seen))
    assert seen[-3:] == sent, "the oldest first"
    got: list[httpx2.Response] = []
    tail = {**asked, "after": last, "limit": "5", "wait": "60"}
    poll = threading.Thread(target=lambda: got.append(api.recipient.get("/v1/inbox", params=tail, timeout=90)))
    poll.start()
    more = api.send()["packet_id"]
    poll.join()
    assert [item["packet_id"] for item in got[0].json()["items"]] == [more], "what waits before it ends no waiting"
    assert got[0].json()["next"] == ""


@pytest.mark.parametrize("after", ["0", "0199B3F0-7c1e-7a52-9d0b-3f6a1c2d4e5f"])
def test_a_walk_goes_on_after_a_delivery_only(api: RunningApi, after: str) -> None:
    got = api.recipient.get("/v1/inbox", params={"agency": RECIPIENT, "after": after})
    assert (got.status_code, got.json()["code"]) == (400, "api.bad_field")
    assert "query.after" in got.json()["en"]
