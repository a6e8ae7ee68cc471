"""What is entered of a packet when it is examined: all that accept needs, the same through another process."""

from __future__ import annotations

import base64
import io
import json
import zipfile

import pytest

from gateway.exchange.accept import accept
from gateway.exchange.examine import prepare
from gateway.exchange.parcels import open_parcel
from gateway.exchange.submission import Answer, found_of, with_found
from gateway.inspector.unsigned import is_plainly_unsigned
from gateway.workers.examiner import slim
from tests.support.certificates import Authority
from tests.support.nodes import House, organ
from tests.support.packets import build_status
from tests.support.parcels import packed
from tests.support.pdfs import plain_pdf, sign_pdf

_TOLD = (
    "digest",
    "docket",
    "plan",
    "findings",
    "sender_id",
    "kind",
    "fingerprint",
    "wire_digest",
    "document_key",
    "root",
    "seal",
)


def test_what_was_found_elsewhere_is_what_was_found(house: House) -> None:
    """Of documents and of statuses; the submission is whoever asked's own."""
    house.send(["inbox-a"])
    status = build_status(sender=organ("inbox-a"), issuer=organ("sender"), number="1")
    for body, sender in ((house.packet(["inbox-a", "check"], "2"), "sender"), (status, "inbox-a")):
        submission = house.submission(body, sender)
        prepared = prepare(house.node, submission)
        again = with_found(submission, open_parcel(packed(found_of(prepared))))
        assert again.submission is prepared.submission is submission
        assert {name: getattr(again, name) for name in _TOLD} == {name: getattr(prepared, name) for name in _TOLD}
        (answer,) = accept(house.node, [again])
        assert isinstance(answer, Answer), answer
    house.assert_books_close()


def test_what_makes_no_sense_is_no_finding(house: House) -> None:
    submission = house.submission(house.packet(["inbox-a"]))
    values = found_of(prepare(house.node, submission))
    with pytest.raises(ValueError, match="shorter"):
        with_found(submission, values[:-1])


def test_no_packet_and_no_body_goes_back(house: House) -> None:
    body = house.packet(["inbox-a"], content="Trích yếu dài " * 40)
    answer = packed(slim(prepare(house.node, house.submission(body))))
    assert "Trích yếu dài".encode() not in answer
    assert slim(ValueError()) is None


def test_only_what_plainly_bears_no_signature_is_marked_so(house: House) -> None:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:  # stored: its bytes look like the file's own
        archive.writestr("d.pdf", plain_pdf())
    files = (
        ("a.pdf", plain_pdf()),
        ("b.pdf", sign_pdf(plain_pdf(), Authority("CA").issue("UBND"))),
        ("c.txt", b"chu"),
        ("d.pdf", b"se nam trong tep nen"),
        ("e.pdf", plain_pdf("nam")),
    )
    packet = house.packet(["inbox-a"], files=files)
    packet = packet.replace(base64.b64encode(files[3][1]), base64.b64encode(zipped.getvalue()))
    assert is_plainly_unsigned([zipped.getvalue()]), "as it stands there"
    assert isinstance(house.submit(packet), Answer)
    (row,) = house.rows("SELECT attachments FROM packets")
    told = json.loads(str(row["attachments"]))
    assert [file["encoding"] for file in told] == ["base64", "base64", "base64", "zip", "base64"]
    assert ["unsigned" in file for file in told] == [True, False, False, False, True]
