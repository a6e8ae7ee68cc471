"""Codes that name agencies and documents, in every written form, and the keys they are compared by.

An organ id (mã định danh cơ quan) exists in two official forms: QCVN 102:2016 (`000.00.01.H27`, read from
right to left, zeros where there is no such level) and QĐ 20/2020/QĐ-TTg (`H27.01`, left to right).  Both, and
the first with its zero groups dropped (`01.H27`), are the same code here.  Codes of test systems and of X-Road
(`vxp.saas.03`, `VN:GOV:…`) occur on the national axis and can be read.

A document id (mã định danh văn bản) is by custom `organ,yyyy/MM/dd,number/notation`, but any text of up to 75
characters occurs and is kept as written.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from edxml.errors import EdxmlError

__all__ = [
    "DocumentId",
    "DocumentIdMalformed",
    "DocumentIdParts",
    "OrganForm",
    "OrganId",
    "OrganIdMalformed",
    "bounded",
    "document_key",
    "fold_code",
    "notation_key",
]

_ORGAN_CHARS = re.compile(r"[0-9A-Z][0-9A-Z._:\-]{0,74}\Z")
_FORM_2016 = re.compile(r"\d{3}\.\d{2}\.\d{2}\.[A-Z][A-Z0-9]\d\Z")
_FORM_2020 = re.compile(r"[A-Z]\d{2}(?:\.[0-9A-Z]{1,10})*\Z")
_FORM_2016_SHORT = re.compile(r"(?:\d{1,4}\.){1,3}[A-Z][A-Z0-9]\d\Z")
_BLANKS = re.compile(r"[\s\u200b-\u200d\u2060\ufeff]+")
_LOOKALIKES = str.maketrans({"Ð": "Đ", "Ɖ": "Đ", "–": "-", "—": "-", "‑": "-", "‐": "-", "−": "-"})
_DOCUMENT_ID_MAX = 75
_KEY_BYTES = 2000  # PostgreSQL's indexes take 2,704 for a whole row


class OrganIdMalformed(EdxmlError):
    """The text is no organ id in any form we know; parameter `text` (cut to 80 characters)."""

    code = "edxml.organ_id_malformed"


class DocumentIdMalformed(EdxmlError):
    """The text is no document id: empty, or longer than 75 characters; parameter `text`."""

    code = "edxml.document_id_malformed"


class OrganForm(StrEnum):
    """In which form an organ id is written."""

    QCVN2016 = "qcvn2016"  #: 13 characters, `V1V2V3.Z1Z2.Y1Y2.MX`
    QD2020 = "qd2020"  #: `MX.Y.Z…`
    OTHER = "other"  #: readable, but neither official form


@dataclass(frozen=True, slots=True)
class OrganId:
    """Code of an agency (mã định danh cơ quan). Equal and hashed by `canonical`, so both forms of a code are one.

    `text` is the written form, trimmed and upper-case.  Never read a hierarchy from it: codes are not identities,
    and which old code is which new one is the directory's knowledge.  Raises OrganIdMalformed.
    """

    text: str = field(compare=False)
    canonical: str = field(init=False, repr=False)
    form: OrganForm = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        text = self.text.strip().upper()
        if not _ORGAN_CHARS.match(text) or text == "NULL":
            raise OrganIdMalformed(text=self.text[:80])
        form = OrganForm.OTHER
        canonical = text
        if _FORM_2020.match(text):
            form = OrganForm.QD2020
            canonical = _without_trailing_zeros(text.split("."))
        elif _FORM_2016_SHORT.match(text):
            if _FORM_2016.match(text):
                form = OrganForm.QCVN2016
            canonical = _without_trailing_zeros(text.split(".")[::-1])
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "form", form)
        object.__setattr__(self, "canonical", canonical)

    @staticmethod
    def parse(text: str) -> OrganId:
        """The organ id that `text` writes. Raises OrganIdMalformed."""
        return _parse_organ(text)

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=8192)
def _parse_organ(text: str) -> OrganId:
    return OrganId(text)


def _without_trailing_zeros(groups: list[str]) -> str:
    while len(groups) > 1 and not groups[-1].strip("0"):
        groups.pop()
    return ".".join(groups)


class DocumentIdParts(NamedTuple):
    """A document id of the customary three parts."""

    organ: OrganId
    date: date | None  #: None where the middle part is no date
    code: str  #: number/notation (số/ký hiệu)


@dataclass(frozen=True, slots=True)
class DocumentId:
    """Identifier of a document (mã định danh văn bản), kept as written; equal and hashed by `folded`.

    Raises DocumentIdMalformed where it is empty or longer than 75 characters (the field's size in running systems).
    """

    text: str = field(compare=False)
    folded: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        folded = _fold_document_id(self.text) if len(self.text) <= _DOCUMENT_ID_MAX else ""
        if not folded:  # blanks that nobody sees are nothing too
            raise DocumentIdMalformed(text=self.text[:80])
        object.__setattr__(self, "folded", folded)

    @property
    def parts(self) -> DocumentIdParts | None:
        """Issuer, date and number/notation, or None where the id is not written that way."""
        return _parts_of(self.text)

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=4096)
def _parts_of(text: str) -> DocumentIdParts | None:
    pieces = text.split(",", 2)  # commas never occur in organ codes
    if len(pieces) != 3 or not pieces[2].strip():
        return None
    try:
        organ = OrganId.parse(pieces[0])
    except OrganIdMalformed:
        return None
    try:
        day = date.fromisoformat(pieces[1].strip().replace("/", "-"))
    except ValueError:
        day = None
    return DocumentIdParts(organ, day, pieces[2].strip())


@lru_cache(maxsize=4096)
def _fold_document_id(text: str) -> str:
    pieces = text.split(",", 2)
    if len(pieces) != 3:
        return fold_code(text)
    try:
        organ = OrganId.parse(pieces[0]).canonical
    except OrganIdMalformed:
        organ = fold_code(pieces[0])
    return ",".join((organ, fold_code(pieces[1]).replace("/", "-"), fold_code(pieces[2])))


def fold_code(text: str) -> str:
    """A number or notation (số, ký hiệu) as it is compared: NFC, upper-case, one Đ, one hyphen, no blanks.

    Running systems compare "number/notation" without case, and write Đ with either of two look-alike letters.
    """
    folded = unicodedata.normalize("NFC", _BLANKS.sub("", text)).upper()
    return unicodedata.normalize("NFC", folded).translate(_LOOKALIKES)


def document_key(issuer: str, document_id: DocumentId) -> str:
    """The key of a document: its issuer and its DocumentId, folded.

    `issuer` is whatever stays the same for the caller: a canonical code, or its own id of an agency whose codes change.
    """
    return f"{issuer}|{document_id.folded}"


def notation_key(issuer: str, promulgated: date | None, number_notation: str) -> str:
    """The key that statuses are matched by where DocumentId fails: (issuer, date, "number/notation"), folded."""
    day = "" if promulgated is None else promulgated.isoformat()
    return f"{issuer}|{day}|{bounded(fold_code(number_notation))}"


def bounded(text: str) -> str:
    """A text that a key is made of; of one that is longer than an index of a database takes, the digest.

    Senders write hundreds of characters where the guides have twenty, and no limit is enforced.
    """
    written = text.encode("utf-8", "surrogatepass")
    return text if len(written) <= _KEY_BYTES else f"sha256:{hashlib.sha256(written).hexdigest()}"
