"""What hostile packets of every dialect cost a process that reads nothing else: memory above idle, processor time."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.corpus.test_packet_hostile import BOMB, HOSTILE, with_subject
from tests.corpus.test_reader_promises import BOMBS
from tests.corpus.test_soap_hostile import FLOODS, GOOD, HEAD, ROOT
from tests.support.packets import build_packet
from tests.support.soap import build_soap, soap_message, soap_part

GROWTH = 32 << 10
"""KiB above idle."""
SLOWEST = 1.0
"""Seconds of processor time for each megabyte begun; rules, schema and all."""

READER = """
import json, os, sys, time
from datetime import date
from edxml import read

def memory(what):
    with open("/proc/self/status") as told:  # of this program; getrusage tells its parent's too
        return next(int(line.split()[1]) for line in told if line.startswith(what))

is_ours, *names = sys.argv[1:]
asked = {"check_schema": is_ours == "ours", "check_rules": True, "today": date(2026, 1, 1)}

def cost(name):
    idle, began = memory("VmRSS"), time.process_time()
    with open(name, "rb") as stream:
        result = read(stream, **asked)
    return [memory("VmHWM") - idle, time.process_time() - began, str(result.dialect), result.is_refused]

for _ in range(3):
    cost(names[0])
told = {}
for name in names:  # each by a process that reads nothing else
    out, into = os.pipe()
    if not os.fork():
        os.write(into, json.dumps(cost(name)).encode())
        os._exit(0)
    os.close(into)
    with open(out) as answer:
        told[name] = json.load(answer)
    os.wait()
print(json.dumps(told))
"""


def zipped(data: bytes, depth: int = 1) -> bytes:
    for _ in range(depth):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.writestr("x", data)
        data = out.getvalue()
    return data


def part(content: bytes, transfer: str, *fields: str) -> bytes:
    return soap_message(
        [ROOT, soap_part(content, transfer, "Content-Type: application/zip", "Content-ID: <1>", *fields)]
    )


def soap_bombs() -> Iterator[tuple[str, bytes]]:
    """Dialect D's own, and those of XML and ZIP in its envelope and its parts."""
    bomb = zipped(bytes(200 << 20))
    for transfer in ("base64", "binary", "quoted-printable"):
        yield f"zip-{transfer}", part(bomb, transfer)
    yield "zip-in-zip", part(zipped(bytes(100 << 20), depth=3), "base64")
    yield (
        "entities",
        build_soap().replace(b"<SOAP-ENV:Envelope", BOMB.replace(b"edXML", b"Envelope") + b"<SOAP-ENV:Envelope", 1),
    )
    for name, (text, _) in BOMBS.items():
        yield f"xml-{name}", build_soap().replace(b"<edXML:Subject>", b"<edXML:Subject>" + text, 1)
    yield "root-quoted", soap_message([soap_part(b"<" * 300_000, "quoted-printable")])
    yield "root-text", build_soap().replace(b"<edXML:Subject>", b"<edXML:Subject>" + b"x" * 5_000_000, 1)
    yield "root-depth", build_soap().replace(b"<edXML:Subject>", b"<edXML:Subject>" + b"<a>" * 200_000, 1)
    yield "root-utf16", soap_message([soap_part(ROOT.decode().encode("utf-16") * 300, "binary")])
    yield from ((f"flood-{name}", data) for name, (data, _) in FLOODS.items())


def cases(kind: str) -> Iterator[tuple[str, bytes]]:
    """By name: the bytes of each hostile packet of that kind."""
    if kind == "d":
        yield from soap_bombs()
        return
    zips = build_packet(files=(("a.doc", zipped(bytes(200 << 20))), ("b.doc", zipped(bytes(50 << 20), depth=2))))
    hostile = {
        **{name: data for name, (data, _) in HOSTILE.items()},
        **{f"bomb-{name}": with_subject(text) for name, (text, _) in BOMBS.items()},
        "zips": zips,
        "base64": zips.replace(base64.b64encode(b"PK")[:2], b"&#10;" * 200_000, 1),
    }
    for name, data in hostile.items():
        if kind == "a":
            yield name, data
        elif data.isascii() or _is_text(data):
            yield name, data.decode().encode("utf-16")


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def read_apart(names: Iterable[str], form: str) -> dict[str, list[Any]]:
    """By file: KiB above idle, seconds, dialect, whether refused. Our XSD is asked of `ours`."""
    command = [sys.executable, "-c", READER, form, *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, list[Any]] = json.loads(done.stdout)
    return told


def put_down(folder: Path, packets: Iterable[tuple[str, bytes]]) -> dict[str, int]:
    """Files of these packets, each with its size."""
    sizes = {}
    for number, (name, data) in enumerate(packets):
        path = folder / f"{number}-{name}"
        path.write_bytes(data)
        sizes[str(path)] = len(data)
    return sizes


@pytest.mark.parametrize("kind", ["a", "utf16", "d"])
def test_hostile_packets_cost_little_above_idle(kind: str, tmp_path: Path) -> None:
    plain = GOOD if kind == "d" else build_packet()
    sizes = put_down(tmp_path, [("idle", plain), *cases(kind)])
    for name, (growth, seconds, dialect, _) in read_apart(sizes, "d" if kind == "d" else "ours").items():
        assert growth <= GROWTH, (name, growth)
        assert seconds < SLOWEST * max(1, sizes[name] / (1 << 20)), (name, seconds)
        assert kind != "d" or dialect in ("D", "None"), name


@pytest.mark.parametrize("kind", ["cut", "flipped"])
def test_damaged_messages_cost_little_above_idle(kind: str, tmp_path: Path) -> None:
    """Dialect D cut at every percent, and with every 16th byte flipped in two ways; of 300 KB each."""
    whole = build_soap(files=(("van-ban.pdf", b"%PDF-1.7\n" + bytes(range(256)) * 900),), head=HEAD)
    if kind == "cut":
        damaged = [whole, *(whole[: len(whole) * percent // 100] for percent in range(100))]
    else:
        spots = [*range(0, 4_000, 16), *range(len(whole) - 400, len(whole), 16)]
        damaged = [whole, *(_flip(whole, at, how) for at in spots for how in (0x20, 0x80))]
    names = put_down(tmp_path, [("", data) for data in damaged])
    for name, (growth, seconds, _, is_refused) in read_apart(names, "d").items():
        assert growth <= GROWTH, (name, growth)
        assert seconds < SLOWEST, (name, seconds)
        assert kind != "cut" or is_refused == (name != next(iter(names))), name


def _flip(data: bytes, at: int, how: int) -> bytes:
    return data[:at] + bytes((data[at] ^ how,)) + data[at + 1 :]


INVENTOR = """
import gc, io, sys
from edxml import read

def memory():
    with open("/proc/self/status") as told:
        return next(int(line.split()[1]) for line in told if line.startswith("VmRSS"))

head, tail = sys.stdin.buffer.read().split(b"<!-- here -->")
form = sys.argv[1].encode()
for number in range(70):
    names = b"".join(form.replace(b"NAME", b"n%d-%d-%b" % (number, at, b"x" * 39_000)) for at in range(100))
    result = read(io.BytesIO(head + names + tail))
    assert "edxml.too_many_names" in {finding.code for finding in result.findings}, result.findings
    del result
    gc.collect()
    if number == 9:
        began = memory()
assert not read(io.BytesIO(head + tail)).is_refused
print(memory() - began)
"""


@pytest.mark.parametrize(
    "form", ["<NAME/>", "<?NAME?>", "<a NAME='1'/>", "<a xmlns:NAME='x'/>", "<a xmlns='NAME'/>", "<a b='>' NAME='1'/>"]
)
def test_names_that_a_sender_invents_are_bounded(form: str) -> None:
    """lxml keeps names as long as its thread lives: without a bound 4 MB of each such packet would stay."""
    given = with_subject(b"<!-- here -->")
    command = [sys.executable, "-c", INVENTOR, form]
    done = subprocess.run(command, input=given, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert int(done.stdout) < GROWTH
