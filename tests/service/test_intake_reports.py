"""What the clerk of a folder channel reads when something was not taken, and the sender when something was refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.workers.intake_round import intake_once
from tests.support.nodes import House, build_house

UNKNOWN = "Tên tệp trả lại không phải là tên của gói tin đã giao"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = build_house(tmp_path, folders=True)
    made.node.channels.sink("folder").probe()
    yield made
    made.close()


def reports(house: House) -> str:
    """Everything that was written for the clerk."""
    asides = (house.root / "di" / "khong-gui", house.root / "den" / "tra-lai" / "khong-nhan")
    return "\n".join(path.read_text("utf-8") for aside in asides for path in sorted(aside.glob("*.txt")))


def test_each_report_says_the_cause_and_what_to_do(house: House) -> None:
    (house.root / "di" / "thu-muc.edxml").mkdir()
    (house.root / "di" / "lien-ket.edxml").symlink_to("/etc/passwd")
    (house.root / "den" / "tra-lai" / "Công văn.edxml").write_bytes(b"x")
    (house.root / "den" / "tra-lai" / "0198f2c0-khong-co.edxml").write_bytes(b"x")
    assert intake_once(house.node) == 4
    said = reports(house)
    assert said.count("không phải là tệp thường") == 2
    assert said.count(UNKNOWN) == 2
    assert "Xem báo cáo" not in said
    assert "(folder." not in said


def test_places_and_fields_are_told_in_vietnamese(house: House) -> None:
    sent = house.packet(["check"], sender="folder-a")
    (house.root / "di" / "hong.edxml").write_bytes(sent[:200])
    secret = sent.replace(b"</edXML:Subject>", " (MẬT)</edXML:Subject>".encode())
    assert secret != sent
    (house.root / "di" / "mat.edxml").write_bytes(secret)
    assert intake_once(house.node) == 2
    said = reports(house)
    assert "dòng " in said
    assert "] line " not in said
    assert "Trường “Trích yếu”" in said
    assert "Trường subject" not in said
    assert "the mark" not in said


@pytest.mark.parametrize("tail", ["", " (1)", " - Copy", " - Bản sao"])
def test_a_copy_moved_back_without_words_is_a_refusal_that_says_so(house: House, tail: str) -> None:
    sent = house.send(["folder-a"])
    house.work()
    [arrived] = (house.root / "den").glob("*.edxml")
    arrived.rename(house.root / "den" / "tra-lai" / f"{arrived.stem}{tail}.edxml")
    assert intake_once(house.node) == 1
    assert reports(house) == ""
    assert house.states(sent)["folder-a"] == "delivered"
    [told] = house.rows("SELECT description FROM statuses WHERE code = '02'")
    assert told["description"] == "Từ chối tiếp nhận: không ghi lý do"
