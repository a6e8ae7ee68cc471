"""OpenAPI: every route is in it, every answer has an example of its shape, every reference leads somewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.api.openapi import ROUTERS, describe_unserved
from gateway.api.routes import HOT, ROUTES
from gateway.api.v1 import shapes, shapes_bodies, shapes_repairs
from gateway.api.v1.examples import EXAMPLES
from tests.support.edge import RunningApi

SCHEMA = describe_unserved()
OPERATIONS = [
    pytest.param(path, method, operation, id=f"{method} {path}")
    for path, operations in SCHEMA["paths"].items()
    for method, operation in operations.items()
]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def test_every_route_is_described_and_counted() -> None:
    described = set(SCHEMA["paths"])
    assert described | {"/v1/openapi.json", "/", "/docs", "/docs/{asset}"} == ROUTES
    assert all(method.lower() in SCHEMA["paths"][path] for method, path in HOT)
    served = {route.path for router in ROUTERS for route in router.routes}  # type: ignore[attr-defined]
    assert served <= described


def test_every_reference_leads_somewhere() -> None:
    for reference in set(_references(SCHEMA)):
        found: Any = SCHEMA
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
        assert found, reference


_ROOM = {**vars(shapes), **vars(shapes_bodies), **vars(shapes_repairs)}


def test_shapes_are_json_schemas() -> None:
    types = {"object", "array", "string", "integer", "number", "boolean", "null"}

    def check(schema: Any) -> None:
        if isinstance(schema, dict):
            kind = schema.get("type")
            if isinstance(kind, str):
                assert kind in types, schema
            if kind == "object" and "properties" in schema:
                assert set(schema.get("required", ())) <= set(schema["properties"]), schema
            for inner in schema.values():
                check(inner)

    for name, schema in SCHEMA["components"]["schemas"].items():
        assert schema.get("additionalProperties") is False, name
        check({key: value for key, value in schema.items() if key != "example"})


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_an_operation_is_complete(path: str, method: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["description"]
    assert set(operation["responses"]) & {"200", "202"}
    if path.startswith("/v1/"):
        assert operation.get("security"), "who may call it is not said"
        assert {"401", "500", "503"} <= set(operation["responses"])
    for status, response in operation["responses"].items():
        if method == "head" and status == "200":
            continue
        for kind, content in response["content"].items():
            example = content["example"]
            assert example, (status, kind)
            name = str(content.get("schema", {}).get("$ref", "")).rsplit("/", 1)[-1]
            if name:
                _ROOM[name].model_validate(example)
            if status[0] in "45" and path.startswith("/v1/"):
                assert kind == "application/problem+json"
                assert example["status"] == int(status)
                assert example["code"] != example["vi"], "a code without a text"


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_has_its_shape(name: str) -> None:
    _ROOM[name].model_validate(EXAMPLES[name])


def test_the_server_gives_the_same_description(api: RunningApi) -> None:
    assert api.sender.get("/v1/openapi.json").json() == json.loads(json.dumps(SCHEMA))
