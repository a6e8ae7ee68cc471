"""A time stamp put onto a signature that is there: by a function, and by `truc` from an authority over HTTP."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from lxml import etree
from signxml.xades import XAdESSignatureConfiguration, XAdESSigner, XAdESVerifier  # type: ignore[attr-defined]

from edxml.messages import Language
from edxml.sign import Form, Policy, SigningRefused, Verdict, add_time_stamp, asking, verify_packet
from gateway.cli.app import main
from tests.support.certificates import NOW, Authority
from tests.support.packets import build_packet, random_attachments
from tests.support.processes import need_program
from tests.support.soft_tokens import SoftToken, run
from tests.support.stampers import STAMP_ROOT, Stamper, StampServer, authority_for_time
from tests.unit.edxml.sign.forge import DS, ENVELOPED, EXCLUSIVE, forge, parse, signed, unparse

ROOT = Authority("Signing root")
WHO: Final = ROOT.issue("UBND xã Tân An", days=(3650, 400))
PACKET: Final = build_packet(files=random_attachments(2, largest=20_000))
TRUSTING: Final = replace(Policy.trusting([ROOT.certificate]), time_stamp_anchors=(STAMP_ROOT.certificate,))


@pytest.fixture(scope="module")
def stamper(tmp_path_factory: pytest.TempPathFactory) -> Stamper:
    return Stamper.make(tmp_path_factory.mktemp("tsa") / "own", authority_for_time())


@pytest.fixture
def server(stamper: Stamper) -> Iterator[StampServer]:
    with StampServer(stamper.answer) as running:
        yield running


def stamped(packet: bytes, stamper: Any) -> bytes:
    out = io.BytesIO()
    add_time_stamp(io.BytesIO(packet), out, stamper)
    return out.getvalue()


def refused(packet: bytes, stamper: Any) -> SigningRefused:
    """Why it is not stamped; nothing was written by then."""
    out = io.BytesIO()
    with pytest.raises(SigningRefused) as why:
        add_time_stamp(io.BytesIO(packet), out, stamper)
    assert out.getvalue() == b""
    assert why.value.text(Language.VI) != why.value.text(Language.EN)
    return why.value


def test_a_stamp_outlives_the_certificate_and_touches_nothing_signed(stamper: Stamper, tmp_path: Path) -> None:
    began = datetime.now(UTC).replace(microsecond=0)
    bes = signed(WHO, PACKET, signing_time=began)
    packet = stamped(bes, stamper)
    added = len(packet) - len(bes)
    at = packet.index(b"<xades:UnsignedProperties")
    assert packet[:at] + packet[at + added :] == bes
    years_later = began + timedelta(days=2000)
    result = verify_packet(io.BytesIO(packet), policy=TRUSTING, at=years_later)
    assert (result.verdict, result.form) == (Verdict.VALID, Form.T)
    assert result.stamped_at is not None
    assert began <= result.stamped_at <= datetime.now(UTC)
    assert verify_packet(io.BytesIO(bes), policy=TRUSTING, at=years_later).verdict is Verdict.CERTIFICATE_EXPIRED
    # others still read it as XAdES
    XAdESVerifier().verify(
        packet, x509_cert=WHO.certificate,
        expect_config=XAdESSignatureConfiguration(expect_references=2, location=".//"),
    )  # fmt: skip
    (tmp_path / "root.pem").write_bytes(ROOT.issued.certificate_pem)
    (tmp_path / "stamped.edxml").write_bytes(packet)
    run(
        need_program("xmlsec1", "xmlsec1"), "--verify", "--verification-gmt-time", f"{NOW:%Y-%m-%d %H:%M:%S}",
        "--trusted-pem", tmp_path / "root.pem", "--id-attr:Id", "SignedProperties", tmp_path / "stamped.edxml",
    )  # fmt: skip


def test_the_signature_of_another_software_is_stamped_too(stamper: Stamper) -> None:
    root = parse(PACKET)
    header = next(root.iter("{*}edXMLHeader"))
    etree.SubElement(header, f"{{{DS}}}Signature", Id="placeholder")
    theirs = XAdESSigner(signature_algorithm="ecdsa-sha256").sign(root, key=WHO.key, cert=[WHO.certificate])
    packet = stamped(unparse(theirs), stamper)
    result = verify_packet(io.BytesIO(packet), policy=TRUSTING, at=datetime.now(UTC) + timedelta(days=2000))
    assert (result.verdict, result.form) == (Verdict.VALID, Form.T)


def test_a_stamp_stands_beside_other_unsigned_properties(stamper: Stamper) -> None:
    began = datetime.now(UTC)
    other = (
        b'<xades:UnsignedProperties xmlns:xades="http://uri.etsi.org/01903/v1.3.2#"><xades:UnsignedSignatureProperties>'
        b"<xades:CertificateValues/></xades:UnsignedSignatureProperties></xades:UnsignedProperties>"
        b"</xades:QualifyingProperties>"
    )
    packet = signed(WHO, PACKET, signing_time=began).replace(b"</xades:QualifyingProperties>", other)
    result = verify_packet(io.BytesIO(stamped(packet, stamper)), policy=TRUSTING, at=began + timedelta(days=1))
    assert (result.verdict, result.form) == (Verdict.VALID, Form.T)


def test_what_cannot_be_stamped_is_refused_before_anybody_is_asked(stamper: Stamper) -> None:
    def nobody(data: bytes) -> bytes:
        raise AssertionError("an authority was asked in vain")

    bes = signed(WHO, PACKET)
    assert refused(PACKET, nobody).detail == "absent"
    assert refused(bes.replace(b">123<", b">124<"), nobody).detail == "invalid_digest"
    assert refused(signed(WHO, PACKET, form=Form.PLAIN), nobody).reason == "signing.not_xades"
    assert refused(stamped(bes, stamper), nobody).reason == "signing.stamped_already"
    assert refused(b"<a>", nobody).detail == "unreadable"


def test_a_signature_over_what_would_change_is_not_stamped(stamper: Stamper) -> None:
    objects = (
        '<Object Id="all"><xades:QualifyingProperties xmlns:xades="http://uri.etsi.org/01903/v1.3.2#" Target="#sig">'
        '<xades:SignedProperties Id="own"><xades:SignedSignatureProperties/></xades:SignedProperties>'
        "</xades:QualifyingProperties></Object>"
    )
    packet = forge(PACKET, WHO, targets=[("", (ENVELOPED, EXCLUSIVE)), ("#all", (EXCLUSIVE,))], objects=objects)
    assert refused(packet, stamper).reason == "signing.stamp_place"


def test_a_token_over_something_else_is_not_written(stamper: Stamper) -> None:
    bes = signed(WHO, PACKET)
    assert refused(bes, lambda data: stamper(data + b"x")).detail == "messageImprint"
    assert refused(bes, lambda data: b"\x30\x00").detail == "form"


def test_an_authority_is_asked_by_rfc_3161(stamper: Stamper) -> None:
    queries: list[bytes] = []

    def send(query: bytes) -> bytes:
        queries.append(query)
        return stamper.answer(query)

    ask = asking(send)
    result = verify_packet(
        io.BytesIO(stamped(signed(WHO, PACKET, signing_time=datetime.now(UTC)), ask)), policy=TRUSTING
    )
    assert (result.verdict, result.form) == (Verdict.VALID, Form.T)
    assert ask(b"x") != ask(b"x"), "each question has a number of its own"
    first = stamper.answer(queries[0])
    assert refused(signed(WHO, PACKET), asking(lambda query: first)).detail == "nonce"  # an old answer, played again
    assert refused(signed(WHO, PACKET), asking(lambda query: b"")).detail == "TimeStampResp"
    no = bytes.fromhex("301a301802010230130c11") + "không chấp nhận".encode()[:17]
    assert refused(signed(WHO, PACKET), asking(lambda query: no)).reason == "signing.stamp_refused"


# ---- the command line -----------------------------------------------------------------------------------------------


def truc(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    found = main(["packet", *arguments, "--lang", "en"])
    out, err = capsys.readouterr()
    assert found == code, (arguments, out, err)
    assert "Traceback" not in out + err
    assert not re.search(r"\b(packet_told|packet_show|help)\.", out + err)
    return out, err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.edxml").write_bytes(PACKET)
    (tmp_path / "key.pem").write_bytes(WHO.key_pem)
    (tmp_path / "cert.pem").write_bytes(WHO.chain_pem)
    (tmp_path / "root.pem").write_bytes(ROOT.issued.certificate_pem)
    (tmp_path / "tsa.pem").write_bytes(STAMP_ROOT.issued.certificate_pem)
    return tmp_path


def test_the_command_stamps_what_is_signed(
    capsys: pytest.CaptureFixture[str], folder: Path, server: StampServer
) -> None:
    signing = ("sign", "a.edxml", "--key", "key.pem", "--cert", "cert.pem")
    truc(capsys, *signing, "--out", "b.edxml")
    truc(capsys, "timestamp", "b.edxml", "--tsa", server.url, "--out", "c.edxml")
    truc(capsys, *signing, "--tsa", server.url, "--out", "d.edxml")
    assert [kind for kind, _ in server.asked] == ["application/timestamp-query"] * 2
    for name in ("c.edxml", "d.edxml"):
        out, _ = truc(capsys, "verify", name, "--trust", "root.pem", "--trust-tsa", "tsa.pem", "--json")
        (found,) = json.loads(out)
        assert (found["verdict"], found["form"]) == ("valid", "xades-t")
        assert found["stamped_at"]
        out, _ = truc(capsys, "verify", name, "--trust", "root.pem")
        assert "not trusted here" in out
    _, err = truc(capsys, "timestamp", "c.edxml", "--tsa", server.url, "--out", "e.edxml", code=1)
    assert "already" in err
    assert not (folder / "e.edxml").exists()


@pytest.mark.parametrize("mood", ["away", "404", "nonsense", "flood"])
def test_an_authority_that_does_not_answer_is_told(
    capsys: pytest.CaptureFixture[str], folder: Path, server: StampServer, mood: str
) -> None:
    truc(capsys, "sign", "a.edxml", "--key", "key.pem", "--cert", "cert.pem", "--out", "b.edxml")
    url = "http://127.0.0.1:9/tsa" if mood == "away" else server.url
    server.status = 404 if mood == "404" else 200
    server.answer = lambda query: b"x" * (1 << 20) if mood == "flood" else b"<html>"
    code = 1 if mood == "nonsense" else 7
    _, err = truc(capsys, "timestamp", "b.edxml", "--tsa", url, "--out", "c.edxml", code=code)
    assert "authority" in err
    assert not (folder / "c.edxml").exists()


def test_the_command_signs_with_a_token(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    token = SoftToken.make("lenh ky", folder)
    token.put("ky", WHO)
    token.notice()
    truc(capsys, "sign", "a.edxml", "--pkcs11", token.uri("ky"), "--out", "b.edxml")
    truc(capsys, "verify", "b.edxml", "--trust", "root.pem")
    truc(capsys, "sign", "a.edxml", "--pkcs11", token.uri("ky"), "--cert", "cert.pem", "--out", "c.edxml")
    truc(capsys, "sign", "a.edxml", "--pkcs11", token.uri("ky"), "--key", "key.pem", "--out", "d.edxml", code=2)
    _, err = truc(capsys, "sign", "a.edxml", "--pkcs11", token.uri("khac"), "--out", "d.edxml", code=4)
    assert "“khac”" in err
    _, err = truc(capsys, "sign", "a.edxml", "--pkcs11", "pkcs11:token=a", "--out", "d.edxml", code=4)
    assert "RFC 7512" in err
    assert not (folder / "d.edxml").exists()
