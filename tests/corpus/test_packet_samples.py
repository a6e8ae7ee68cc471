"""The national axis's own sample packets, each with the verdict a clerk would wish."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from edxml import (
    STRICT,
    BusinessKind,
    Dialect,
    OrganId,
    Packet,
    Priority,
    Severity,
    StatusCode,
    StatusPacket,
    SteeringType,
    fingerprint,
    open_decoded,
    read,
    validate,
    wire_digest,
    write,
    write_status,
)

SAMPLES = Path(__file__).parents[3] / "shared" / "samples" / "edxml"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not SAMPLES.is_dir(), reason="../shared/samples/edxml is absent"),
]

KINDS = {
    "edoc_new": BusinessKind.NEW,
    "edoc_replacement": BusinessKind.REPLACEMENT,
    "edoc_revocation": BusinessKind.RECALL,
    "edoc_update": BusinessKind.UPDATE,
}
STATUSES = {
    "status": "01",
    "status_acceptance_03": "03",
    "status_assignment_04": "04",
    "status_cancellation_13": "13",
    "status_change-acceptance_15": "15",
    "status_change-rejection_16": "16",
    "status_finish_06": "06",
    "status_inbox_01": "01",
    "status_processing_05": "05",
    "status_rejection_02": "02",
}


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.edxml").read_bytes()


@pytest.mark.parametrize(("name", "kind"), KINDS.items(), ids=KINDS.keys())
def test_document_is_read_whole(name: str, kind: BusinessKind) -> None:
    data = sample(name)
    result = read(io.BytesIO(data))
    packet = result.packet
    assert isinstance(packet, Packet)
    assert not result.is_refused
    assert result.findings == ()
    assert result.dialect is Dialect.A
    assert (result.size, result.wire_digest) == (len(data), wire_digest(data))
    assert packet.business_kind is kind
    assert packet.document_id.text == "000.00.00.G22,2015/09/30,7816/VPCP-TTĐT"
    assert packet.priority is Priority.NORMAL
    assert packet.steering_type is SteeringType.STEERING
    assert packet.due_date == date(2018, 9, 28)
    assert packet.trace[0].timestamp == datetime(2018, 9, 27, 17, tzinfo=UTC)
    assert packet.staff.staff == "Nguyễn Thị Ngọc Trâm"
    assert packet.signer_name == "Nguyen Thanh Phuc"
    assert packet.to_places == ("Cac bo va co quan ngang bo", "Uy ban nhan dan cac tinh, TP")
    assert packet.other.appendixes == ("Công văn về việc kết nối, liên thông phần mềm quản lý văn bản",)


RULES_BROKEN = {
    "edoc_new": {"organ_form", "type_differs", "number_form", "due_before_promulgation", "document_id_differs"},
    "edoc_replacement": {"type_differs", "document_id_differs"},
    "edoc_revocation": {"type_differs", "document_id_differs"},
    "edoc_update": {"type_differs", "document_id_differs"},
}


@pytest.mark.parametrize(("name", "ids"), RULES_BROKEN.items(), ids=RULES_BROKEN.keys())
def test_documents_are_told_what_is_odd_in_them_and_none_is_refused(name: str, ids: set[str]) -> None:
    packet = read(io.BytesIO(sample(name))).packet
    assert packet is not None
    findings = validate(packet, today=date(2026, 1, 1))
    assert {finding.code.removeprefix("edxml.") for finding in findings} == ids
    assert {finding.severity for finding in findings} == {Severity.WARNING}


@pytest.mark.parametrize("name", KINDS)
def test_attachment_is_unwrapped_and_found_again_by_its_span(name: str) -> None:
    data = sample(name)
    packet = read(io.BytesIO(data)).packet
    assert isinstance(packet, Packet)
    (attachment,) = packet.attachments
    assert (attachment.name, attachment.encoding, attachment.sniffed) == ("1896_QD-TTg_m_294779.doc", "zip", "xml")
    file = b"".join(open_decoded(io.BytesIO(data), attachment))
    assert (hashlib.sha256(file).hexdigest(), len(file)) == (attachment.digest, attachment.length)


def test_junk_before_the_prolog_is_the_only_repair_and_strict_refuses_it() -> None:
    assert [repair.name for repair in read(io.BytesIO(sample("edoc_new"))).repairs] == ["junk_before_prolog"]
    strict = read(io.BytesIO(sample("edoc_new")), profile=STRICT)
    assert [finding.code for finding in strict.findings] == ["edxml.repair_forbidden"]
    for name in ("edoc_update", "edoc_revocation", "edoc_replacement"):
        assert not read(io.BytesIO(sample(name)), profile=STRICT).is_refused


def test_update_names_who_comes_and_who_goes() -> None:
    packet = read(io.BytesIO(sample("edoc_update"))).packet
    assert isinstance(packet, Packet)
    assert packet.receiver_changes == ((OrganId.parse("H41"), False), (OrganId.parse("H14"), True))
    assert packet.target_document_id.text == "000.00.00.G22,2014/02/30,7806/VPCP-TTĐT"


def test_new_document_ignores_the_stale_id_in_its_business_block() -> None:
    packet = read(io.BytesIO(sample("edoc_new"))).packet
    assert isinstance(packet, Packet)
    assert packet.business_document_id is not None
    assert packet.target_document_id == packet.document_id


def test_replacement_lists_documents_and_their_receivers() -> None:
    packet = read(io.BytesIO(sample("edoc_replacement"))).packet
    assert isinstance(packet, Packet)
    assert [(one.document_id.text, len(one.organ_ids)) for one in packet.replacements] == [
        ("000.00.00.G22,2014/01/30,7806/VPCP-TTĐT", 2)
    ] * 2


@pytest.mark.parametrize(("name", "code"), STATUSES.items(), ids=STATUSES.keys())
def test_status_is_read_whole(name: str, code: str) -> None:
    result = read(io.BytesIO(sample(name)))
    status = result.packet
    assert isinstance(status, StatusPacket)
    assert (result.findings, result.repairs) == ((), ())
    assert status.status_code is StatusCode(code)
    assert status.response_for.code == "7816/VPCP-TTĐT"
    assert status.response_for.organ_id == OrganId.parse("000.00.00.H41" if code == "13" else "000.00.00.G22")
    assert status.timestamp is not None
    codes = [finding.code for finding in validate(status, today=date(2026, 1, 1))]
    stale_date = ["edxml.status_document_differs"]  # the DocumentId says 2015/09/30, the date beside it 2018/09/28
    assert codes == (stale_date if name == "status" else [])


@pytest.mark.parametrize("dialect", [Dialect.A, Dialect.B])
@pytest.mark.parametrize("name", [*KINDS, *STATUSES])
def test_written_again_it_says_the_same_without_a_repair(name: str, dialect: Dialect) -> None:
    data = sample(name)
    first = read(io.BytesIO(data)).packet
    out = io.BytesIO()
    if isinstance(first, StatusPacket):
        write_status(first, out, dialect=dialect)
    else:
        assert first is not None
        write(first, out, open_attachment=lambda file: open_decoded(io.BytesIO(data), file), dialect=dialect)
    again = read(io.BytesIO(out.getvalue()), profile=STRICT)
    assert (again.findings, again.repairs) == ((), ())
    assert again.packet == first
    assert again.dialect is dialect
    if isinstance(first, Packet) and isinstance(again.packet, Packet):
        assert fingerprint(first) == fingerprint(again.packet)
