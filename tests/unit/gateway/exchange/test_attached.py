"""Attachments as rows remember them: all that is needed to take them out again, of old rows too."""

from __future__ import annotations

import json

from edxml.packet import Attachment
from gateway.exchange.attached import read_attachments, write_attachments

FILE = Attachment(
    position=2, name="van-ban.pdf", content_id="tep-2", content_type="application/pdf", description="bản chính",
    encoding="zip", digest="ab" * 32, length=7, sniffed="pdf", span=(10, 30), transfer="quoted-printable",
)  # fmt: skip


def test_what_is_written_comes_back() -> None:
    (read,) = read_attachments(write_attachments([FILE]))
    assert repr(read) == repr(FILE).replace("'tep-2'", "''").replace("'bản chính'", "''")


def test_a_row_of_the_first_release_is_base64() -> None:
    (told,) = json.loads(write_attachments([FILE]))
    del told["transfer"]
    (read,) = read_attachments(json.dumps([told]))
    assert (read.transfer, read.span) == ("base64", (10, 30))


def test_a_packet_without_files() -> None:
    assert read_attachments(write_attachments([])) == read_attachments("[]") == ()
