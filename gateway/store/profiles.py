"""Profiles (hồ sơ kiểm tra) of the operator's own, beside `strict` and `lenient`, which every node has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from edxml.profiles import LENIENT, STRICT, Profile, ProfileInvalid, make_profile
from gateway.store.schema_judged import profiles
from gateway.store.versions import raise_configuration

__all__ = ["BUILT_IN", "ProfileRow", "list_profiles", "put_profile"]

BUILT_IN: Mapping[str, Profile] = {profile.name: profile for profile in (LENIENT, STRICT)}
"""The profiles that come with the program, by name. No row may take their names."""

_ALL = select(profiles).order_by(profiles.c.name)
_CHANGE = update(profiles).where(profiles.c.name == bindparam("b_name")).values(allowances=bindparam("told"))
_INSERT = insert(profiles)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRow:
    """One profile as its operator wrote it: tables of `repairs`, `but`, `senders`, `until`, `why`, `schema`."""

    name: str
    allowances: tuple[Mapping[str, Any], ...]
    fault: str = ""  #: why what is stored cannot be read; "" where it can

    def profile(self) -> Profile:
        """What it allows. Raises ProfileInvalid for tables that say what they cannot, or cannot be read."""
        if self.fault:
            raise ProfileInvalid(name=self.name, why=self.fault)
        return make_profile(self.allowances, self.name)


def list_profiles(connection: Connection) -> tuple[ProfileRow, ...]:
    """All profiles of the operator's own, by name; one that cannot be read has its `fault`, and hinders no other."""
    return tuple(_profile(row) for row in connection.execute(_ALL))


def _profile(row: Any) -> ProfileRow:
    try:
        return ProfileRow(name=row.name, allowances=tuple(map(_dated, json.loads(row.allowances))))
    except (ValueError, TypeError) as why:
        return ProfileRow(name=row.name, allowances=(), fault=str(why))


def put_profile(connection: Connection, row: ProfileRow) -> None:
    """Write a profile down, new or changed; whoever calls holds the configuration's lock."""
    told = json.dumps(row.allowances, default=date.isoformat, ensure_ascii=False, sort_keys=True)
    if not connection.execute(_CHANGE, {"b_name": row.name, "told": told}).rowcount:
        connection.execute(_INSERT, {"name": row.name, "allowances": told})
    raise_configuration(connection)


def _dated(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {**entry, **({"until": date.fromisoformat(entry["until"])} if "until" in entry else {})}
