"""The proxy of a province as it is shipped, before a running API: what it keeps inside stays inside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.deploy.test_image_steps import HOUSE
from tests.deploy.test_province_steps import start_proxy
from tests.support.edge import running_api
from tests.support.patience import until


@contextmanager
def _behind_the_proxy(folder: Path, without: str = "(?!)") -> Iterator[httpx2.Client]:
    secrets = folder / "secrets"
    subprocess.run([sys.executable, str(HOUSE / "docker/make_secrets"), str(secrets)], check=True, capture_output=True)
    with running_api(folder / "node") as api:
        until(lambda: httpx2.get(f"{api.url}/health/ready").status_code == 200)
        proxy, url = start_proxy(folder, secrets, [str(api.server.port)] * 2, without)
        try:
            with httpx2.Client(base_url=url, verify=False, timeout=10) as client:
                until(lambda: _status(client, "/v1/me") == 401)
                yield client
        finally:
            proxy.terminate()
            proxy.wait(20)


def _status(client: httpx2.Client, path: str) -> int:
    try:
        return client.get(path).status_code
    except httpx2.TransportError:
        return 0


def test_nobody_outside_sees_figures_or_health(tmp_path: Path) -> None:
    with _behind_the_proxy(tmp_path) as client:
        assert _status(client, "/") == 200
        for path in ("/metrics", "/%6Detrics", "/metric%73", "/health/ready", "/health%2fready", "/%68ealth/live"):
            got = client.get(path)
            assert (got.status_code, "problem" in got.text) == (404, False), f"{path} was passed on"


def test_a_request_for_figures_that_gets_past_the_proxy_is_refused_by_the_node(tmp_path: Path) -> None:
    with _behind_the_proxy(tmp_path, without="http-request return") as client:
        got = client.get("/metrics")
    assert (got.status_code, got.json()["code"]) == (403, "api.watchers_only")
