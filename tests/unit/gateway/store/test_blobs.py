"""Rule 13: blobs are durable under their name, swept only when nobody needs them, and never lost to a race."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.model.errors import BlobDamaged, BlobMissing, DiskReserve
from gateway.store.blobs import BlobFolder

DAY = 86_400.0


@pytest.fixture
def blobs(tmp_path: Path) -> BlobFolder:
    folder = BlobFolder(tmp_path / "blobs", reserve=1)
    folder.prepare()
    return folder


def put(blobs: BlobFolder, body: bytes) -> str:
    spooled = blobs.spool()
    spooled.write_bytes(body)
    digest = hashlib.sha256(body).hexdigest()
    blobs.put(spooled, digest)
    return digest


def nobody(_wanted: Sequence[str]) -> set[str]:
    """No row speaks of any."""
    return set()


def make_old(path: Path, seconds: float = 2 * DAY) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def test_a_put_leaves_the_blob_and_no_spool(blobs: BlobFolder) -> None:
    digest = put(blobs, b"goi tin")
    with blobs.open(digest) as body:
        assert body.read() == b"goi tin"
    assert list((blobs.root / "spool").iterdir()) == []


def test_a_small_blob_is_read_at_once_with_one_byte_more_where_it_is_longer(blobs: BlobFolder) -> None:
    digest = put(blobs, b"goi tin")
    assert blobs.read_small(digest, 7) == b"goi tin"
    assert blobs.read_small(digest, 3) == b"goi ", "so that it is not taken for what it is not"
    assert blobs.read_small(digest, 9) == b"goi tin"
    blobs.path(digest).unlink()
    assert blobs.read_small(digest, 7) is None
    blobs.path(digest).mkdir()
    assert blobs.read_small(digest, 7) is None


def test_a_repeated_put_touches_what_is_there(blobs: BlobFolder) -> None:
    digest = put(blobs, b"goi tin")
    make_old(blobs.path(digest))
    put(blobs, b"goi tin")
    assert time.time() - blobs.path(digest).stat().st_mtime < 60
    assert blobs.sweep(nobody) == (0, 0)


def test_what_a_row_needs_is_never_swept(blobs: BlobFolder) -> None:
    digest = put(blobs, b"can")
    make_old(blobs.path(digest))
    assert blobs.sweep(lambda _wanted: {digest}) == (0, 0)
    assert blobs.path(digest).exists()


def test_unreferenced_for_a_day_goes_to_the_trash_and_after_another_day_is_gone(blobs: BlobFolder) -> None:
    digest = put(blobs, b"thua")
    make_old(blobs.path(digest))
    assert blobs.sweep(nobody) == (1, 0)
    assert not blobs.path(digest).exists()
    assert blobs.sweep(nobody) == (0, 0), "it lies a day in the trash"
    make_old(blobs.root / "trash" / digest)
    assert blobs.sweep(nobody) == (0, 1)
    with pytest.raises(BlobMissing):
        blobs.open(digest)


def test_a_row_that_came_meanwhile_brings_it_back_from_the_trash(blobs: BlobFolder) -> None:
    digest = put(blobs, b"quay lai")
    make_old(blobs.path(digest))
    blobs.sweep(nobody)
    with blobs.open(digest) as body:
        assert body.read() == b"quay lai", "readable also from the trash"
    blobs.sweep(lambda _wanted: {digest})
    assert blobs.path(digest).exists()


def test_a_row_that_comes_while_it_is_being_moved_keeps_it(blobs: BlobFolder) -> None:
    digest = put(blobs, b"giua chung")
    make_old(blobs.path(digest))
    answers = iter([set(), {digest}])
    assert blobs.sweep(lambda _wanted: next(answers)) == (0, 0)
    assert blobs.path(digest).exists()


def test_a_put_while_it_is_being_moved_keeps_it(blobs: BlobFolder) -> None:
    digest = put(blobs, b"dat lai")
    make_old(blobs.path(digest))

    def needed(wanted: Sequence[str]) -> set[str]:
        assert wanted == [digest]
        put(blobs, b"dat lai")  # between the look and the move
        return set()

    assert blobs.sweep(needed) == (0, 0)
    assert blobs.path(digest).exists()


def test_altered_and_missing_are_told_apart(blobs: BlobFolder) -> None:
    digest = put(blobs, b"nguyen ven")
    blobs.check(digest)
    blobs.path(digest).write_bytes(b"bi sua")
    with pytest.raises(BlobDamaged):
        blobs.check(digest)
    blobs.delete(digest)
    with pytest.raises(BlobMissing):
        blobs.check(digest)


def test_a_put_while_it_is_found_damaged_is_not_put_aside(blobs: BlobFolder) -> None:
    """Whoever sent it again was told that it is accepted."""
    digest = hashlib.sha256(b"goi tin").hexdigest()
    os.mkfifo(blobs.path(digest))  # read for as long as somebody writes into it

    def put_meanwhile() -> None:
        with blobs.path(digest).open("wb") as damaged:
            damaged.write(b"hong")
            damaged.flush()
            put(blobs, b"goi tin")

    putting = threading.Thread(target=put_meanwhile)
    putting.start()
    blobs.condemn(digest)
    putting.join()
    blobs.check(digest)
    assert list((blobs.root / "damaged").iterdir()) == []


def test_spools_of_the_dead_are_cleared_and_those_of_the_living_stay(blobs: BlobFolder) -> None:
    mine = blobs.spool()
    mine.write_bytes(b"dang den")
    dead = blobs.root / "spool" / "1-dead"
    dead.write_bytes(b"da chet")
    assert blobs.clear_spool(is_alive=lambda pid: pid == os.getpid()) == 1
    assert mine.exists()
    assert not dead.exists()


def test_the_reserve_is_kept(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path / "blobs", reserve=1 << 60)
    blobs.prepare()
    with pytest.raises(DiskReserve) as why:
        blobs.check_reserve()
    assert why.value.retryable
    blobs = BlobFolder(tmp_path / "blobs", reserve=0)
    blobs.check_reserve()
    with pytest.raises(DiskReserve):
        blobs.check_reserve(2 * blobs.free())  # what is about to come counts
