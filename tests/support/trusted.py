"""A node with a folder of trust at the moment at which the certificates of the tests hold; packets signed for it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from edxml.sign import sign_packet
from gateway.exchange.submission import Answer
from gateway.model.instants import as_instant
from gateway.workers.signatures import TrustWatch, check_once
from tests.support.certificates import NOW, Authority, Issued
from tests.support.nodes import House, build_house
from tests.support.stores import Database, HandClock

__all__ = ["check_all", "house", "root", "send", "send_signed", "signed", "trust", "verdicts"]


@pytest.fixture
def house(tmp_path: Path, database: Database) -> Iterator[House]:
    """A node at the moment at which the certificates of the tests hold."""
    built = build_house(tmp_path, database=database, clock=HandClock(as_instant(NOW)))
    yield built
    built.close()


@pytest.fixture
def root() -> Authority:
    return Authority()


@pytest.fixture
def trust(house: House, root: Authority) -> TrustWatch:
    """A folder in which the root is trusted, with a list of what it revoked: nothing."""
    folder = house.root.parent / "data" / "trust"
    (folder / "anchors").mkdir(parents=True)
    (folder / "revocations").mkdir()
    (folder / "anchors" / "root.pem").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    (folder / "revocations" / "root.crl").write_bytes(root.crl(at=NOW - timedelta(days=1)))
    return TrustWatch(folder)


def signed(packet: bytes, issued: Issued) -> bytes:
    out = io.BytesIO()
    sign_packet(io.BytesIO(packet), out, issued.signer(), signing_time=NOW)
    return out.getvalue()


def send(house: House, body: bytes) -> str:
    answer = house.submit(body)
    assert isinstance(answer, Answer), answer
    return answer.packet_id


def send_signed(house: House, issued: Issued, number: str = "1") -> str:
    return send(house, signed(house.packet(["inbox-a"], number), issued))


def check_all(house: House, trust: TrustWatch) -> None:
    while check_once(house.node, trust):
        pass


def verdicts(house: House) -> dict[str, str]:
    return {row["packet_id"]: row["verdict"] for row in house.rows("SELECT * FROM signature_verdicts")}
