"""Lines as programs and people read them, and what can never stand in one."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.log import configure, get, together, write_hop, write_hops
from monitoring.log_guard import KEYS, WITHHELD, Shape, guard_line
from monitoring.registry import Hop, HopOutcome

PACKET = "0193a3f0-7c5e-7c3a-9d1e-1f2a3b4c5d6e"
SECRETS = (
    "V/v bổ nhiệm ông Nguyễn Văn A",
    "Nguyen Van A",
    "van.a@nghean.gov.vn",
    "0912345678",
    "+84 912 345 678",
    "(0238) 3840 401",
    "https://x.vn/?q=Nguyễn",
)


@pytest.fixture(autouse=True)
def _log_of_its_own() -> Iterator[None]:
    """What a test sets up ends with it."""
    yield
    configure("human", "warning")
    root = logging.getLogger()
    configured = [handler for handler in root.handlers if type(handler).__name__ == "_Records"]
    assert len(configured) <= 1, "setting up again replaces"
    for handler in configured:
        root.removeHandler(handler)


@pytest.fixture
def out() -> io.StringIO:
    stream = io.StringIO()
    configure("json", stream=stream)
    return stream


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_tells_its_moment_to_the_microsecond(out: io.StringIO) -> None:
    before = datetime.now(UTC)
    for _ in range(3):
        get("x").info("packet.accepted")
    moments = [line["timestamp"] for line in lines(out)]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+07:00", moment) for moment in moments)
    told = [datetime.fromisoformat(moment) for moment in moments]
    after = datetime.now(UTC)
    assert [before, *told, after] == sorted([before, *told, after])


def test_one_line_per_hop_with_its_ids(out: io.StringIO) -> None:
    write_hop(
        get("exchange.accept"),
        "packet.accepted",
        hop=Hop.ACCEPT,
        outcome=HopOutcome.DONE,
        ms=12.3456,
        packet=PACKET,
        system="0193a3f0-0000-7000-8000-000000000001",
        agency="na-xa-16702-2025",
    )
    (line,) = lines(out)
    assert line.pop("timestamp").endswith("+07:00")
    assert line == {
        "level": "info",
        "event": "packet.accepted",
        "module": "exchange.accept",
        "hop": "accept",
        "outcome": "done",
        "ms": 12.3,
        "packet": PACKET,
        "system": "0193a3f0-0000-7000-8000-000000000001",
        "agency": "na-xa-16702-2025",
    }


@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        (HopOutcome.DONE, "info"),
        (HopOutcome.RETRY, "info"),
        (HopOutcome.PARKED, "warning"),
        (HopOutcome.FAILED, "warning"),
    ],
)
def test_what_a_person_may_have_to_see_is_a_warning(out: io.StringIO, outcome: HopOutcome, level: str) -> None:
    write_hop(get("x"), "transfer.ended", hop=Hop.DELIVER, outcome=outcome, ms=1, reason="channel.down")
    assert [line["level"] for line in lines(out)] == [level]


@pytest.mark.parametrize("format", ["json", "human"])
def test_a_group_is_told_as_its_members_are_one_by_one(format: str) -> None:
    ids: dict[str, Any] = {"delivery": PACKET, "agency": "na-xa-16702-2025"}
    members: list[tuple[HopOutcome, str | None, dict[str, Any]]] = [
        (HopOutcome.DONE, None, ids),
        (HopOutcome.DONE, None, {**ids, "agency": None}),
        (HopOutcome.REFUSED, "inbox.gone", ids),
        (HopOutcome.PARKED, "blob.missing", {"document": SECRETS[0], "agency": SECRETS[2]}),
        (HopOutcome.DONE, None, {"system": "s", "packet": PACKET, "subject": SECRETS[0]}),
        (HopOutcome.REFUSED, SECRETS[0], ids),
    ]
    told = []
    for is_group in (True, False):
        stream = io.StringIO()
        configure(format, stream=stream)
        if is_group:
            write_hops(get("x"), "item.fetched", members, hop=Hop.DELIVER, ms=12.345)
        else:
            for outcome, reason, each in members:
                said = {key: value for key, value in each.items() if key in KEYS}
                write_hop(get("x"), "item.fetched", hop=Hop.DELIVER, outcome=outcome, ms=12.345, reason=reason, **said)
        told.append(re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+\+07:00", "then", stream.getvalue()))
    assert told[0] == told[1]
    assert told[0].count("\n") == len(members)
    assert not any(secret in told[0] for secret in SECRETS)


def test_people_get_the_same_in_one_readable_line() -> None:
    stream = io.StringIO()
    configure("human", stream=stream)
    write_hop(get("x"), "packet.accepted", hop=Hop.ACCEPT, outcome=HopOutcome.DONE, ms=5, packet=PACKET)
    (line,) = stream.getvalue().splitlines()
    assert "packet.accepted" in line
    assert f"packet={PACKET}" in line
    assert "\x1b" not in line, "no colours where no terminal is"


@pytest.mark.parametrize("secret", SECRETS)
def test_no_subject_name_address_or_number_gets_out_by_any_key(out: io.StringIO, secret: str) -> None:
    log = get("x")
    everything: dict[str, Any] = dict.fromkeys([key for key in KEYS if key not in ("event", "level")], secret)
    log.info("packet.accepted", **everything)
    log.info(secret)
    log.info("packet.accepted", subject=secret, name=secret, email=secret, phone=secret, params={"to": secret})
    log.info("packet.accepted", ms=[secret], packet={"id": secret}, error=secret, place=secret + ".py:1")
    log.warning("packet.refused", reason=f"edxml.refused {secret}")
    get(secret).info("packet.accepted")
    assert len(lines(out)) == 6
    for line in lines(out):
        assert line.keys() <= KEYS.keys()
        told = json.dumps(line, ensure_ascii=False)
        assert secret not in told
        assert not any(word in told for word in secret.split() if not word.isascii() or "@" in word)


@pytest.mark.parametrize("secret", SECRETS)
def test_exceptions_are_named_and_placed_but_not_quoted(out: io.StringIO, secret: str) -> None:
    try:
        raise ValueError(secret)
    except ValueError as error:
        get("x").exception("hop.failed")
        get("x").error("hop.failed", exc_info=error)
        get("x").error("hop.failed", error=error)
    for line in lines(out):
        assert line["error"] == "ValueError"
        assert secret not in json.dumps(line, ensure_ascii=False)
    assert lines(out)[0]["place"].startswith("test_log.py:")


@pytest.mark.parametrize("secret", SECRETS)
def test_other_libraries_speak_without_their_text(out: io.StringIO, secret: str) -> None:
    library = logging.getLogger("sqlalchemy.engine")
    library.warning("INSERT … %s", secret)
    library.info("SELECT %s", secret)
    try:
        raise OSError(secret)
    except OSError:
        library.exception("failed on %s", secret)
    warned, failed = lines(out)
    assert warned["module"] == failed["module"] == "sqlalchemy.engine"
    assert (warned["event"], warned["level"], failed["level"]) == ("library.logged", "warning", "error")
    assert failed["error"] == "OSError"
    assert secret not in out.getvalue()


def test_a_document_id_is_written_by_senders_and_so_only_its_digest_is_logged(out: io.StringIO) -> None:
    get("x").info("document.recalled", document="H99.12|H99.12,2025-08-01,7/UBND-VP")
    get("x").info("document.recalled", document=PACKET)
    digested, own = lines(out)
    assert digested["document"].startswith("sha256:")
    assert len(digested["document"]) == 23
    assert own["document"] == PACKET


def test_ids_may_be_uuid_objects_and_none_is_left_out(out: io.StringIO) -> None:
    get("x").info("packet.accepted", packet=UUID(PACKET), delivery=None, ms=True, count=3)
    (line,) = lines(out)
    assert line["packet"] == PACKET
    assert "delivery" not in line
    assert (line["ms"], line["count"]) == (True, 3)


@given(
    st.dictionaries(
        st.sampled_from(sorted(KEYS)) | st.text(max_size=20),
        st.none() | st.text() | st.integers() | st.floats() | st.binary() | st.lists(st.text()),
    )
)
def test_whatever_comes_a_line_is_made_of_known_shapes(line: dict[str, Any]) -> None:
    kept = guard_line(line)
    assert kept.keys() <= KEYS.keys()
    for value in kept.values():
        assert isinstance(value, (str, int, float))
        if isinstance(value, str):
            assert value == WITHHELD or (value.isascii() and not set(value) & set(' @\n\t"'))


def test_a_link_says_which_it_is_and_whither(out: io.StringIO) -> None:
    for address in ("mq1.nghean.local:5671", "127.0.0.1:5672", "[fd00::12]:5672"):
        get("x").info("transport.broker_connected", link="publish", address=address)
    for address in ("amqp://truc:secret@mq1:5671", "mq1:5671/van.a@nghean.gov.vn", "Nguyễn:1"):
        get("x").info("transport.broker_connected", link="publish", address=address)
    told = [(line["link"], line["address"]) for line in lines(out)]
    assert told[:3] == [
        ("publish", "mq1.nghean.local:5671"),
        ("publish", "127.0.0.1:5672"),
        ("publish", "[fd00::12]:5672"),
    ]
    assert told[3:] == [("publish", WITHHELD)] * 3


def test_lower_levels_are_left_out() -> None:
    stream = io.StringIO()
    configure("json", "warning", stream=stream)
    get("x").info("packet.accepted")
    get("x").warning("packet.refused")
    assert [line["event"] for line in lines(stream)] == ["packet.refused"]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_is_grave_is_painted_at_a_terminal() -> None:
    stream = _Terminal()
    configure("human", stream=stream)
    get("x").info("packet.accepted", count=1)
    get("x").error("packet.lost", count=2)
    calm, grave = stream.getvalue().splitlines()
    assert "\x1b" not in calm
    assert "[\x1b[31merror\x1b[0m] packet.lost" in grave
    assert grave.endswith(" module=x count=2")


def test_before_anything_is_set_up_warnings_are_said() -> None:
    """In an interpreter of its own, since a test before this one may have set something up."""
    program = "from monitoring.log import get; get('x').info('packet.accepted'); get('x').warning('packet.refused')"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    (line,) = ran.stderr.splitlines()
    assert "[warning] packet.refused" in line


class _Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_log_that_cannot_be_written_fails_nobody() -> None:
    configure("json", stream=_Full())
    get("x").info("packet.accepted")
    closed = io.StringIO()
    configure("json", stream=closed)
    closed.close()
    get("x").info("packet.accepted")


@pytest.mark.parametrize(("format", "level"), [("xml", "info"), ("json", "loud")])
def test_a_wrong_set_up_is_said_at_once(format: str, level: str) -> None:
    with pytest.raises(ValueError):
        configure(format, level)


class _Counted(io.StringIO):
    """Remembers what each write brought."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return super().write(text)


def test_lines_of_a_group_are_written_in_one_go_and_in_their_order() -> None:
    stream = _Counted()
    configure("json", stream=stream)
    with together(), together():
        for count in range(3):
            get("exchange").info("packet.accept", count=count)
        assert stream.writes == []
        other = threading.Thread(target=lambda: get("exchange").info("packet.other", count=7))
        other.start()
        other.join()
        assert [line["count"] for line in lines(stream)] == [7], "another thread's line waits for nobody"
    assert [line["count"] for line in lines(stream)] == [7, 0, 1, 2]
    assert len(stream.writes) == 2


def test_lines_of_a_group_that_fails_are_written_all_the_same(out: io.StringIO) -> None:
    def fail() -> None:
        with together():
            get("exchange").info("packet.accept", count=1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    get("exchange").info("packet.accept", count=2)
    assert [line["count"] for line in lines(out)] == [1, 2]


def test_without_a_log_that_was_set_up_together_changes_nothing() -> None:
    with together():
        get("exchange").debug("packet.accept", count=1)


def test_values_that_come_once_are_not_kept_for_ever() -> None:
    few = [key for key, shape in KEYS.items() if shape in (Shape.CODE, Shape.SLUG)]
    guard_line(dict.fromkeys(few, "a"))
    tracemalloc.start()
    try:
        for number in range(600):
            guard_line({key: f"{key}.x{number}" for key in few})
        for number in range(20):
            guard_line({key: f"{key}{number}" * 5_000 for key in few})
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1 << 20
