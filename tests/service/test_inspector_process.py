"""The inspector's process: one verdict per file whatever the file does, and a cage that lets nothing out."""

# ruff: noqa: F811 - fixtures are taken from tests.support.inspectors

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.model.inspection import FileInspection, PdfVerdict
from gateway.workers.inspect_process import InspectorProcess, InspectorStopped, InspectorUnavailable
from tests.support.certificates import NOW, Authority
from tests.support.descriptors import many_descriptors
from tests.support.inspectors import HOUSE, LIMITS, job, pid_of, root, start, trust  # noqa: F401
from tests.support.pdfs import add_page, binary_pdf, bomb_pdf, forge_pdf, plain_pdf, sign_pdf, slow_pdf
from tests.support.processes import SmallDisk


def test_files_are_inspected_one_after_the_other_by_one_process(tmp_path: Path, start: Any, root: Authority) -> None:
    inspector = start()
    signed = sign_pdf(plain_pdf(), root.issue())
    assert inspector.ask(job(tmp_path, plain_pdf())).verdict is PdfVerdict.UNSIGNED
    first = pid_of(inspector)
    assert inspector.ask(job(tmp_path, signed)).verdict is PdfVerdict.VALID
    assert inspector.ask(job(tmp_path, forge_pdf(signed))).verdict is PdfVerdict.BROKEN
    assert pid_of(inspector) == first
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.is_file()) == [".blob"] * 3


def test_a_file_that_takes_too_long_is_given_up(tmp_path: Path, start: Any) -> None:
    inspector = start(wall=0.5, memory=2 << 30)
    assert inspector.ask(job(tmp_path, slow_pdf())) == FileInspection(verdict=PdfVerdict.TIME)
    assert inspector.ask(job(tmp_path, plain_pdf())).verdict is PdfVerdict.UNSIGNED


def test_a_process_that_hangs_is_given_up(tmp_path: Path, start: Any) -> None:
    inspector = start(wall=1.0)
    inspector.ask(job(tmp_path, plain_pdf()))
    os.kill(pid_of(inspector), signal.SIGSTOP)
    assert inspector.ask(job(tmp_path, plain_pdf())).verdict is PdfVerdict.TIME


def test_a_file_that_takes_too_much_processor_time_is_given_up(tmp_path: Path, start: Any) -> None:
    inspector = start(cpu=0, memory=2 << 30)
    assert inspector.ask(job(tmp_path, slow_pdf())).verdict is PdfVerdict.TIME


def test_a_file_that_takes_too_much_memory_is_given_up(tmp_path: Path, start: Any) -> None:
    """The library's own bound is far above this one, so that it is the system that says no."""
    inspector = start(memory=140 << 20)
    assert inspector.ask(job(tmp_path, slow_pdf())).verdict is PdfVerdict.MEMORY
    assert inspector._process is None, "nobody knows what state that left behind"
    assert inspector.ask(job(tmp_path, plain_pdf())).verdict is PdfVerdict.UNSIGNED
    assert inspector.ask(job(tmp_path, bomb_pdf())).verdict is PdfVerdict.MEMORY


@pytest.mark.parametrize("mib", [124, 128, 136, 143])
def test_near_its_memory_every_error_is_one_of_memory(tmp_path: Path, start: Any, mib: int) -> None:
    """Libraries say SystemError and others there, at some limits and some runs."""
    for numbers in (1_000_000, 2_000_000):
        assert start(memory=mib << 20).ask(job(tmp_path, slow_pdf(numbers))).verdict is PdfVerdict.MEMORY


def test_a_file_that_came_near_the_limit_blames_no_file_after_it(tmp_path: Path, start: Any) -> None:
    inspector = start(memory=150 << 20)
    for _ in range(2):
        assert inspector.ask(job(tmp_path, slow_pdf(100_000))).verdict is PdfVerdict.UNSIGNED
        assert inspector.ask(job(tmp_path, b"%PDF-1.7 /Sig")).verdict is PdfVerdict.UNREADABLE


def test_however_many_connections_the_node_holds_the_verdict_is_the_same(tmp_path: Path, start: Any) -> None:
    with many_descriptors():
        inspector = start()
        assert inspector.ask(job(tmp_path, plain_pdf())).verdict is PdfVerdict.UNSIGNED
        assert inspector.ask(job(tmp_path, slow_pdf(1000))).verdict is PdfVerdict.UNSIGNED


def test_a_file_whose_bytes_went_through_a_text_encoding_is_damaged(
    tmp_path: Path, start: Any, root: Authority
) -> None:
    inspector = start()
    for pdf in (binary_pdf(), sign_pdf(binary_pdf(), root.issue()), binary_pdf(is_compressed=True)):
        found = inspector.ask(job(tmp_path, pdf.decode("utf-8", "replace").encode()))
        assert found == FileInspection(verdict=PdfVerdict.DAMAGED, detail="U+FFFD")


def test_a_comment_that_looks_like_damage_hides_no_verdict(tmp_path: Path, start: Any, root: Authority) -> None:
    """Whoever forged a file may add one: what the signature is worth is told as without it."""
    inspector, comment = start(), ("\n%" + 6 * "\N{REPLACEMENT CHARACTER}" + "\n").encode()
    signed = sign_pdf(plain_pdf(), root.issue())
    for pdf in (forge_pdf(signed), add_page(signed)):
        plain, marked = (inspector.ask(job(tmp_path, one)) for one in (pdf, pdf + comment))
        assert plain.verdict.standing == marked.verdict.standing == "bad"
    body, end = plain_pdf().rsplit(b"startxref", 1)
    marked = body + comment + b"startxref" + end
    assert inspector.ask(job(tmp_path, marked)).verdict is PdfVerdict.UNSIGNED
    assert inspector.ask(job(tmp_path, sign_pdf(marked, root.issue()))).verdict is PdfVerdict.VALID


def test_killed_in_the_middle_a_file_is_tried_once_more(tmp_path: Path, start: Any) -> None:
    inspector = start(memory=2 << 30)
    inspector.ask(job(tmp_path, plain_pdf()))
    victim = pid_of(inspector)
    os.kill(victim, signal.SIGSTOP)  # else it might be done before it is killed
    killer = threading.Timer(0.3, os.kill, (victim, signal.SIGKILL))
    killer.start()
    found = inspector.ask(job(tmp_path, slow_pdf(400_000)))
    assert found.verdict is PdfVerdict.UNSIGNED
    assert pid_of(inspector) != victim


def test_what_kills_it_twice_is_said_to(tmp_path: Path, start: Any) -> None:
    inspector = start(memory=2 << 30)
    killed: list[int] = []

    def kill_each() -> None:
        while len(killed) < 2:
            process = inspector._process
            if process is not None and process.pid not in killed and _is_caged(process.pid):
                time.sleep(0.2)  # it has the file
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process.pid)
            time.sleep(0.01)

    killer = threading.Thread(target=kill_each)
    killer.start()
    found = inspector.ask(job(tmp_path, slow_pdf()))
    killer.join()
    assert found.verdict is PdfVerdict.CRASHED


def _is_caged(pid: int) -> bool:
    return "Seccomp:\t2" in Path(f"/proc/{pid}/status").read_text("ascii")


def test_what_is_not_what_was_accepted_is_damaged(tmp_path: Path, start: Any) -> None:
    inspector = start()
    assert inspector.ask(job(tmp_path, plain_pdf(), digest="0" * 64)).verdict is PdfVerdict.DAMAGED
    gone = replace(job(tmp_path, plain_pdf()), blob=str(tmp_path / "none"))
    assert inspector.ask(gone).verdict is PdfVerdict.DAMAGED


def test_a_disk_without_room_blames_no_file(tmp_path: Path, trust: Path) -> None:
    with SmallDisk(tmp_path / "disk", mib=1) as disk:
        inspector = InspectorProcess(LIMITS, trust=trust, scratch=disk.path)
        try:
            assert inspector.ask(job(tmp_path, plain_pdf())).verdict is PdfVerdict.UNSIGNED
            with pytest.raises(InspectorUnavailable):
                inspector.ask(job(tmp_path, plain_pdf() + bytes(3 << 20)))
        finally:
            inspector.stop()
            inspector.close()


def test_without_work_the_process_ends(tmp_path: Path, start: Any) -> None:
    inspector = start(idle=0.2)
    inspector.ask(job(tmp_path, plain_pdf()))
    inspector.end_idle()
    pid = pid_of(inspector)
    time.sleep(0.25)
    inspector.end_idle()
    assert inspector._process is None
    assert not Path(f"/proc/{pid}").exists()


def test_a_list_that_came_later_counts_from_the_next_life_of_the_process(
    tmp_path: Path, trust: Path, start: Any, root: Authority
) -> None:
    signer = root.issue()
    signed = sign_pdf(plain_pdf(), signer)
    long, short = start(), start(life=0.0)
    for inspector in (long, short):
        assert inspector.ask(job(tmp_path, signed)).verdict is PdfVerdict.VALID
    listed = root.crl([(signer.certificate, NOW - timedelta(days=1))], days=365)
    (trust / "revocations" / "moi.crl").write_bytes(listed)
    assert long.ask(job(tmp_path, signed)).verdict is PdfVerdict.VALID
    assert short.ask(job(tmp_path, signed)).verdict is PdfVerdict.REVOKED


def test_stopped_in_the_middle_no_verdict_is_given(tmp_path: Path, start: Any) -> None:
    inspector = start(memory=2 << 30)
    inspector.ask(job(tmp_path, plain_pdf()))
    stopper = threading.Timer(0.3, inspector.stop)
    stopper.start()
    with pytest.raises(InspectorStopped):
        inspector.ask(job(tmp_path, slow_pdf()))
    with pytest.raises(InspectorStopped):
        inspector.ask(job(tmp_path, plain_pdf()))


def test_a_folder_of_trust_that_cannot_be_read_blames_no_file(tmp_path: Path, trust: Path, start: Any) -> None:
    (trust / "anchors" / "sai.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nhong\n")
    with pytest.raises(InspectorUnavailable) as refused:
        start().ask(job(tmp_path, plain_pdf()))
    assert refused.value.reason == "edxml.trust_unreadable"


_ESCAPES = """
import os, socket, subprocess, sys
from gateway.inspector import cage
cage.limit(memory=512 << 20, file=1 << 20)
cage.lock()
for name, escape in (
    ("socket", lambda: socket.socket()),
    ("unix socket", lambda: socket.socket(socket.AF_UNIX)),
    ("program", lambda: os.execv("/bin/true", ["true"])),
    ("signal", lambda: os.kill(os.getppid(), 0)),
    ("large file", lambda: open(sys.argv[1], "wb").write(bytes(3 << 20))),
    ("memory", lambda: bytearray(600 << 20)),
):
    try:
        escape()
    except (PermissionError, OSError, MemoryError) as why:
        print(name, type(why).__name__)
    else:
        print(name, "ESCAPED")
"""


def test_the_cage_lets_nothing_out(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ESCAPES, str(tmp_path / "to")], cwd=HOUSE, capture_output=True, text=True, timeout=240
    )
    assert done.stdout.splitlines() == [
        "socket PermissionError",
        "unix socket PermissionError",
        "program PermissionError",
        "signal PermissionError",
        "large file OSError",
        "memory MemoryError",
    ], done.stderr
