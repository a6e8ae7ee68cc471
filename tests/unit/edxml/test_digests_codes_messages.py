"""Wire digest and fingerprint, code lists, and that both languages say the same."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import edxml
from edxml import (
    REPAIRS,
    BusinessKind,
    Dialect,
    DocumentId,
    Language,
    OrganId,
    Packet,
    Priority,
    StatusCode,
    SteeringType,
    TraceHeader,
    WireHasher,
    document_type,
    fingerprint,
    read,
    wire_digest,
)
from edxml.codes import fold_name
from edxml.messages import catalogue
from edxml.packet import ReceiverChange
from edxml.rules import DOCUMENT_RULES, STATUS_RULES
from tests.support.packets import build_packet, make_packet, organization


@pytest.mark.parametrize(
    ("data", "counted"),
    [(b"", b""), (b"a", b"a"), (b"a\r\n", b"a"), (b"a\r\n\r\n", b"a\r\n"), (b"a\n", b"a\n"), (b"a\r", b"a\r"),
     (b"\r\n", b""), (b"a\r\nb", b"a\r\nb"), (b"a\r\r\n", b"a\r")],
)  # fmt: skip
def test_wire_digest_leaves_out_one_crlf_however_it_is_cut(data: bytes, counted: bytes) -> None:
    expected = hashlib.sha256(counted).hexdigest()
    assert wire_digest(data) == expected
    for size in (1, 2, 3):
        hasher = WireHasher()
        for start in range(0, len(data), size):
            hasher.update(data[start : start + size])
        assert hasher.hexdigest() == expected
        assert hasher.hexdigest() == expected  # may be asked again
        assert hasher.whole_hexdigest() == hashlib.sha256(data).hexdigest()
        assert hasher.size == len(data)


def test_reader_gives_the_same_wire_digest_for_the_national_client_s_copy() -> None:
    data = build_packet()
    assert read(io.BytesIO(data + b"\r\n")).wire_digest == read(io.BytesIO(data)).wire_digest == wire_digest(data)
    assert read(io.BytesIO(data + b"\r\n")).digest == hashlib.sha256(data + b"\r\n").hexdigest()


PACKET = make_packet()
SAME: dict[str, dict[str, Any]] = {
    "other recipients": {"recipients": (organization("H99.77"),)},
    "contact fields": {"sender": replace(PACKET.sender, name="Tên khác", email="x@y", telephone="1", fax="2")},
    "code in the other form": {"sender": organization("H99")},
    "one more hop": {"trace": (*PACKET.trace, TraceHeader(organ_id=None, timestamp=datetime.now(UTC)))},
    "dropped business block": {"business_reason": "", "staff": edxml.StaffInfo()},
    "blanks": {"subject": "  V/v kết nối,  liên thông phần mềm\nquản lý văn bản "},
    "packed as zip": {"attachments": tuple(replace(a, encoding="zip", span=(1, 2)) for a in PACKET.attachments)},
    "dialect": {"dialect": Dialect.B},
}
OTHER: dict[str, dict[str, Any]] = {
    "subject": {"subject": "Khác"},
    "number": {"code_number": "124"},
    "id": {"document_id": DocumentId("khac")},
    "sender": {"sender": organization("H98")},
    "attachment": {"attachments": tuple(replace(a, digest="0" * 64) for a in PACKET.attachments)},
    "no attachment": {"attachments": ()},
    "kind": {"business_kind": BusinessKind.RECALL},
    "urgent": {"priority": Priority.URGENT},
    "places": {"to_places": ("Như trên",)},
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME.keys())
def test_same_document_by_another_route_has_the_same_fingerprint(change: dict[str, Any]) -> None:
    assert fingerprint(replace(PACKET, **change)) == fingerprint(PACKET)


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER.keys())
def test_what_says_something_else_has_another(change: dict[str, Any]) -> None:
    assert fingerprint(replace(PACKET, **change)) != fingerprint(PACKET)


def test_recall_is_told_apart_by_its_business_block() -> None:
    recall = replace(PACKET, business_kind=BusinessKind.RECALL)
    removed = replace(recall, receiver_changes=(ReceiverChange(OrganId.parse("H99.1"), False),))
    reason = replace(recall, business_reason="Sai số liệu")
    assert len({fingerprint(one) for one in (recall, removed, reason)}) == 3


def test_code_lists() -> None:
    assert [kind.wire for kind in BusinessKind] == ["0", "1", "2", "3"]
    assert [BusinessKind.from_wire(kind.wire) for kind in BusinessKind] == list(BusinessKind)
    assert BusinessKind.from_wire("4") is None
    assert [str(code) for code in StatusCode] == ["01", "02", "03", "04", "05", "06", "13", "15", "16"]
    assert [code for code in StatusCode if code.is_from_issuer] == [StatusCode.TAKE_BACK]
    assert [p.is_urgent for p in Priority] == [False, True, True, True, True]
    for values in (BusinessKind, StatusCode, Priority, SteeringType):
        for value in values:
            assert value.gloss(Language.VI) != value.gloss(Language.EN)
    letter = document_type("công  VĂN")
    assert letter is not None
    assert (letter.group, letter.item, letter.name) == (2, 18, "Công văn")
    assert document_type("Thư tình") is None
    assert document_type("Giấy uỷ quyền") == document_type("GIẤY ỦY QUYỀN") is not None
    assert fold_name("hoà") == fold_name("HÒA") != fold_name("hỏa")


def test_target_of_recall_update_and_others() -> None:
    other = DocumentId("khac")
    for kind in BusinessKind:
        packet: Packet = replace(PACKET, business_kind=kind, business_document_id=other)
        acts = kind in (BusinessKind.RECALL, BusinessKind.UPDATE)
        assert packet.target_document_id == (other if acts else PACKET.document_id)
        assert replace(packet, business_document_id=None).target_document_id == PACKET.document_id


def holes(text: str) -> set[str]:
    return set(re.findall(r"{(\w+)(?::[^}]*)?}", text))


def test_both_languages_have_the_same_texts_with_the_same_parameters() -> None:
    vi, en = catalogue("edxml", Language.VI), catalogue("edxml", Language.EN)
    assert vi.keys() == en.keys()
    for code, said in vi.items():
        assert holes(said) == holes(en[code]), code


def test_every_code_in_the_package_has_a_text_and_every_text_a_code() -> None:
    package = Path(edxml.__file__).parent
    used = set()
    for module in package.rglob("*.py"):
        used |= set(re.findall(r'"((?:edxml|truc)\.[a-z_0-9]+)"', module.read_text("utf-8")))
    used |= {f"repair.{name}" for name in REPAIRS}
    used |= {rule.code for rule in (*DOCUMENT_RULES, *STATUS_RULES)}
    texts = {code for code in catalogue("edxml", Language.VI) if code.startswith(("edxml.", "truc.", "repair."))}
    assert used - {"edxml.seal"} == texts
