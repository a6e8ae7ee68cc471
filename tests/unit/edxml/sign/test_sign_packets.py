"""Signing leaves the packet as it is, takes no memory for attachments, and digests what any XML software would."""

from __future__ import annotations

import base64
import hashlib
import io
import random
import re
import tempfile
import tracemalloc
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import pkcs12
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from edxml import DEFAULT_LIMITS, Dialect, plan_attachment, read, write
from edxml.messages import Language
from edxml.sign import (
    Canonicalization,
    DigestAlgorithm,
    Form,
    Policy,
    SignatureAlgorithm,
    SigningKeyInvalid,
    SigningRefused,
    Verdict,
    load_pem_signer,
    load_pkcs12_signer,
    sign_packet,
    verify_packet,
)
from edxml.sign._skeleton import read_skeleton
from tests.support.certificates import NOW, Authority, new_key
from tests.support.packets import build_packet, build_status, make_packet, random_attachments
from tests.support.soap import build_soap
from tests.unit.edxml.sign.forge import C14N, DS, EXCLUSIVE, NS, canonical, check, forge, parse, signed

ROOT = Authority()
WHO = ROOT.issue()
FILES = random_attachments(7, count=3, largest=30_000)


@pytest.mark.parametrize("dialect", [Dialect.A, Dialect.B])
@pytest.mark.parametrize("form", [Form.PLAIN, Form.BES])
def test_signed_packets_stay_packets(dialect: Dialect, form: Form) -> None:
    packet = build_packet(files=FILES, dialect=dialect)
    out = signed(WHO, packet, form=form)
    start, end = out.index(b"<Signature"), out.index(b"</Signature>") + len(b"</Signature>")
    assert out[:start] + out[end:] == packet  # not a byte of it was touched
    before, after = read(io.BytesIO(packet)), read(io.BytesIO(out))
    assert (after.findings, after.repairs) == (before.findings, before.repairs) == ((), ())
    assert after.packet is not None
    assert before.packet is not None
    assert replace_spans(after.packet) == replace_spans(before.packet)
    result = check(out, ROOT)
    assert (result.verdict, result.form, result.covers_whole) == (Verdict.VALID, form, True)
    assert result.wire_digest == after.wire_digest
    assert [(one.digest, one.length) for one in result.files] == [
        (hashlib.sha256(data).hexdigest(), len(data)) for _, data in FILES
    ]
    assert result.signing_time == (NOW if form is Form.BES else None)


def replace_spans(packet: object) -> object:
    """The packet without the places of its attachments, which a signature before them moves."""
    attachments = tuple(replace(one, span=(0, 0)) for one in packet.attachments)  # type: ignore[attr-defined]
    return replace(packet, attachments=attachments)  # type: ignore[type-var]


def test_a_status_packet_is_signed_likewise() -> None:
    out = signed(WHO, build_status())
    assert check(out, ROOT).verdict is Verdict.VALID
    assert not read(io.BytesIO(out)).findings


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [
        ("ec", SignatureAlgorithm.ECDSA_SHA256),
        ("ec", SignatureAlgorithm.ECDSA_SHA512),
        ("ec384", SignatureAlgorithm.ECDSA_SHA384),
        ("ec521", SignatureAlgorithm.ECDSA_SHA512),
        ("rsa", SignatureAlgorithm.RSA_SHA256),
        ("rsa", SignatureAlgorithm.RSA_SHA384),
        ("rsa3072", SignatureAlgorithm.RSA_SHA512),
        ("rsa", SignatureAlgorithm.RSA_PSS_SHA256),
    ],
)
@pytest.mark.parametrize("digest", list(DigestAlgorithm))
def test_every_algorithm(kind: str, algorithm: SignatureAlgorithm, digest: DigestAlgorithm) -> None:
    who = ROOT.issue(kind=kind)
    out = signed(who, signer=who.signer(algorithm), digest_algorithm=digest)
    assert check(out, ROOT).verdict is Verdict.VALID


TEXTS = st.lists(
    st.one_of(
        st.sampled_from(
            ["\n", "\r\n", "\r", " ", "\t", "&#10;", "&#xA;", "&#13;", "&#xd;", "&#9;", "&#x20;", "&#00032;"]
        ),
        st.binary(min_size=1, max_size=60).map(lambda data: base64.b64encode(data[: len(data) // 3 * 3]).decode()),
    ),
    max_size=20,
).map("".join)
REFERENCES = re.compile("&#x?[0-9a-fA-F]+;")
CONTENT = re.compile(rb"(<edXML:ContentTransferEncoded[^>]*>)[^<]*(</edXML:ContentTransferEncoded>)")


@given(text=TEXTS, is_section=st.booleans(), blanks=st.sampled_from(["", "\n", " \r\n"]), piece=st.integers(1, 40))
@settings(max_examples=300, deadline=None)
def test_the_digest_is_that_of_the_whole_tree(text: str, is_section: bool, blanks: str, piece: int) -> None:
    """Differential: spliced from the stream in pieces of any size against a tree that holds everything."""
    written = f"{blanks}<![CDATA[{REFERENCES.sub('', text)}]]>{blanks}" if is_section else text
    packet = CONTENT.sub(lambda found: found[1] + written.encode() + found[2], build_packet())
    skeleton = read_skeleton(SmallPieces(packet, piece), DEFAULT_LIMITS)
    root = parse(packet)
    for form in (C14N, EXCLUSIVE):
        expected = hashlib.sha256(canonical(root.getroottree(), form)).digest()
        assert skeleton.digest(skeleton.canonical(None, Canonicalization(form)), DigestAlgorithm.SHA256) == expected
        part, own = (one.find("{*}AttachmentEncoded") for one in (root, skeleton.root))
        expected = hashlib.sha256(canonical(part, form)).digest()
        assert skeleton.digest(skeleton.canonical(own, Canonicalization(form)), DigestAlgorithm.SHA256) == expected


def test_a_part_is_canonical_where_default_namespaces_lie_above_each_other() -> None:
    """lxml, asked for a part of a document, puts `xmlns=""` into some of its elements here; xmlsec1 does not."""
    packet = signed(WHO, form=Form.PLAIN).replace(b"><", b">\n<")
    skeleton = read_skeleton(io.BytesIO(packet), DEFAULT_LIMITS)
    info = next(skeleton.root.iter("{*}SignedInfo"))
    start = packet.index(b"<SignedInfo")
    written = packet[start : packet.index(b"</SignedInfo>") + len(b"</SignedInfo>")]
    inclusive = f' xmlns="{DS}" xmlns:edXML="{NS}"'.encode()
    for form, declared in (("C14N_10", inclusive), ("C14N_11", inclusive), ("EXCLUSIVE", f' xmlns="{DS}"'.encode())):
        expected = written.replace(b"<SignedInfo", b"<SignedInfo" + declared)
        assert skeleton.canonical(info, Canonicalization[form]) == expected


def test_attributes_that_inclusive_forms_pass_down_are_not_guessed() -> None:
    packet = build_packet().replace(b"<edXML:edXMLHeader>", b'<edXML:edXMLHeader xml:lang="vi">')
    for form, verdict in ((C14N, Verdict.NOT_CHECKED), (EXCLUSIVE, Verdict.VALID)):
        assert check(forge(packet, WHO, form=form), ROOT).verdict is verdict


class SmallPieces(io.BytesIO):
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes, piece: int) -> None:
        super().__init__(data)
        self._piece = piece

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `piece` bytes."""
        return super().read(self._piece if size is None or size < 0 else min(size, self._piece))


def test_memory_does_not_grow_with_attachments() -> None:
    """64 MB in the file: more than libxml2 takes in one text, more than may be held here."""
    data = random.Random(1).randbytes(1 << 20) * 48
    attachment = plan_attachment("lon.bin", io.BytesIO(data))
    with tempfile.TemporaryFile() as packet, tempfile.TemporaryFile() as out:
        write(replace(make_packet(files=()), attachments=(attachment,)), packet, open_attachment=[io.BytesIO(data)])
        del data
        tracemalloc.start()
        sign_packet(packet, out, WHO.signer(), signing_time=NOW)
        result = verify_packet(out, policy=Policy.trusting([ROOT.certificate]), at=NOW)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (result.verdict, result.files[0].digest) == (Verdict.VALID, attachment.digest)
        assert peak < 4 << 20
        out.seek(40 << 20)
        byte = out.read(1)
        out.seek(40 << 20)
        out.write(b"A" if byte != b"A" else b"B")
        assert verify_packet(out, policy=Policy.trusting([ROOT.certificate]), at=NOW).verdict is Verdict.INVALID_DIGEST


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"", "packet_unreadable"),
        (b"<edXML", "packet_unreadable"),
        (b"<other/>", "no_header"),
        (b"1212" + build_packet(), "packet_untidy"),
        (build_soap(), "soap_message"),
        (build_packet().replace(b"UTF-8", b"UTF-16"), "packet_untidy"),
        (build_packet().replace(b"edXMLHeader", b"edXMLKopf"), "no_header"),
        (build_packet().replace(b"</edXML:edXMLHeader>", b"</edXML:edXMLHeader><edXML:edXMLHeader/>"), "no_header"),
        (build_packet().replace(b"</edXML:edXMLHeader>", b"<Signature/></edXML:edXMLHeader>"), "signed_already"),
        (signed(WHO), "signed_already"),
    ],
)
def test_what_cannot_be_signed(packet: bytes, reason: str) -> None:
    out = io.BytesIO()
    with pytest.raises(SigningRefused) as refused:
        sign_packet(io.BytesIO(packet), out, WHO.signer())
    assert refused.value.reason == f"signing.{reason}"
    assert not out.getvalue()
    assert all("signing." not in refused.value.text(language) for language in Language)


def test_an_end_tag_in_a_comment_is_not_the_headers() -> None:
    comment = b"<!-- </edXML:edXMLHeader> --><?x </edXML:edXMLHeader>?><![CDATA[</edXML:edXMLHeader>]]>"
    packet = build_packet().replace(b"<edXML:Content>", b"<edXML:Content>" + comment)
    out = signed(WHO, packet)
    assert out.index(b"<Signature") > out.index(b"TraceHeaderList")
    assert check(out, ROOT).verdict is Verdict.VALID
    tree = etree.fromstring(out)
    assert tree.find(".//{*}edXMLHeader")[-1].tag.endswith("}Signature")


def test_a_time_stamp_is_asked_for_exactly_where_the_form_has_one() -> None:
    for form, stamper in ((Form.T, None), (Form.BES, lambda data: b"")):
        with pytest.raises(SigningRefused):
            sign_packet(io.BytesIO(build_packet()), io.BytesIO(), WHO.signer(), form=form, time_stamper=stamper)


SLIPPED_IN = (
    b"<?x y?>", b"<!-- -->", b"<a/>", b"&#10;", b"&lt;", b"x", b"\r", b' xmlns=""', b' Id="a"', b"<![CDATA[x]]>",
    f'<Signature xmlns="{DS}"/>'.encode(),
)  # fmt: skip


def test_what_is_still_valid_still_reads_the_same() -> None:
    """Whatever is slipped in anywhere ends in a verdict; where that is VALID, a reader sees the very same packet."""
    packet, dice, valid = signed(WHO), random.Random(5), 0
    original = replace_spans(read(io.BytesIO(packet)).packet)
    for _ in range(3000):
        at = dice.randrange(len(packet))
        altered = packet[:at] + dice.choice(SLIPPED_IN) + packet[at + dice.choice((0, 0, 1, 4)) :]
        if check(altered, ROOT).is_valid:
            valid += 1
            assert replace_spans(read(io.BytesIO(altered)).packet) == original, altered[at - 40 : at + 40]
    assert valid > 20  # comments, line ends, corners of the signature itself


# ---- keys ---------------------------------------------------------------------------------------------------------


def test_keys_from_pem_and_pkcs12() -> None:
    who = Authority("Middle", parent=ROOT).issue(kind="rsa")
    from_pem = load_pem_signer(who.key_pem, who.chain_pem)
    packed = pkcs12.serialize_key_and_certificates(
        b"van thu",
        who.key,
        who.certificate,
        list(who.above),
        serialization.BestAvailableEncryption(b"mat khau"),
    )
    from_pkcs12 = load_pkcs12_signer(packed, password=b"mat khau")
    for signer in (from_pem, from_pkcs12):
        assert signer.certificates == (who.certificate, who.above[0])  # without the root
        assert signer.algorithm is SignatureAlgorithm.RSA_SHA256
        assert check(signed(who, signer=signer), ROOT).verdict is Verdict.VALID
        assert "PRIVATE" not in repr(signer)
        assert str(who.key.private_numbers().d) not in repr(signer)  # type: ignore[union-attr]


def test_keys_that_do_not_fit() -> None:
    small = ROOT.issue(kind="rsa1024")
    odd = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    locked = new_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    good, chain = WHO.key_pem, WHO.certificate_pem
    cases = {
        "key_unreadable": (b"junk", chain),
        "certificate_unreadable": (good, b"junk"),
        "key_kind": (odd, chain),
        "key_too_small": (small.key_pem, small.certificate_pem),
        "certificate_of_other_key": (good, ROOT.issue().certificate_pem),
    }
    for reason, (key, certificates) in cases.items():
        with pytest.raises(SigningKeyInvalid) as invalid:
            load_pem_signer(key, certificates)
        assert invalid.value.reason == f"signing.{reason}"
        assert all("signing." not in invalid.value.text(language) for language in Language)
    for password in (None, b"wrong"):
        with pytest.raises(SigningKeyInvalid, match="cannot be read"):
            load_pem_signer(locked, chain, password=password)
    with pytest.raises(SigningKeyInvalid, match="another kind"):
        load_pem_signer(good, chain, algorithm=SignatureAlgorithm.RSA_SHA256)
    with pytest.raises(SigningKeyInvalid):
        load_pkcs12_signer(b"junk", password=b"x")
