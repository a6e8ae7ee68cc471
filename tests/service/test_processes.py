"""Real processes of a node: whose a folder is, starting twice, ending, dying, and the parts apart at work."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import date
from pathlib import Path

import httpx2
import pytest

from gateway.cli.exits import ExitCode
from gateway.cli.lock import take_lock
from routing.rows import load_nghe_an
from tests.support.packets import build_packet
from tests.support.patience import PATIENCE, until
from tests.support.processes import ROLES, NodeProcesses

DAY = "2025-10-01"
SENDER, INBOX, FOLDER = "na-so-stc", "na-xa-16681-2025", "na-xa-16690-2025"


SETTINGS = {"today": DAY, "look": "0.3", "sweep": "0.3", "lease": "3", "announce_again": "1"}
"""Short times, so that tests need not wait."""


@pytest.fixture(scope="module")
def as_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `truc init` leaves behind."""
    folder = tmp_path_factory.mktemp("made") / "nut"
    made = NodeProcesses(folder, SETTINGS).run("init")
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture
def node(as_made: Path, tmp_path: Path) -> Iterator[NodeProcesses]:
    """A node with its rows made, nothing started."""
    shutil.copytree(as_made, tmp_path / "nut")
    with NodeProcesses(tmp_path / "nut", dict(SETTINGS)) as processes:
        yield processes


# --- whose a folder is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["serve", pytest.param("relay", marks=pytest.mark.long)])
def test_another_node_on_the_same_folder_is_refused_with_a_sentence(node: NodeProcesses, role: str) -> None:
    for is_running in (False, True):
        if is_running:
            node.start("relay")
        refused = subprocess.run(
            [sys.executable, "-m", "gateway", "--lang", "vi", role],
            env=node.environment(node="nut-khac"), capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert refused.returncode == 3, refused.stderr
        assert "nut-khac" in refused.stderr
        assert "thuộc về nút nut-lien-thong" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert "READY" not in refused.stdout


def test_every_process_is_refused_while_another_machine_works_on_the_folder(node: NodeProcesses) -> None:
    elsewhere = take_lock(node.data, "nut-lien-thong", machine="may-khac")
    elsewhere.share()
    for arguments in (["serve"], ["relay"], ["channel", "list"], ["parked", "release", "x"]):
        refused = node.run(*arguments)
        assert refused.returncode == 3, refused.stderr
        assert "READY" not in refused.stdout
    elsewhere.close()
    node.start("relay")


def test_a_second_one_of_every_part_does_no_harm(node: NodeProcesses, tmp_path: Path) -> None:
    for role in ("relay", "deliver", "periodic", "intake", "inspect"):
        node.start(role)
    twin = NodeProcesses(node.data, node.settings, logs=tmp_path / "twin-logs")
    with twin:
        for role in ("relay", "deliver", "periodic", "intake", "inspect"):
            twin.start(role)
        twin.assert_alive()
    node.assert_alive()


def test_the_doctor_sees_an_api_that_nobody_has_asked_anything(node: NodeProcesses) -> None:
    node.start("api")
    told = json.loads(node.run("doctor", "--json").stdout)
    [missing] = [line["en"] for line in told if line["code"] == "doctor.parts_missing"]
    assert "api" not in missing


def test_the_doctor_names_a_process_that_somebody_stopped(node: NodeProcesses) -> None:
    node.start("periodic")
    node.start("relay")
    node.freeze("relay")
    told = json.loads(node.run("doctor", "--json").stdout)
    node.thaw("relay")
    [found] = [line for line in told if line["code"] == "doctor.process_stopped"]
    assert f"relay (pid {node.pid('relay')})" in found["en"]
    assert found["level"] == "warn"
    again = json.loads(node.run("doctor", "--json").stdout)
    assert "doctor.process_stopped" not in {line["code"] for line in again}


def test_a_port_that_is_taken_is_said_in_one_line(node: NodeProcesses) -> None:
    node.start("api")
    again = node.run("api")
    assert again.returncode == 4
    assert "TRUC_PORT" in again.stderr
    assert "Traceback" not in again.stderr


# --- starting and ending ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "number"),
    [*((role, signal.SIGTERM) for role in ("serve", *ROLES)), ("serve", signal.SIGINT), ("relay", signal.SIGINT)],
)
def test_a_signal_ends_a_process_cleanly(node: NodeProcesses, role: str, number: signal.Signals) -> None:
    """Whichever of its threads the system interrupts: SIGTERM is given to one that is not the main one."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", role],
        env=node.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith(f"READY role={role} port=")
    until(lambda: _rests(process.pid))
    threads = sorted(map(int, os.listdir(f"/proc/{process.pid}/task")))
    os.kill(threads[2] if number is signal.SIGTERM else process.pid, number)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    left = [path.name for path in (node.data / "run").iterdir() if f"~{process.pid}~" in path.name]
    assert not left


def test_a_supervisor_that_left_stops_nobody(node: NodeProcesses) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", "--ready-fd", str(writing)],
        env=node.environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, pass_fds=[writing],
    )  # fmt: skip
    os.close(writing)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("READY role=serve port=")
    process.terminate()
    assert process.wait(30) == 0
    process.stdout.close()


def test_a_process_that_cannot_write_down_its_end_ends_all_the_same(node: NodeProcesses) -> None:
    """Its service manager would kill it without a word; and what it held is found as after a crash."""
    environment = node.environment(database_wait="3600", end_within="0.5")
    command = [sys.executable, "-m", "gateway", "periodic"]
    with (
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
        closing(sqlite3.connect(node.data / "truc.db", timeout=60, isolation_level=None)) as held,
    ):
        assert process.stdout is not None
        assert any(line.startswith("READY") for line in process.stdout)
        held.execute("BEGIN IMMEDIATE")  # nobody else writes: neither jobs that it gives back, nor anything
        process.terminate()
        said = process.stdout.read()
        assert process.wait(PATIENCE) == ExitCode.UNFINISHED
    assert "process.cut_short" in said
    node.start("periodic")
    assert node.run("account").returncode == 0


def test_an_api_that_still_answers_somebody_ends_in_time_too(node: NodeProcesses) -> None:
    """Its time counts from the signal, not from when the last request was answered."""
    token = json.loads(node.run("system", "add", "so", "--speaks-for", SENDER, "--json").stdout)["token"]
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "api"],
        env=node.environment(end_within="0.5"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            ready = next(line for line in process.stdout if line.startswith("READY"))
            with socket.create_connection(("127.0.0.1", int(ready.split("port=")[1].split()[0]))) as asking:
                asking.sendall(
                    f"POST /v1/packets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
                    "Content-Type: application/xml\r\nContent-Length: 9000\r\nExpect: 100-continue\r\n\r\n".encode()
                )
                assert asking.recv(1000).startswith(b"HTTP/1.1 100"), "the API reads the packet's body"
                process.terminate()
                said = process.stdout.read()
                assert process.wait(PATIENCE) == ExitCode.UNFINISHED
        finally:
            process.kill()
    assert "process.cut_short" in said
    assert "process.stopping" not in said, "it waited for the request first, however long that takes"


def test_a_process_whose_log_nobody_reads_ends_all_the_same(node: NodeProcesses) -> None:
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writes, bytes(4096))
    os.set_blocking(writes, True)
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "periodic"],
        env=node.environment(end_within="0.5"), stdout=subprocess.DEVNULL, stderr=writes,
    ) as process:  # fmt: skip
        try:
            until(lambda: _catches(process.pid, signal.SIGTERM))
            process.terminate()
            assert process.wait(PATIENCE) == ExitCode.UNFINISHED
        finally:
            process.kill()
    os.close(writes)
    os.close(reads)


def _rests(pid: int) -> bool:
    """Its main thread waits, and has done nothing for a tenth of a second."""
    status = Path(f"/proc/{pid}/task/{pid}/status")
    before = status.read_text("ascii")
    time.sleep(0.1)
    return "State:\tS" in before and status.read_text("ascii") == before


def _catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has said what it does at a signal."""
    [caught] = re.findall(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text("ascii"), re.MULTILINE)
    return bool(int(caught, 16) >> number - 1 & 1)


@pytest.mark.parametrize("after", [0.2, 0.7, 1.2])
def test_a_signal_during_the_start_is_not_lost(node: NodeProcesses, after: float) -> None:
    """Whatever the moment: before anything is watched it ends at once, later cleanly, and never stays."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve"],
        env=node.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(after)
    process.terminate()
    assert process.wait(PATIENCE) in (0, -signal.SIGTERM)
    assert node.run("account").returncode == 0


def test_serve_makes_a_node_where_there_is_none_and_the_parts_do_not(tmp_path: Path) -> None:
    with NodeProcesses(tmp_path / "moi", {"today": DAY}) as fresh:
        assert fresh.run("channel", "list").returncode == 6
        assert not fresh.data.exists(), "a command in the wrong folder leaves nothing behind"
        fresh.start("serve")
        found = fresh.run("directory", "show", FOLDER, "--json")
        assert json.loads(found.stdout)["id"] == FOLDER


def test_dead_spool_files_go_at_start_and_living_ones_stay(node: NodeProcesses) -> None:
    spool = node.data / "blobs" / "spool"
    dead = spool / "999999999-00"
    dead.write_bytes(b"\0" * 10)
    node.start("relay")
    assert not dead.exists(), "alone: whatever lies there will never be answered"
    living, fresh, stale = spool / f"{os.getpid()}-11", spool / "999999998-22", spool / "999999997-33"
    for path in (living, fresh, stale):
        path.write_bytes(b"\0")
    long_ago = time.time() - 7_200
    os.utime(stale, (long_ago, long_ago))
    os.utime(living, (long_ago, long_ago))
    node.start("deliver")
    assert living.exists(), "its writer lives"
    assert fresh.exists(), "its writer may live where its number means nothing here"
    assert not stale.exists()


# --- at work ---------------------------------------------------------------------------------------------------------


def _organ(agency_id: str) -> str:
    agency = load_nghe_an().by_id(agency_id)
    code = None if agency is None else agency.organ_code_on(date.fromisoformat(DAY))
    assert code is not None
    return code.code


def _configure(node: NodeProcesses, folder: Path) -> dict[str, str]:
    """Channels and systems by the command line alone; tokens by agency."""
    folder.mkdir()
    file = folder.parent / "cau-hinh.toml"
    file.write_text(
        f"""
        [[system]]
        name = "xa-truong-vinh"
        speaks_for = ["{FOLDER}"]
        [[channel]]
        id = "hop-so"
        kind = "inbox"
        serves = ["{SENDER}"]
        [[channel]]
        id = "hop-xa"
        kind = "inbox"
        serves = ["{INBOX}"]
        [[channel]]
        id = "thu-muc"
        kind = "folder"
        system = "xa-truong-vinh"
        serves = ["{FOLDER}"]
        speaks_for_agency = true
        settings = {{ root = "{folder}" }}
        """
    )
    applied = node.run("apply", str(file))
    assert applied.returncode == 0, applied.stderr
    tokens = {}
    for name, agency in (("so", SENDER), ("xa", INBOX)):
        added = node.run("system", "add", name, "--speaks-for", _organ(agency), "--json")
        assert added.returncode == 0, added.stderr
        tokens[agency] = json.loads(added.stdout)["token"]
    return tokens


def _submit(node: NodeProcesses, token: str, number: str) -> str:
    packet = build_packet(sender=_organ(SENDER), recipients=[_organ(INBOX), _organ(FOLDER)], number=number)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/xml"}
    answer = httpx2.post(f"{node.url}/v1/packets", content=packet, headers=headers, timeout=30)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["packet_id"])


def _arrived(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.edxml") if path.parent.name == "den"]


@pytest.mark.parametrize("roles", [("serve",), ROLES], ids=["whole", "apart"])
def test_a_document_goes_from_rest_to_a_folder_and_an_inbox(
    node: NodeProcesses, tmp_path: Path, roles: tuple[str, ...]
) -> None:
    folder = tmp_path / "thu-muc"
    tokens = _configure(node, folder)
    for role in roles:
        node.start(role)
    packet_id = _submit(node, tokens[SENDER], "1")
    until(lambda: len(_arrived(folder)) == 1)
    headers = {"authorization": f"Bearer {tokens[INBOX]}"}
    items = httpx2.get(f"{node.url}/v1/inbox?wait=10", headers=headers, timeout=30).json()["items"]
    assert [item["packet_id"] for item in items] == [packet_id]

    def has_status() -> bool:
        shown = node.run("document", "show", packet_id, "--json")
        recipients = json.loads(shown.stdout)["recipients"]
        return {line["state"] for line in recipients} == {"delivered", "available"} and any(
            line["status_code"] == "01" for line in recipients
        )

    until(has_status)
    node.assert_alive()
    closed = node.run("account", "--json")
    assert closed.returncode == 0, closed.stdout
    assert json.loads(closed.stdout)["totals"]["documents"]["accepted"] == 2


def test_a_killed_node_goes_on_where_it_was(node: NodeProcesses, tmp_path: Path) -> None:
    folder = tmp_path / "thu-muc"
    tokens = _configure(node, folder)
    node.start("api")
    packets = [_submit(node, tokens[SENDER], str(number)) for number in range(1, 6)]
    node.kill("api")
    node.start("serve")
    again = _submit(node, tokens[SENDER], "1")
    assert again == packets[0], "a repeat gets the first answer, whoever was killed in between"
    until(lambda: len(_arrived(folder)) >= len(packets))
    node.kill("serve")
    node.start("serve")
    time.sleep(0.5)
    assert len(_arrived(folder)) == len(packets), "never a second copy"
    node.stop()
    assert node.run("account").returncode == 0
