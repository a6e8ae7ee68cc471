"""The rows as a configuration file that, applied, changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edxml.profiles import LENIENT
from gateway.channels import ChannelUnreadable
from gateway.configuration.toml import as_table
from gateway.store import Store
from gateway.store.agencies import load_agencies
from gateway.store.channels import ChannelRow, list_channels
from gateway.store.profiles import ProfileRow, list_profiles
from gateway.store.systems import SystemRow, list_systems
from routing.agency import Agency, Dated
from routing.rows import load_nghe_an

__all__ = ["export"]

_HEAD = """\
# Cấu hình của nút liên thông, do `truc export` ghi. Áp dụng lại bằng `truc apply`.
# Configuration of the node, written by `truc export`. Apply it with `truc apply`.
# Mã truy cập không bao giờ nằm trong tệp này. Tokens are never in this file: `truc system rotate` gives new ones.
"""


def export(store: Store) -> str:
    """A TOML text of agencies, profiles, systems and channels as they are now; applying it changes nothing.

    Agencies that are as the packaged directory has them are left out: `truc init` brings those.  Raises ProfileInvalid,
    ChannelUnreadable where a stored row cannot be read: a file without it would not say what holds.
    """
    with store.read() as connection:
        agencies = load_agencies(connection)
        profiles = list_profiles(connection)
        systems = list_systems(connection)
        channels = list_channels(connection)
    packaged = load_nghe_an()
    own = [agency for agency in agencies if packaged.by_id(agency.id) != agency]
    names = {row.id: row.name for row in systems}
    tables = [
        *(as_table("agency", _agency(agency)) for agency in own),
        *(as_table("profile", _profile(row)) for row in profiles),
        *(as_table("system", _system(row)) for row in systems),
        *(as_table("channel", _channel(row, names)) for row in channels),
    ]
    return "\n".join([_HEAD, *tables])


def _agency(agency: Agency) -> dict[str, Any]:
    return {
        "id": agency.id,
        "kind": agency.kind,
        **_span(agency),
        "names": _rows({"name": n.name, "abbreviation": n.abbreviation or None, **_span(n)} for n in agency.names),
        "parents": _rows({"id": p.agency_id, **_span(p)} for p in agency.parents),
        "codes": _rows(
            {"code": c.code, "scheme": c.scheme, "assumed": c.assumed or None, **_span(c)} for c in agency.codes
        ),
        "successors": _rows(
            {"id": s.agency_id, "effective": s.effective, "share": s.share, "act": s.act or None}
            for s in agency.successors
        ),
    }


def _span(item: Dated) -> dict[str, Any]:
    return {"valid_from": item.valid_from, "valid_to": item.valid_to}


def _rows(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]] | None:
    return list(rows) or None


def _profile(row: ProfileRow) -> dict[str, Any]:
    row.profile()
    return {"name": row.name, "allow": list(row.allowances)}


def _system(row: SystemRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "operator": row.is_operator or None,
        "enabled": None if row.is_enabled else False,
        "profile": None if row.profile == LENIENT.name else row.profile,
        "speaks_for": sorted(row.agency_ids) or None,
    }


def _channel(row: ChannelRow, names: Mapping[str, str]) -> dict[str, Any]:
    if row.fault:
        raise ChannelUnreadable(channel=row.id, why=row.fault)
    return {
        "id": row.id,
        "kind": row.kind,
        "serves": sorted(row.agency_ids) or None,
        "system": names[row.system_id] if row.system_id is not None else None,
        "paused": row.is_paused or None,
        "speaks_for_agency": row.speaks_for_agency or None,
        "in_flight": row.in_flight,
        "windows": list(row.windows) or None,
        "settings": dict(row.settings) or None,
    }
