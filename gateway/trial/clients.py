"""Clients of the demo: software that sends, software that polls an inbox, software that watches a folder.

They behave as agency software should: they repeat a request until they have its answer, and rely on the first answer
coming back (same bytes, same Idempotency-Key).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from gateway.trial.ledger import Arrival, Ledger, Sent, digest
from gateway.trial.letters import Letter
from gateway.trial.province import Place

__all__ = ["FolderSoftware", "Polling", "Sending", "ask", "ask_patiently"]

_PATIENCE = 300.0  # seconds: a killed process may take long to come back on a busy machine
_NOT_YET = (408, 429, 500, 502, 503, 504, 507)
"""Answers after which the same request may be taken later."""


class Sending:
    """A sender's software: REST, one connection."""

    def __init__(self, url: str, token: str, ledger: Ledger) -> None:
        self._client = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=20)
        self._ledger = ledger

    def send(self, letter: Letter, *, recipients: str = "all", key: str = "") -> dict[str, Any] | None:
        """Send until answered; the answer, or None where it was refused."""
        headers = {"Content-Type": "application/xml"}
        if key:
            headers["Idempotency-Key"] = key
        answer = self._ask("POST", f"/v1/packets?recipients={recipients}", content=letter.body, headers=headers)
        said = answer.json()
        if answer.status_code != 202:
            findings = said.get("findings") or [{"code": said.get("code", "unknown")}]
            self._ledger.note_refusal(findings[0]["code"])
            return None
        reached = frozenset(r["agency_id"] for r in said["recipients"] if r["state"] not in ("undeliverable",))
        sent = Sent(packet_id=said["packet_id"], digest=digest(letter.body), agencies=reached, name=letter.name)
        self._ledger.note_sent(sent, is_repeat=said["is_repeat"])
        answered: dict[str, Any] = said
        return answered

    def _ask(self, method: str, path: str, **request: Any) -> httpx2.Response:
        return ask(self._client, self._ledger, method, path, **request)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


def ask(client: httpx2.Client, ledger: Ledger, method: str, path: str, **request: Any) -> httpx2.Response:
    """One request, repeated while the node is away or busy. Raises TimeoutError after five minutes."""
    return ask_patiently(client.request, method, path, patience=_PATIENCE, on_retry=ledger.note_retry, **request)


def ask_patiently(
    request_once: Callable[..., httpx2.Response],
    method: str,
    path: str,
    *,
    patience: float,
    on_retry: Callable[[], None],
    **request: Any,
) -> httpx2.Response:
    """One request, repeated until the node decides: not while it is away, busy, full or too slow to take it.

    Waits as long as the node asks for (`Retry-After`), at most 5 s.  Raises TimeoutError after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    pause = 0.05
    while True:
        wait = pause
        try:
            response = request_once(method, path, **request)
            if response.status_code not in _NOT_YET:
                return response
            said = response.headers.get("retry-after", "")
            wait = max(pause, min(float(said), 5.0) if said.isdecimal() else 0.0)
        except httpx2.TransportError:
            pass  # the process was killed: ask again, as any client must
        if time.monotonic() > deadline:
            raise TimeoutError(f"{method} {path} had no answer within {patience:.0f} s")
        on_retry()
        time.sleep(wait)
        pause = min(pause * 1.6, 1.0)


class Polling(threading.Thread):
    """Software of several agencies that polls their inboxes by turns, fetches, confirms; departments count statuses."""

    def __init__(self, url: str, token: str, places: list[Place], ledger: Ledger, done: threading.Event) -> None:
        super().__init__(daemon=True, name=f"polling-{places[0].system}")
        self._client = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=20)
        self._places = places
        self._ledger = ledger
        self._done = done
        self.failure: Exception | None = None

    def run(self) -> None:
        """Until told that all is done."""
        try:
            while not self._done.is_set():
                if not sum(self._collect(place) for place in self._places):
                    self._done.wait(0.4)
        except Exception as why:  # noqa: BLE001 - told at the end of the demo
            self.failure = why
        finally:
            self._client.close()

    def _collect(self, place: Place) -> int:
        items = self._ask("GET", f"/v1/inbox?agency={place.id}&limit=50").json()["items"]
        for item in items:
            found = self._ask("GET", f"/v1/inbox/{item['delivery_id']}/packet")
            if found.status_code == 410:
                continue  # withdrawn while we looked
            arrived = Arrival(agency=place.id, key=item["key"], digest=digest(found.content))
            self._ask("POST", f"/v1/inbox/{item['delivery_id']}/confirm", json={})
            if item["book"] == "statuses":
                self._ledger.note_status()
            else:
                self._ledger.note_arrival(arrived)
        return len(items)

    def _ask(self, method: str, path: str, **request: Any) -> httpx2.Response:
        return ask(self._client, self._ledger, method, path, **request)


class FolderSoftware(threading.Thread):
    """Software of communes that takes delivered files out of `den/` into its own register, as real software does."""

    def __init__(self, places: tuple[Place, ...], ledger: Ledger, done: threading.Event) -> None:
        super().__init__(daemon=True, name="folder-software")
        self._places = places
        self._ledger = ledger
        self._done = done
        self.failure: Exception | None = None

    def run(self) -> None:
        """Until told that all is done, and once more after it."""
        try:
            while not self._done.is_set():
                self._look()
                self._done.wait(0.5)
            self._look()
        except Exception as why:  # noqa: BLE001 - told at the end of the demo
            self.failure = why

    def _look(self) -> None:
        for place in self._places:
            assert place.folder is not None
            arrived = place.folder / "den"
            if not arrived.is_dir():
                continue
            register = place.folder / "vao-so"
            register.mkdir(exist_ok=True)
            for path in sorted(arrived.glob("*.edxml")):
                self._take(place, path, register)

    def _take(self, place: Place, path: Path, register: Path) -> None:
        body = path.read_bytes()
        self._ledger.note_arrival(Arrival(agency=place.id, key=path.stem, digest=digest(body)))
        path.rename(register / path.name)
