"""Inspection behind the hops: one verdict per file whatever the file does, kept once, and delivery never waits."""

# ruff: noqa: F811 - fixtures are taken from tests.support.inspectors

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from gateway.exchange.attached import read_attachments
from gateway.inspector.jobs import Job
from gateway.model.errors import DiskReserve
from gateway.model.inspection import INSPECTOR_VERSION, FileInspection, InspectionLimits, PdfVerdict
from gateway.model.instants import MINUTE, SECOND
from gateway.store import views
from gateway.store.followers import Follower, behind
from gateway.workers.begun import Begun
from gateway.workers.inspect import inspect_once, start_inspection
from gateway.workers.inspect_process import InspectorProcess
from monitoring import log
from tests.support.certificates import Authority
from tests.support.inspectors import LIMITS, root, start, trust  # noqa: F401
from tests.support.nodes import House
from tests.support.patience import until
from tests.support.pdfs import binary_pdf, bomb_pdf, plain_pdf, sign_pdf, slow_pdf
from tests.support.stores import tell

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


def test_what_bears_no_pdf_is_passed_within_a_minute_and_waits_for_nobody(house: House, start: Any) -> None:
    house.send(["inbox-a"], files=(("chi.txt", b"chu"),))
    inspector = start()
    assert not inspect_once(house.node, inspector, LIMITS), "a commit each second would be for nothing"
    house.pass_time(MINUTE + SECOND)
    assert inspect_once(house.node, inspector, LIMITS)
    with house.node.store.read() as connection:
        found = behind(connection)[Follower.INSPECTOR]
    assert (found.events, found.since) == (0, None)
    assert not inspect_once(house.node, inspector, LIMITS)


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


def test_what_plainly_bears_no_signature_needs_no_process(house: House, start: Any, root: Authority) -> None:
    inspector = start()
    plain = house.send(["inbox-a"], "1", files=(("a.pdf", plain_pdf()), ("b.pdf", plain_pdf("hai"))))
    look(house, inspector)
    assert verdicts(house, plain.packet_id) == [(1, "unsigned", "absent"), (2, "unsigned", "absent")]
    assert inspector._process is None
    signed = house.send(["inbox-a"], "2", files=(("a.pdf", sign_pdf(plain_pdf(), root.issue())),))
    look(house, inspector)
    assert verdicts(house, signed.packet_id) == [(1, "valid", "valid")]
    assert inspector._process is not None


def _forget_marks(house: House, version: int | None = None) -> None:
    """Packets as a node without marks accepted them, or one whose inspector had that version."""
    for row in house.rows("SELECT id, attachments FROM packets"):
        told = json.loads(str(row["attachments"]))
        for file in told:
            marked = file.pop("unsigned", None)
            if marked is not None and version is not None:
                file["unsigned"] = version
        with house.node.store.write() as connection:
            values = {"id": row["id"], "told": json.dumps(told)}
            connection.execute(text("UPDATE packets SET attachments = :told WHERE id = :id"), values)


def test_what_was_found_unsigned_when_it_came_is_not_read_again(house: House, start: Any) -> None:
    """Nor begun: no byte of it can take the process down. Its verdict is that of the bytes that came."""
    plain = house.send(["inbox-a"], "1", files=(("a.pdf", plain_pdf()), ("b.txt", b"chu"), ("c.pdf", plain_pdf("hai"))))
    (row,) = house.rows("SELECT blob FROM packets")
    house.node.store.blobs.path(str(row["blob"])).unlink()
    asked: list[str] = []
    event.listen(
        house.node.store.engine, "before_cursor_execute", lambda _c, _u, statement, *_: asked.append(statement)
    )
    look(house, start())
    assert verdicts(house, plain.packet_id) == [(1, "unsigned", "absent"), (3, "unsigned", "absent")]
    assert [one for one in asked if "intake_faults" in one and not one.startswith("SELECT")] == []
    assert [one for one in asked if one.startswith("INSERT INTO inspections")] != []
    assert 'truc_inspections_total{verdict="unsigned"} 2.0' in house.node.metrics.render().decode()
    assert house.rows("SELECT reason FROM events WHERE kind = 'packet.inspected'") == [{"reason": "unsigned"}]
    house.assert_books_close()


@pytest.mark.parametrize("version", [None, INSPECTOR_VERSION - 1, INSPECTOR_VERSION + 1])
def test_what_another_version_found_is_read(house: House, start: Any, version: int | None) -> None:
    sent = house.send(["inbox-a"], "1", files=(("a.pdf", plain_pdf()),))
    _forget_marks(house, version)
    (row,) = house.rows("SELECT blob FROM packets")
    house.node.store.blobs.path(str(row["blob"])).unlink()
    look(house, start())
    assert verdicts(house, sent.packet_id) == [(1, "damaged", "open")]


@pytest.mark.parametrize("is_gone", [True, False])
def test_what_is_no_longer_what_was_accepted_is_never_plainly_unsigned(house: House, start: Any, is_gone: bool) -> None:
    sent = house.send(["inbox-a"], files=(("a.pdf", plain_pdf()),))
    (row,) = house.rows("SELECT blob, attachments FROM packets")
    blob = house.node.store.blobs.path(str(row["blob"]))
    (file,) = read_attachments(str(row["attachments"]))
    packet = bytearray(blob.read_bytes())
    written = packet[slice(*file.span)]
    other = base64.b64encode(base64.b64decode(written).replace(b"Kinh gui", b"Gui kinh"))
    packet[slice(*file.span)] = other
    _forget_marks(house)
    blob.chmod(0o600)
    blob.unlink()
    if not is_gone:
        assert written != other
        blob.write_bytes(packet)
    look(house, start())
    assert verdicts(house, sent.packet_id) == [(1, "damaged", "open")]


def test_a_file_that_came_damaged_is_told_from_one_that_the_store_lost(house: House, start: Any) -> None:
    mangled = binary_pdf().decode("utf-8", "replace").encode()
    sent = house.send(["inbox-a"], files=(("a.pdf", mangled),))
    look(house, start())
    with house.node.store.read() as connection:
        view = views.document(connection, sent.packet_id, seen_by=None)
    assert view is not None
    (line,) = [line for line in view.verdicts if line.about == "file"]
    assert (line.verdict, line.code, line.detail) == ("damaged", "inspection.damaged_before", "U+FFFD")


def test_a_full_disk_leaves_everything_due_and_blames_nothing(house: House, start: Any, root: Authority) -> None:
    sent = house.send(["inbox-a"], files=(("a.pdf", sign_pdf(plain_pdf(), root.issue())),))
    full = replace(house.node.store.blobs, reserve=1 << 60)
    cramped = replace(house, node=replace(house.node, store=replace(house.node.store, blobs=full)))
    for _ in range(5):
        with pytest.raises(DiskReserve):
            look(cramped, start())
    assert house.rows("SELECT * FROM intake_faults") == []
    look(house, start())
    assert verdicts(house, sent.packet_id) == [(1, "valid", "valid")]


def test_the_node_ends_in_the_middle_of_a_file_and_goes_on_after_it(house: House, trust: Path) -> None:
    limits = replace(LIMITS, memory=2 << 30)
    house.send(["inbox-a"], "1", files=(("cham.pdf", slow_pdf(400_000)),))
    working = start_inspection(house.node, limits, trust, 0.1)
    until(lambda: house.rows("SELECT * FROM intake_faults") != [])
    time.sleep(1.0)
    began = time.monotonic()
    working.close()
    assert time.monotonic() - began < 30
    assert house.rows("SELECT 1 FROM inspections") == []
    working = start_inspection(house.worker("periodic").node, limits, trust, 0.1)
    house.pass_time(20_000_000)
    until(lambda: len(house.rows("SELECT 1 FROM inspections WHERE verdict = 'unsigned'")) == 1)
    working.close()


def test_two_processes_do_not_inspect_at_the_same_time(house: House, start: Any) -> None:
    house.send(["inbox-a"], files=(("a.pdf", plain_pdf()),))
    with house.node.store.write() as connection:
        holds = "INSERT INTO jobs (name, holder, lease_until, done_at) VALUES ('inspect', 'other', ?, 0)"
        tell(connection, holds, house.now() + 1_000_000)
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


def test_overtaken_by_another_process_the_first_verdict_stands(house: House, start: Any, root: Authority) -> None:
    sent = house.send(["inbox-a"], files=(("a.pdf", sign_pdf(plain_pdf(), root.issue())),))
    assert look(house, Overtaken(house, start())) == 1  # type: ignore[arg-type]
    assert verdicts(house, sent.packet_id) == [(1, "valid", "valid")]
    assert len(house.rows("SELECT 1 FROM events WHERE kind = 'packet.inspected'")) == 1
    assert 'truc_inspections_total{verdict="broken"}' not in house.node.metrics.render().decode()
