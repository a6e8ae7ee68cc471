"""Marks of secrecy are seen where a clerk puts them, and the words that only look like them pass."""

from __future__ import annotations

import io
import time
import unicodedata
from typing import Any

import pytest

from edxml import Language, OtherInfo, find_marks, read
from tests.support.packets import build_packet, build_status, make_packet

SECRET: dict[str, dict[str, Any]] = {
    "top secret in the subject": {"subject": "TUYỆT MẬT - Kế hoạch A"},
    "highly secret, lower-case": {"subject": "Báo cáo (tối mật) quý I"},
    "secret in brackets": {"subject": "Kế hoạch diễn tập [Mật]"},
    "secret before what it is about": {"subject": "MẬT V/v diễn tập khu vực phòng thủ"},
    "secret before what it is about, in words": {"subject": "MẬT Về việc diễn tập"},
    "secret before a dash": {"subject": "MẬT - Kế hoạch diễn tập"},
    "secret at the end": {"subject": "Kế hoạch diễn tập - MẬT"},
    "secret is the whole kind": {"type_name": "Mật"},
    "degree named": {"content": "Độ mật: Mật"},
    "sphere": {"other": OtherInfo(sphere="MẬT")},
    "typer's notation": {"other": OtherInfo(typer_notation="Tối mật")},
    "appendix": {"other": OtherInfo(appendixes=("Danh sách", "Phụ lục 2 (MẬT)"))},
    "reason": {"business_reason": "Văn bản tuyệt mật gửi nhầm"},
    "file's name": {"files": (("Ke hoach_TUYET_MAT.bin", b"\0x"),)},
    "file's name with letters": {"files": (("Kế hoạch (Mật).bin", b"\0x"),)},
    "without marks on the letters": {"subject": "TOI MAT - Ke hoach"},
    "decomposed letters": {"subject": unicodedata.normalize("NFD", "Kế hoạch TUYỆT MẬT")},
    "two blanks": {"subject": "TUYỆT  MẬT"},
    "place": {"to_places": ("Như trên", "Lưu: VT, Tối mật")},
}
PASS = [
    "Triển khai công tác bảo mật thông tin",
    "Hội nghị tập huấn Luật Bảo vệ bí mật nhà nước",
    "Ban hành danh mục bí mật nhà nước độ Tuyệt mật, Tối mật và Mật thuộc lĩnh vực nội vụ",
    "Điều tra mật độ dân số",
    "Đổi mật khẩu hệ thống quản lý văn bản",
    "Phát triển nghề nuôi ong lấy mật ong, mật mía",
    "Hướng dẫn xác định độ mật của văn bản",
    "Quyết định giải mật tài liệu",
    "Cơ yếu: cấp phát mật mã",
    "Phẫu thuật nội soi túi mật",
    "Trung tâm Mật thư",
    "Mật ong V/v quảng bá sản phẩm OCOP",
    "V/v bảo mật V/v cấp tài khoản",
    "Quan hệ mật thiết giữa các đơn vị",
    "Cập nhật, luật, thuật ngữ, Nhật Tân",
    "MATERIAL MATRIX",
    "Bảo Mật - Công ty cổ phần",
    "V/v giữ bí mật: số liệu thống kê",
]


def rules(packet: Any) -> set[str]:
    return {finding.params["rule"] for finding in find_marks(packet)}


@pytest.mark.parametrize("overrides", SECRET.values(), ids=SECRET.keys())
def test_mark_is_seen_and_its_text_never_quoted(overrides: dict[str, Any]) -> None:
    result = read(io.BytesIO(build_packet(**overrides)))
    assert result.is_secret
    assert result.is_refused
    for finding in result.findings:
        for language in Language:
            for quoted in ("Kế hoạch", "Ke hoach", "diễn tập", "quý I", "gửi nhầm"):
                assert quoted not in finding.text(language)


@pytest.mark.parametrize("text", PASS)
def test_words_that_only_look_like_marks_pass(text: str) -> None:
    assert rules(make_packet(subject=text, content=text, type_name="Công văn")) == set()


def test_mark_in_a_field_of_the_old_form() -> None:
    data = build_packet().replace(b"<edXML:Priority>", b"<edXML:Secret>1</edXML:Secret><edXML:Priority>")
    assert read(io.BytesIO(data)).is_secret


@pytest.mark.parametrize(
    "text",
    ["độ mật" + " " * 60_000 + "x", "-" + " " * 60_000, "MẬT" * 20_000, "(mật " * 12_000, "tuyệt-" * 10_000,
     "độ " * 20_000 + "mật", "mật" + "\n" * 60_000, "- MẬT" * 12_000 + "x", "MẬT" + "-" * 60_000 + "x",
     "xác định độ mật " * 4_000, "tuyệt" + "." * 60_000],
)  # fmt: skip
def test_no_text_makes_the_patterns_slow(text: str) -> None:
    started = time.process_time()
    find_marks(make_packet(subject=text, content=text))
    assert time.process_time() - started < 0.5


def test_mark_in_the_manifest_alone() -> None:
    described = "<edXML:Description>Tối mật</edXML:Description><edXML:AttachmentName>".encode()
    data = build_packet().replace(b"<edXML:AttachmentName>", described)
    assert read(io.BytesIO(data)).is_secret


def test_mark_in_a_status() -> None:
    assert read(io.BytesIO(build_status(description="Từ chối: tài liệu TUYỆT MẬT"))).is_secret


def test_packet_that_cannot_be_built_is_still_known_as_secret() -> None:
    data = build_packet(subject="TỐI MẬT - Kế hoạch").replace(b"edXML:DocumentId>", b"edXML:Nothing>")
    result = read(io.BytesIO(data))
    assert result.packet is None
    assert result.is_secret


def test_finding_names_rule_field_degree_and_law() -> None:
    (finding,) = find_marks(make_packet(subject="TUYỆT MẬT"))
    assert finding.code == "edxml.secrecy_mark"
    assert finding.params["rule"] == "top_secret"
    assert finding.params["field"] == "subject"
    assert "29/2018/QH14" in finding.text(Language.VI)
