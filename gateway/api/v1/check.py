"""Check without sending (kiểm tra thử): what would happen to a packet, and why. Nothing of it is kept."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from edxml.findings import Finding
from edxml.messages import Language, text
from edxml.packet import Packet, StatusPacket
from gateway.api.asked import Asked
from gateway.api.edge import Edge
from gateway.api.spooling import Spooled, admit_body, spool_body
from gateway.api.v1.doors import Calling, Here, TheEdge
from gateway.api.v1.examples import answer, refusals
from gateway.api.v1.packet_body import PACKET_BODY, WISHES
from gateway.api.v1.shapes import CheckShape
from gateway.api.v1.submit import Wishes, wishes_of
from gateway.exchange.acknowledge import would_refuse
from gateway.exchange.examine import examine
from gateway.exchange.submission import Examined
from gateway.identity import Caller
from routing.plan import Leg

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["packets"])


@router.post(
    "/packets/check",
    response_model=CheckShape,
    responses={
        200: answer("CheckShape", "Also where it would be refused"),
        **refusals(400, 401, 408, 413, 415, 429, 507),
    },
    openapi_extra={"requestBody": PACKET_BODY, "parameters": WISHES},
    summary="Kiểm tra gói tin, không gửi / check a packet without sending it",
)
async def check_packet(edge: TheEdge, caller: Calling, asked: Here) -> Any:
    """Every finding, every repair, and the route with its reasons: what `POST /v1/packets` would find now.

    A status is matched with its document too. What only the transaction can tell (repeats, conflicts with what is
    stored) is not in it.
    """
    return await _check(edge, caller, asked)


async def _check(edge: Edge, caller: Caller, asked: Asked) -> dict[str, Any]:
    wishes = wishes_of(asked)
    with admit_body(edge, asked, caller) as coming:
        spooled = await spool_body(edge, asked, coming)
        return await edge.submitting.run(_examine, edge, caller, wishes, spooled)


def _examine(edge: Edge, caller: Caller, wishes: Wishes, spooled: Spooled) -> dict[str, Any]:
    path = spooled.path
    try:
        examined = examine(
            edge.node, path, body=spooled.body, system_id=caller.system_id, mode=wishes.mode, only=wishes.only
        )
    finally:
        path.unlink(missing_ok=True)
    findings = list(examined.findings)
    is_foreign = bool(examined.sender_id) and not caller.speaks_for(examined.sender_id)
    if is_foreign:
        findings.append(Finding(code="identity.foreign_sender"))
    packet = examined.result.packet
    unmatched = _unmatched(edge, examined)
    findings += unmatched
    return {
        "would_be_accepted": not (examined.is_refused or is_foreign or unmatched),
        "findings": [finding.as_dict() for finding in findings],
        "repairs": [repair.as_dict() for repair in examined.result.repairs],
        "route": _route(edge, examined),
        "document_id": packet.document_id.text if isinstance(packet, Packet) and not examined.result.is_secret else "",
        "sender_id": examined.sender_id,
        "size": spooled.size,
    }


def _unmatched(edge: Edge, examined: Examined) -> list[Finding]:
    """Why a status that is good in itself speaks of no document of ours."""
    packet = examined.result.packet
    if examined.is_refused or not isinstance(packet, StatusPacket):
        return []
    why = would_refuse(edge.node, packet, examined.sender_id)
    return [] if why is None else [Finding(code=why.reason, params=why.params)]


def _route(edge: Edge, examined: Examined) -> list[dict[str, Any]]:
    return [] if examined.plan is None else [_leg(edge, leg) for leg in examined.plan.legs]


def _leg(edge: Edge, leg: Leg) -> dict[str, Any]:
    snapshot = edge.node.channels.snapshot()
    agency = snapshot.directory.by_id(leg.agency_id)
    channel = snapshot.by_id.get(leg.channel_id)
    told = next((finding for finding in leg.findings()), None)
    direct = {language: text("api.leg_direct", language, {}) for language in Language}
    return {
        "agency_id": leg.agency_id,
        "agency_name": "" if agency is None else agency.name_on(edge.node.today()),
        "organ_ids": list(leg.organ_ids),
        "channel_kind": "" if channel is None else channel.kind,
        "reason": str(leg.reason),
        "vi": direct[Language.VI] if told is None else told.text(Language.VI),
        "en": direct[Language.EN] if told is None else told.text(Language.EN),
    }
