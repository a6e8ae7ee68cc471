"""Attachments as rows remember them: all that is needed to take them out again, of old rows too."""

from __future__ import annotations

import json
from dataclasses import replace

from edxml.packet import Attachment
from gateway.exchange.attached import read_attachments, unsigned_of, write_attachments
from gateway.model.inspection import INSPECTOR_VERSION

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


def test_a_row_tells_which_files_bore_no_signature_when_they_came() -> None:
    other = replace(FILE, position=3)
    marked = write_attachments([FILE, other], {3})
    assert unsigned_of(marked) == {3}
    assert read_attachments(marked) == read_attachments(write_attachments([FILE, other])), "nothing else of it changed"
    assert unsigned_of(write_attachments([FILE, other])) == unsigned_of("[]") == frozenset()


def test_what_another_version_of_the_inspector_found_is_not_believed() -> None:
    (told,) = json.loads(write_attachments([FILE], {2}))
    for version in (INSPECTOR_VERSION - 1, INSPECTOR_VERSION + 1):
        assert unsigned_of(json.dumps([told | {"unsigned": version}])) == frozenset()


def test_a_file_that_only_speaks_of_it_bears_what_it_bears() -> None:
    assert unsigned_of(write_attachments([replace(FILE, name="unsigned.pdf")])) == frozenset()
