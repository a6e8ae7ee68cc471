"""A packet's bytes on their way out: who passes them on cannot complete one that is not as it was accepted."""

from __future__ import annotations

import io

import pytest

from adapters.blobs import BlobUnread, read_checked
from tests.support.folders import build_item


@pytest.mark.parametrize(("content", "passed_on"), [(b"abc", b""), (b"abcdefgh", b"abcdef")], ids=["one", "three"])
def test_the_last_piece_waits_until_the_digest_is_known(content: bytes, passed_on: bytes) -> None:
    item = build_item(content, opens=lambda: io.BytesIO(content[:-1] + b"?"))
    given: list[bytes] = []
    with pytest.raises(BlobUnread, match=r"blob\.damaged"):
        given.extend(read_checked(item, 3))
    assert b"".join(given) == passed_on
    assert b"".join(read_checked(build_item(content), 3)) == content
