"""The closed code lists of edXML, with their Vietnamese names. Sources: QCVN 102:2016/BTTTT and its SĐ1:2022."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cache, lru_cache
from importlib import resources
from types import MappingProxyType

from edxml.messages import Language

__all__ = [
    "BusinessKind",
    "Dialect",
    "DocumentType",
    "Priority",
    "StatusCode",
    "SteeringType",
    "document_type",
    "fold_name",
]


class Dialect(StrEnum):
    """How a packet is written; A and B are read and written, D is read, the others are refused by name."""

    A = "A"  #: VNPT's library: the national axis
    B = "B"  #: the .NET client: same namespace, standard order, attributes on trace and references
    C = "C"  #: flat, namespace go.vn
    D = "D"  #: SOAP of 2014-2015 (công văn 2803/BTTTT-THH)
    E = "E"  #: pair of header and attachment files
    F = "F"  #: header borrowed for other data


class BusinessKind(StrEnum):
    """What a document packet does (nghiệp vụ văn bản, BussinessDocType)."""

    NEW = "new"
    RECALL = "recall"
    UPDATE = "update"
    REPLACEMENT = "replacement"

    @property
    def wire(self) -> str:
        """The digit in BussinessDocType: 0 to 3."""
        return _KIND_WIRE[self]

    @staticmethod
    def from_wire(digit: str) -> BusinessKind | None:
        """The kind that the digit names, None for any other text."""
        return _KIND_BY_WIRE.get(digit)

    def gloss(self, language: Language) -> str:
        """Its name for people."""
        return _KIND_GLOSS[self][language is Language.EN]


_KIND_WIRE = {
    BusinessKind.NEW: "0",
    BusinessKind.RECALL: "1",
    BusinessKind.UPDATE: "2",
    BusinessKind.REPLACEMENT: "3",
}
_KIND_BY_WIRE = {wire: kind for kind, wire in _KIND_WIRE.items()}
_KIND_GLOSS = {
    BusinessKind.NEW: ("Văn bản mới", "new document"),
    BusinessKind.RECALL: ("Thu hồi", "recall"),
    BusinessKind.UPDATE: ("Cập nhật", "update"),
    BusinessKind.REPLACEMENT: ("Thay thế", "replacement"),
}


class StatusCode(StrEnum):
    """Business status of a document at a recipient (mã trạng thái). 07-12 and 14 are unassigned in every source."""

    ARRIVED = "01"
    REFUSED = "02"
    ACCEPTED = "03"
    ASSIGNED = "04"
    PROCESSING = "05"
    FINISHED = "06"
    TAKE_BACK = "13"
    CHANGE_AGREED = "15"
    CHANGE_REFUSED = "16"

    def gloss(self, language: Language) -> str:
        """Its name for people."""
        return _STATUS_GLOSS[self][language is Language.EN]

    @property
    def is_from_issuer(self) -> bool:
        """Whether the document's issuer sends it (13); all others come from a recipient."""
        return self is StatusCode.TAKE_BACK


_STATUS_GLOSS = {
    StatusCode.ARRIVED: ("Đã đến", "arrived"),
    StatusCode.REFUSED: ("Từ chối tiếp nhận", "refused"),
    StatusCode.ACCEPTED: ("Đã tiếp nhận", "accepted"),
    StatusCode.ASSIGNED: ("Phân công", "assigned"),
    StatusCode.PROCESSING: ("Đang xử lý", "in work"),
    StatusCode.FINISHED: ("Hoàn thành", "finished"),
    StatusCode.TAKE_BACK: ("Lấy lại", "take-back asked for"),
    StatusCode.CHANGE_AGREED: ("Đồng ý cập nhật/lấy lại", "update or take-back agreed"),
    StatusCode.CHANGE_REFUSED: ("Từ chối cập nhật/lấy lại", "update or take-back refused"),
}


class Priority(IntEnum):
    """Urgency (độ khẩn, OtherInfo/Priority)."""

    NORMAL = 0
    URGENT = 1
    VERY_URGENT = 2
    EXPRESS = 3
    EXPRESS_TIMED = 4

    @property
    def is_urgent(self) -> bool:
        """Whether it goes before ordinary documents."""
        return self is not Priority.NORMAL

    def gloss(self, language: Language) -> str:
        """Its name for people."""
        return _PRIORITY_GLOSS[self][language is Language.EN]


_PRIORITY_GLOSS = {
    Priority.NORMAL: ("Thường", "normal"),
    Priority.URGENT: ("Khẩn", "urgent"),
    Priority.VERY_URGENT: ("Thượng khẩn", "very urgent"),
    Priority.EXPRESS: ("Hỏa tốc", "express"),
    Priority.EXPRESS_TIMED: ("Hỏa tốc hẹn giờ", "express by a set hour"),
}


class SteeringType(IntEnum):
    """Whether a document steers (loại chỉ đạo)."""

    NONE = 0
    STEERING = 1
    REPORT = 2

    def gloss(self, language: Language) -> str:
        """Its name for people."""
        return _STEERING_GLOSS[self][language is Language.EN]


_STEERING_GLOSS = {
    SteeringType.NONE: ("Không phải văn bản chỉ đạo", "not a steering document"),
    SteeringType.STEERING: ("Văn bản chỉ đạo", "steering document"),
    SteeringType.REPORT: ("Báo cáo thực hiện chỉ đạo", "report on steering"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentType:
    """One kind of document (loại văn bản): group 1 = normative acts (QPPL), 2 = administrative."""

    group: int
    item: int
    name: str


def document_type(name: str) -> DocumentType | None:
    """The kind that a TypeName names, None where the list has no such name.

    Only the name is reliable: Type and TypeDetail are used inconsistently by every sender.
    """
    return _document_types().get(fold_name(name))


_TONES = "\N{COMBINING GRAVE ACCENT}\N{COMBINING ACUTE ACCENT}\N{COMBINING TILDE}"
_TONES += "\N{COMBINING HOOK ABOVE}\N{COMBINING DOT BELOW}"
_WITHOUT_TONES = str.maketrans("", "", _TONES)


@lru_cache(maxsize=2048)
def fold_name(name: str) -> str:
    """A Vietnamese name as it is compared: without case, single blanks, and each word's tone mark at its end.

    So "Giấy uỷ quyền" and "Giấy ủy quyền" are one: both ways to place the mark are in use.
    """
    words = unicodedata.normalize("NFD", name.casefold()).split()
    return " ".join(word.translate(_WITHOUT_TONES) + "".join(sorted(c for c in word if c in _TONES)) for word in words)


@cache
def _document_types() -> Mapping[str, DocumentType]:
    table = resources.files("edxml").joinpath("data/code_lists/document_types.tsv").read_text("utf-8")
    found: dict[str, DocumentType] = {}
    for line in table.splitlines()[1:]:
        group, item, name = line.split("\t")[:3]
        kind = DocumentType(group=int(group[0]), item=int(item), name=name)
        found.setdefault(fold_name(name), kind)
        found.setdefault(fold_name(name.split(" (")[0]), kind)
    return MappingProxyType(found)
