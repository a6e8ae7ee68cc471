"""Recipients reached by the rest channel: seen once whatever fails, and one that crawls costs the others nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from adapters.contract import SinkKind
from edxml.crashpoints import ENVIRONMENT
from gateway.store.channels import list_health
from tests.fault.hops_child import BODY, accept_body, deliver_due, finish
from tests.support.clients import FAST, NODE, Home, letter
from tests.support.patience import PATIENCE
from tests.support.processes import NodeProcesses
from tests.support.rest_homes import deliveries, letter_to_may, node_of, rest_home
from tests.support.sinks import Fault, SinkProcess

pytestmark = [pytest.mark.fault]


DOUBTS = (
    Fault(act="drop", lands=True),
    Fault(act="drop"),
    Fault(act="hang", lands=True, late=True, seconds=1.4),  # after the sender gave up
    Fault(act="twice", lands=True),
    Fault(act="error"),
    Fault(act="die", lands=True),
)


@pytest.mark.parametrize("kind", SinkKind, ids=str)
def test_what_may_have_arrived_is_asked_for_and_seen_once(tmp_path: Path, kind: SinkKind) -> None:
    doubts = DOUBTS if kind is SinkKind.CHECKABLE else (DOUBTS[0], DOUBTS[1], DOUBTS[3])
    with SinkProcess(tmp_path / "recipient", kind) as recipient:
        # Who is asked again is found; of a blind one nothing is known that was not heard in time.
        waits = {} if kind is SinkKind.CHECKABLE else {"idle_wait": 20, "answer_wait": 20}
        home = rest_home(tmp_path, {**recipient.rest_settings(), **waits})
        with node_of(home) as node:
            for number, doubt in enumerate(doubts, 1):
                (tmp_path / BODY).write_bytes(letter_to_may(number))
                accept_body(node)
                recipient.set_fault(doubt)
                if doubt.act == "die":
                    deliver_due(node)
                    recipient.wait_dead()
                    recipient.start()
                finish(node)
        found = deliveries(home)
        for doubt, (state, key, _) in zip(doubts, found, strict=True):
            if kind is SinkKind.BLIND and doubt.act == "drop":
                assert (state, recipient.copies(key)) == ("parked", int(doubt.lands)), doubt
            else:
                assert (state, recipient.copies(key)) == ("delivered", 1), doubt


def hop(home: Home, name: str, crash_at: str = "") -> int:
    """One hop in a process of its own; its exit code."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TRUC_")}
    environment |= {f"TRUC_{k.upper()}": v for k, v in (FAST | {"node": NODE}).items()}
    environment |= {ENVIRONMENT: crash_at} if crash_at else {}
    command = [sys.executable, "-m", "tests.fault.hops_child", name, str(home.data), str(home.data.parent / "answer")]
    return subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], timeout=240).returncode


AT_POST = ("rest.half_sent", "rest.answered")


@pytest.mark.parametrize("point", AT_POST)
def test_a_worker_killed_while_it_posts_leaves_one_copy(tmp_path: Path, point: str) -> None:
    with SinkProcess(tmp_path / "recipient", SinkKind.CHECKABLE) as recipient:
        home = rest_home(tmp_path, recipient.rest_settings())
        (tmp_path / BODY).write_bytes(letter_to_may(1, size=200_000))
        with node_of(home) as node:
            accept_body(node)
        assert hop(home, "deliver", crash_at=point) == -signal.SIGKILL
        with node_of(home) as node:
            finish(node)
        ((state, key, _),) = deliveries(home)
        assert (state, recipient.copies(key)) == ("delivered", 1)


# --- one that crawls --------------------------------------------------------------------------------------------------


def test_one_that_answers_a_byte_a_second_costs_the_others_nothing(tmp_path: Path) -> None:
    """Two slots, a recipient that holds each for six seconds: the folder's documents do not wait for it."""
    with SinkProcess(tmp_path / "recipient", SinkKind.CHECKABLE) as recipient:
        home = rest_home(tmp_path, recipient.rest_settings() | {"answer_wait": 6, "idle_wait": 6, "sending_limit": 6})
        recipient.set_fault(Fault(act="crawl", lands=True, seconds=1, times=-1))
        with NodeProcesses(home.data, FAST) as node:
            node.start("serve")
            headers = {"Authorization": f"Bearer {home.tokens['don']}", "Content-Type": "application/xml"}
            with httpx2.Client(base_url=node.url, headers=headers, timeout=30) as client:
                post(client, letter_to_may(1))
                wait_slow(home)
                for number in range(2, 8):
                    post(client, letter_to_may(number))
                began, waits = sent_to(home), list[float]()
                while len(waits) < 6 or sent_to(home) == began:  # until the crawling one was sent to meanwhile
                    waits.append(arrival(client, home, 20 + len(waits)))
                    assert len(waits) < 60, "the crawling one is not being sent to: this shows nothing"
    assert max(waits) < 5, waits


def post(client: httpx2.Client, body: bytes) -> None:
    assert client.post("/v1/packets", content=body).status_code in (200, 201, 202)


def arrival(client: httpx2.Client, home: Home, number: int) -> float:
    """Seconds from the answer to a letter until the folder's software sees it."""
    folder = home.places["tm-1"].folder
    assert folder is not None
    before = set((folder / "den").glob("*.edxml"))
    post(client, letter(number, ("tm-1",)).body)
    began = time.monotonic()
    while not set((folder / "den").glob("*.edxml")) - before:
        assert time.monotonic() - began < PATIENCE, "it never came"
        time.sleep(0.01)
    took = time.monotonic() - began
    time.sleep(0.3)
    return took


def wait_slow(home: Home) -> None:
    """Until the node knows that the channel is slow."""
    store = home.open()
    deadline = time.monotonic() + PATIENCE
    try:
        while True:
            with store.read() as connection:
                if list_health(connection)["k-may"].is_slow:
                    return
            assert time.monotonic() < deadline, "a recipient that takes six seconds was never called slow"
            time.sleep(0.05)
    finally:
        store.close()


def sent_to(home: Home) -> int:
    """Attempts that were begun towards `may`."""
    store = home.open()
    with store.read() as connection:
        count = connection.exec_driver_sql(
            "SELECT count(*) FROM attempts WHERE transfer_id IN "
            "(SELECT transfer_id FROM deliveries WHERE agency_id = 'may')"
        ).scalar_one()
    store.close()
    return int(count)
