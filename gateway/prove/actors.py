"""Who takes part in a proof, as threads: senders that repeat until they are answered, recipients that poll.

They behave as the guide asks of agency software (docs/guides/rest.md): the same request until it has its answer, and
nothing confirmed that is not safe.  What goes wrong in a thread ends it, stands in `failure`, and fails the proof.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import httpx2

from gateway.prove.ledger import Ledger, Reported, Seen, Told, digest
from gateway.prove.marks import NotAlone
from gateway.prove.plan import Sending, refuses, run_of
from gateway.trial.clients import ask_patiently

__all__ = ["Asking", "Recipient", "Sender"]

_ANSWER_WAIT = 30.0


class Asking:
    """Requests to an installation in one system's name, each repeated until it is decided. One connection a thread.

    `urls`: one or several APIs of the installation; after each failure the next one is asked, as behind a proxy.
    """

    def __init__(self, urls: Iterable[str], token: str, ledger: Ledger, *, patience: float) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._clients = [
            httpx2.Client(base_url=url, headers=headers, timeout=_ANSWER_WAIT, trust_env=False) for url in urls
        ]
        self._ledger = ledger
        self._patience = patience
        self._turn = 0

    def ask(self, method: str, path: str, **request: Any) -> httpx2.Response:
        """The installation's answer. Raises TimeoutError where none came in `patience` seconds."""
        return ask_patiently(self._request, method, path, patience=self._patience, on_retry=self._next, **request)

    def _request(self, method: str, path: str, **request: Any) -> httpx2.Response:
        return self._clients[self._turn % len(self._clients)].request(method, path, **request)

    def _next(self) -> None:
        self._turn += 1
        self._ledger.count_retry()

    def close(self) -> None:
        """Let go of the connections."""
        for client in self._clients:
            client.close()


class _Actor(threading.Thread):
    """A thread whose failure is kept."""

    def __init__(self, name: str, asking: Asking, ledger: Ledger, done: threading.Event) -> None:
        super().__init__(daemon=True, name=name)
        self._asking = asking
        self._ledger = ledger
        self._done = done
        self.failure: Exception | None = None
        self.on_failure: Callable[[], None] = lambda: None

    def run(self) -> None:
        """Until told that it is enough, or until it fails."""
        try:
            self._work()
        except Exception as why:  # noqa: BLE001 - told at the end of the proof, which it fails
            self.failure = why
            self.on_failure()
        finally:
            self._asking.close()

    def _work(self) -> None:
        raise AssertionError("each actor has its own work")


class Sender(_Actor):
    """Sends what a plan says, `pause` seconds apart. What it has begun it finishes: `sent` counts documents."""

    def __init__(
        self, name: str, plan: Iterator[Sending], asking: Asking, ledger: Ledger, done: threading.Event, *, pause: float
    ) -> None:
        super().__init__(name, asking, ledger, done)
        self._plan = plan
        self._pause = pause
        self.sent = 0

    def _work(self) -> None:
        for sending in self._plan:
            if self._done.wait(self._pause):
                return
            self._ledger.write(sending.meant)
            for _ in range(sending.times):
                self._ledger.write(self._send(sending))
            self.sent += 1

    def _send(self, sending: Sending) -> Told:
        headers = {"Content-Type": "application/xml"}
        if sending.meant.key:
            headers["Idempotency-Key"] = sending.meant.key
        answer = self._asking.ask("POST", "/v1/packets", content=sending.body, headers=headers)
        said = answer.json()
        if answer.status_code != 202:
            findings = said.get("findings") or [said]
            return Told(name=sending.meant.name, status=answer.status_code, code=str(findings[0].get("code", "")))
        return Told(
            name=sending.meant.name, status=answer.status_code, packet_id=said["packet_id"],
            is_repeat=said["is_repeat"], deliveries={one["agency_id"]: one["state"] for one in said["recipients"]},
        )  # fmt: skip


class Recipient(_Actor):
    """Polls one agency's inbox; writes down what it saw, then confirms it, or refuses it where its clerk does.

    `known`: keys that it has seen before, in an earlier life of the same proof.  `look`: seconds between two looks.
    `run`: its proof's number. Where a later one's document lies in the inbox another proof has begun, which takes what
    comes to this one: it touches nothing more and fails with NotAlone, and the later one goes on unharmed.
    """

    def __init__(
        self,
        agency: str,
        asking: Asking,
        ledger: Ledger,
        done: threading.Event,
        known: Iterable[str] = (),
        *,
        look: float,
        run: int,
    ) -> None:
        super().__init__(agency, asking, ledger, done)
        self._look = look
        self._run = run
        self._agency = agency
        self._known = set(known)

    def _work(self) -> None:
        while not self._done.is_set():
            path = f"/v1/inbox?agency={self._agency}&limit=20&wait=1"
            items = self._asking.ask("GET", path).json()["items"]
            if any(run_of(item["document_id"]) > self._run for item in items):
                raise NotAlone
            for item in items:
                self._take(item)
            self._done.wait(self._look)

    def _take(self, item: Mapping[str, Any]) -> None:
        found = self._asking.ask("GET", f"/v1/inbox/{item['delivery_id']}/packet")
        if found.status_code in (404, 410):
            return  # withdrawn, or parked, while we looked
        found.raise_for_status()
        is_status = item["book"] == "statuses"
        seen = digest(found.content)
        refused = item["kind"] == "new" and not is_status and refuses(self._agency, seen)
        self._ledger.write(
            Seen(
                agency=self._agency, key=item["key"], digest=seen, is_copy=item["key"] not in self._known,
                packet_id=item["packet_id"], document=item["document_id"], is_status=is_status, refused=refused,
            )
        )  # fmt: skip
        self._known.add(item["key"])
        act, body = ("refuse", {"reason": "Kiểm chứng: không tiếp nhận"}) if refused else ("confirm", {})
        said = self._asking.ask("POST", f"/v1/inbox/{item['delivery_id']}/{act}", json=body)
        if said.status_code not in (404, 409, 410):  # closed meanwhile: its state is judged at the end
            said.raise_for_status()
        if refused:
            status = said.json()["packet_id"] if said.status_code == 202 else ""
            self._ledger.write(Reported(agency=self._agency, about=item["packet_id"], packet_id=status))
