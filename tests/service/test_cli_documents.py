"""Documents are found and shown by what a person remembers of them."""

from __future__ import annotations

import pytest

from tests.support.nodes import House
from tests.support.terminal import Terminal


@pytest.mark.parametrize(
    "written", ["128/QĐ-UBND", "128 / qd-ubnd", "128/QD.UBND", "số 128", "So: 128/QĐ", "0128 qđ ubnd", "128/qdubnd"]
)
def test_a_document_is_found_and_shown_by_its_number_as_people_write_it(
    truc: Terminal, house: House, written: str
) -> None:
    sent = house.send(["inbox-a", "inbox-b"], code_number="128", code_notation="QĐ-UBND")
    house.send(["inbox-a"], "2", code_number="1280", code_notation="QĐ-UBND")
    house.send(["inbox-a"], "3", code_number="12", code_notation="8/QĐ-UBND")
    assert [line["packet_id"] for line in truc.json("document", "find", written)] == [sent.packet_id]
    assert truc.json("document", "show", written)["packet"]["packet_id"] == sent.packet_id


def test_a_number_that_several_documents_bear_is_told_with_their_packets(truc: Terminal, house: House) -> None:
    sent = [house.send(["inbox-a"], number, code_number="7", code_notation="CV") for number in ("1", "2")]
    shown = truc("document", "show", "7/CV", code=2)
    assert all(one.packet_id in shown for one in sent)
    assert "[document_told.several]" in truc.err
    truc("document", "show", "8/CV", code=6)


def test_documents_are_found_by_what_is_remembered_of_them(truc: Terminal, house: House) -> None:
    flood = house.send(["inbox-a", "inbox-b"], subject="Về việc phòng, chống thiên tai năm 2025")
    tree = house.send(["inbox-b"], "2", subject="Tết trồng cây đời đời nhớ ơn Bác")
    house.tell("inbox-b", number="2")

    def found(*options: str) -> set[str]:
        return {line["packet_id"] for line in truc.json("document", "find", *options)}

    assert found("--subject", "THIEN tai phong") == {flood.packet_id}
    assert found("--subject", "thiên tai", "--recipient", "co quan inbox-b") == {flood.packet_id}
    assert found("--subject", "doi doi") == {tree.packet_id}
    assert found("--sender", "cơ quan sender") == {flood.packet_id, tree.packet_id}
    assert found("--recipient", "inbox-a") == {flood.packet_id}
    assert found("--date", "1/9/2025", "--from", "2020-01-01") == {flood.packet_id, tree.packet_id}
    assert found("--date", "2025-09-02", "--from", "2020-01-01") == set()
    for state in ("chờ bên nhận lấy", "cho ben nhan lay", "available", "đang chuyển", "open"):
        assert found("--state", state) == {flood.packet_id, tree.packet_id}, state
    assert found("--state", "từ chối", "--from", "1/1/2020") == set()
    assert found("--to", "31/12/2019") == set()
    shown = truc("document", "find", "--recipient", "inbox-b")
    assert "Cơ quan inbox-b: chờ bên nhận lấy" in shown
    assert len(truc.json("document", "find", "--recipient", "inbox-b", "--limit", "1")) == 1
    assert "[" not in truc.err
    assert "--limit" in truc.err
    truc("document", "find", "--state", "bay mất", code=2)
    assert "thu hồi" in truc.err
    truc("document", "find", "--sender", "không có ai", code=6)
    truc("document", "find", code=2)
    truc("document", "find", "--date", "31/2/2025", code=2)
