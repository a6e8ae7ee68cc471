"""Rules judged while reading: a packet's values cannot hold what breaks them, so only the bytes can show it."""

from __future__ import annotations

import io
from dataclasses import dataclass

from edxml.findings import Severity
from edxml.messages import Language, text
from edxml.packet import Packet, StatusPacket
from edxml.rules.examples import CONTENT, GOOD_DOCUMENT, GOOD_STATUS
from edxml.write import write, write_status

__all__ = ["READING_RULES", "ReadingRule", "example_bytes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingRule:
    """One rule of reading. Where `right` in the bytes of `good` is replaced by `wrong`, the rule is broken."""

    id: str
    severity: Severity = Severity.ERROR
    source: str
    good: Packet | StatusPacket = GOOD_DOCUMENT
    right: str
    wrong: str

    @property
    def code(self) -> str:
        """The code of its findings."""
        return f"edxml.{self.id}"

    def text(self, language: Language) -> str:
        """Its text, placeholders as they stand."""
        return text(self.code, language, {})

    @property
    def bad(self) -> bytes:
        """The bytes that break it."""
        return example_bytes(self.good).replace(self.right.encode(), self.wrong.encode(), 1)


def example_bytes(packet: Packet | StatusPacket) -> bytes:
    """An example as it is written (dialect A). Raises WriteRefused where it cannot be written."""
    out = io.BytesIO()
    if isinstance(packet, StatusPacket):
        write_status(packet, out)
    else:
        write(packet, out, open_attachment=lambda attachment: [CONTENT])
    return out.getvalue()


_QCVN = "QCVN 102:2016/BTTTT"
_CODES = f"{_QCVN}; QĐ 20/2020/QĐ-TTg"
_FROM = "<edXML:OrganId>000.00.00.H99</edXML:OrganId>"
_OWN_ID = "<edXML:DocumentId>000.00.00.H99,2025/09/01,123/UBND-VX</edXML:DocumentId>"
_KIND = "<edXML:BussinessDocType>0</edXML:BussinessDocType>"
_PRIORITY = "<edXML:Priority>0</edXML:Priority>"
_SUBJECT = "<edXML:Subject>V/v kết nối"
_WARNING = Severity.WARNING

READING_RULES = (
    ReadingRule(id="organ_id_missing", source=_CODES, right=_FROM, wrong=""),
    ReadingRule(
        id="organ_id_malformed", source=_CODES, right=_FROM, wrong="<edXML:OrganId>UBND tỉnh</edXML:OrganId>"
    ),
    ReadingRule(id="document_id_missing", source=f"{_QCVN} 1.14", right=_OWN_ID, wrong=""),
    ReadingRule(
        id="document_id_malformed", source=f"practice: the field has 75 characters ({_QCVN} 1.14)",
        right=_OWN_ID, wrong=f"<edXML:DocumentId>{'1' * 76}</edXML:DocumentId>",
    ),
    ReadingRule(
        id="business_kind_unknown", source=f"{_QCVN} 2.2.1", right=_KIND, wrong=_KIND.replace("0", "4")
    ),
    ReadingRule(
        id="receiver_type_unknown", source=f"{_QCVN} 2.2.3", right=_KIND,
        wrong="<edXML:BussinessDocType>2</edXML:BussinessDocType><edXML:BussinessDocumentInfo><edXML:ReceiverList>"
        "<edXML:Receiver><edXML:OrganId>H99.03</edXML:OrganId><edXML:ReceiverType>2</edXML:ReceiverType>"
        "</edXML:Receiver></edXML:ReceiverList></edXML:BussinessDocumentInfo>",
    ),
    ReadingRule(
        id="priority_unknown", severity=_WARNING, source=f"{_QCVN} 1.11; NĐ 30/2020/NĐ-CP", right=_PRIORITY,
        wrong=_PRIORITY.replace("0", "5"),
    ),
    ReadingRule(
        id="steering_type_unknown", severity=_WARNING, source=f"{_QCVN} 1.13", right="<edXML:ToPlaces>",
        wrong="<edXML:SteeringType>9</edXML:SteeringType><edXML:ToPlaces>",
    ),
    ReadingRule(
        id="number_unreadable", severity=_WARNING, source=f"{_QCVN} 1.11", right=_PRIORITY,
        wrong=f"{_PRIORITY}<edXML:PageAmount>hai</edXML:PageAmount>",
    ),
    ReadingRule(
        id="status_code_unknown", source="practice: official samples; 07 to 12 are unassigned", good=GOOD_STATUS,
        right="<edXML:StatusCode>01<", wrong="<edXML:StatusCode>07<",
    ),
    ReadingRule(
        id="element_unknown", severity=_WARNING, source=_QCVN, right=_PRIORITY,
        wrong=f"{_PRIORITY}<edXML:Urgency>0</edXML:Urgency>",
    ),
    ReadingRule(id="value_mixed", source=_QCVN, right=_SUBJECT, wrong="<edXML:Subject><b>V/v</b> kết nối"),
    ReadingRule(id="element_repeated", source=_QCVN, right=_PRIORITY, wrong=_PRIORITY * 2),
    ReadingRule(
        id="secrecy_mark", source="QĐ 28/2018/QĐ-TTg điều 1 khoản 2; Luật Bảo vệ bí mật nhà nước 29/2018/QH14",
        right=_SUBJECT, wrong="<edXML:Subject>(MẬT) V/v kết nối",
    ),
)  # fmt: skip
"""Those that a sender can break with a value; what is no readable XML has findings of its own in the runbook."""
