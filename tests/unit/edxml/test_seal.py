"""The seal: any XAdES verifier takes it, ours takes nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from lxml import etree
from signxml import XMLVerifier
from signxml.verifier import SignatureConfiguration
from signxml.xades import XAdESSignatureConfiguration, XAdESVerifier

from edxml import SealInvalid, WriteRefused
from edxml.messages import Language
from edxml.seal import SealStatement, generate_seal_key, load_seal_key, make_seal, open_seal, verify_seal
from edxml.sign import SigningKeyInvalid
from tests.support.certificates import NOW, Authority, Issued

KEY_PEM, CERT_PEM = generate_seal_key("trục tỉnh Nghệ An")
KEY = load_seal_key(KEY_PEM, CERT_PEM)
STATEMENT = SealStatement(
    packet_id="01990000-0000-7000-8000-000000000001",
    node="nghe-an",
    packet_digest="ab" * 32,
    size=20_000,
    attachments=(("cd" * 32, 10_000), ("ef" * 32, 0)),
    sender="000.00.00.H99",
    recipients=("000.00.01.H99", "H99.02"),
    accepted_at=datetime.now(UTC),
    repairs=("junk_before_prolog",),
)
VARIANTS = {
    "plain": STATEMENT,
    "vietnamese": replace(STATEMENT, node="Ủy ban nhân dân xã Đại Huệ — Nghệ An"),
    "special": replace(STATEMENT, node="a<b>&\"'\r\n\t c]]>", sender="&lt;<![CDATA[x]]>"),
    "blanks": replace(STATEMENT, node="  hai đầu có dấu cách  ", sender="\n"),
    "bare": replace(STATEMENT, attachments=(), recipients=(), repairs=()),
    "many": replace(STATEMENT, recipients=tuple(f"H99.{n:03}" for n in range(2000))),
    "beyond_bmp": replace(STATEMENT, node="𝔗𝔯ụ𝔠 \ue000 \ufffd"),
}


@pytest.mark.parametrize("statement", VARIANTS.values(), ids=VARIANTS.keys())
def test_signxml_accepts_the_seal_as_xades(statement: SealStatement) -> None:
    seal = make_seal(statement, KEY)
    config = XAdESSignatureConfiguration(expect_references=2, location="./")
    results = XAdESVerifier().verify(seal, x509_cert=KEY.certificate, expect_config=config)
    assert [etree.QName(result.signed_xml).localname for result in results] == ["Statement", "SignedProperties"]
    assert results[0].signed_xml.findtext("{urn:truc:seal:1}Node").replace("\r", "") == statement.node.replace("\r", "")


def test_signxml_accepts_it_as_plain_xml_signature_too() -> None:
    config = SignatureConfiguration(expect_references=2, location="./")
    XMLVerifier().verify(make_seal(STATEMENT, KEY), x509_cert=KEY.certificate, expect_config=config)


@pytest.mark.parametrize("statement", VARIANTS.values(), ids=VARIANTS.keys())
def test_each_part_is_canonical_as_it_stands(statement: SealStatement) -> None:
    seal = make_seal(statement, KEY)
    assert etree.tostring(etree.fromstring(seal), method="c14n") == seal


@pytest.mark.parametrize("statement", VARIANTS.values(), ids=VARIANTS.keys())
def test_what_was_sealed_comes_back(statement: SealStatement) -> None:
    assert verify_seal(make_seal(statement, KEY), certificates=[CERT_PEM]) == statement


def test_certificates_may_be_objects_and_several() -> None:
    _, other = generate_seal_key("other")
    assert verify_seal(make_seal(STATEMENT, KEY), certificates=[other, KEY.certificate]) == STATEMENT


def test_every_changed_byte_is_noticed() -> None:
    seal = make_seal(STATEMENT, KEY)
    for at in range(len(seal)):
        changed = seal[:at] + bytes([seal[at] ^ 1]) + seal[at + 1 :]
        with pytest.raises(SealInvalid):
            verify_seal(changed, certificates=[KEY.certificate])


def test_base64_has_one_spelling_only() -> None:
    """Unused bits at the end of base64 would make a second seal out of one."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    seal = make_seal(STATEMENT, KEY)
    at = seal.index(b"==</ds:SignatureValue>") - 1
    respelled = seal[:at] + alphabet[alphabet.index(seal[at]) + 1 :][:1] + seal[at + 1 :]
    assert len(respelled) == len(seal)
    with pytest.raises(SealInvalid, match="base64"):
        verify_seal(respelled, certificates=[CERT_PEM])


def test_another_node_s_certificate_is_not_trusted() -> None:
    with pytest.raises(SealInvalid, match="trusted"):
        verify_seal(make_seal(STATEMENT, KEY), certificates=[generate_seal_key("other")[1]])


def test_seal_in_the_name_of_another_certificate_is_refused() -> None:
    """The signed properties name the certificate, so the same key under another certificate is another signer."""
    with pytest.raises(SealInvalid, match="another certificate"):
        verify_seal(make_seal(STATEMENT, replace(KEY, certificate_digest="A" * 43 + "=")), certificates=[CERT_PEM])


def test_nothing_can_be_wrapped_around_or_appended() -> None:
    seal = make_seal(STATEMENT, KEY)
    forged = seal.replace(b"<Seal ", b'<Seal xmlns:x="y" ', 1)
    for changed in (b" " + seal, seal + b"\n", forged, b"<a>" + seal + b"</a>", seal + seal, b"", b"\xff"):
        with pytest.raises(SealInvalid):
            verify_seal(changed, certificates=[KEY.certificate])


def test_statement_of_another_seal_cannot_be_put_in() -> None:
    one, two = make_seal(STATEMENT, KEY), make_seal(replace(STATEMENT, size=1), KEY)
    end = b"</Statement>"
    with pytest.raises(SealInvalid, match="altered"):
        verify_seal(two[: two.index(end)] + one[one.index(end) :], certificates=[KEY.certificate])


def test_seal_outside_the_certificate_s_validity_is_refused() -> None:
    late = replace(STATEMENT, accepted_at=datetime.now(UTC) + timedelta(days=4000))
    with pytest.raises(SealInvalid, match="not valid on"):
        verify_seal(make_seal(late, KEY), certificates=[KEY.certificate])


def test_signed_statement_of_another_shape_is_refused() -> None:
    """Even the right key cannot make us read what we would not have written."""
    odd = replace(STATEMENT, packet_id="x</PacketId><!-- --><PacketId>y")
    assert verify_seal(make_seal(odd, KEY), certificates=[CERT_PEM]) == odd  # escaped, hence harmless


def test_text_that_xml_cannot_carry_is_refused() -> None:
    with pytest.raises(WriteRefused):
        make_seal(replace(STATEMENT, node="a\x00b"), KEY)


def test_keys_that_do_not_fit_are_refused() -> None:
    other_key, _ = generate_seal_key("other")
    with pytest.raises(SigningKeyInvalid, match="belongs to the key"):
        load_seal_key(other_key, CERT_PEM)
    with pytest.raises(SigningKeyInvalid, match="cannot be read"):
        load_seal_key(b"nothing", CERT_PEM)
    p384 = ec.generate_private_key(ec.SECP384R1())
    pem = p384.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    issued = Authority().issue(key=p384)
    with pytest.raises(SigningKeyInvalid, match="P-256"):
        load_seal_key(pem, issued.certificate_pem)


def test_made_certificate_is_for_signatures_only() -> None:
    usage = KEY.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    assert isinstance(KEY.certificate.signature_hash_algorithm, hashes.SHA256)


# ---- certificates of an authority -----------------------------------------------------------------------------------

ROOT = Authority("Seal root")


def sealed_by(who: Issued, at: datetime = STATEMENT.accepted_at) -> bytes:
    return make_seal(replace(STATEMENT, accepted_at=at), load_seal_key(who.key_pem, who.certificate_pem))


def test_a_seal_certificate_may_be_issued_by_an_authority() -> None:
    who = ROOT.issue("nghe-an", days=(3650, 3650))
    found = open_seal(sealed_by(who), trusted=[ROOT.certificate])
    assert found.certificate == who.certificate
    assert found.chain == (who.certificate, ROOT.certificate)
    assert open_seal(sealed_by(who), trusted=[who.certificate]).chain == (who.certificate,)
    with pytest.raises(SealInvalid, match="not trusted here"):
        open_seal(sealed_by(who), trusted=[Authority("Seal root").certificate])


def test_the_certificate_tells_when_its_key_was_in_use() -> None:
    who = ROOT.issue("nghe-an", days=(10, 10))  # around NOW
    for days, is_right in ((-11, False), (-9, True), (9, True), (11, False)):
        seal = sealed_by(who, NOW + timedelta(days=days))
        if is_right:
            assert open_seal(seal, trusted=[ROOT.certificate]).statement.accepted_at == NOW + timedelta(days=days)
        else:
            with pytest.raises(SealInvalid, match="not valid on"):
                open_seal(seal, trusted=[ROOT.certificate])


def test_a_certificate_for_servers_seals_nothing() -> None:
    who = ROOT.issue("nghe-an", days=(3650, 3650), uses=(ExtendedKeyUsageOID.SERVER_AUTH,))
    with pytest.raises(SealInvalid, match="certificate_wrong_use"):
        open_seal(sealed_by(who), trusted=[ROOT.certificate])


def test_every_reason_is_told_in_both_languages() -> None:
    with pytest.raises(SealInvalid) as why:
        open_seal(b"", trusted=[])
    assert "niêm phong" in why.value.text(Language.VI)
    assert "seal" in why.value.text(Language.EN)


def test_a_certificate_ends_where_the_calendar_does() -> None:
    begins = datetime(9999, 12, 1, tzinfo=UTC)
    _, certificate = generate_seal_key("nut", begins=begins)
    assert begins < x509.load_pem_x509_certificate(certificate).not_valid_after_utc <= datetime.max.replace(tzinfo=UTC)
