"""What a document must say, in which lists its codes stand, and how long its values may be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from operator import attrgetter, gt
from typing import Any, NamedTuple

from edxml.codes import Priority
from edxml.findings import Severity
from edxml.packet import Packet, StatusPacket
from edxml.rules import kinds
from edxml.rules.examples import document, status
from edxml.rules.places import BUSINESS, HEADER
from edxml.rules.rule import FINE, UNCHECKED, Breach, at, document_rule, status_rule

__all__ = [
    "BUSINESS_LENGTHS",
    "LENGTHS",
    "ORGANIZATION_LENGTHS",
    "PLACE_LENGTH",
    "RULES",
    "STATUS_LENGTHS",
    "STATUS_RULES",
    "Length",
]

_QCVN = "QCVN 102:2016/BTTTT"


@document_rule(Severity.ERROR, f"{_QCVN} 1.6", bad=document(subject=""))
def subject_missing(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Trích yếu."""
    return FINE if packet.subject else (at(f"{HEADER}/Subject"),)


@document_rule(
    Severity.WARNING, "practice: Bkav eDoc refuses a packet without it (QCVN 102 1.7)", bad=document(content="")
)
def content_missing(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Nội dung tóm tắt."""
    return FINE if packet.content else (at(f"{HEADER}/Content"),)


@document_rule(Severity.WARNING, f"{_QCVN} 1.8", bad=document(signer_name=""))
def signer_missing(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Họ tên người ký."""
    return FINE if packet.signer_name else (at(f"{HEADER}/SignerInfo/FullName"),)


_COMPETENCES = frozenset(("TM", "KT", "TL", "TUQ", "Q"))


@document_rule(
    Severity.WARNING,
    f"NĐ 30/2020/NĐ-CP phụ lục I, phần I, mục II khoản 7 {UNCHECKED}",
    bad=document(signer_competence="Thay mặt"),
)
def competence_unknown(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Quyền hạn người ký: TM., KT., TL., TUQ., Q., perhaps with the office that follows ("TL. BỘ TRƯỞNG")."""
    text = packet.signer_competence
    if not text or text.upper().replace(".", " ").split(" ", 1)[0] in _COMPETENCES:
        return FINE
    return (at(f"{HEADER}/SignerInfo/Competence", text=text[:40]),)


@document_rule(Severity.WARNING, f"{_QCVN} 1.5", bad=document(type_name=""))
def type_name_missing(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Tên loại văn bản."""
    return FINE if packet.type_name else (at(f"{HEADER}/DocumentType/TypeName"),)


@document_rule(
    Severity.WARNING, "QCVN 102:2016/SĐ1:2022 1.5; NĐ 30/2020/NĐ-CP điều 7", bad=document(type_name="Thư tình")
)
def type_name_unknown(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Tên loại văn bản trong danh mục."""
    if not packet.type_name or kinds.groups_of(packet.type_name):
        return FINE
    return (at(f"{HEADER}/DocumentType/TypeName", text=packet.type_name[:80]),)


@document_rule(Severity.WARNING, f"{_QCVN} 1.5; practice: Bkav eDoc takes 1 and 2 only", bad=document(type="18"))
def type_unknown(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Nhóm loại văn bản: 1 = quy phạm pháp luật, 2 = hành chính. Senders also write the item's number there."""
    return FINE if packet.type in ("1", "2") else (at(f"{HEADER}/DocumentType/Type", text=packet.type[:40]),)


@document_rule(Severity.WARNING, "QCVN 102:2016/SĐ1:2022 1.5", bad=document(type="1"))
def type_differs(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Nhóm loại phải là nhóm của tên loại; nghị quyết, quyết định, chỉ thị are in both groups."""
    if packet.type not in ("1", "2"):
        return FINE
    groups = kinds.groups_of(packet.type_name)
    if not groups or packet.type in groups:
        return FINE
    return (at(f"{HEADER}/DocumentType/Type", type=packet.type, name=packet.type_name[:80]),)


@document_rule(
    Severity.WARNING, "NĐ 30/2020/NĐ-CP điều 18; practice", bad=document(priority=Priority.EXPRESS_TIMED),
    good=document(priority=Priority.EXPRESS_TIMED, due_date=date(2025, 9, 1)),
)  # fmt: skip
def timed_without_due(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Hỏa tốc hẹn giờ must say by when."""
    if packet.priority is not Priority.EXPRESS_TIMED or packet.due_date is not None:
        return FINE
    return (at(f"{HEADER}/DueDate"),)


class Length(NamedTuple):
    """The most characters that receiving systems keep of one value, and who says so."""

    element: str
    limit: int
    source: str


_DECREE = "NĐ 30/2020/NĐ-CP phụ lục VI phần II"
_GUIDE = "practice: limits in Bkav eDoc's checks"
_COLUMN = "practice: columns of Bkav eDoc's database"
LENGTHS: dict[str, Length] = {
    "subject": Length("Subject", 500, _DECREE),
    "content": Length("Content", 500, _DECREE),
    "code_number": Length("Code/CodeNumber", 11, _DECREE),
    "code_notation": Length("Code/CodeNotation", 30, _DECREE),
    "promulgation_place": Length("PromulgationInfo/Place", 50, _GUIDE),
    "type_name": Length("DocumentType/TypeName", 100, _DECREE),
    "signer_competence": Length("SignerInfo/Competence", 100, _COLUMN),
    "signer_position": Length("SignerInfo/Position", 100, _DECREE),
    "signer_name": Length("SignerInfo/FullName", 50, _DECREE),
    "other.sphere": Length("OtherInfo/SphereOfPromulgation", 100, _COLUMN),
    "other.typer_notation": Length("OtherInfo/TyperNotation", 10, _GUIDE),
}
"""Values of a document by field. A length of 20 that a guide gives for Website is left out: nobody could keep it."""
BUSINESS_LENGTHS: dict[str, Length] = {
    "business_reason": Length("BussinessDocReason", 500, _COLUMN),
    "staff.department": Length("StaffInfo/Department", 300, _COLUMN),
    "staff.staff": Length("StaffInfo/Staff", 300, _COLUMN),
    "staff.email": Length("StaffInfo/Email", 100, _COLUMN),
    "staff.mobile": Length("StaffInfo/Mobile", 30, _COLUMN),
}
ORGANIZATION_LENGTHS: dict[str, Length] = {
    "name": Length("OrganName", 200, _DECREE),
    "in_charge": Length("OrganizationInCharge", 500, _GUIDE),
    "address": Length("OrganAdd", 500, _GUIDE),
    "email": Length("Email", 100, _GUIDE),
    "telephone": Length("Telephone", 20, _GUIDE),
    "fax": Length("Fax", 20, _GUIDE),
}
STATUS_LENGTHS: dict[str, Length] = {
    "description": Length("Description", 500, _DECREE),
    **{field: length for field, length in BUSINESS_LENGTHS.items() if field.startswith("staff.")},
}
PLACE_LENGTH = Length("ToPlaces/Place", 150, _GUIDE)


class _Limits:
    """What gives all these values of a source at once, and their limits."""

    def __init__(self, fields: dict[str, Length]) -> None:
        self.values: Callable[[Any], tuple[str, ...]] = attrgetter(*fields)
        self.lengths = tuple(fields.values())
        self.limits = tuple(length.limit for length in self.lengths)

    def excesses(self, source: Any, path: str) -> tuple[Breach, ...]:
        """A breach for each value of `source` that is too long; `source` stands at `path`."""
        values = self.values(source)
        if not any(map(gt, map(len, values), self.limits)):
            return FINE
        pairs = zip(values, self.lengths, strict=True)
        return tuple(_excess(path, length, value) for value, length in pairs if len(value) > length.limit)


def _excess(path: str, length: Length, value: str) -> Breach:
    return at(f"{path}/{length.element}", field=length.element, length=len(value), limit=length.limit)


_DOCUMENT = _Limits(LENGTHS)
_BUSINESS = _Limits(BUSINESS_LENGTHS)
_ORGANIZATION = _Limits(ORGANIZATION_LENGTHS)
_STATUS = _Limits(STATUS_LENGTHS)


@document_rule(Severity.WARNING, f"{_DECREE}; {_GUIDE}", bad=document(subject="V" * 501))
def value_too_long(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Each value within the length that receiving systems keep; never enforced anywhere, so it only warns."""
    found = _DOCUMENT.excesses(packet, HEADER)
    found += _BUSINESS.excesses(packet, BUSINESS)
    found += _ORGANIZATION.excesses(packet.sender, f"{HEADER}/From")
    for position, recipient in enumerate(packet.recipients, 1):
        found += _ORGANIZATION.excesses(recipient, f"{HEADER}/To[{position}]")
    for place in packet.to_places:
        if len(place) > PLACE_LENGTH.limit:
            found += (_excess(HEADER, PLACE_LENGTH, place),)
    return found


@status_rule(Severity.WARNING, f"{_DECREE}; {_COLUMN}", bad=status(description="V" * 501))
def status_value_too_long(packet: StatusPacket, today: date) -> tuple[Breach, ...]:
    """The same for statuses."""
    return _STATUS.excesses(packet, HEADER) + _ORGANIZATION.excesses(packet.sender, f"{HEADER}/From")


RULES = (
    subject_missing, content_missing, signer_missing, competence_unknown, type_name_missing, type_name_unknown,
    type_unknown, type_differs, timed_without_due, value_too_long,
)  # fmt: skip
STATUS_RULES = (status_value_too_long,)
