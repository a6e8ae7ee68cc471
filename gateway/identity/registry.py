"""Adding systems and changing their tokens: what `truc system add|rotate` does. A token is given out exactly once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from gateway.identity.tokens import new_token
from gateway.model.errors import Conflict, NotFound
from gateway.model.instants import micros, new_id
from gateway.store import Store, systems
from gateway.store.agencies import load_directory
from gateway.store.versions import lock_configuration

__all__ = ["DEFAULT_GRACE", "Registered", "register_system", "revoke_tokens", "rotate_token"]

DEFAULT_GRACE = timedelta(days=7)
"""How long the old token goes on beside the new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A system and its new token, which is stored nowhere: show it once."""

    system_id: str
    name: str
    token: str

    def __repr__(self) -> str:  # a token must not end in a log by way of a repr
        return f"Registered(system_id={self.system_id!r}, name={self.name!r}, token=…)"


def register_system(
    store: Store, name: str, *, agency_ids: Collection[str] = (), is_operator: bool = False, actor: str
) -> Registered:
    """Add a system that speaks for `agency_ids` (our own ids), with its first token.

    Raises Conflict `system.name_taken`, or `system.agency_taken` where another system owns one of the agencies, and
    NotFound `system.agency_unknown`: then nothing was changed.
    """
    token, digest = new_token()
    system_id = new_id()
    with store.write() as connection:
        lock_configuration(connection)
        now = store.now(connection)
        directory = load_directory(connection) if agency_ids else None
        for agency_id in sorted(agency_ids):
            if directory is None or directory.by_id(agency_id) is None:
                raise NotFound("system.agency_unknown", agency=agency_id)
        if not systems.add_system(connection, system_id, name, is_operator=is_operator, now=now, actor=actor):
            raise Conflict("system.name_taken", name=name)
        taken = systems.claim_agencies(connection, system_id, agency_ids)
        if taken:
            raise Conflict("system.agency_taken", agencies=", ".join(sorted(taken)))
        systems.add_token(connection, system_id, digest, now=now)
    return Registered(system_id=system_id, name=name, token=token)


def rotate_token(store: Store, name: str, *, grace: timedelta = DEFAULT_GRACE, actor: str) -> Registered:
    """Give a system a new token; the newest old one goes on for `grace`, all others end. Also its first token.

    Raises NotFound `system.unknown`.  A repeat gives yet another token: two are valid at once, never three.
    """
    token, digest = new_token()
    with store.write() as connection:
        lock_configuration(connection)
        now = store.now(connection)
        system_id = _find(systems.list_systems(connection), name)
        systems.rotate_token(connection, system_id, digest, now=now, old_until=now + micros(grace), actor=actor)
    return Registered(system_id=system_id, name=name, token=token)


def revoke_tokens(store: Store, name: str) -> int:
    """End every token of a system at once (one was lost); gives how many were valid. Raises NotFound."""
    with store.write() as connection:
        lock_configuration(connection)
        system_id = _find(systems.list_systems(connection), name)
        return systems.expire_tokens(connection, system_id, now=store.now(connection))


def _find(known: tuple[systems.SystemRow, ...], name: str) -> str:
    for system in known:
        if system.name == name:
            return system.id
    raise NotFound("system.unknown", name=name)
