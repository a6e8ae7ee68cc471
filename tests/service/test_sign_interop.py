"""Other people's software: they verify what we sign, we verify what they sign, and openssl stamps the time."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from lxml import etree
from signxml.algorithms import CanonicalizationMethod
from signxml.signer import XMLSigner
from signxml.verifier import SignatureConfiguration, XMLVerifier
from signxml.xades import XAdESSignatureConfiguration, XAdESSigner, XAdESVerifier  # type: ignore[attr-defined]

from edxml.sign import (
    DigestAlgorithm,
    Form,
    Policy,
    SignatureAlgorithm,
    Verdict,
    load_pkcs12_signer,
    verify_packet,
)
from edxml.sign.time_stamps import check_time_stamp
from edxml.sign.verdicts import CheckRefusal
from tests.support.certificates import NOW, Authority
from tests.support.packets import build_packet, random_attachments
from tests.support.processes import need_program
from tests.support.stampers import STAMP_ROOT, authority_for_time, new_stamper
from tests.unit.edxml.sign.forge import C14N, C14N11, DS, EXCLUSIVE, NS, check, parse, signed, unparse

ROOT = Authority()
MIDDLE = Authority("Test intermediate", parent=ROOT)
SIGNERS: Final = {kind: MIDDLE.issue(kind=kind) for kind in ("ec", "ec384", "rsa")}
METHODS: Final = {
    "ec": SignatureAlgorithm.ECDSA_SHA256,
    "ec384": SignatureAlgorithm.ECDSA_SHA384,
    "rsa": SignatureAlgorithm.RSA_SHA256,
}
PACKET: Final = build_packet(files=random_attachments(3, largest=20_000))


def run(*command: str | Path, data: bytes | None = None) -> bytes:
    """What a program writes; the test fails where the program does."""
    done = subprocess.run(list(map(str, command)), input=data, capture_output=True, timeout=240)
    assert done.returncode == 0, done.stderr.decode(errors="replace") + done.stdout.decode(errors="replace")
    return done.stdout


@pytest.fixture(scope="module")
def xmlsec1() -> str:
    return need_program("xmlsec1", "xmlsec1")


@pytest.fixture(scope="module")
def openssl() -> str:
    return need_program("openssl", "openssl")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """root.pem, middle.pem, and KIND.key, KIND.pem for every signer."""
    folder = tmp_path_factory.mktemp("pki")
    (folder / "root.pem").write_bytes(ROOT.issued.certificate_pem)
    (folder / "middle.pem").write_bytes(MIDDLE.issued.certificate_pem)
    for kind, who in SIGNERS.items():
        (folder / f"{kind}.key").write_bytes(who.key_pem)
        (folder / f"{kind}.pem").write_bytes(who.certificate_pem)
    return folder


def verify_by_xmlsec1(program: str, pki: Path, packet: bytes, tmp_path: Path) -> None:
    file = tmp_path / "signed.edxml"
    file.write_bytes(packet)
    run(
        program, "--verify", "--verification-gmt-time", f"{NOW:%Y-%m-%d %H:%M:%S}",
        "--trusted-pem", pki / "root.pem", "--id-attr:Id", "SignedProperties", file,
    )  # fmt: skip


@pytest.mark.parametrize("form", [Form.PLAIN, Form.BES])
@pytest.mark.parametrize("kind", SIGNERS)
def test_xmlsec1_verifies_what_we_sign(xmlsec1: str, pki: Path, kind: str, form: Form, tmp_path: Path) -> None:
    packet = signed(SIGNERS[kind], PACKET, form=form, signer=SIGNERS[kind].signer(METHODS[kind]))
    verify_by_xmlsec1(xmlsec1, pki, packet, tmp_path)
    with pytest.raises(AssertionError):
        verify_by_xmlsec1(xmlsec1, pki, packet.replace(b">123<", b">124<"), tmp_path)


@pytest.mark.parametrize("digest", list(DigestAlgorithm))
@pytest.mark.parametrize("kind", SIGNERS)
def test_signxml_verifies_what_we_sign(kind: str, digest: DigestAlgorithm) -> None:
    who = SIGNERS[kind]
    packet = signed(who, PACKET, signer=who.signer(METHODS[kind]), digest_algorithm=digest)
    config = XAdESSignatureConfiguration(expect_references=2, location=".//")
    results = XAdESVerifier().verify(packet, x509_cert=who.certificate, expect_config=config)
    seen: Any = results[0].signed_xml
    assert seen.tag == f"{{{NS}}}edXML"
    assert seen.find(f".//{{{NS}}}CodeNumber").text == "123"
    plain = signed(who, PACKET, signer=who.signer(METHODS[kind]), form=Form.PLAIN, digest_algorithm=digest)
    XMLVerifier().verify(plain, x509_cert=who.certificate, expect_config=SignatureConfiguration(location=".//"))


FORMS: Final = {"c14n10": C14N, "c14n11": C14N11, "exclusive": EXCLUSIVE}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", SIGNERS)
def test_we_verify_what_xmlsec1_signs(xmlsec1: str, pki: Path, kind: str, form: str, tmp_path: Path) -> None:
    template = (
        f'<Signature xmlns="{DS}"><SignedInfo><CanonicalizationMethod Algorithm="{FORMS[form]}"/>'
        f'<SignatureMethod Algorithm="{METHODS[kind]}"/><Reference URI=""><Transforms>'
        f'<Transform Algorithm="{DS}enveloped-signature"/><Transform Algorithm="{FORMS[form]}"/></Transforms>'
        f'<DigestMethod Algorithm="{DigestAlgorithm.SHA256}"/><DigestValue/></Reference></SignedInfo><SignatureValue/>'
        "<KeyInfo><X509Data/></KeyInfo></Signature></edXML:edXMLHeader>"
    )
    file = tmp_path / "template.edxml"
    file.write_bytes(PACKET.replace(b"</edXML:edXMLHeader>", template.encode()))
    keys = f"{pki / f'{kind}.key'},{pki / f'{kind}.pem'},{pki / 'middle.pem'}"
    out = run(xmlsec1, "--sign", "--privkey-pem", keys, file)
    result = check(out, ROOT)
    assert (result.verdict, result.covers_whole, result.certificate) == (
        Verdict.VALID, True, SIGNERS[kind].certificate,
    )  # fmt: skip
    assert check(out.replace(b">123<", b">124<"), ROOT).verdict is Verdict.INVALID_DIGEST


def place_in_header(root: Any) -> Any:
    """signxml signs where a placeholder stands."""
    header = root.find(f".//{{{NS}}}edXMLHeader")
    etree.SubElement(header, f"{{{DS}}}Signature", Id="placeholder")
    return root


@pytest.mark.parametrize("form", list(CanonicalizationMethod)[:6])
@pytest.mark.parametrize("kind", SIGNERS)
def test_we_verify_what_signxml_signs(kind: str, form: CanonicalizationMethod) -> None:
    who = SIGNERS[kind]
    signer = XMLSigner(signature_algorithm=str(METHODS[kind]), c14n_algorithm=form)
    root = signer.sign(place_in_header(parse(PACKET)), key=who.key, cert=[who.certificate, MIDDLE.certificate])
    verdict = check(unparse(root), ROOT).verdict
    with_comments = "WithComments" in str(form.value)
    assert verdict is (Verdict.ALGORITHM_NOT_ALLOWED if with_comments else Verdict.VALID)


@pytest.mark.parametrize("form", [CanonicalizationMethod.CANONICAL_XML_1_0, CanonicalizationMethod.CANONICAL_XML_1_1])
@pytest.mark.parametrize("kind", SIGNERS)
def test_we_verify_the_xades_of_signxml(kind: str, form: CanonicalizationMethod) -> None:
    who = SIGNERS[kind]
    signer = XAdESSigner(signature_algorithm=str(METHODS[kind]), c14n_algorithm=form)
    root = signer.sign(place_in_header(parse(PACKET)), key=who.key, cert=[who.certificate, MIDDLE.certificate])
    result = check(unparse(root), ROOT, at=datetime.now(UTC).replace(year=NOW.year, month=12, day=31))
    assert (result.verdict, result.form) == (Verdict.VALID, Form.BES)
    assert result.signing_time is not None


def test_a_key_in_the_pkcs12_file_of_openssl(openssl: str, pki: Path, tmp_path: Path) -> None:
    file = tmp_path / "key.p12"
    run(
        openssl, "pkcs12", "-export", "-inkey", pki / "rsa.key", "-in", pki / "rsa.pem",
        "-certfile", pki / "middle.pem", "-passout", "pass:mat khau", "-out", file,
    )  # fmt: skip
    signer = load_pkcs12_signer(file.read_bytes(), password=b"mat khau")
    assert check(signed(SIGNERS["rsa"], PACKET, signer=signer), ROOT).verdict is Verdict.VALID


# ---- time stamps by openssl ts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ess", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_time_stamp_proves_when(xmlsec1: str, pki: Path, tmp_path: Path, kind: str, ess: str) -> None:
    stamper = new_stamper(tmp_path / "tsa", authority_for_time(kind=kind), ess)
    began = datetime.now(UTC).replace(microsecond=0)
    who = MIDDLE.issue(days=(3650, (began - NOW).days + 30))
    packet = signed(who, PACKET, form=Form.T, time_stamper=stamper, signing_time=began)
    verify_by_xmlsec1(xmlsec1, pki, signed(MIDDLE.issue(), PACKET, form=Form.T, time_stamper=stamper), tmp_path)
    trusting = replace(Policy.trusting([ROOT.certificate]), time_stamp_anchors=(STAMP_ROOT.certificate,))
    years_later = began + timedelta(days=2000)
    result = check(packet, policy=trusting, at=years_later)
    assert (result.verdict, result.form) == (Verdict.VALID, Form.T)
    assert result.stamped_at is not None
    assert began <= result.stamped_at <= datetime.now(UTC)
    assert result.judged_at == result.stamped_at
    # without a trusted authority nothing proves that the certificate was still valid
    assert check(packet, ROOT, at=years_later).verdict is Verdict.CERTIFICATE_EXPIRED


def test_a_time_stamp_that_proves_nothing(tmp_path: Path) -> None:
    began = datetime.now(UTC)
    who = MIDDLE.issue(days=(3650, 3650))
    good = new_stamper(tmp_path / "good", authority_for_time())
    strange = new_stamper(tmp_path / "strange", authority_for_time(Authority("Elsewhere")))
    trusting = replace(Policy.trusting([ROOT.certificate]), time_stamp_anchors=(STAMP_ROOT.certificate,))

    def verdict(stamper: Callable[[bytes], bytes]) -> Verdict:
        packet = signed(who, PACKET, form=Form.T, time_stamper=stamper, signing_time=began)
        return check(packet, policy=trusting, at=began + timedelta(days=1)).verdict

    assert verdict(good) is Verdict.VALID
    assert verdict(strange) is Verdict.TIME_STAMP_INVALID
    assert verdict(lambda data: good(data + b"x")) is Verdict.TIME_STAMP_INVALID  # over another signature
    assert verdict(lambda data: b"\x30\x00") is Verdict.TIME_STAMP_INVALID
    assert verdict(lambda data: good(data)[:-1]) is Verdict.TIME_STAMP_INVALID


def test_every_bit_of_a_time_stamp_counts(tmp_path: Path) -> None:
    """Directly, since each stamp costs a process: whatever bit is flipped, the token is refused or proves the same."""
    token = new_stamper(tmp_path / "tsa", authority_for_time())(b"value")

    def proved(token: bytes) -> datetime | Verdict:
        try:
            return check_time_stamp(token, b"value", (STAMP_ROOT.certificate,))
        except CheckRefusal as refusal:
            return refusal.verdict

    moment = proved(token)
    assert isinstance(moment, datetime)
    flipped = [token[:at] + bytes((token[at] ^ 0x04,)) + token[at + 1 :] for at in range(len(token))]
    said = [proved(one) for one in flipped]
    assert set(said) <= {moment, Verdict.TIME_STAMP_INVALID, Verdict.CERTIFICATE_UNREADABLE}
    assert said.count(moment) < 40  # corners that no signature covers: versions, parameters, the list of digests


def test_io_is_not_left_behind() -> None:
    """A stream that was read is where it was asked to be: verifying twice gives the same."""
    stream = io.BytesIO(signed(SIGNERS["ec"], PACKET))
    policy = Policy.trusting([ROOT.certificate])
    assert verify_packet(stream, policy=policy, at=NOW) == verify_packet(stream, policy=policy, at=NOW)
