"""The packet library against what bare libraries do with the same bytes: ratios by interleaved pairs, in one process.

    python -m benchmarks --packets [--quick] [--pairs N] [--json FILE]

Each pair measures both sides next to each other in processor time, so that neighbours on the machine fall on both.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, BinaryIO, Final, cast

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from lxml import etree
from rich import box
from rich.console import Console
from rich.table import Table
from signxml.verifier import SignatureConfiguration, XMLVerifier

from benchmarks.measure import Interval, interleave, interval_of
from benchmarks.packet_stream import GeneratedPacket, grow
from benchmarks.packets import PacketMaker, Party
from edxml import Attachment, read
from edxml.schema import DOCUMENT, schema_path
from edxml.seal import SealStatement, generate_seal_key, load_seal_key, make_seal
from edxml.sign import Form, Policy, Verdict, load_pem_signer, sign_packet, verify_packet

__all__ = ["Figure", "measure_packets", "show_packets"]

_MIB: Final = 1 << 20
_TODAY: Final = date(2026, 11, 25)
_SENDER: Final = Party(code="000.00.00.H99", name="Sở Tài chính")
_GROWTH_ALLOWED: Final = 32 * _MIB
_SEAL_ALLOWED_MS: Final = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One target: both sides' own figures in words, what was reached, and whether that is enough."""

    name: str
    ours: str
    bare: str
    reached: str
    target: str
    is_met: bool


def measure_packets(*, pairs: int = 7, is_quick: bool = False) -> tuple[Figure, ...]:
    """All figures of the packet, one after the other; `is_quick` measures everything once and small."""
    rounds = 5 if is_quick else 300
    streamed = 3 * _MIB if is_quick else 200_000_000
    huge = 12 * _MIB if is_quick else 740_000_000  # a packet of just under a gigabyte
    return (
        _check("full check, 20 KB to one agency", _packets(1), rounds, pairs),
        _check("full check, 20 KB to ten agencies", _packets(10), rounds, pairs),
        _stream(streamed, pairs),
        _growth("read", huge),
        _growth("sign", huge),
        _seal(rounds, pairs),
        _verify(max(1, rounds // 6), pairs),
    )


def show_packets(console: Console, figures: Sequence[Figure]) -> None:
    """A table in Markdown, fit for the docs."""
    table = Table(box=box.MARKDOWN, pad_edge=True)
    for title in ("the packet", "ours", "bare", "reached", "target", ""):
        table.add_column(title, no_wrap=True)
    for figure in figures:
        word = "met" if figure.is_met else "MISSED"
        table.add_row(figure.name, figure.ours, figure.bare, figure.reached, figure.target, word)
    console.print(table)


def _seconds(act: Callable[[], object]) -> float:
    """Processor time of one call."""
    began = time.process_time()
    act()
    return time.process_time() - began


def _in_turns(
    ours: Callable[[], object], bare: Callable[[], object], pairs: int
) -> tuple[Interval, Interval, Interval]:
    """Seconds of ours, seconds of bare, and bare by ours: how much of the bare speed is left."""
    ours()
    bare()
    both = interleave(lambda _: _seconds(ours), lambda _: _seconds(bare), pairs=pairs)
    return (
        interval_of([mine for mine, _ in both]),
        interval_of([other for _, other in both]),
        interval_of([other / mine for mine, other in both]),
    )


# --- full check ------------------------------------------------------------------------------------------------


def _packets(recipients: int) -> list[bytes]:
    """A hundred documents of 20 KB from one sender's software, each with other values."""
    maker = PacketMaker(_SENDER, run="UBND-VX")
    made = []
    for number in range(100, 200):
        first = maker.make(number, Party(code="000.00.01.H99", name="Xã mẫu 1"))
        begin = first.index(b"<edXML:To>")
        end = first.index(b"</edXML:To>") + len(b"</edXML:To>")
        more = [first[begin:end].replace(b"000.00.01.", b"000.00.%02d." % at) for at in range(2, recipients + 1)]
        made.append(first[:end] + b"".join(more) + first[end:])
    return made


def _check(name: str, packets: list[bytes], rounds: int, pairs: int) -> Figure:
    schema = etree.XMLSchema(file=schema_path(DOCUMENT))

    def ours() -> None:
        for at in range(rounds):
            stream = io.BytesIO(packets[at % len(packets)])
            assert not read(stream, check_schema=True, check_rules=True, today=_TODAY).is_refused

    def bare() -> None:
        for at in range(rounds):
            assert schema.validate(etree.parse(io.BytesIO(packets[at % len(packets)])))

    mine, other, ratio = _in_turns(ours, bare, pairs)
    return Figure(
        name=name,
        ours=f"{mine.median / rounds * 1e6:.0f} µs",
        bare=f"{other.median / rounds * 1e6:.0f} µs",
        reached=f"{ratio}",
        target="≥ 0.40 of parse + compiled schema",
        is_met=ratio.median >= 0.4,
    )


# --- large attachments -----------------------------------------------------------------------------------------


class _Spool:
    """Our sink: writes what comes into a file."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def begin(self, position: int, name: str, content_type: str) -> None:
        """Nothing to do."""

    def write(self, data: bytes) -> None:
        """Into the file."""
        self._out.write(data)

    def end(self, attachment: Attachment) -> None:
        """Nothing to do."""


class _Target:
    """The bare loop: lxml's target parser hands over the text, which is decoded, hashed and written."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._sha = hashlib.sha256()
        self._held = ""
        self._is_inside = False

    def start(self, tag: str, attributes: Any) -> None:
        self._is_inside = tag.endswith("ContentTransferEncoded")

    def end(self, tag: str) -> None:
        self._is_inside = False

    def data(self, text: str) -> None:
        if self._is_inside:
            text = self._held + text
            whole = len(text) & ~3
            self._held = text[whole:]
            piece = base64.b64decode(text[:whole])
            self._sha.update(piece)
            self._out.write(piece)

    def close(self) -> str:
        return self._sha.hexdigest()


def _stream(length: int, pairs: int) -> Figure:
    packet = cast(BinaryIO, GeneratedPacket(length))
    digests: set[str] = set()

    def ours() -> None:
        packet.seek(0)
        with tempfile.TemporaryFile() as out:
            result = read(packet, on_attachment=_Spool(cast(BinaryIO, out)))
        assert result.packet is not None
        digests.add(result.packet.attachments[0].digest)  # type: ignore[union-attr]

    def bare() -> None:
        packet.seek(0)
        with tempfile.TemporaryFile() as out:
            parser = etree.XMLParser(target=_Target(cast(BinaryIO, out)), huge_tree=True)
            while piece := packet.read(64 * 1024):
                parser.feed(piece)
            digests.add(parser.close())

    mine, other, ratio = _in_turns(ours, bare, pairs)
    assert len(digests) == 1
    return Figure(
        name=f"streaming an attachment of {length / 1e6:.0f} MB",
        ours=f"{length / 1e6 / mine.median:.0f} MB/s",
        bare=f"{length / 1e6 / other.median:.0f} MB/s",
        reached=f"{ratio}",
        target="≥ 0.50 of lxml's target loop",
        is_met=ratio.median >= 0.5,
    )


def _growth(what: str, length: int) -> Figure:
    size = GeneratedPacket(length).size
    grown = grow(what, length)
    return Figure(
        name=f"{what} a packet of {size / 1e6:.0f} MB",
        ours="",
        bare="",
        reached=f"{grown / _MIB:.1f} MiB more at the peak",
        target="≤ 32 MiB",
        is_met=grown <= _GROWTH_ALLOWED,
    )


# --- seals and signatures --------------------------------------------------------------------------------------


def _seal(rounds: int, pairs: int) -> Figure:
    key_pem, certificate_pem = generate_seal_key("bench")
    key = load_seal_key(key_pem, certificate_pem)
    raw = serialization.load_pem_private_key(key_pem, None)
    assert isinstance(raw, ec.EllipticCurvePrivateKey)
    method = ec.ECDSA(hashes.SHA256())
    statement = SealStatement(
        packet_id="01990000-0000-7000-8000-000000000001", node="bench", packet_digest="ab" * 32, size=20_000,
        attachments=(("cd" * 32, 13_400),), sender=_SENDER.code, recipients=("000.00.01.H99",),
        accepted_at=datetime.now(UTC),
    )  # fmt: skip

    def ours() -> None:
        for _ in range(rounds):
            make_seal(statement, key)

    def bare() -> None:
        for _ in range(rounds):
            raw.sign(b"x" * 400, method)

    ours()
    bare()
    both = interleave(lambda _: _seconds(ours), lambda _: _seconds(bare), pairs=pairs)
    more = interval_of([(mine - other) / rounds * 1000 for mine, other in both])
    return Figure(
        name="seal",
        ours=f"{interval_of([mine for mine, _ in both]).median / rounds * 1000:.3f} ms",
        bare=f"{interval_of([other for _, other in both]).median / rounds * 1000:.3f} ms",
        reached=f"{more:.3f} ms more",
        target="≤ raw P-256 signature + 0.15 ms",
        is_met=more.median <= _SEAL_ALLOWED_MS,
    )


def _verify(rounds: int, pairs: int) -> Figure:
    signer = load_pem_signer(*generate_seal_key("bench"))
    certificate = signer.certificates[0]
    out = io.BytesIO()
    sign_packet(io.BytesIO(_packets(1)[0]), out, signer, form=Form.PLAIN)
    packet, policy = out.getvalue(), Policy.trusting([certificate])
    configuration = SignatureConfiguration(location=".//")

    def ours() -> None:
        for _ in range(rounds):
            assert verify_packet(io.BytesIO(packet), policy=policy).verdict is Verdict.VALID

    def bare() -> None:
        for _ in range(rounds):
            XMLVerifier().verify(packet, x509_cert=certificate, expect_config=configuration)

    mine, other, ratio = _in_turns(ours, bare, pairs)
    return Figure(
        name="verify a signature, 20 KB",
        ours=f"{mine.median / rounds * 1000:.2f} ms",
        bare=f"{other.median / rounds * 1000:.2f} ms",
        reached=f"{ratio}",
        target="≥ 0.80 of signxml's rate",
        is_met=ratio.median >= 0.8,
    )
