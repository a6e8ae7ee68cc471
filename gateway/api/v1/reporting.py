"""What a recipient says in JSON: it refuses an item, or reports a status (trạng thái xử lý).

Both become real edXML status packets and travel as those do; software that speaks edXML sends them itself through
`POST /v1/packets`.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Response

from edxml.codes import StatusCode
from gateway.api.edge import Edge
from gateway.api.v1.documents import view_of
from gateway.api.v1.doors import Calling, DeliveryId, TheEdge, json_of
from gateway.api.v1.examples import answer, json_body, refusals
from gateway.api.v1.inbox import agency_of
from gateway.api.v1.shapes_bodies import RefuseBody, StatusBody
from gateway.api.v1.submit import Accounted
from gateway.api.v1.words import encode_answer
from gateway.exchange.collect import unknown_item
from gateway.exchange.report import refuse_for, report_status
from gateway.exchange.submission import Answer, Outcome
from gateway.identity import Caller
from gateway.model.errors import BadRequest, NotFound
from gateway.store import reports, views
from gateway.store.reports import Owed

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["inbox"])

_ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: answer("AcceptedShape", "The status is ours and travels to the sender; a repeat gets this again")
}


@router.post(
    "/inbox/{delivery_id}/refuse",
    status_code=202,
    response_class=Response,
    responses={**_ACCEPTED, **refusals(400, 401, 404, 408, 409, 413)},
    openapi_extra={"requestBody": json_body("RefuseBody")},
    summary="Từ chối tiếp nhận / refuse an item with its reason",
)
async def refuse(
    edge: TheEdge, caller: Calling, delivery_id: DeliveryId, body: Annotated[RefuseBody, json_of(RefuseBody)]
) -> Response:
    """Status 02 with the reason goes to the sender. Before confirming, the delivery ends refused; later it is a
    business status only."""
    outcome = await edge.submitting.run(
        refuse_for, edge.node, delivery_id, caller.agency_ids, body.reason, caller=caller
    )
    return _answered(outcome)


@router.post(
    "/statuses",
    status_code=202,
    response_class=Response,
    responses={**_ACCEPTED, **refusals(400, 401, 403, 404, 408, 409, 413)},
    openapi_extra={"requestBody": json_body("StatusBody")},
    summary="Gửi trạng thái xử lý bằng JSON / report a status",
)
async def report(edge: TheEdge, caller: Calling, body: Annotated[StatusBody, json_of(StatusBody)]) -> Response:
    """A status about a document that was sent to one of the caller's agencies, named by `delivery_id`, or by
    `document_id` with `agency`. The node builds the status packet; the same status again is a repeat."""
    outcome = await edge.submitting.run(_report, edge, caller, body)
    return _answered(outcome)


def _answered(outcome: Outcome) -> Response:
    if isinstance(outcome, Answer):
        return Response(encode_answer(outcome), status_code=202, media_type="application/json")
    raise outcome if isinstance(outcome, NotFound) else Accounted(outcome)


def _report(edge: Edge, caller: Caller, body: StatusBody) -> Outcome:
    if bool(body.delivery_id) == bool(body.document_id and body.agency):
        raise BadRequest("api.not_about_one")
    owed = _by_delivery(edge, caller, body.delivery_id) if body.delivery_id else _by_document(edge, caller, body)
    return report_status(edge.node, owed, StatusCode(body.code), body.description, caller=caller)


def _by_delivery(edge: Edge, caller: Caller, delivery_id: str) -> Owed:
    with edge.node.store.read() as connection:
        owed = reports.of_delivery(connection, delivery_id)
        if owed is None or owed.agency_id not in caller.agency_ids:
            raise unknown_item(connection, delivery_id)
    return owed


def _by_document(edge: Edge, caller: Caller, body: StatusBody) -> Owed:
    """The newest delivery of the document to that agency."""
    agency_id = agency_of(edge, caller, body.agency)
    issuers = views.named_issuers(edge.node.channels.snapshot().directory, body.document_id)
    with edge.node.store.read() as connection:
        found = views.find_packets(connection, body.document_id, issuers=issuers)
    for packet_id in found:
        try:
            lines = view_of(edge, caller, packet_id).recipients
        except NotFound:
            continue
        for line in reversed(lines):
            if line.agency_id == agency_id:
                return _by_delivery(edge, caller, line.delivery_id)
    with edge.node.store.read() as connection:
        gone = views.archived(connection, body.document_id, issuers=issuers, seen_by=frozenset({agency_id}))
    raise NotFound("api.unknown_document") if gone is None else NotFound("api.archived_document", month=gone.month)
