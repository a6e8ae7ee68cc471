"""Statuses that the node reports for agencies whose software cannot speak them: 01 on hand-over, 02 from a refusal.

The status is a real edXML packet.  A repeat is known by delivery, code and description: a crash between the status and
the note that it was sent ends in the first answer, not in a second status (protocol §12).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from io import BytesIO

from edxml.codes import StatusCode
from edxml.crashpoints import crash_point, declare
from edxml.errors import TrucError
from edxml.ids import DocumentId, DocumentIdMalformed, OrganId, OrganIdMalformed
from edxml.packet import Organization, ResponseFor, StatusPacket
from edxml.write import write_status
from gateway.channels import Echoed
from gateway.exchange.acknowledge import acknowledge
from gateway.exchange.collect import unknown_item
from gateway.exchange.examine import prepare
from gateway.exchange.submission import Outcome, Submission
from gateway.identity import Caller
from gateway.model.errors import GatewayError
from gateway.model.instants import as_datetime
from gateway.node import Node
from gateway.store import reports
from gateway.store.repeating import repeated_where_undone
from gateway.store.reports import Owed

__all__ = ["echo_statuses", "refuse_for", "report_once", "report_status"]

declare("report.acknowledged", "the node's status is ours; the delivery still says that it owes one")

_TEXTS = {
    StatusCode.ARRIVED: "Trục liên thông báo thay đơn vị nhận: văn bản đã đến",
    StatusCode.REFUSED: "Từ chối tiếp nhận: ",
}

_NO_FIELD = frozenset({"edxml.refuser_missing"})
"""Findings about what whoever reports in JSON, or by a folder, has no field to say."""


def report_once(node: Node, limit: int = 100) -> int:
    """Send the statuses that deliveries owe; how many. Crash points: report.acknowledged."""
    with node.store.read() as connection:
        owing = reports.owing(connection, limit)
    for owed in owing:
        outcome = report_status(node, owed, StatusCode(owed.owes), _TEXTS[StatusCode.ARRIVED])
        crash_point("report.acknowledged")
        _note_paid(node, owed, outcome)
    return len(owing)


@repeated_where_undone
def _note_paid(node: Node, owed: reports.Owed, outcome: Outcome) -> None:
    with node.store.write() as connection:
        reports.paid(connection, owed.delivery_id)
        if isinstance(outcome, GatewayError):
            reports.note_failure(connection, owed, outcome.reason, node.store.now(connection), node.worker)


def refuse_for(
    node: Node, delivery_id: str, agency_ids: frozenset[str], reason: str, *, caller: Caller | None = None
) -> Outcome:
    """An agency refuses what was delivered or listed under `delivery_id`: status 02 with its reason goes to the sender.

    Before delivered it ends refused; later it is a business status only.  Unknown and foreign ids answer alike.
    """
    with node.store.read() as connection:
        owed = reports.of_delivery(connection, delivery_id)
        if owed is None or owed.agency_id not in agency_ids:
            return unknown_item(connection, delivery_id)
    return report_status(node, owed, StatusCode.REFUSED, _TEXTS[StatusCode.REFUSED] + reason[:1000], caller=caller)


def echo_statuses(node: Node, echoed: Echoed) -> None:
    """Take the statuses of an echo agency as if its own software had sent them. Raises what refuses one of them."""
    with node.store.read() as connection:
        owing = reports.of_key(connection, echoed.item.key)
    for owed in owing:
        for status in echoed.statuses:
            outcome = report_status(node, owed, status.code, status.description or _TEXTS[StatusCode.ARRIVED])
            if isinstance(outcome, TrucError):
                raise outcome


def report_status(
    node: Node, owed: Owed, code: StatusCode, description: str, *, caller: Caller | None = None
) -> Outcome:
    """Build one status for an agency and take it in like anybody's. A repeat gets the first answer.

    `caller` is the agency's own system where it said so itself; without one it is the node that speaks. A refusal (02)
    of what the agency reported finished (06) is a Conflict.
    """
    by_node = caller is None
    status = _status(node, owed, code, description)
    body = BytesIO()
    write_status(status, body)
    spooled = node.store.blobs.spool()
    spooled.write_bytes(body.getvalue())
    if caller is None:
        caller = Caller(
            system_id=f"node:{node.name}", name="node", agency_ids=frozenset({owed.agency_id}), is_operator=False
        )
    submission = Submission(
        caller=caller,
        spooled=spooled,
        digest=hashlib.sha256(body.getvalue()).hexdigest(),
        size=len(body.getvalue()),
        received_at=node.now(),
        key=f"node-status|{owed.delivery_id}|{code}|{hashlib.sha256(description.encode()).hexdigest()}",
        by_node=by_node,
        item=owed.delivery_id,
    )
    try:
        prepared = prepare(node, submission)
        found = tuple(finding for finding in prepared.findings if finding.code not in _NO_FIELD)
        return acknowledge(node, replace(prepared, findings=found))
    except GatewayError as why:
        if why.retryable:
            raise
        return why


def _status(node: Node, owed: Owed, code: StatusCode, description: str) -> StatusPacket:
    agency = node.channels.snapshot().directory.by_id(owed.agency_id)
    code_now = None if agency is None else agency.organ_code_on(node.today())
    organ = owed.organ if code_now is None else code_now.code  # a successor speaks under its own code
    name = owed.agency_id if agency is None else agency.name_on(node.today())
    return StatusPacket(
        sender=Organization(organ_id=OrganId.parse(organ), raw_organ_id=organ, name=name),
        response_for=ResponseFor(
            organ_id=_organ(owed.sender_organ),
            raw_organ_id=owed.sender_organ,
            code=owed.notation,
            promulgation_date=owed.promulgated,
            document_id=_document(owed.document_id),
        ),
        status_code=code,
        description=description,
        timestamp=as_datetime(node.now() // 1_000_000 * 1_000_000),
    )


def _organ(text: str) -> OrganId | None:
    try:
        return OrganId.parse(text)
    except OrganIdMalformed:
        return None


def _document(text: str) -> DocumentId | None:
    try:
        return DocumentId(text)
    except DocumentIdMalformed:
        return None
