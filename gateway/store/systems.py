"""Systems (hệ thống kết nối): who calls, their tokens as digests, and which agencies they speak for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update

from edxml.profiles import LENIENT
from gateway.model.events import Event, EventKind
from gateway.store import events
from gateway.store.dialect import insert_ignore
from gateway.store.schema import system_agencies, system_tokens, systems
from gateway.store.versions import raise_configuration

__all__ = [
    "SystemRow", "TokenRow", "add_system", "add_token", "change_system", "claim_agencies", "expire_tokens",
    "find_by_token", "list_systems", "owners_of", "release_agencies", "rotate_token", "tokens_of",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemRow:
    """One system and the ids of the agencies it speaks for."""

    id: str
    name: str
    is_operator: bool
    is_enabled: bool
    profile: str = LENIENT.name  #: the name of the profile by which its packets are read
    agency_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """A token as it is stored: SHA-256 in hex, never the token itself. `expires_at` None: until rotated."""

    digest: str
    system_id: str
    created_at: int
    expires_at: int | None

    def is_valid_at(self, now: int) -> bool:
        """Whether it still opens the door."""
        return self.expires_at is None or now < self.expires_at


# --- systems -------------------------------------------------------------------------------------------------

_ALL = select(systems).order_by(systems.c.name)
_CLAIMS = select(system_agencies.c.system_id, system_agencies.c.agency_id)
_CHANGE = (
    update(systems)
    .where(systems.c.id == bindparam("b_id"))
    .values(is_operator=bindparam("operator"), is_enabled=bindparam("enabled"), profile=bindparam("profile"))
)


def add_system(connection: Connection, system_id: str, name: str, *, is_operator: bool, now: int, actor: str) -> bool:
    """Write a new system down, with its event; False where the name is taken: nothing was changed then."""
    row = {"id": system_id, "name": name, "is_operator": is_operator, "is_enabled": True, "created_at": now}
    if not insert_ignore(connection, systems, [row], "name"):
        return False
    happened = Event(kind=EventKind.SYSTEM_ADDED, at=now, actor=actor, system_id=system_id)
    events.append(connection, [happened], now)
    raise_configuration(connection)
    return True


def change_system(connection: Connection, system_id: str, *, is_operator: bool, is_enabled: bool, profile: str) -> None:
    """Change what a system may do. A disabled one is refused like an unknown one, its rows stay."""
    changed = {"b_id": system_id, "operator": is_operator, "enabled": is_enabled, "profile": profile}
    connection.execute(_CHANGE, changed)
    raise_configuration(connection)


def list_systems(connection: Connection) -> tuple[SystemRow, ...]:
    """All systems, by name."""
    claims: dict[str, set[str]] = defaultdict(set)
    for row in connection.execute(_CLAIMS):
        claims[row.system_id].add(row.agency_id)
    return tuple(_system(row, claims.get(row.id, ())) for row in connection.execute(_ALL))


def _system(row: Any, agency_ids: Iterable[str]) -> SystemRow:
    return SystemRow(
        id=row.id,
        name=row.name,
        is_operator=row.is_operator,
        is_enabled=row.is_enabled,
        profile=row.profile,
        agency_ids=frozenset(agency_ids),
    )


# --- claims: one owning system per agency at a time ------------------------------------------------------------

_RELEASE = delete(system_agencies).where(
    system_agencies.c.system_id == bindparam("system"),
    system_agencies.c.agency_id.in_(bindparam("ids", expanding=True)),
)
_OWNERS = select(system_agencies.c.agency_id, system_agencies.c.system_id).where(
    system_agencies.c.agency_id.in_(bindparam("ids", expanding=True))
)


def claim_agencies(connection: Connection, system_id: str, agency_ids: Collection[str]) -> frozenset[str]:
    """Let a system speak for agencies; gives those that another system holds, which stay with it.

    The primary key decides: an agency (mã định danh) has one owning system at a time, whoever asks first.
    """
    rows = [{"agency_id": agency_id, "system_id": system_id} for agency_id in sorted(agency_ids)]
    if insert_ignore(connection, system_agencies, rows, "agency_id"):
        raise_configuration(connection)
    owners = owners_of(connection, agency_ids)
    return frozenset(agency_id for agency_id, owner in owners.items() if owner != system_id)


def release_agencies(connection: Connection, system_id: str, agency_ids: Collection[str]) -> None:
    """Take agencies from a system. Those it does not hold stay where they are."""
    if agency_ids:
        connection.execute(_RELEASE, {"system": system_id, "ids": sorted(agency_ids)})
        raise_configuration(connection)


def owners_of(connection: Connection, agency_ids: Collection[str]) -> dict[str, str]:
    """The id of the owning system of each agency that has one."""
    found = connection.execute(_OWNERS, {"ids": sorted(agency_ids)})
    return {row.agency_id: row.system_id for row in found}


# --- tokens --------------------------------------------------------------------------------------------------

_INSERT_TOKEN = insert(system_tokens)
_TOKENS = select(system_tokens).where(system_tokens.c.system_id == bindparam("system")).order_by(
    system_tokens.c.created_at.desc(), system_tokens.c.digest
)  # fmt: skip
_BY_DIGEST = (
    select(systems, system_tokens.c.digest, system_tokens.c.created_at.label("issued_at"), system_tokens.c.expires_at)
    .select_from(system_tokens.join(systems, system_tokens.c.system_id == systems.c.id))
    .where(system_tokens.c.digest == bindparam("digest"))
)
_OWN = select(system_agencies.c.agency_id).where(system_agencies.c.system_id == bindparam("system"))
_EXPIRE = (
    update(system_tokens)
    .where(
        system_tokens.c.digest.in_(bindparam("digests", expanding=True)),
        or_(system_tokens.c.expires_at.is_(None), system_tokens.c.expires_at > bindparam("at")),
    )
    .values(expires_at=bindparam("at"))
)


def find_by_token(connection: Connection, digest: str) -> tuple[SystemRow, TokenRow] | None:
    """The system whose token has this SHA-256 (hex), enabled or not, valid or not; None where nobody's has."""
    row = connection.execute(_BY_DIGEST, {"digest": digest}).one_or_none()
    if row is None:
        return None
    own = connection.execute(_OWN, {"system": row.id}).scalars()
    token = TokenRow(digest=row.digest, system_id=row.id, created_at=row.issued_at, expires_at=row.expires_at)
    return _system(row, own), token


def tokens_of(connection: Connection, system_id: str) -> tuple[TokenRow, ...]:
    """Every token a system ever had, newest first."""
    return tuple(TokenRow(**row._mapping) for row in connection.execute(_TOKENS, {"system": system_id}))


def add_token(connection: Connection, system_id: str, digest: str, *, now: int) -> None:
    """Give a system a token that is valid until it is rotated. Raises IntegrityError for a digest that exists."""
    row = {"digest": digest, "system_id": system_id, "created_at": now, "expires_at": None}
    connection.execute(_INSERT_TOKEN, [row])


def rotate_token(connection: Connection, system_id: str, digest: str, *, now: int, old_until: int, actor: str) -> None:
    """Give a system a new token; its newest valid one goes on until `old_until`, all earlier ones end now.

    So two are valid at once, never three, and software can be moved from one to the other without a gap.
    """
    valid = [token.digest for token in tokens_of(connection, system_id) if token.is_valid_at(now)]
    for ending, at in ((valid[:1], old_until), (valid[1:], now)):
        if ending:
            connection.execute(_EXPIRE, {"digests": ending, "at": at})
    add_token(connection, system_id, digest, now=now)
    happened = Event(kind=EventKind.TOKEN_ROTATED, at=now, actor=actor, system_id=system_id)
    events.append(connection, [happened], now)
    raise_configuration(connection)


def expire_tokens(connection: Connection, system_id: str, *, now: int) -> int:
    """End every token of a system now (one was lost). How many were valid."""
    valid = [token.digest for token in tokens_of(connection, system_id) if token.is_valid_at(now)]
    if valid:
        connection.execute(_EXPIRE, {"digests": valid, "at": now})
        raise_configuration(connection)
    return len(valid)
