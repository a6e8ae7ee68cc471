"""The person at the centre: asks a recipient about what is parked there in doubt, and says what it answers.

Where nobody else can tell (a blind recipient), a doubt holds every later packet of its document until somebody asks.
This one looks into the recipient's own ledger once nothing can land there any more, then says `truc parked arrived` or
`truc parked release`.  Only what holds something up is touched: the rest stays parked, for the judge to look at.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Final

import psycopg

from gateway.cli.exits import ExitCode
from tests.soak.parts import EXCUSED, environment
from tests.soak.province import Province
from tests.soak.recipients import seen_by_server

__all__ = ["Operator"]

_EVERY: Final = 2.0  # seconds
_ASKS_AFTER: Final = 30.0
"""Seconds that it lies there before somebody asks: longer than anything that a fault delays may take to land."""

_HELD_UP: Final = """
    SELECT head.id, head.agency_id, array(SELECT transfer_id FROM attempts WHERE delivery_id = head.id)
      FROM deliveries AS head
     WHERE head.state = 'parked' AND head.agency_id = ANY(%s) AND EXISTS (
        SELECT FROM deliveries AS behind WHERE behind.chain_id = head.chain_id AND behind.state = 'waiting')
"""


class Operator(threading.Thread):
    """Acts until told to end. `said`: how often it said what, by the outcome that the program told."""

    def __init__(self, province: Province, done: threading.Event, *, asks_after: float = _ASKS_AFTER) -> None:
        super().__init__(daemon=True, name="operator")
        self.said: Counter[str] = Counter()
        self.failure: Exception | None = None
        self._province = province
        self._done = done
        self._asks_after = asks_after
        self._since: dict[str, float] = {}

    def run(self) -> None:
        """Look again and again. What cannot be done while a fault lasts is done afterwards."""
        try:
            while not self._done.wait(_EVERY):
                for delivery, agency, keys in self._held_up():
                    if time.monotonic() - self._since.setdefault(delivery, time.monotonic()) >= self._asks_after:
                        self._decide(delivery, agency, keys)
        except Exception as why:  # noqa: BLE001 - told at the end of the run, which it fails
            self.failure = why

    def _held_up(self) -> list[tuple[str, str, list[str]]]:
        ground = self._province.ground
        try:
            with psycopg.connect(ground.database, autocommit=True, connect_timeout=5) as connection:
                return connection.execute(_HELD_UP, [[*self._province.servers]]).fetchall()
        except psycopg.Error:
            return []  # a fault has the database; it stays parked meanwhile

    def _decide(self, delivery: str, agency: str, keys: list[str]) -> None:
        has_it = any(one.key in keys for one in seen_by_server(agency, self._province.servers[agency].folder))
        act = "arrived" if has_it else "release"
        program = self._province.program
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "parked", act, delivery, "--json"], cwd=program,
            env=environment(self._province.settings("periodic"), program), capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode in EXCUSED | {int(ExitCode.FINDINGS)}, f"{done.returncode}: {done.stdout}{done.stderr}"
        if done.stdout.startswith("["):
            self.said.update(f"{act} {one['outcome']}" for one in json.loads(done.stdout))
        self._since.pop(delivery, None)  # where it could not be done: another look, later
