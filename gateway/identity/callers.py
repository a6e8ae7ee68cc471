"""Who calls, and what they may do."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.identity.refusals import Refusals
from gateway.identity.sightings import Sightings
from gateway.identity.tokens import digest_token, is_token
from gateway.model.errors import Forbidden, Unauthenticated
from gateway.store import Store
from gateway.store.systems import SystemRow, TokenRow, find_by_token
from gateway.store.versions import VersionWatch

__all__ = ["Caller", "Callers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A system (hệ thống kết nối) that proved who it is, and the ids of the agencies it speaks for."""

    system_id: str
    name: str
    agency_ids: frozenset[str]
    is_operator: bool

    def speaks_for(self, agency_id: str) -> bool:
        """Whether it may send as that agency and read its inbox. An operator speaks for nobody by being one."""
        return agency_id in self.agency_ids

    def require_agency(self, agency_id: str) -> None:
        """Raises Forbidden where the caller does not speak for the agency, whether that exists or not."""
        if not self.speaks_for(agency_id):
            raise Forbidden("identity.foreign_agency")


class Callers:
    """Finds out who calls. One per process; may be used from any thread.

    What was found is remembered while the configuration's version stands, which is looked at once a second: a
    disabled system or a revoked token is refused a second later at the latest, and expiry is looked at every time.
    Unknown tokens are not remembered: each costs one read, and a new token works at once.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._watch = VersionWatch(store, clock=clock)
        self._lock = threading.Lock()
        self._known: dict[str, tuple[SystemRow, TokenRow, Caller]] = {}
        self._version = -1
        self.refusals = Refusals(store)
        self.sightings = Sightings(store)

    def authenticate(self, authorization: str | None) -> Caller:
        """The caller that an `Authorization: Bearer truc_…` header names.

        Raises Unauthenticated: `identity.no_token` where there is none, `identity.bad_token` where it is unknown,
        expired or its system disabled, all alike.  Raises StoreBusy.
        """
        digest = _digest_of(authorization)
        return self._checked(digest, self._find(digest))

    def recall(self, authorization: str | None) -> Caller | None:
        """As `authenticate`, where that would ask the store nothing now; else None. Does nothing that may wait."""
        digest = _digest_of(authorization)
        versions = self._watch.fresh()
        if versions is None:
            return None
        with self._lock:
            found = self._known.get(digest) if versions.configuration == self._version else None
        return None if found is None else self._checked(digest, found)

    def refresh(self) -> None:
        """Look at the configuration's version now, not within a second."""
        self._watch.look(force=True)

    def _checked(self, digest: str, found: tuple[SystemRow, TokenRow, Caller]) -> Caller:
        system, known, caller = found
        is_ours = hmac.compare_digest(known.digest, digest)
        if not (is_ours and system.is_enabled and known.is_valid_at(self._store.clock.now())):
            raise Unauthenticated("identity.bad_token")
        return caller

    def _find(self, digest: str) -> tuple[SystemRow, TokenRow, Caller]:
        version = self._watch.look().configuration
        with self._lock:
            if version != self._version:
                self._known = {}
                self._version = version
            known = self._known
        if digest not in known:
            with self._store.read() as connection:
                found = find_by_token(connection, digest)
            if found is None:
                raise Unauthenticated("identity.bad_token")
            known[digest] = (*found, _caller(found[0]))
        return known[digest]


def _digest_of(authorization: str | None) -> str:
    """The digest of the token in the header. Raises Unauthenticated where there is none that could be ours."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("identity.no_token")
    if not is_token(token):
        raise Unauthenticated("identity.bad_token")
    return digest_token(token)


def _caller(system: SystemRow) -> Caller:
    return Caller(system_id=system.id, name=system.name, agency_ids=system.agency_ids, is_operator=system.is_operator)
