"""What was put right in the caller's own packets: a vendor sees what its software gets wrong, and until when."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query

from edxml.messages import Language, text
from edxml.profiles import breaks_of
from gateway.api.edge import Edge
from gateway.api.v1.doors import Calling, TheEdge
from gateway.api.v1.examples import answer, refusals
from gateway.api.v1.shapes_repairs import RepairsShape
from gateway.exchange.repaired import ToldRepair, tell_repairs
from gateway.identity import Caller
from gateway.model.errors import BadRequest
from gateway.model.instants import local_iso

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["packets"])

_MONTH = timedelta(days=30)
_From = Annotated[date | None, Query(alias="from", description="Từ ngày này; để trống: ba mươi ngày trước ngày cuối")]
_To = Annotated[date | None, Query(alias="to", description="Đến hết ngày này; để trống: hôm nay")]


@router.get(
    "/repairs",
    response_model=RepairsShape,
    responses={200: answer("RepairsShape", "The most first"), **refusals(400, 401)},
    summary="Lỗi quy chuẩn được sửa giúp / what was put right in my packets",
)
async def list_repairs(edge: TheEdge, caller: Calling, since: _From = None, until: _To = None) -> Any:
    """Deviations that the node put right in the packets of the caller's system, with an example of each, what to
    change, and the last day on which it is put right. Counted behind the hops, within seconds."""
    return await edge.looking.run(_list, edge, caller, since, until)


def _list(edge: Edge, caller: Caller, since: date | None, until: date | None) -> dict[str, Any]:
    node = edge.node
    snapshot, today = node.channels.snapshot(), node.today()
    last = until or today
    first = since or last - _MONTH
    if first > last:
        raise BadRequest("api.days_reversed", since=first, until=last)
    with node.store.read() as connection:
        told = tell_repairs(connection, snapshot, caller.system_id, since=first, until=last, today=today)
    return {
        "since": first.isoformat(),
        "until": last.isoformat(),
        "profile": snapshot.profile_of(caller.system_id).name,
        "packets": told.traffic.packets,
        "repaired": told.traffic.repaired,
        "items": [_words(one) for one in told.repairs],
    }


def _words(told: ToldRepair) -> dict[str, Any]:
    line = told.line
    texts = {
        f"{name}_{language}" if name == "remedy" else str(language): text(f"{name}.{line.key}", language, {})
        for name in ("repair", "remedy")
        for language in Language
    }
    return {
        "name": line.key,
        "packets": line.packets,
        "count": line.count,
        "first_at": local_iso(line.first_at),
        "last_at": local_iso(line.last_at),
        "packet_id": line.example,
        "document_id": line.document_id,
        "is_tolerated": told.until is not None,
        "tolerated_until": None if told.until in (None, date.max) else told.until.isoformat(),
        "breaks": breaks_of(line.key),
        **texts,
    }
