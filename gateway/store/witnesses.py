"""Witnesses (dấu đã ghi): the last rows that this process knows to be committed. PostgreSQL alone.

A server that takes another's place (a standby without the last commits, a recovery, a copy of the files) may know less
than the process does: senders were told "accepted" of what is not there, and what is there as still to be sent may have
arrived.  So each new connection is asked for these rows before anything is done on it, and as long as one is missing
there is no connection, until a recovery was begun (protocol §13).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, event

from gateway.model.errors import StorePutBack
from gateway.model.instants import DAY, boot_now, id_floor, local_iso
from gateway.store.months.partitions import month_named
from monitoring import log

__all__ = ["Witnesses", "note", "noting"]

_log = log.get("gateway.store")

_NOTED: Final = "truc_noted"
_KEPT: Final = 16
"""Of commits beside each other nobody knows which the server wrote last; of those before these all is there as well."""
_HELD: Final = DAY
"""What was committed longer ago is on every server, or archived and gone."""

_LOOK: Final = """
SELECT pg_is_in_recovery(),
    ARRAY(SELECT id FROM events WHERE packet_id = ANY(%(packets)s::text[]) AND id = ANY(%(ids)s::text[]))
    || ARRAY(SELECT id FROM attempts WHERE id = ANY(%(ids)s::text[])),
    (SELECT max(month) FROM periods)"""
_RECOVERY: Final = "SELECT id, restored_at FROM recoveries ORDER BY restored_at DESC, id DESC LIMIT 1"
_NEWEST: Final = "SELECT recorded_at FROM events ORDER BY position DESC LIMIT 1"


class _Witness(NamedTuple):
    """A row by its id, in the month of `packet_id` (of an attempt its own); `at` by the store's clock."""

    id: str
    packet_id: str
    at: int


def noting() -> Mapping[str, Any]:
    """The option of a connection whose transaction may become a witness."""
    return {_NOTED: []}


def note(connection: Connection, row_id: str, packet_id: str, at: int) -> None:
    """This transaction writes such an event; or such an attempt, which is named as its own packet."""
    noted: list[_Witness] | None = connection.get_execution_options().get(_NOTED)
    if noted is not None:
        noted[:] = (_Witness(row_id, packet_id, at),)


class Witnesses:
    """Those of one process. May be used by any thread."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, _Witness]] = deque(maxlen=_KEPT)
        self._recovery_before: str | None = None
        self._lock = threading.Lock()

    def keep(self, connection: Connection) -> None:
        """The transaction on this connection is committed."""
        for witness in connection.get_execution_options()[_NOTED]:
            with self._lock:
                self._kept.append((boot_now(), witness))

    def go_with(self, engine: Engine) -> None:
        """Look at every connection that this engine makes from now on."""
        event.listen(engine, "connect", lambda session, _record: self._look(session))

    def _look(self, session: Any) -> None:
        """Raises StorePutBack, with the connection closed, where a witness is missing and no recovery was begun since.

        A standby is not judged: it may still come to know more.  Its connection is used once, the next looked at.
        """
        since = boot_now() - _HELD
        with self._lock:
            wanted = [witness for kept_at, witness in self._kept if kept_at > since]
        if not wanted:
            return
        try:
            self._hold_against(session, wanted)
        except BaseException:
            session.close()
            raise

    def _hold_against(self, session: Any, wanted: Sequence[_Witness]) -> None:
        asked = {"ids": [one.id for one in wanted], "packets": [one.packet_id for one in wanted]}
        is_standby, found, archived = session.execute(_LOOK, asked).fetchone()
        session.is_brief = is_standby
        gone = "" if archived is None else id_floor(month_named(archived).end + DAY)
        missing = [one for one in wanted if one.id not in found and (archived is None or one.packet_id > gone)]
        if missing and not is_standby:
            self._judge(session, missing)
        session.rollback()

    def _judge(self, session: Any, missing: Sequence[_Witness]) -> None:
        at = max(one.at for one in missing)
        recovery, restored_at = session.execute(_RECOVERY).fetchone() or ("", 0)
        if restored_at >= at or self._recovery_before not in (None, recovery):
            with self._lock:
                self._kept.clear()
            self._recovery_before = None
            return
        if self._recovery_before is None:
            for one in missing:
                _log.error("store.commit_lost", packet=one.packet_id or None, reason=StorePutBack.code)
        self._recovery_before = recovery
        newest = session.execute(_NEWEST).fetchone()
        raise StorePutBack(remembered=local_iso(at), known=local_iso(newest[0]) if newest else "–")
