"""Many bodies become blobs at once: the order of system calls, as strace sees it (protocol §13, promise 1)."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.store.blobs import BlobFolder, Put

_PUT = """
import sys, hashlib
from pathlib import Path
from gateway.store.blobs import BlobFolder, Put

blobs = BlobFolder(Path(sys.argv[1]))
bodies = [word.encode() for word in sys.argv[2:]]
blobs.put_many([Put(spooled=blobs.spool(), digest=hashlib.sha256(one).hexdigest(), body=one) for one in bodies])
"""
_CALL = re.compile(r"^(?:\d+ +)?(\w+)\((?:\d+<([^>]*)>|\"([^\"]*)\", \"([^\"]*)\")")
BODIES = ("one", "two", "three", "four")


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def _put_traced(strace: str, blobs: BlobFolder, trace: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Put all bodies in a process of its own, under strace."""
    blobs.prepare()
    return subprocess.run(
        [strace, "-f", "-y", "-qq", "-e", "signal=none", "-e", f"trace={trace}", *more,
         sys.executable, "-c", _PUT, str(blobs.root), *BODIES],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


@pytest.mark.fault
def test_all_bodies_are_begun_then_synced_then_named_then_their_folders_synced(strace: str, tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path / "blobs")
    traced = tmp_path / "calls"
    done = _put_traced(strace, blobs, "sync_file_range,fsync,rename", "-o", str(traced))
    assert done.returncode == 0, done.stderr
    found = [_CALL.match(line) for line in traced.read_text().splitlines()]
    calls = [(call[1], call[2] or call[4]) for call in found if call and str(blobs.root) in call[0]]
    names, folders = {_digest(body) for body in BODIES}, {_digest(body)[:2] for body in BODIES}
    count = len(BODIES)
    assert [name for name, _ in calls] == [
        *["sync_file_range"] * count, *["fsync"] * count, *["rename"] * count, *["fsync"] * len(folders)
    ]  # fmt: skip
    paths = [path for _, path in calls]
    assert paths[:count] == paths[count : 2 * count]
    assert {Path(path).name for path in paths[2 * count : 3 * count]} == names
    assert {Path(path).name for path in paths[3 * count :]} == folders


@pytest.mark.fault
def test_what_cannot_be_begun_counts_for_none_of_the_group(strace: str, tmp_path: Path) -> None:
    """ext4 tells it here alone: it drops such bytes, and fsync after it says that all is well."""
    blobs = BlobFolder(tmp_path / "blobs")
    done = _put_traced(strace, blobs, "sync_file_range", "-e", "inject=sync_file_range:error=EBADMSG:when=2")
    assert done.returncode == 1
    assert "[Errno 74]" in done.stderr
    assert not list(blobs.names())


@pytest.mark.fault
@pytest.mark.parametrize("why", ["ENOSYS", "EPERM"])
def test_where_nothing_may_be_begun_all_is_synced_the_same(strace: str, tmp_path: Path, why: str) -> None:
    blobs = BlobFolder(tmp_path / "blobs")
    done = _put_traced(strace, blobs, "sync_file_range", "-e", f"inject=sync_file_range:error={why}")
    assert done.returncode == 0, done.stderr
    assert sorted(blobs.names()) == sorted(_digest(body) for body in BODIES)


def test_what_cannot_be_written_counts_for_none_of_the_group(tmp_path: Path) -> None:
    """And once the way is free the same group becomes blobs."""
    blobs = BlobFolder(tmp_path / "blobs")
    blobs.prepare()
    puts = [Put(spooled=blobs.spool(), digest=_digest(body), body=body.encode()) for body in BODIES]
    puts[2].spooled.write_bytes(b"somebody else's")
    with pytest.raises(FileExistsError):
        blobs.put_many(puts)
    assert not list(blobs.names())
    for put in puts:
        put.spooled.unlink(missing_ok=True)
    blobs.put_many(puts)
    assert sorted(blobs.names()) == sorted(_digest(body) for body in BODIES)
    for put in puts:
        blobs.check(put.digest)
