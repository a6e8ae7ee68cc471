"""Number, notation, dates, and the DocumentId that repeats them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from edxml.findings import Severity
from edxml.ids import DocumentId, fold_code
from edxml.packet import Packet, TraceHeader
from edxml.rules import kinds
from edxml.rules.examples import GOOD_DOCUMENT, document, status
from edxml.rules.places import HEADER, TRACE
from edxml.rules.rule import FINE, UNCHECKED, Breach, at, document_rule
from edxml.zone import VIETNAM

__all__ = ["RULES"]

_QCVN = "QCVN 102:2016/BTTTT"
_FORM = "NĐ 30/2020/NĐ-CP phụ lục I, phần I, mục II khoản 3"
_LAW_OF_ACTS = "Luật ban hành văn bản QPPL 80/2015/QH13 điều 10 khoản 3 điểm c"
_NUMBER = f"{HEADER}/Code/CodeNumber"
_NOTATION = f"{HEADER}/Code/CodeNotation"
_PROMULGATED = f"{HEADER}/PromulgationInfo/PromulgationDate"
_OWN_ID = f"{HEADER}/DocumentId"

_NUMBER_FORM = re.compile(r"\d{1,7}(?:[A-Za-zĐđ]{1,2}|bis)?(?:/\d{4})?\Z")
_NOTATION_FORM = re.compile(r"[^\W_][\w.&+]*(?:[-/–][\w.&+]+)*\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_YEAR = re.compile(r"((?:19|20)\d\d)/")
_NUMBER_WITH_YEAR = re.compile(r"[^/]+/(?:19|20)\d\d\Z")
_ASSEMBLY = re.compile(r"(?:QH|UBTVQH)\d{1,2}\Z")  # acts of the National Assembly bear its term, not their kind


@document_rule(Severity.ERROR, f"{_QCVN} 1.3", bad=document(code=("", "UBND-VX")))
def code_number_missing(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Số văn bản."""
    return FINE if packet.code_number else (at(_NUMBER),)


@document_rule(Severity.ERROR, f"{_QCVN} 1.3", bad=document(code=("123", "")))
def code_notation_missing(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Ký hiệu văn bản."""
    return FINE if packet.code_notation else (at(_NOTATION),)


@document_rule(Severity.ERROR, _FORM, bad=document(code=("12\t3", "UBND-VX")), good=document(code=("123", "UBND-VX")))
def number_controls(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Số and ký hiệu have no control characters: whoever prints them would print something else."""
    return tuple(
        at(place, text=_CONTROL.sub("\N{REPLACEMENT CHARACTER}", text[:40]))
        for place, text in ((_NUMBER, packet.code_number), (_NOTATION, packet.code_notation))
        if _CONTROL.search(text)
    )


@document_rule(
    Severity.WARNING, _FORM, bad=document(code=("số 123", "UBND-VX")), good=document(code=("07a", "UBND-VX"))
)
def number_form(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Số is Arabic digits; a letter or "bis" after them is met, and the year where a normative act's stands here."""
    number = packet.code_number
    if not number or _NUMBER_FORM.match(number) or _CONTROL.search(number):
        return FINE
    return (at(_NUMBER, text=number[:40]),)


@document_rule(
    Severity.WARNING, f"{_FORM}; TT 01/2011/TT-BNV điều 8",
    bad=document(code=("7", "UBND-VX")), good=document(code=("07", "UBND-VX")),
)  # fmt: skip
def number_unpadded(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Số under 10 has a 0 before it: "07"."""
    digits = packet.code_number.split("/")[0]
    if len(digits) != 1 or not digits.isdecimal():
        return FINE
    return (at(_NUMBER, number=digits),)


@document_rule(Severity.WARNING, _FORM, bad=document(code=("123", "/UBND - VX")))
def notation_form(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Ký hiệu is words of letters and digits joined with "-" or "/", without blanks, without a leading "/"."""
    if not packet.code_notation or _NOTATION_FORM.match(packet.code_notation):
        return FINE
    return (at(_NOTATION, text=packet.code_notation[:40]),)


@document_rule(Severity.WARNING, f"{_QCVN} 1.3", bad=document(code=("123", "123/UBND-VX")))
def notation_repeats_number(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Ký hiệu does not begin with the number again."""
    return (at(_NOTATION, number=packet.code_number[:40]),) if _repeats_number(packet) else FINE


def _repeats_number(packet: Packet) -> bool:
    number, issued = packet.code_number, packet.promulgation_date
    if not number or not packet.code_notation.startswith(f"{number}/"):
        return False
    return issued is None or number != str(issued.year)  # act 2025 of 2025: "2025" + "2025/QĐ-UBND"


def _stem(packet: Packet) -> str:
    """The notation without a number that it repeats."""
    notation = packet.code_notation
    return notation[len(packet.code_number) + 1 :] if _repeats_number(packet) else notation


def _year_of(packet: Packet) -> str:
    """The year that the notation begins with, or that the number ends with; empty where there is none."""
    if (found := _YEAR.match(_stem(packet))) is not None:
        return found[1]
    return packet.code_number[-4:] if _NUMBER_WITH_YEAR.match(packet.code_number) else ""


_ACT = {"type": "1", "type_detail": "8", "type_name": "Quyết định"}


@document_rule(
    Severity.WARNING, _LAW_OF_ACTS,
    bad=document(code=("20", "QĐ-UBND"), **_ACT), good=document(code=("20", "2025/QĐ-UBND"), **_ACT),
)  # fmt: skip
def notation_without_year(packet: Packet, today: date) -> tuple[Breach, ...]:
    """A normative act's notation has the year: 20/2025/QĐ-UBND; those of the National Assembly too."""
    if packet.type != "1" or "1" not in kinds.groups_of(packet.type_name) or not packet.code_notation:
        return FINE
    if _year_of(packet) or _ASSEMBLY.search(packet.code_notation):
        return FINE
    return (at(_NOTATION, text=packet.number_notation[:60]),)


@document_rule(
    Severity.WARNING, _LAW_OF_ACTS,
    bad=document(code=("20", "2024/QĐ-UBND"), **_ACT), good=document(code=("20", "2025/QĐ-UBND"), **_ACT),
)  # fmt: skip
def notation_year_differs(packet: Packet, today: date) -> tuple[Breach, ...]:
    """The year in the notation is the year of promulgation."""
    year = _year_of(packet)
    if not year or packet.promulgation_date is None or packet.promulgation_date.year == int(year):
        return FINE
    return (at(_NOTATION, year=year, date=packet.promulgation_date),)


_NOTICE = {"type_detail": "7", "type_name": "Thông báo"}


@document_rule(
    Severity.WARNING, f"NĐ 30/2020/NĐ-CP phụ lục III; TT 01/2011/TT-BNV phụ lục I {UNCHECKED}",
    bad=document(code=("123", "KH-UBND"), **_NOTICE), good=document(code=("123", "TB-UBND"), **_NOTICE),
)  # fmt: skip
def notation_kind_differs(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Ký hiệu begins with the abbreviation of its kind, today's or that of 2011; công văn and thư công have none."""
    shorts = kinds.abbreviations_of(packet.type_name)
    if not shorts or not packet.code_notation or _ASSEMBLY.search(packet.code_notation):
        return FINE
    first = re.split(r"[-–/]", _YEAR.sub("", _stem(packet), count=1), maxsplit=1)[0]
    if fold_code(first) in map(fold_code, shorts):
        return FINE
    return (at(_NOTATION, text=first[:20], name=packet.type_name[:80], expected=", ".join(shorts)),)


@document_rule(Severity.ERROR, f"{_QCVN} 1.4", bad=document(promulgation_date=None))
def promulgation_date_missing(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Ngày ban hành; one that does not exist was left out in reading and is missing too."""
    return FINE if packet.promulgation_date is not None else (at(_PROMULGATED),)


@document_rule(
    Severity.ERROR, f"{_QCVN} 1.4; practice: Bkav eDoc refuses it",
    bad=document(promulgation_date=date(2025, 9, 3), document_id=DocumentId("18661")),
    good=document(promulgation_date=date(2025, 9, 2), document_id=DocumentId("18661")),
)  # fmt: skip
def promulgation_date_future(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Ngày ban hành is not after today."""
    if packet.promulgation_date is None or packet.promulgation_date <= today:
        return FINE
    return (at(_PROMULGATED, date=packet.promulgation_date),)


@document_rule(
    Severity.WARNING, f"{_QCVN} 1.9", bad=document(due_date=date(2025, 8, 31)), good=document(due_date=date(2025, 9, 1))
)
def due_before_promulgation(packet: Packet, today: date) -> tuple[Breach, ...]:
    """Hạn trả lời is not before ngày ban hành."""
    due, issued = packet.due_date, packet.promulgation_date
    if due is None or issued is None or due >= issued:
        return FINE
    return (at(f"{HEADER}/DueDate", due=due, date=issued),)


_ANSWERED = status().response_for


@document_rule(
    Severity.WARNING, f"{_QCVN} 1.12",
    bad=document(response_for=(status(response_for={"promulgation_date": date(2025, 9, 2)}).response_for,)),
    good=document(response_for=(_ANSWERED,)),
)  # fmt: skip
def answered_later(packet: Packet, today: date) -> tuple[Breach, ...]:
    """A document answers one that is not younger than itself."""
    if not packet.response_for or packet.promulgation_date is None:
        return FINE
    return tuple(
        at(f"{HEADER}/ResponseFor[{position}]/PromulgationDate", date=answered.promulgation_date)
        for position, answered in enumerate(packet.response_for, 1)
        if answered.promulgation_date is not None and answered.promulgation_date > packet.promulgation_date
    )


@document_rule(
    Severity.WARNING, f"{_QCVN} 1.12; practice: systems find it by DocumentId, or by number, notation and date",
    bad=document(response_for=(status(response_for={"document_id": None, "code": ""}).response_for,)),
    good=document(response_for=(status(response_for={"document_id": None}).response_for,)),
)  # fmt: skip
def answered_unfindable(packet: Packet, today: date) -> tuple[Breach, ...]:
    """A document that answers another says enough to find it."""
    if not packet.response_for:
        return FINE
    return tuple(
        at(f"{HEADER}/ResponseFor[{position}]")
        for position, answered in enumerate(packet.response_for, 1)
        if answered.document_id is None and not (answered.code and answered.promulgation_date)
    )


_LATE_HOP = TraceHeader(organ_id=GOOD_DOCUMENT.sender.organ_id, timestamp=datetime(2025, 9, 3, 2, tzinfo=UTC))


@document_rule(
    Severity.WARNING, "QĐ 28/2018/QĐ-TTg điều 14 khoản 4 (one clock, Việt Nam's)",
    bad=document(trace=(*GOOD_DOCUMENT.trace, _LATE_HOP)),
)  # fmt: skip
def trace_time_future(packet: Packet, today: date) -> tuple[Breach, ...]:
    """No hop was made after today."""
    tomorrow = _tomorrow(today)
    return tuple(
        [
            at(f"{TRACE}/TraceHeader[{position}]/Timestamp", date=hop.timestamp.astimezone(VIETNAM).date())
            for position, hop in enumerate(packet.trace, 1)
            if hop.timestamp is not None and hop.timestamp >= tomorrow
        ]
    )


@lru_cache(maxsize=8)
def _tomorrow(today: date) -> datetime:
    """When the next day begins in Việt Nam."""
    return datetime(today.year, today.month, today.day, tzinfo=VIETNAM) + timedelta(days=1)


@document_rule(
    Severity.WARNING, "practice: the id's customary three parts (QCVN 102 1.14)",
    bad=document(document_id=DocumentId("000.00.00.H98,2025/09/01,123/UBND-VX")),
)  # fmt: skip
def document_id_differs(packet: Packet, today: date) -> tuple[Breach, ...]:
    """An id written in three parts says what the header says; senders often copy a stale one."""
    parts = packet.document_id.parts
    if parts is None:
        return FINE
    fields = []
    if packet.sender.organ_id is not None and parts.organ != packet.sender.organ_id:
        fields.append("From/OrganId")
    if parts.date is not None and packet.promulgation_date not in (None, parts.date):
        fields.append("PromulgationDate")
    if parts.code != packet.number_notation and fold_code(parts.code) != fold_code(packet.number_notation):
        fields.append("Code")
    return tuple(at(_OWN_ID, field=field) for field in fields)


@document_rule(
    Severity.WARNING, "practice: an official sample has 2014/02/30",
    bad=document(document_id=DocumentId("000.00.00.H99,2025/02/30,123/UBND-VX")),
)  # fmt: skip
def document_id_date_impossible(packet: Packet, today: date) -> tuple[Breach, ...]:
    """The day within a DocumentId of three parts exists."""
    parts = packet.document_id.parts
    if parts is None or parts.date is not None:
        return FINE
    return (at(_OWN_ID, text=packet.document_id.text.split(",", 2)[1][:20]),)


RULES = (
    code_number_missing, code_notation_missing, number_controls, number_form, number_unpadded, notation_form,
    notation_repeats_number, notation_without_year, notation_year_differs, notation_kind_differs,
    promulgation_date_missing, promulgation_date_future, due_before_promulgation, answered_later,
    answered_unfindable, trace_time_future,
    document_id_differs, document_id_date_impossible,
)  # fmt: skip
