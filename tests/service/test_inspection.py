"""Inspection behind the hops: one verdict per file whatever the file does, kept once, and delivery never waits."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives import serialization

from gateway.inspector.jobs import Job
from gateway.model.errors import DiskReserve
from gateway.model.inspection import FileInspection, InspectionLimits, PdfVerdict
from gateway.store import views
from gateway.workers.begun import Begun
from gateway.workers.inspect import inspect_once, start_inspection
from gateway.workers.inspect_process import InspectorProcess, InspectorStopped, InspectorUnavailable
from monitoring import log
from routing.rows import load_nghe_an
from tests.support.certificates import NOW, Authority
from tests.support.nodes import House
from tests.support.packets import build_packet
from tests.support.pdfs import bomb_pdf, forge_pdf, plain_pdf, sign_pdf, slow_pdf
from tests.support.processes import NodeProcesses, SmallDisk

LIMITS = InspectionLimits(file=64 << 20, files=3, wall=30, cpu=20, memory=512 << 20, idle=60)
HOUSE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority("CA thu")


@pytest.fixture
def trust(tmp_path: Path, root: Authority) -> Path:
    """A folder that trusts `root`, whose list covers the time of the tests."""
    folder = tmp_path / "trust"
    for part in ("anchors", "revocations"):
        (folder / part).mkdir(parents=True)
    (folder / "anchors" / "goc.pem").write_bytes(root.certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "revocations" / "goc.crl").write_bytes(root.crl(at=NOW - timedelta(days=30), days=365))
    return folder


@pytest.fixture
def start(tmp_path: Path, trust: Path) -> Iterator[Any]:
    """Makes inspectors with other limits; ends them all."""
    made: list[InspectorProcess] = []

    def make(**changes: Any) -> InspectorProcess:
        made.append(InspectorProcess(replace(LIMITS, **changes), trust=trust, scratch=tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.stop()
        one.close()


def pid_of(inspector: InspectorProcess) -> int:
    assert inspector._process is not None
    return inspector._process.pid


def job(folder: Path, file: bytes, *, digest: str = "") -> Job:
    """A file in a packet, of which nothing but its text is written."""
    text = base64.b64encode(file)
    blob = folder / f"{hashlib.sha256(text).hexdigest()}.blob"
    blob.write_bytes(b"<Attachment>" + text + b"</Attachment>")
    return Job(
        blob=str(blob),
        span=(12, 12 + len(text)),
        encoding="base64",
        transfer="base64",
        digest=digest or hashlib.sha256(file).hexdigest(),
        came_at=int(NOW.timestamp() * 1e6),
    )


# --- the process -------------------------------------------------------------------------------------------------


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


def test_killed_in_the_middle_a_file_is_tried_once_more(tmp_path: Path, start: Any) -> None:
    inspector = start(memory=2 << 30)
    inspector.ask(job(tmp_path, plain_pdf()))
    victim = pid_of(inspector)
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
        [sys.executable, "-c", _ESCAPES, str(tmp_path / "to")], cwd=HOUSE, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == [
        "socket PermissionError",
        "unix socket PermissionError",
        "program PermissionError",
        "signal PermissionError",
        "large file OSError",
        "memory MemoryError",
    ], done.stderr


# --- the work ----------------------------------------------------------------------------------------------------


def look(house: House, inspector: InspectorProcess, limits: InspectionLimits = LIMITS) -> int:
    """Everything that is due; how many rounds it took."""
    rounds = 0
    while inspect_once(house.node, inspector, limits):
        rounds += 1
    return rounds


def verdicts(house: House, packet_id: str) -> list[tuple[int, str, str]]:
    """(position, verdict, standing) as an operator sees them."""
    with house.node.store.read() as connection:
        view = views.document(connection, packet_id, seen_by=None)
    assert view is not None
    return [(line.position, line.verdict, line.standing) for line in view.verdicts if line.about == "file"]


def test_every_pdf_gets_one_verdict_and_a_line_in_the_timeline(house: House, start: Any, root: Authority) -> None:
    signed = sign_pdf(plain_pdf(), root.issue("UBND xa Mot"))
    files = (("van-ban.pdf", signed), ("bang.txt", b"khong phai PDF"), ("phu-luc.pdf", plain_pdf()))
    sent = house.send(["inbox-a"], files=files)
    none = house.send(["inbox-a"], "2", files=(("chi.txt", b"chu"),))
    look(house, start())
    assert verdicts(house, sent.packet_id) == [(1, "valid", "valid"), (3, "unsigned", "absent")]
    assert verdicts(house, none.packet_id) == []
    kinds = "SELECT packet_id, reason FROM events WHERE kind = 'packet.inspected'"
    assert house.rows(kinds) == [{"packet_id": sent.packet_id, "reason": "valid"}]
    house.assert_books_close()


def test_looking_again_changes_nothing(house: House, start: Any) -> None:
    sent = house.send(["inbox-a"], files=(("a.pdf", plain_pdf()),))
    inspector = start()
    assert look(house, inspector) > 0
    before = house.rows("SELECT * FROM inspections"), house.rows("SELECT * FROM intake_faults")
    with house.node.store.write() as connection:
        connection.exec_driver_sql("DELETE FROM followers")
    look(house, inspector)
    assert (house.rows("SELECT * FROM inspections"), house.rows("SELECT * FROM intake_faults")) == before
    assert before[1] == []
    assert len(house.rows("SELECT 1 FROM events WHERE kind = 'packet.inspected'")) == 1
    assert len(verdicts(house, sent.packet_id)) == 1


def test_the_signer_s_name_is_in_no_event_log_or_metric(
    house: House, start: Any, root: Authority, capfd: pytest.CaptureFixture[str]
) -> None:
    log.configure("json", "debug")
    signed = sign_pdf(plain_pdf(), root.issue("Nguyen Van Ky"))
    sent = house.send(["inbox-a"], files=(("a.pdf", signed),))
    look(house, start())
    told = capfd.readouterr()
    assert "file.inspected" in told.err
    events = json.dumps([{**row, "salt": "", "leaf": ""} for row in house.rows("SELECT * FROM events")])
    metrics = house.node.metrics.render().decode()
    assert 'truc_inspections_total{verdict="valid"} 1.0' in metrics
    for place in (told.err, told.out, events, metrics):
        assert "Nguyen" not in place
    with house.node.store.read() as connection:
        view = views.document(connection, sent.packet_id, seen_by=frozenset({"inbox-a"}))
    assert view is not None
    assert [line.signer for line in view.verdicts if line.about == "file"] == ["CN=Nguyen Van Ky,C=VN"]
    assert "packet.inspected" in [line.kind for line in view.timeline]
    with house.node.store.read() as connection:
        assert views.document(connection, sent.packet_id, seen_by=frozenset({"inbox-b"})) is None


def test_a_packet_has_its_bounds_and_says_what_was_passed_over(house: House, start: Any) -> None:
    files = tuple((f"{number}.pdf", plain_pdf(str(number))) for number in range(5))
    sent = house.send(["inbox-a"], files=files)
    large = house.send(["inbox-a"], "2", files=(("to.pdf", plain_pdf() + bytes(5_000)),))
    look(house, start(), replace(LIMITS, file=4_000))
    assert [verdict for _, verdict, _ in verdicts(house, sent.packet_id)] == ["unsigned"] * 3 + ["too_many"] * 2
    assert [verdict for _, verdict, _ in verdicts(house, large.packet_id)] == ["too_large"]


def test_a_bad_file_keeps_no_other_from_its_verdict(house: House, start: Any) -> None:
    bad = house.send(["inbox-a"], "1", files=(("bom.pdf", bomb_pdf()), ("hong.pdf", b"%PDF-khong")))
    good = house.send(["inbox-a"], "2", files=(("a.pdf", plain_pdf()),))
    look(house, start())
    assert [verdict for _, verdict, _ in verdicts(house, bad.packet_id)] == ["memory", "unreadable"]
    assert [verdict for _, verdict, _ in verdicts(house, good.packet_id)] == ["unsigned"]


def test_what_takes_the_node_down_three_times_is_given_up_and_blames_no_other(house: House, start: Any) -> None:
    """A node that dies is one that wrote down that it began, and nothing after it."""
    bad = house.send(["inbox-a"], "1", files=(("a.pdf", plain_pdf()),))
    other = house.send(["inbox-a"], "2", files=(("b.pdf", plain_pdf()),))
    for packet_ids in ([bad.packet_id], [bad.packet_id], [bad.packet_id, other.packet_id]):
        with house.node.store.write() as connection:
            Begun("inspection").begin(connection, packet_ids)
    look(house, start())
    assert [verdict for _, verdict, _ in verdicts(house, bad.packet_id)] == ["crashed"]
    assert [verdict for _, verdict, _ in verdicts(house, other.packet_id)] == ["unsigned"]
    assert house.rows("SELECT * FROM intake_faults") == []


def test_a_full_disk_leaves_everything_due_and_blames_nothing(house: House, start: Any) -> None:
    sent = house.send(["inbox-a"], files=(("a.pdf", plain_pdf()),))
    full = replace(house.node.store.blobs, reserve=1 << 60)
    cramped = replace(house, node=replace(house.node, store=replace(house.node.store, blobs=full)))
    for _ in range(5):
        with pytest.raises(DiskReserve):
            look(cramped, start())
    assert house.rows("SELECT * FROM intake_faults") == []
    look(house, start())
    assert verdicts(house, sent.packet_id) == [(1, "unsigned", "absent")]


def test_the_node_ends_in_the_middle_of_a_file_and_goes_on_after_it(house: House, trust: Path) -> None:
    limits = replace(LIMITS, memory=2 << 30)
    house.send(["inbox-a"], "1", files=(("cham.pdf", slow_pdf(400_000)),))
    began = time.monotonic()
    working = start_inspection(house.node, limits, trust, 0.1)
    _wait(lambda: house.rows("SELECT * FROM intake_faults") != [])
    time.sleep(1.0)
    working.close()
    assert time.monotonic() - began < 30
    assert house.rows("SELECT 1 FROM inspections") == []
    working = start_inspection(house.worker("periodic").node, limits, trust, 0.1)
    house.pass_time(20_000_000)
    _wait(lambda: len(house.rows("SELECT 1 FROM inspections WHERE verdict = 'unsigned'")) == 1)
    working.close()


def test_two_processes_do_not_inspect_at_the_same_time(house: House, start: Any) -> None:
    house.send(["inbox-a"], files=(("a.pdf", plain_pdf()),))
    with house.node.store.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO jobs (name, holder, lease_until, done_at) VALUES ('inspect', 'other', ?, 0)",
            (house.now() + 1_000_000,),
        )
    assert not inspect_once(house.node, start(), LIMITS)
    house.pass_time(2_000_000)
    assert inspect_once(house.node, start(), LIMITS)


class Overtaken:
    """An inspector that is so slow that another process takes its turn and is done before it."""

    def __init__(self, house: House, faster: InspectorProcess) -> None:
        self._house, self._faster = house, faster

    def ask(self, _job: Job) -> FileInspection:
        self._house.pass_time(20_000_000)
        assert look(self._house.worker("other"), self._faster) == 1
        return FileInspection(verdict=PdfVerdict.BROKEN)


def test_overtaken_by_another_process_the_first_verdict_stands(house: House, start: Any) -> None:
    sent = house.send(["inbox-a"], files=(("a.pdf", plain_pdf()),))
    assert look(house, Overtaken(house, start())) == 1  # type: ignore[arg-type]
    assert verdicts(house, sent.packet_id) == [(1, "unsigned", "absent")]
    assert len(house.rows("SELECT 1 FROM events WHERE kind = 'packet.inspected'")) == 1
    assert 'truc_inspections_total{verdict="broken"}' not in house.node.metrics.render().decode()


# --- a real node -------------------------------------------------------------------------------------------------


def _wait(is_so: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.05)


DAY = date(2025, 10, 1)
SENDER, INBOX = "na-so-stc", "na-xa-16681-2025"
_ROWS = f"""
[[channel]]
id = "hop-thu"
kind = "inbox"
serves = ["{INBOX}"]
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcesses]:
    settings = {"today": DAY.isoformat(), "look": "0.2", "inspect_idle": "1"}
    with NodeProcesses(tmp_path / "nut", settings) as processes:
        assert processes.run("init").returncode == 0
        (tmp_path / "kenh.toml").write_text(_ROWS, "utf-8")
        assert processes.run("apply", str(tmp_path / "kenh.toml")).returncode == 0
        yield processes


def _client(node: NodeProcesses) -> httpx2.Client:
    made = node.run("system", "add", "s-stc", "--speaks-for", SENDER, "--json")
    assert made.returncode == 0, made.stderr
    token = json.loads(made.stdout)["token"]
    return httpx2.Client(base_url=node.url, headers={"authorization": f"Bearer {token}"}, timeout=30)


def _send(client: httpx2.Client, file: bytes, number: str) -> str:
    directory = load_nghe_an()
    organs = []
    for agency_id in (SENDER, INBOX):
        agency = directory.by_id(agency_id)
        assert agency is not None
        code = agency.organ_code_on(DAY)
        assert code is not None
        organs.append(code.code)
    body = build_packet(sender=organs[0], recipients=organs[1:], number=number, files=(("van-ban.pdf", file),))
    got = client.post("/v1/packets", content=body, headers={"content-type": "application/xml"})
    assert got.status_code == 202, got.text
    return str(got.json()["packet_id"])


def _told(client: httpx2.Client, packet_id: str) -> list[dict[str, Any]]:
    got = client.get(f"/v1/packets/{packet_id}")
    assert got.status_code == 200, got.text
    return [line for line in got.json()["verdicts"] if line["about"] == "file"]


def _inspectors(parent: int) -> list[int]:
    """Processes of the inspector below a process."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            status = (path / "status").read_text("ascii", "replace")
        except OSError:
            continue
        if b"gateway.inspector" in words and f"PPid:\t{parent}\n" in status:
            found.append(int(path.name))
    return found


def test_a_node_inspects_what_it_accepted_and_lets_the_inspector_go(node: NodeProcesses, root: Authority) -> None:
    node.start("serve")
    with _client(node) as client:
        packet_id = _send(client, sign_pdf(plain_pdf(), root.issue("UBND xa Mot")), "10")
        _wait(lambda: _told(client, packet_id))
        (line,) = _told(client, packet_id)
        assert (line["verdict"], line["standing"], line["code"]) == ("unchecked", "open", "inspection.unchecked")
        assert line["evidence"]["coverage"] == "whole"
        assert line["evidence"]["state"] == "unknown"
        assert "UBND xa Mot" in line["vi"]
        shown = node.run("document", "show", packet_id)
        assert "UBND xa Mot" in shown.stdout
    _wait(lambda: _inspectors(node.pid("serve")) == [], 20)
    resident = Path(f"/proc/{node.pid('serve')}/status").read_text("ascii")
    mib = int(next(line for line in resident.splitlines() if line.startswith("VmRSS")).split()[1]) >> 10
    assert mib <= 120
    node.assert_alive()


def test_the_inspector_is_killed_on_the_way_and_the_verdict_still_comes(node: NodeProcesses) -> None:
    node.settings |= {"inspect_memory_mib": "2048"}
    node.start("serve")
    with _client(node) as client:
        packet_id = _send(client, slow_pdf(400_000), "10")
        _wait(lambda: _inspectors(node.pid("serve")))
        (pid,) = _inspectors(node.pid("serve"))
        time.sleep(0.5)
        if not _told(client, packet_id):
            os.kill(pid, signal.SIGKILL)
        _wait(lambda: _told(client, packet_id))
        assert [line["verdict"] for line in _told(client, packet_id)] == ["unsigned"]
        assert client.get("/v1/packets").status_code == 200
    node.assert_alive()


@pytest.mark.parametrize("point", ["inspect.begun", "inspect.kept", "inspect.followed"])
def test_killed_at_each_point_a_node_gives_each_file_one_verdict(node: NodeProcesses, point: str) -> None:
    node.start("api")
    with _client(node) as client:
        packet_ids = [_send(client, plain_pdf(number), number) for number in ("10", "11")]
        node.start("inspect", crash_at=point)
        node.wait_killed("inspect")
        node.start("inspect")
        for packet_id in packet_ids:
            _wait(lambda packet_id=packet_id: _told(client, packet_id))
            assert [line["verdict"] for line in _told(client, packet_id)] == ["unsigned"]
            kinds = [line["kind"] for line in client.get(f"/v1/packets/{packet_id}").json()["timeline"]]
            assert kinds.count("packet.inspected") == 1
    node.assert_alive()
