"""Keys of one node follow each other: whoever trusts both certificates verifies the seals of both, by any software."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path

from edxml.seal import SealStatement, generate_seal_key, load_seal_key, make_seal, open_seal
from tests.support.processes import need_program

STATEMENT = SealStatement(
    packet_id="01990000-0000-7000-8000-000000000001",
    node="nghe-an",
    packet_digest="ab" * 32,
    size=20_000,
    attachments=(("cd" * 32, 10_000),),
    sender="000.00.00.H99",
    recipients=("000.00.01.H99",),
    accepted_at=datetime.now(UTC),
)


def test_xmlsec1_finds_the_right_one_of_two_certificates_of_a_node(tmp_path: Path) -> None:
    """OpenSSL takes the first trusted certificate that bears the name, so two keys must not bear the same."""
    program = need_program("xmlsec1", "xmlsec1")
    pairs = [generate_seal_key("nghe-an") for _ in range(2)]
    for number, (_, certificate) in enumerate(pairs):
        (tmp_path / f"{number}.pem").write_bytes(certificate)
    keys = [load_seal_key(*pair) for pair in pairs]
    assert keys[0].certificate.subject != keys[1].certificate.subject
    for key in keys:
        seal = make_seal(STATEMENT, key)
        (tmp_path / "dau.xml").write_bytes(seal)
        for first, second in permutations(("0.pem", "1.pem")):
            command = [
                program,
                "--verify",
                "--trusted-pem",
                first,
                "--trusted-pem",
                second,
                "--id-attr:Id",
                "Statement",
            ]
            command += ["--id-attr:Id", "SignedProperties", "dau.xml"]
            assert subprocess.run(command, capture_output=True, cwd=tmp_path, timeout=240).returncode == 0
        assert open_seal(seal, trusted=[one.certificate for one in keys]).chain == (key.certificate,)
