"""What a status must say, and who may send which (mã trạng thái)."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from edxml.codes import StatusCode
from edxml.findings import Severity
from edxml.ids import OrganId, fold_code
from edxml.packet import StaffInfo, StatusPacket
from edxml.rules.agencies import organ_breach
from edxml.rules.examples import organization, status
from edxml.rules.places import HEADER
from edxml.rules.rule import FINE, Breach, at, status_rule
from edxml.zone import VIETNAM

__all__ = ["RULES"]

_WITH_REASON = (StatusCode.REFUSED, StatusCode.TAKE_BACK, StatusCode.CHANGE_REFUSED)
_REFUSALS = (StatusCode.REFUSED, StatusCode.CHANGE_REFUSED)
_TAKE_BACK = status(
    status_code=StatusCode.TAKE_BACK,
    description="Ban hành nhầm",
    sender=organization("000.00.00.H99"),
    response_for={"organ_id": OrganId.parse("000.00.01.H99")},
)
_REFUSED = status(status_code=StatusCode.REFUSED, description="Gửi nhầm cơ quan")
_FINDS_BY = "practice: systems find the document by number, notation and date as well as by DocumentId"


@status_rule(Severity.ERROR, f"QCVN 102:2016/BTTTT 1.12; {_FINDS_BY}",
             bad=status(response_for={"document_id": None, "code": ""}))  # fmt: skip
def status_document_missing(packet: StatusPacket, today: date) -> tuple[Breach, ...]:
    """A status says which document it is about."""
    answered = packet.response_for
    return FINE if answered.document_id is not None or answered.code else (at(f"{HEADER}/ResponseFor"),)


@status_rule(Severity.WARNING, "QĐ 28/2018/QĐ-TTg điều 5 khoản 4, điều 9 khoản 1",
             bad=replace(_REFUSED, description=""), good=_REFUSED)  # fmt: skip
def refusal_reason_missing(packet: StatusPacket, today: date) -> tuple[Breach, ...]:
    """Từ chối and lấy lại say why."""
    if packet.description or packet.status_code not in _WITH_REASON:
        return FINE
    return (at(f"{HEADER}/Description", status=str(packet.status_code)),)


@status_rule(Severity.WARNING, "QĐ 28/2018/QĐ-TTg điều 5 khoản 4: who refuses answers for it",
             bad=replace(_REFUSED, staff=StaffInfo()), good=_REFUSED)  # fmt: skip
def refuser_missing(packet: StatusPacket, today: date) -> tuple[Breach, ...]:
    """Từ chối names the person or the section that refuses."""
    if packet.status_code not in _REFUSALS or packet.staff.staff or packet.staff.department:
        return FINE
    return (at(f"{HEADER}/StaffInfo", status=str(packet.status_code)),)


@status_rule(Severity.WARNING, "QĐ 28/2018/QĐ-TTg điều 6 khoản 3", bad=status(timestamp=None))
def timestamp_missing(packet: StatusPacket, today: date) -> tuple[Breach, ...]:
    """A status says when."""
    return FINE if packet.timestamp is not None else (at(f"{HEADER}/Timestamp"),)


_MOMENT = status().timestamp


@status_rule(
    Severity.WARNING, "QĐ 28/2018/QĐ-TTg điều 14 khoản 4 (one clock, Việt Nam's)",
    bad=status(timestamp=None if _MOMENT is None else _MOMENT.replace(day=3)),
)  # fmt: skip
def timestamp_future(packet: StatusPacket, today: date) -> tuple[Breach, ...]:
    """No status is of a day after today."""
    if packet.timestamp is None or (day := packet.timestamp.astimezone(VIETNAM).date()) <= today:
        return FINE
    return (at(f"{HEADER}/Timestamp", date=day),)


@status_rule(Severity.WARNING, "QCVN 102:2016/BTTTT 1.1", bad=status(sender=replace(status().sender, name="")))
def status_organ_name_missing(packet: StatusPacket, today: date) -> tuple[Breach, ...]:
    """Tên cơ quan báo trạng thái."""
    return FINE if packet.sender.name else (at(f"{HEADER}/From/OrganName"),)


@status_rule(
    Severity.WARNING, "QCVN 102:2016/BTTTT (000.00.01.H99); QĐ 20/2020/QĐ-TTg (H99.01, at most 35 characters)",
    bad=status(sender=organization("01.H99")), good=status(sender=organization("H99.01")),
)  # fmt: skip
def status_organ_form(packet: StatusPacket, today: date) -> tuple[Breach, ...]:
    """Organ ids of a status are written in one of the two official forms."""
    return organ_breach(f"{HEADER}/From", packet.sender.organ_id) + organ_breach(
        f"{HEADER}/ResponseFor", packet.response_for.organ_id
    )


def _issuer(packet: StatusPacket) -> OrganId | None:
    """The document's issuer as its DocumentId says."""
    document = packet.response_for.document_id
    parts = None if document is None else document.parts
    return None if parts is None else parts.organ


@status_rule(Severity.WARNING, "practice: official samples; 13 is sent by the issuer alone",
             bad=replace(_TAKE_BACK, sender=organization("H99.02")), good=_TAKE_BACK)  # fmt: skip
def take_back_not_by_issuer(packet: StatusPacket, today: date) -> tuple[Breach, ...]:
    """13 (lấy lại) is sent by the document's issuer."""
    if packet.status_code is not StatusCode.TAKE_BACK:
        return FINE
    issuer = _issuer(packet)
    if issuer is None or packet.sender.organ_id in (None, issuer):
        return FINE
    return (at(f"{HEADER}/From/OrganId", issuer=issuer.text),)


@status_rule(Severity.WARNING, "practice: official samples; all but 13 come from a recipient",
             bad=status(sender=organization("000.00.00.H99")))  # fmt: skip
def status_by_issuer(packet: StatusPacket, today: date) -> tuple[Breach, ...]:
    """Every status but 13 is sent by a recipient, not by the document's issuer."""
    if packet.status_code.is_from_issuer or packet.sender.organ_id is None or _issuer(packet) != packet.sender.organ_id:
        return FINE
    return (at(f"{HEADER}/From/OrganId", status=str(packet.status_code)),)


@status_rule(Severity.WARNING, "practice: ResponseFor/OrganId is where the axis sends the status",
             bad=status(response_for={"organ_id": OrganId.parse("H99.02")}))  # fmt: skip
def status_target_differs(packet: StatusPacket, today: date) -> tuple[Breach, ...]:
    """A recipient's status goes to the issuer (ResponseFor/OrganId); the issuer's 13 goes to a recipient."""
    target, issuer = packet.response_for.organ_id, _issuer(packet)
    if target is None or issuer is None or (target == issuer) is not packet.status_code.is_from_issuer:
        return FINE
    return (at(f"{HEADER}/ResponseFor/OrganId", status=str(packet.status_code), issuer=issuer.text),)


@status_rule(Severity.WARNING, _FINDS_BY, bad=status(response_for={"code": "124/UBND-VX"}))
def status_document_differs(packet: StatusPacket, today: date) -> tuple[Breach, ...]:
    """A DocumentId of three parts says what Code and PromulgationDate beside it say."""
    answered = packet.response_for
    parts = None if answered.document_id is None else answered.document_id.parts
    if parts is None:
        return FINE
    fields = []
    if answered.code and fold_code(answered.code) != fold_code(parts.code):
        fields.append("Code")
    if None not in (parts.date, answered.promulgation_date) and parts.date != answered.promulgation_date:
        fields.append("PromulgationDate")
    return tuple(at(f"{HEADER}/ResponseFor/DocumentId", field=field) for field in fields)


RULES = (
    status_document_missing, refusal_reason_missing, refuser_missing, timestamp_missing, timestamp_future,
    status_organ_name_missing, status_organ_form, take_back_not_by_issuer, status_by_issuer, status_target_differs,
    status_document_differs,
)  # fmt: skip
