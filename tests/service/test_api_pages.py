"""What a person or a program finds who knows the address of a node alone: / and /docs, whole, out of this process."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import httpx2
import pytest

from tests.support.edge import RunningApi
from tests.support.patience import until

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


class Page(HTMLParser):
    """What a page says, where it leads, and what it lets a browser run or lay out by itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.languages: list[str] = []
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.languages += [str(known["lang"])] if "lang" in known else []
        found = [str(known[name]) for name in ("href", "src") if known.get(name)]
        self.addresses += [one for one in found if one != "data:,"]
        if tag == "style" or (tag == "script" and "src" not in known) or any(name[:2] == "on" for name in known):
            self.inline.append(tag)


def _page(api: RunningApi, path: str) -> tuple[httpx2.Response, Page]:
    got = httpx2.get(api.url + path, headers=BROWSER)
    assert (got.status_code, got.headers["content-type"]) == (200, "text/html; charset=utf-8"), got.text
    return got, Page(got.text)


def test_a_browser_at_the_root_is_told_what_this_is_and_where_to_go(api: RunningApi) -> None:
    got, page = _page(api, "/")
    assert page.languages[0] == "vi"
    assert "en" in page.languages
    assert got.text.index("trục liên thông văn bản") < got.text.index("document-exchange axis")
    assert {"/docs", "/v1/openapi.json", "/health/ready"} <= set(page.addresses)


def test_a_program_at_the_root_is_told_the_same_in_json(api: RunningApi) -> None:
    got = httpx2.get(api.url, headers={"Accept": "*/*"})
    assert (got.status_code, got.headers["content-type"]) == (200, "application/json")
    told = got.json()
    assert "trục liên thông văn bản" in told["vi"]
    assert "document-exchange axis" in told["en"]
    assert [one["href"] for one in told["links"]] == ["/docs", "/v1/openapi.json", "/health/ready"]
    assert all(one["vi"] and one["en"] for one in told["links"])
    assert "accept" in got.headers["vary"].lower()


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_is_whole_and_runs_nothing_but_files_of_this_node(api: RunningApi, path: str) -> None:
    got, page = _page(api, path)
    assert page.inline == []
    for address in page.addresses:
        assert re.match(r"/(?!/)", address), f"{address} is not of this node"
        until(lambda at=address: httpx2.get(api.url + at).status_code == 200)  # the node may not be ready at once
    policy = dict(part.strip().partition(" ")[::2] for part in got.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in got.headers["content-security-policy"]
    assert "http" not in got.headers["content-security-policy"]
    assert got.headers["x-content-type-options"] == "nosniff"


def test_the_documentation_shows_the_description_of_this_node(api: RunningApi) -> None:
    _, page = _page(api, "/docs")
    kinds = {address: httpx2.get(api.url + address).headers["content-type"] for address in page.addresses}
    assert any(kind.startswith("text/css") for kind in kinds.values())
    scripts = [address for address, kind in kinds.items() if kind.startswith("text/javascript")]
    told = [httpx2.get(api.url + address).text for address in scripts]
    assert any("SwaggerUIBundle" in text for text in told)
    assert "/v1/openapi.json" in told[-1], "the last one starts it"


def test_a_page_names_neither_node_nor_release(api: RunningApi) -> None:
    for path in ("/", "/docs"):
        for accept in (BROWSER, {}):
            got = httpx2.get(api.url + path, headers=accept)
            assert api.node.name not in got.text
            assert not re.search(r"\d+\.\d+\.\d+", got.text)
            assert "server" not in got.headers


def test_a_page_may_be_asked_by_head_and_not_written(api: RunningApi) -> None:
    for path in ("/", "/docs", "/docs/start.js"):
        head, full = (httpx2.request(method, api.url + path) for method in ("HEAD", "GET"))
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(full.content))
        got = httpx2.post(api.url + path)
        assert (got.status_code, got.headers["allow"], got.json()["code"]) == (405, "GET, HEAD", "api.no_method")


@pytest.mark.parametrize("path", ["/docs/", "/docs/__init__.py", "/docs/..%2fapp.py", "/docs/docs.html", "/docs/no.js"])
def test_nothing_else_lies_beside_the_pages(api: RunningApi, path: str) -> None:
    got = httpx2.get(api.url + path)
    assert (got.status_code, got.json()["code"]) == (404, "api.no_route")
