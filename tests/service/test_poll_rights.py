"""A long poll asks again who waits: what a caller may no longer see is not listed because he began to wait earlier."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.configuration import apply, parse
from gateway.identity import revoke_tokens
from gateway.store import Store
from tests.support.edge import RECIPIENT, running_api
from tests.support.patience import until

Loss = Callable[[Store], object]


def _entry(rest: str) -> Loss:
    return lambda store: apply(store, parse(f'[[system]]\nname = "{RECIPIENT}"\n{rest}'), actor="test")


@pytest.mark.parametrize(
    ("lose", "code"),
    [
        pytest.param(lambda store: revoke_tokens(store, RECIPIENT), "identity.bad_token", id="token"),
        pytest.param(_entry(f'speaks_for = ["{RECIPIENT}"]\nenabled = false'), "identity.bad_token", id="system"),
        pytest.param(_entry("speaks_for = []"), "identity.foreign_agency", id="agency"),
    ],
)
def test_whoever_lost_the_right_while_he_waited_is_refused_and_listed_nothing(
    tmp_path: Path, lose: Loss, code: str
) -> None:
    with running_api(tmp_path) as api, ThreadPoolExecutor(1) as pollers:
        asked = {"agency": RECIPIENT, "wait": "30"}
        poll = pollers.submit(api.recipient.get, "/v1/inbox", params=asked)
        until(lambda: api.front.edge.bell._waiting)
        lose(api.node.store)
        api.send()
        got = poll.result()
        assert got.json()["code"] == code
        until(lambda: api.recipient.get("/v1/inbox", params={"agency": RECIPIENT}).status_code != 200)
        anew = api.recipient.get("/v1/inbox", params=asked)
        assert (got.status_code, got.json()["code"]) == (anew.status_code, anew.json()["code"])
