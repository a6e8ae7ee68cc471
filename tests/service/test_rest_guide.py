"""What the guide of the rest channel shows is run as it stands: the check of signatures, and the file for operators."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from adapters.contract import Done
from adapters.rest import SETTINGS
from adapters.rest_sink import RestSink
from edxml.seal import generate_seal_key, load_seal_key
from gateway.channels import Channels
from gateway.configuration import apply, export, init_rows, parse
from tests.support.folders import build_item, deliver
from tests.support.rest_servers import SIGNER, Asked, RestServer, answer
from tests.support.stores import fresh_store

GUIDE = (Path(__file__).parents[2] / "docs/guides/channels/rest.md").read_text("utf-8")
PEM = SIGNER.certificates[0].public_bytes(Encoding.PEM)
ITEM = build_item(b"<edXML>" + b"x" * 70_000 + b"</edXML>", note={"merged": "Sáp nhập xã"})

Check = Callable[..., bool]


@pytest.fixture(scope="module")
def is_from_node() -> Check:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    return names["is_from_node"]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def asked() -> tuple[str, Asked, Asked]:
    """The URL that the operator wrote, a POST and a GET as they came."""
    with RestServer(lambda one: answer(201 if one.method == "POST" else 200, key=one.key)) as server:
        assert isinstance(deliver(server.sink(), ITEM), Done)
        server.sink().find(ITEM.key)
        post, get = server.asked
        return str(server.settings()["url"]), post, get


def test_the_guides_check_believes_the_node(is_from_node: Check, asked: tuple[str, Asked, Asked]) -> None:
    url, post, get = asked
    assert is_from_node("POST", url, post.headers, post.digest, PEM)
    assert is_from_node("GET", f"{url}/{ITEM.key}", get.headers, None, PEM)


@pytest.mark.parametrize(
    "altered",
    [
        "truc-key", "truc-kind", "truc-recipients", "truc-note", "truc-packet", "content-digest", "content-length",
        "signature", "body", "url", "method", "old", "stranger",
    ],
)  # fmt: skip
def test_the_guides_check_refuses_whatever_was_altered(
    is_from_node: Check, asked: tuple[str, Asked, Asked], altered: str
) -> None:
    url, post, _ = asked
    headers, digest, method, pem = dict(post.headers), post.digest, "POST", PEM
    most = 300
    if altered in headers:
        headers[altered] = headers[altered].replace("a", "b").replace("1", "2").replace("7", "8").replace("n", "m")
        assert headers[altered] != post.headers[altered]
    match altered:
        case "body":
            digest = "0" * 64
        case "url":
            url += "/x"
        case "method":
            method = "PUT"
        case "old":
            time.sleep(1.1)
            most = 0
        case "stranger":
            pem = generate_seal_key("another")[1]
    assert not is_from_node(method, url, headers, digest, pem, most)


def test_a_nodes_own_seal_key_fits(is_from_node: Check) -> None:
    key_pem, cert_pem = generate_seal_key("nut-thu")
    key = load_seal_key(key_pem, cert_pem)
    with RestServer(lambda one: answer(201, key=one.key)) as server:
        opened = server.sink()
        sink = RestSink(
            endpoint=opened.endpoint, signer=lambda: key.signer, kind=opened.kind, answer_wait=1, least_rate=1e6,
            sending_limit=opened.sending_limit, settle_time=opened.settle_time,
        )  # fmt: skip
        assert isinstance(deliver(sink, ITEM), Done)
        (post,) = server.asked
        assert is_from_node("POST", str(server.settings()["url"]), post.headers, post.digest, cert_pem)


def test_the_operators_file_applies(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    store = fresh_store(tmp_path)
    init_rows(store)
    assert apply(store, parse(text))
    assert apply(store, parse(export(store))) == ()
    sink = Channels(store).sink("rest-so-thu")
    assert isinstance(sink, RestSink)
    assert sink.endpoint.url == "https://qlvb.sothu.example.vn/truc/den"
    store.close()


def test_every_setting_is_in_the_guide() -> None:
    rows = "".join(line.split("|")[1] for line in GUIDE.splitlines() if line.startswith("| `"))
    assert {name for name in SETTINGS if f"`{name}`" not in rows} == set()
