"""What I sent, one document with every recipient's state, and what I was told of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from edxml.messages import Evidence, Language, text
from gateway.api.edge import Edge
from gateway.api.free_text import FreeText
from gateway.api.v1.doors import After, Calling, Limit, PacketId, TheEdge
from gateway.api.v1.examples import answer, refusals
from gateway.api.v1.shapes import DocumentShape, NoticeList, SentList
from gateway.identity import Caller
from gateway.model.errors import NotFound
from gateway.model.inspection import PdfSignature
from gateway.model.instants import local_iso
from gateway.store import views

__all__ = ["router", "seen_by", "view_of"]

router = APIRouter(prefix="/v1", tags=["documents"])


@router.get(
    "/packets",
    response_model=SentList,
    responses={200: answer("SentList", "Newest first"), **refusals(400, 401)},
    summary="Những gì tôi đã gửi / what I sent",
)
async def list_sent(edge: TheEdge, caller: Calling, limit: Limit = 50, after: After = "") -> Any:
    """Packets that the caller's agencies sent, documents and statuses, newest first."""
    return await edge.looking.run(_sent, edge, caller, limit, after)


def _sent(edge: Edge, caller: Caller, limit: int, after: str) -> dict[str, Any]:
    with edge.node.store.read() as connection:
        lines = views.sent(connection, caller.agency_ids, limit=limit, **({"after": after} if after else {}))
    items = [
        words_of(line, "states") | {"accepted_at": local_iso(line.accepted_at), "states": dict(line.states)}
        for line in lines
    ]
    return {"items": items, "next": lines[-1].packet_id if len(lines) == limit else ""}


@router.get(
    "/packets/{packet_id}",
    response_model=DocumentShape,
    responses={200: answer("DocumentShape", "As far as the caller may see it"), **refusals(400, 401, 404)},
    summary="Một gói tin và tình trạng từng nơi nhận / one packet",
)
async def show_packet(edge: TheEdge, caller: Calling, packet_id: PacketId) -> Any:
    """One packet: each recipient's state, reason, holder and since; statuses, timeline, sister packets.

    The sender sees every recipient, a recipient its own line. Foreign and absent packets answer alike.
    """
    return await edge.looking.run(_show, edge, caller, packet_id)


def _show(edge: Edge, caller: Caller, packet_id: str) -> dict[str, Any]:
    return _words(edge, view_of(edge, caller, packet_id))


@router.get(
    "/documents",
    response_model=DocumentShape,
    responses={200: answer("DocumentShape", "As far as the caller may see it"), **refusals(400, 401, 404)},
    summary="Tra cứu theo mã văn bản / one document by its id",
)
async def show_document(
    edge: TheEdge,
    caller: Calling,
    id: Annotated[
        FreeText, Query(min_length=1, max_length=200, description="Mã định danh văn bản, gói tin hoặc lượt chuyển")
    ],
) -> Any:
    """The newest packet of a document, found by the document's, a packet's or a delivery's id."""
    return await edge.looking.run(_find, edge, caller, id)


def _find(edge: Edge, caller: Caller, wanted: str) -> dict[str, Any]:
    """A document's id is unique per issuer: whoever it names, and the caller's agencies, may have issued it."""
    issuers = views.named_issuers(edge.node.channels.snapshot().directory, wanted) | caller.agency_ids
    with edge.node.store.read() as connection:
        found = views.find_packets(connection, wanted, issuers=issuers)
    for packet_id in found:
        try:
            return _words(edge, view_of(edge, caller, packet_id))
        except NotFound:
            continue
    with edge.node.store.read() as connection:
        gone = views.archived(connection, wanted, issuers=issuers, seen_by=seen_by(caller))
    raise NotFound("api.unknown_document") if gone is None else NotFound("api.archived_document", month=gone.month)


def seen_by(caller: Caller) -> frozenset[str] | None:
    """Whose eyes a view is for: an operator sees everything."""
    return None if caller.is_operator else caller.agency_ids


def view_of(edge: Edge, caller: Caller, packet_id: str) -> views.DocumentView:
    """One packet as the caller may see it; in a thread. Raises NotFound, foreign and absent alike.

    Of a month that went, all ids are told to be archived.
    """
    with edge.node.store.read() as connection:
        view = views.document(connection, packet_id, seen_by=seen_by(caller), now=edge.node.store.now(connection))
        gone = None if view is not None else views.archived_id(connection, packet_id)
    if gone is not None:
        raise NotFound("api.archived_document", month=gone.month)
    if view is None:
        raise NotFound("api.unknown_document")
    return view


@router.get(
    "/notices",
    response_model=NoticeList,
    responses={200: answer("NoticeList", "Newest first"), **refusals(400, 401)},
    summary="Thông báo cho bên gửi / notices",
)
async def list_notices(edge: TheEdge, caller: Calling, limit: Limit = 50, after: After = "") -> Any:
    """What the caller's agencies were told of their deliveries: withdrawn, expired, parked, refused, late receipts."""
    return await edge.looking.run(_notices, edge, caller, limit, after)


def _notices(edge: Edge, caller: Caller, limit: int, after: str) -> dict[str, Any]:
    with edge.node.store.read() as connection:
        lines = views.notices(connection, caller.agency_ids, limit=limit, **({"after": after} if after else {}))
    items = [
        words_of(line)
        | {"at": local_iso(line.at), "vi": _text(line.code, Language.VI), "en": _text(line.code, Language.EN)}
        for line in lines
    ]
    return {"items": items, "next": lines[-1].notice_id if len(lines) == limit else ""}


# --- words -----------------------------------------------------------------------------------------------------


def words_of(line: Any, *but: str) -> dict[str, Any]:
    """A frozen line as plain words, without the fields named."""
    return {name: getattr(line, name) for name in line.__dataclass_fields__ if name not in but}


def _text(code: str, language: Language) -> str:
    return text(code, language, {})


def _words(edge: Edge, view: views.DocumentView) -> dict[str, Any]:
    return {
        "packet": _packet(view.packet),
        "recipients": [_recipient(edge, line) for line in view.recipients],
        "statuses": [_status(line) for line in view.statuses],
        "verdicts": [_verdict(line) for line in view.verdicts],
        "timeline": [words_of(line) | {"at": local_iso(line.at)} for line in view.timeline],
        "family": [_packet(line) for line in view.family],
    }


def _packet(line: views.PacketLine) -> dict[str, Any]:
    return words_of(line, "document_key", "sender_organ", "wire_digest") | {
        "sender": line.sender_organ,
        "digest": line.wire_digest,
        "accepted_at": local_iso(line.accepted_at),
        "states": dict(line.states),
    }


def _recipient(edge: Edge, line: views.RecipientLine) -> dict[str, Any]:
    agency = edge.node.channels.snapshot().directory.by_id(line.agency_id)
    code = f"delivery.{line.reason}"
    return words_of(line, "organ") | {
        "organ_id": line.organ,
        "agency_name": "" if agency is None else agency.name_on(edge.node.today()),
        "reason_vi": _text(code, Language.VI),
        "reason_en": _text(code, Language.EN),
        "since": local_iso(line.since),
        "waits_until": None if line.waits_until is None else local_iso(line.waits_until),
    }


def _status(line: views.StatusLine) -> dict[str, Any]:
    return words_of(line, "status_id", "document_packet_id") | {
        "reported_at": None if line.reported_at is None else local_iso(line.reported_at),
        "recorded_at": local_iso(line.recorded_at),
    }


def _verdict(line: views.VerdictLine) -> dict[str, Any]:
    params = {"detail": Evidence(line.detail), "signer": line.signer}
    return words_of(line) | {
        "vi": text(line.code, Language.VI, params),
        "en": text(line.code, Language.EN, params),
        "signed_at": None if line.signed_at is None else local_iso(line.signed_at),
        "checked_at": local_iso(line.checked_at),
        "evidence": None if line.evidence is None else _evidence(line.evidence),
    }


def _evidence(seen: PdfSignature) -> dict[str, Any]:
    """What the line itself does not say yet."""
    moments = {
        name: None if (moment := getattr(seen, name)) is None else local_iso(moment)
        for name in ("valid_from", "valid_to", "judged_at", "claimed_at", "stamped_at")
    }
    return words_of(seen, "verdict", "detail", "signer", "certificate") | moments | {"weaknesses": [*seen.weaknesses]}
