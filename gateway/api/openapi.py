"""OpenAPI: what FastAPI knows of its routes, the hot routes beside them, and no word that is not true.

`describe` is what /v1/openapi.json answers and what the reference in docs is generated from
(`python -m gateway.api.openapi`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from gateway.api import observe
from gateway.api.routes import CONFIRM, INBOX, INBOX_PACKET, PACKETS
from gateway.api.v1 import (
    agencies,
    check,
    documents,
    files,
    repairs,
    reporting,
    seals,
    shapes,
    shapes_bodies,
    shapes_repairs,
)
from gateway.api.v1.doors import UUID
from gateway.api.v1.examples import EXAMPLES, answer, json_body, refusals
from gateway.api.v1.files import BYTES
from gateway.api.v1.packet_body import IDEMPOTENCY_KEY, PACKET_BODY, WISHES

__all__ = ["ROUTERS", "VERSION", "describe", "describe_unserved"]

VERSION = "1.0"
"""Of the interface: /v1 only grows, and this says how far."""

ROUTERS = (
    check.router,
    documents.router,
    files.router,
    seals.router,
    repairs.router,
    reporting.router,
    agencies.router,
    observe.router,
)
"""In the order in which they are asked: /v1/packets/check is no packet's id."""

_TITLE = "Trục"
_ABOUT = (
    "Trục liên thông văn bản: gửi, nhận, theo dõi gói tin edXML (QCVN 102:2016/BTTTT). Mọi lời từ chối là "
    "application/problem+json (RFC 9457) với mã ổn định và hai ngôn ngữ.\n\n"
    "The document-exchange axis: submit, receive and follow edXML packets. Every refusal is a problem with a stable "
    "code, in two languages."
)
_SECURITY: list[dict[str, list[str]]] = [{"token": []}]
_SCHEME = {"type": "http", "scheme": "bearer", "description": "`truc_…`, as `truc system add` gave it"}


def describe(app: FastAPI) -> dict[str, Any]:
    """The description of all routes, made once."""
    if app.openapi_schema is None:
        app.openapi_schema = _finish(get_openapi(title=_TITLE, version=app.version, routes=app.routes))
    return app.openapi_schema


def describe_unserved() -> dict[str, Any]:
    """The same without a node, for the reference in docs."""
    app = FastAPI(version=VERSION)
    for router in ROUTERS:
        app.include_router(router)
    return describe(app)


def _finish(schema: dict[str, Any]) -> dict[str, Any]:
    schema["info"]["description"] = _ABOUT
    for path, operations in _hot_paths().items():
        schema["paths"].setdefault(path, {}).update(operations)
    schema["paths"] = dict(sorted(schema["paths"].items()))
    for operation in _operations(schema):
        _tidy(operation)
    components = schema.setdefault("components", {})
    components["schemas"] = _schemas()
    components["securitySchemes"] = {"token": _SCHEME}
    return schema


def _operations(schema: dict[str, Any]) -> Iterable[dict[str, Any]]:
    for operations in schema["paths"].values():
        yield from operations.values()


def _tidy(operation: dict[str, Any]) -> None:
    """FastAPI says of every parameter that a wrong one gives its own 422: here it gives 400 and a problem.

    And every answer carries the id under which the log knows the request.
    """
    responses = operation["responses"]
    if "HTTPValidationError" in json.dumps(responses.get("422", {})):
        del responses["422"]
    for response in responses.values():
        response.setdefault("headers", {})["X-Request-Id"] = {
            "description": "Mã yêu cầu / the request's id",
            "schema": {"type": "string"},
        }


def _schemas() -> dict[str, Any]:
    known = [getattr(room, name) for room in (shapes, shapes_bodies, shapes_repairs) for name in room.__all__]
    _, definitions = models_json_schema(
        [(shape, "serialization") for shape in known], ref_template="#/components/schemas/{model}"
    )
    found: dict[str, Any] = definitions["$defs"]
    for name, example in EXAMPLES.items():
        found[name]["example"] = example
    return dict(sorted(found.items()))


# --- the hot routes --------------------------------------------------------------------------------------------

_DELIVERY_ID = {
    "name": "delivery_id",
    "in": "path",
    "required": True,
    "description": "Mã lượt chuyển",
    "schema": {"type": "string", "format": "uuid"},
    "example": "0199b3f0-7c1e-7a52-9d0b-3f6a1c2d4e5f",
}
_RANGE = {
    "name": "Range",
    "in": "header",
    "description": "Một đoạn byte, để tải tiếp / one byte range, to resume",
    "schema": {"type": "string"},
    "example": "bytes=1048576-",
}

_CURSOR = {"type": "string", "pattern": "^$|" + UUID}


def _query(name: str, description: str, schema: dict[str, Any], example: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema, "example": example}


def _operation(name: str, tag: str, summary: str, description: str, **rest: Any) -> dict[str, Any]:
    responses = {str(status): deepcopy(response) for status, response in rest.pop("responses").items()}
    return {
        "tags": [tag],
        "summary": summary,
        "description": description,
        "operationId": name,
        "security": _SECURITY,
        **rest,
        "responses": responses,
    }


def _hot_paths() -> dict[str, dict[str, Any]]:
    return {
        PACKETS: {"post": _submit()},
        INBOX: {"get": _inbox()},
        INBOX_PACKET: {"get": _fetch(), "head": _head()},
        CONFIRM: {"post": _confirm()},
    }


def _submit() -> dict[str, Any]:
    return _operation(
        "submit_packet",
        "packets",
        "Gửi gói tin / submit a packet",
        "Answered after the commit: the bytes are on disk, the deliveries are planned. The same bytes for the same "
        "recipients get the first answer again, with today's states.",
        parameters=[*WISHES, IDEMPOTENCY_KEY],
        requestBody=PACKET_BODY,
        responses={
            202: answer("AcceptedShape", "Accepted, or the first answer again (`is_repeat`)"),
            **refusals(400, 401, 403, 408, 409, 413, 415, 422, 429, 507),
        },
    )


def _inbox() -> dict[str, Any]:
    return _operation(
        "list_inbox",
        "inbox",
        "Hộp đến, chờ dài / what waits in an inbox, with a long poll",
        "Urgent items first, then those shown least recently. With `wait` the answer comes as soon as there is "
        "something, or empty after that many seconds.\n\n"
        "With `after` (empty to begin with) everything that waits, the oldest first, page by page: ask again with "
        "`after` = `next` until `next` is empty. An item that waits all the while is seen once, whatever comes and "
        "goes; one that somebody is just fetching is not listed. With `wait` it is answered as soon as something "
        "stands after that delivery.",
        parameters=[
            _query("agency", "Mã định danh hoặc mã cơ quan", {"type": "string", "maxLength": 100}, "H99.215"),
            _query("limit", "Số mục nhiều nhất", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}, 50),
            _query("after", "Rỗng để đi từ đầu; sau đó là `next` của lần trước / a delivery", _CURSOR, ""),
            _query("wait", "Chờ tối đa bao nhiêu giây", {"type": "number", "minimum": 0, "default": 0}, 30),
        ],
        responses={200: answer("InboxShape", "Perhaps empty"), **refusals(400, 401, 403, 429)},
    )


def _fetch() -> dict[str, Any]:
    return _operation(
        "fetch_packet",
        "inbox",
        "Lấy gói tin, nguyên byte / fetch a packet",
        "The item counts as fetched before the first byte goes out. Keep `Truc-Key`: it is the same over all fetches. "
        "Confirm when the packet is safe on your side.",
        parameters=[_DELIVERY_ID, _RANGE],
        responses={**BYTES, **refusals(400, 401, 404, 409, 410, 416)},
    )


def _head() -> dict[str, Any]:
    told = {"description": "Size, ETag, Content-Digest and Truc-Key; fetches nothing"}
    return _operation(
        "look_at_packet",
        "inbox",
        "Xem trước kích thước và mã kiểm / what a fetch would give",
        "Begins no fetch.",
        parameters=[_DELIVERY_ID],
        responses={200: told, **refusals(400, 401, 404, 409, 410)},
    )


def _confirm() -> dict[str, Any]:
    return _operation(
        "confirm_item",
        "inbox",
        "Xác nhận đã nhận / confirm an item",
        "The delivery is delivered; a repeat gets the same answer. `arrived: false` with a reason is a failure of "
        "transport: the item waits for an operator and the sender is told.",
        parameters=[_DELIVERY_ID],
        requestBody=json_body("ConfirmBody", required=False),
        responses={
            200: answer("ConfirmedShape", "The state afterwards"), **refusals(400, 401, 404, 408, 409, 410, 413),
        },
    )  # fmt: skip


if __name__ == "__main__":
    json.dump(describe_unserved(), sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")
