"""What is said of a PDF: signed rightly, altered, by whom, and whether the certificate was good when it counts."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from pyhanko.sign.fields import MDPPerm

from edxml.sign import CachedRevocations, Policy, RevocationMode
from gateway.inspector.pdf import inspect_pdf
from gateway.model.inspection import (
    CertificateState,
    Changes,
    FileInspection,
    PdfVerdict,
    SignatureCoverage,
    StampState,
    worst,
)
from gateway.model.instants import as_instant
from tests.support.certificates import NOW, Authority, Issued
from tests.support.pdfs import (
    add_page,
    bomb_pdf,
    crowded_pdf,
    deep_pdf,
    encrypt_pdf,
    forge_pdf,
    plain_pdf,
    sign_pdf,
    stamp_pdf,
    stamping,
    take_out,
)

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority("CA thu")


@pytest.fixture(scope="module")
def tsa() -> Authority:
    return Authority("CA dau thoi gian")


@pytest.fixture(scope="module")
def signer(root: Authority) -> Issued:
    return root.issue("UBND xa Mot")


@pytest.fixture(scope="module")
def policy(root: Authority, tsa: Authority) -> Policy:
    """Everybody needed is trusted, and nobody revoked."""
    return Policy(
        name="thu",
        anchors=(root.certificate,),
        time_stamp_anchors=(tsa.certificate,),
        revocation=RevocationMode.HARD,
        revocation_source=CachedRevocations.load(lists=[root.crl(at=NOW - 100 * DAY, days=400)]),
    )


def look(pdf: bytes, policy: Policy, at: datetime = NOW) -> FileInspection:
    return inspect_pdf(io.BytesIO(pdf), policy, as_instant(at))


def test_a_right_signature_by_a_good_certificate_is_valid_and_says_everything(signer: Issued, policy: Policy) -> None:
    found = look(sign_pdf(plain_pdf(), signer), policy)
    (one,) = found.signatures
    assert (found.verdict, found.policy, one.verdict) == (PdfVerdict.VALID, "thu", PdfVerdict.VALID)
    assert (one.field, one.is_stamp, one.weaknesses) == ("ChuKy1", False, ())
    assert one.signer == "CN=UBND xa Mot,C=VN"
    assert one.issuer == "CN=CA thu,C=VN"
    assert one.serial == f"{signer.certificate.serial_number:x}"
    assert (one.state, one.judged_at) == (CertificateState.GOOD, as_instant(NOW))
    assert (one.stamp, one.stamped_at) == (StampState.ABSENT, None)
    assert (one.coverage, one.changes) == (SignatureCoverage.WHOLE, Changes.NONE)
    assert one.claimed_at is not None


def test_a_pdf_without_a_signature_is_unsigned(policy: Policy) -> None:
    assert look(plain_pdf(), policy) == FileInspection(verdict=PdfVerdict.UNSIGNED, policy="thu")


# --- what became of the file -------------------------------------------------------------------------------------


def test_bytes_exchanged_under_the_signature_break_it(signer: Issued, policy: Policy) -> None:
    found = look(forge_pdf(sign_pdf(plain_pdf(), signer)), policy)
    assert found.verdict is PdfVerdict.BROKEN
    assert found.signatures[0].signer == "CN=UBND xa Mot,C=VN"


def test_a_page_added_afterwards_is_an_alteration(signer: Issued, policy: Policy) -> None:
    found = look(add_page(sign_pdf(plain_pdf(), signer)), policy)
    (one,) = found.signatures
    assert found.verdict is PdfVerdict.ALTERED
    assert (one.coverage, one.changes) == (SignatureCoverage.REVISION, Changes.OTHER)


_OTHER = b"4 0 obj << /Length 9 >> stream\nkhac khac\nendstream endobj\n"


@pytest.mark.parametrize(
    ("tail", "verdict"),
    [
        (b"\r\n\0\0", PdfVerdict.VALID),
        (_OTHER, PdfVerdict.ALTERED),
        (_OTHER + b"%%EOF\n", PdfVerdict.UNREADABLE),
        (b"%them\n", PdfVerdict.ALTERED),
        (bytes(3_000), PdfVerdict.UNREADABLE),
    ],
    ids=["blanks", "an object", "an object and an end", "a comment", "many blanks"],
)
def test_bytes_behind_the_end_are_an_alteration_where_they_say_anything(
    signer: Issued, policy: Policy, tail: bytes, verdict: PdfVerdict
) -> None:
    """A viewer that mends broken files looks for objects there: it would show another document than the one signed."""
    assert look(sign_pdf(plain_pdf(), signer) + tail, policy).verdict is verdict


def test_a_tail_that_points_back_is_an_alteration_too(root: Authority, signer: Issued, policy: Policy) -> None:
    once = sign_pdf(plain_pdf(), signer)
    pointer = once[once.rindex(b"startxref") :]
    assert look(once + _OTHER + pointer, policy).verdict is PdfVerdict.ALTERED
    assert look(once + b" " * 3_000 + _OTHER + pointer, policy).verdict is PdfVerdict.ALTERED
    twice = sign_pdf(once, root.issue("UBND xa Hai"), field="ChuKy2")
    assert [one.verdict for one in look(twice + _OTHER, policy).signatures] == [PdfVerdict.ALTERED] * 2


@pytest.mark.parametrize("allows", [None, MDPPerm.FILL_FORMS])
def test_a_second_signature_is_an_addition_that_the_first_allows(
    root: Authority, signer: Issued, policy: Policy, allows: MDPPerm | None
) -> None:
    once = sign_pdf(plain_pdf(), signer, allows=allows)
    found = look(sign_pdf(once, root.issue("UBND xa Hai"), field="ChuKy2"), policy)
    assert found.verdict is PdfVerdict.VALID
    assert [(one.signer, one.coverage, one.changes) for one in found.signatures] == [
        ("CN=UBND xa Mot,C=VN", SignatureCoverage.REVISION, Changes.FORMS),
        ("CN=UBND xa Hai,C=VN", SignatureCoverage.WHOLE, Changes.NONE),
    ]


def test_the_gravest_signature_stands_for_the_file(root: Authority, signer: Issued, policy: Policy) -> None:
    forged = forge_pdf(sign_pdf(plain_pdf(), signer))
    found = look(sign_pdf(forged, root.issue("UBND xa Hai"), field="ChuKy2"), policy)
    assert [one.verdict for one in found.signatures] == [PdfVerdict.BROKEN, PdfVerdict.VALID]
    assert found.verdict is PdfVerdict.BROKEN


def test_a_stamp_over_the_whole_file_is_nobody_s_signature(signer: Issued, tsa: Authority, policy: Policy) -> None:
    found = look(stamp_pdf(sign_pdf(plain_pdf(), signer), stamping(tsa, NOW - DAY)), policy)
    signature, stamp = found.signatures
    assert found.verdict is PdfVerdict.VALID
    assert (signature.is_stamp, signature.changes) == (False, Changes.EVIDENCE)
    assert (stamp.is_stamp, stamp.stamp, stamp.stamped_at) == (True, StampState.GOOD, as_instant(NOW - DAY))


def test_a_forged_file_breaks_the_stamp_over_it_too(signer: Issued, tsa: Authority, policy: Policy) -> None:
    found = look(forge_pdf(stamp_pdf(sign_pdf(plain_pdf(), signer), stamping(tsa, NOW))), policy)
    assert [one.verdict for one in found.signatures] == [PdfVerdict.BROKEN, PdfVerdict.BROKEN]


# --- who the signer is -------------------------------------------------------------------------------------------


def test_without_anchors_the_certificate_could_not_be_checked_and_what_was_seen_is_said(root: Authority) -> None:
    ended = root.issue("Het han", days=(365, -10))
    found = look(sign_pdf(plain_pdf(), ended), Policy(name="none", revocation=RevocationMode.HARD))
    (one,) = found.signatures
    assert found.verdict is PdfVerdict.UNCHECKED
    assert (one.state, one.detail) == (CertificateState.UNKNOWN, "no trust anchors")
    assert one.signer == "CN=Het han,C=VN"
    assert one.valid_to == as_instant(NOW - 10 * DAY)


def test_without_revocation_at_hand_the_certificate_could_not_be_checked(signer: Issued, policy: Policy) -> None:
    found = look(sign_pdf(plain_pdf(), signer), replace(policy, revocation_source=None))
    assert found.verdict is PdfVerdict.UNCHECKED
    assert found.signatures[0].state is CertificateState.UNKNOWN


@pytest.mark.parametrize(
    ("days", "verdict"), [((365, -10), PdfVerdict.EXPIRED), ((-10, 365), PdfVerdict.NOT_YET_VALID)]
)
def test_a_certificate_outside_its_time_is_named_so(
    root: Authority, policy: Policy, days: tuple[int, int], verdict: PdfVerdict
) -> None:
    assert look(sign_pdf(plain_pdf(), root.issue(days=days)), policy).verdict is verdict


def test_a_revoked_certificate_is_named_so(root: Authority, signer: Issued, policy: Policy) -> None:
    lists = [root.crl([(signer.certificate, NOW - 2 * DAY)])]
    told = replace(policy, revocation_source=CachedRevocations.load(lists=lists))
    found = look(sign_pdf(plain_pdf(), signer), told)
    assert found.verdict is PdfVerdict.REVOKED
    assert found.signatures[0].state is CertificateState.REVOKED


def test_a_trusted_stamp_moves_the_judgement_to_its_moment(root: Authority, tsa: Authority, policy: Policy) -> None:
    """Expired when the document came, good when it was stamped; by its claim alone it would be nothing."""
    ended = root.issue("Het han", days=(365, -10))
    stamped = sign_pdf(plain_pdf(), ended, stamper=stamping(tsa, NOW - 20 * DAY))
    (one,) = look(stamped, policy).signatures
    assert (one.verdict, one.stamp, one.judged_at) == (
        PdfVerdict.VALID,
        StampState.GOOD,
        as_instant(NOW - 20 * DAY),
    )
    (alone,) = look(stamped, replace(policy, time_stamp_anchors=())).signatures
    assert (alone.verdict, alone.stamp, alone.stamped_at) == (PdfVerdict.EXPIRED, StampState.UNCHECKED, None)
    (foreign,) = look(stamped, replace(policy, time_stamp_anchors=(root.certificate,))).signatures
    assert (foreign.verdict, foreign.stamp) == (PdfVerdict.EXPIRED, StampState.INVALID)


def test_an_authority_that_nobody_trusts_and_a_certificate_for_another_use(root: Authority, policy: Policy) -> None:
    assert look(sign_pdf(plain_pdf(), Authority("La").issue()), policy).verdict is PdfVerdict.UNTRUSTED
    server = root.issue("May chu", uses=(ExtendedKeyUsageOID.SERVER_AUTH,))
    assert look(sign_pdf(plain_pdf(), server), policy).verdict is PdfVerdict.WRONG_USE


@pytest.mark.parametrize(("kind", "digest", "weakness"), [("rsa", "sha1", "sha1"), ("rsa1024", "sha256", "RSA 1024")])
def test_weak_algorithms_and_keys_are_named(
    root: Authority, policy: Policy, kind: str, digest: str, weakness: str
) -> None:
    for trust in (policy, Policy(name="none")):
        found = look(sign_pdf(plain_pdf(), root.issue(kind=kind), digest=digest), trust)
        assert found.verdict is PdfVerdict.WEAK
        assert found.signatures[0].weaknesses == (weakness,)


# --- files that are no friends -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pdf", "verdict"),
    [
        (b"", PdfVerdict.UNREADABLE),
        (b"%PDF-1.7\n" + bytes(range(256)) * 10, PdfVerdict.UNREADABLE),
        (plain_pdf()[:300], PdfVerdict.UNREADABLE),
        (deep_pdf(), PdfVerdict.UNREADABLE),
        (encrypt_pdf("mat khau"), PdfVerdict.ENCRYPTED),
        (encrypt_pdf(""), PdfVerdict.UNSIGNED),
        (bomb_pdf(), PdfVerdict.MEMORY),
    ],
    ids=["empty", "garbage", "cut off", "deep", "password", "no password", "bomb"],
)
def test_what_cannot_be_read_says_why(pdf: bytes, verdict: PdfVerdict, policy: Policy) -> None:
    assert look(pdf, policy).verdict is verdict


def test_every_byte_that_is_flipped_gives_a_verdict_and_none_a_valid_one(signer: Issued, policy: Policy) -> None:
    whole = sign_pdf(plain_pdf(), signer)
    start, _, contents = whole.partition(b"/Contents <")
    hexadecimal = len(contents.partition(b">")[0])
    holes = range(len(start), len(start) + len(b"/Contents <") + hexadecimal + 1)
    wrongly_valid = []
    for at in range(0, len(whole), 7):
        flipped = whole[:at] + bytes([whole[at] ^ 0x01]) + whole[at + 1 :]
        if look(flipped, policy).verdict is PdfVerdict.VALID and at not in holes:
            wrongly_valid.append(at)
    assert wrongly_valid == []


def test_an_old_form_of_signature_is_not_passed_over_in_silence(signer: Issued, policy: Policy) -> None:
    old = sign_pdf(plain_pdf(), signer).replace(b"/ETSI.CAdES.detached", b"/adbe.x509.rsa_sha1 ")
    found = look(old, policy)
    assert (found.verdict, found.signatures[0].detail) == (PdfVerdict.NOT_COMPUTED, "/adbe.x509.rsa_sha1")


def test_a_known_form_that_cannot_be_read_is_told_as_what_it_is(signer: Issued, policy: Policy) -> None:
    right = sign_pdf(plain_pdf(), signer)
    place = right.index(b"/Contents <") + len(b"/Contents <")
    garbled = right[:place] + b"ff" * 40 + right[place + 80 :]
    for pdf in (garbled, right.replace(b"/ByteRange", b"/ByteRanqe")):
        found = look(pdf, policy)
        assert (found.verdict, found.verdict.standing) == (PdfVerdict.GARBLED, "open")


def test_a_signature_that_a_later_revision_took_out_is_told(root: Authority, signer: Issued, policy: Policy) -> None:
    taken = take_out(sign_pdf(plain_pdf(), signer))
    found = look(taken, policy)
    assert (found.verdict, found.detail, found.verdict.standing) == (PdfVerdict.REMOVED, "ChuKy1", "open")
    again = look(sign_pdf(taken, root.issue("UBND xa Hai"), field="ChuKy2"), policy)
    assert [one.verdict for one in again.signatures] == [PdfVerdict.VALID]
    assert again.verdict is PdfVerdict.REMOVED
    once = sign_pdf(plain_pdf(), signer)
    assert look(sign_pdf(once, root.issue("UBND xa Hai"), field="ChuKy2"), policy).verdict is PdfVerdict.VALID


def test_more_signatures_than_are_inspected_are_said(policy: Policy) -> None:
    found = look(crowded_pdf(60), policy)
    assert (found.verdict, len(found.signatures)) == (PdfVerdict.TOO_MANY, 50)
    assert look(crowded_pdf(50), policy).verdict in (PdfVerdict.NOT_COMPUTED, PdfVerdict.GARBLED)


def test_gravity_goes_from_broken_to_unsigned() -> None:
    assert worst([]) is PdfVerdict.UNSIGNED
    assert worst([PdfVerdict.VALID, PdfVerdict.UNCHECKED]) is PdfVerdict.UNCHECKED
    assert worst(PdfVerdict) is PdfVerdict.BROKEN
    bad = [verdict for verdict in PdfVerdict if verdict.standing == "bad"]
    assert bad == list(PdfVerdict)[: len(bad)]
    assert bad[-1] is PdfVerdict.WEAK
    assert (PdfVerdict.VALID.standing, PdfVerdict.UNSIGNED.standing) == ("valid", "absent")
    assert PdfVerdict.TIME.standing == "open"
