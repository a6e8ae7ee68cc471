"""Agencies (danh mục cơ quan): look one up by name or code, and who the caller is."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from gateway.api.edge import Edge
from gateway.api.v1.doors import Calling, Limit, TheEdge
from gateway.api.v1.examples import answer, refusals
from gateway.api.v1.shapes import AgencyList, AgencyShape, MeShape
from gateway.channels.snapshot import Snapshot
from gateway.identity import Caller
from gateway.model.errors import NotFound
from routing.agency import Agency, DatedCode

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["agencies"])

_ASSUMED = "mã giả định"
"""What every screen says beside a code that is ours and not the province's."""

On = Annotated[date | None, Query(description="Ngày tra cứu; để trống: hôm nay / the day asked for")]


@router.get(
    "/agencies",
    response_model=AgencyList,
    responses={200: answer("AgencyList", "Best match first"), **refusals(400, 401)},
    summary="Tìm cơ quan / look agencies up",
)
async def find_agencies(
    edge: TheEdge,
    _caller: Calling,
    q: Annotated[str, Query(max_length=200, description="Tên (có thể thiếu dấu) hoặc mã; trống: tất cả")] = "",
    on: On = None,
    limit: Limit = 50,
) -> Any:
    """Agencies in force on a day by name, with or without accents, or by any code; all of them where `q` is empty."""
    return await edge.looking.run(_find, edge, q, on, limit)


def _find(edge: Edge, text: str, on: date | None, limit: int) -> dict[str, Any]:
    snapshot = edge.node.channels.snapshot()
    day = on or edge.node.today()
    if text.strip():
        found = [match.agency for match in snapshot.directory.search(text, day)]
    else:
        found = list(snapshot.directory.in_force(day))
    return {"items": [_words(snapshot, agency, day) for agency in found[:limit]]}


@router.get(
    "/agencies/{agency}",
    response_model=AgencyShape,
    responses={200: answer("AgencyShape", "The agency on that day"), **refusals(400, 401, 404)},
    summary="Một cơ quan theo mã / one agency",
)
async def show_agency(
    edge: TheEdge, _caller: Calling, agency: Annotated[str, Path(max_length=100)], on: On = None
) -> Any:
    """One agency by our own id or by any organ code in either form, abolished ones with their successors."""
    return await edge.looking.run(_show, edge, agency, on)


def _show(edge: Edge, text: str, on: date | None) -> dict[str, Any]:
    snapshot = edge.node.channels.snapshot()
    day = on or edge.node.today()
    found = snapshot.directory.by_id(text) or snapshot.directory.find(text, day)
    if found is None:
        raise NotFound("api.unknown_agency", agency=text[:80])
    return _words(snapshot, found, day)


@router.get(
    "/me",
    response_model=MeShape,
    responses={200: answer("MeShape", "The system of the token"), **refusals(401)},
    summary="Tôi là ai / who am I",
)
async def show_me(edge: TheEdge, caller: Calling) -> Any:
    """The system that the token belongs to, and the agencies that it speaks for."""
    return await edge.looking.run(_me, edge, caller)


def _me(edge: Edge, caller: Caller) -> dict[str, Any]:
    snapshot = edge.node.channels.snapshot()
    own = [snapshot.directory.by_id(agency_id) for agency_id in sorted(caller.agency_ids)]
    return {
        "system_id": caller.system_id,
        "name": caller.name,
        "is_operator": caller.is_operator,
        "agencies": [_words(snapshot, agency, edge.node.today()) for agency in own if agency is not None],
    }


# --- words -----------------------------------------------------------------------------------------------------


def _words(snapshot: Snapshot, agency: Agency, day: date) -> dict[str, Any]:
    code = agency.organ_code_on(day)
    is_assumed = code is not None and code.assumed
    return {
        "agency_id": agency.id,
        "kind": str(agency.kind),
        "name": agency.name_on(day),
        "within": snapshot.directory.within(agency, day),
        "organ_id": "" if code is None else code.code,
        "assumed": is_assumed,
        "note": _ASSUMED if is_assumed else "",
        "is_in_force": agency.in_force_on(day),
        "is_reachable": agency.id in snapshot.reach,
        "valid_from": _day(agency.valid_from),
        "valid_to": _day(agency.valid_to),
        "successors": [heir.id for heir in snapshot.directory.successors_on(agency, day) if heir.id != agency.id],
        "codes": [_code(code) for code in agency.codes],
    }


def _code(code: DatedCode) -> dict[str, Any]:
    return {
        "scheme": str(code.scheme),
        "code": code.code,
        "valid_from": _day(code.valid_from),
        "valid_to": _day(code.valid_to),
        "assumed": code.assumed,
        "note": _ASSUMED if code.assumed else "",
    }


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
