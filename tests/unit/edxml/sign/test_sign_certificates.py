"""Certificates that are expired, revoked, for another use, from nowhere: the verdict names it, in place and in time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from edxml.sign import CachedRevocations, Policy, RevocationMode, Standing, Verdict
from edxml.sign.certificates import check_key, check_use, der_of, find_path, load_certificates
from edxml.sign.verdicts import CheckRefusal
from tests.support.certificates import NOW, Authority, Issued, key_usage
from tests.unit.edxml.sign.forge import check, signed

ROOT = Authority()
MIDDLE = Authority("Test intermediate", parent=ROOT)
WHO = MIDDLE.issue()
SIGNED = signed(WHO)
YEAR = timedelta(days=365)
DAY = timedelta(days=1)


def policy_with(*, lists: tuple[bytes, ...] = (), answers: tuple[bytes, ...] = (), hard: bool = False) -> Policy:
    return replace(
        Policy.trusting([ROOT.certificate]),
        revocation=RevocationMode.HARD if hard else RevocationMode.SOFT,
        revocation_source=CachedRevocations.load(lists=lists, answers=answers),
    )


def verdict_of(who: Issued, *anchors: Authority, at: datetime = NOW) -> Verdict:
    policy = Policy.trusting([one.certificate for one in anchors or (ROOT,)])
    return check(signed(who, signing_time=at), policy=policy, at=at).verdict


def test_the_chain_is_evidence() -> None:
    result = check(SIGNED, ROOT)
    assert result.verdict is Verdict.VALID
    assert result.chain == (WHO.certificate, MIDDLE.certificate, ROOT.certificate)
    assert result.signer == "CN=UBND xã Thử Nghiệm,C=VN"
    assert [one.standing for one in result.revocations] == [Standing.UNKNOWN, Standing.UNKNOWN]


def test_outside_its_validity() -> None:
    assert verdict_of(WHO, at=NOW + 2 * YEAR) is Verdict.CERTIFICATE_EXPIRED
    assert verdict_of(WHO, at=NOW - 2 * YEAR) is Verdict.CERTIFICATE_NOT_YET_VALID
    edge = WHO.certificate
    assert verdict_of(WHO, at=edge.not_valid_after_utc) is Verdict.VALID
    assert verdict_of(WHO, at=edge.not_valid_before_utc) is Verdict.VALID
    assert verdict_of(WHO, at=edge.not_valid_after_utc + timedelta(seconds=1)) is Verdict.CERTIFICATE_EXPIRED


def test_judged_for_the_moment_when_it_came_and_not_for_that_of_reading() -> None:
    """A packet of last year with a certificate that has expired since stays what it was."""
    assert check(SIGNED, ROOT, at=NOW + DAY).verdict is Verdict.VALID
    assert check(SIGNED, ROOT, at=NOW + 2 * YEAR).verdict is Verdict.CERTIFICATE_EXPIRED


def test_a_claimed_time_moves_nothing() -> None:
    """A stolen key could claim any time; but none that has not come."""
    late = signed(WHO, signing_time=NOW)
    assert check(late, ROOT, at=NOW + 2 * YEAR).verdict is Verdict.CERTIFICATE_EXPIRED
    ahead = signed(WHO, signing_time=NOW + timedelta(hours=1))
    assert check(ahead, ROOT).verdict is Verdict.SIGNED_IN_FUTURE
    nearly = signed(WHO, signing_time=NOW + timedelta(minutes=4))
    assert check(nearly, ROOT).verdict is Verdict.VALID


def test_an_expired_authority() -> None:
    old = Authority("Old intermediate", parent=ROOT, days=(800, -1))
    assert verdict_of(old.issue()) is Verdict.CERTIFICATE_EXPIRED


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({"usage": key_usage("digital_signature")}, Verdict.VALID),
        ({"usage": key_usage("content_commitment")}, Verdict.VALID),
        ({"usage": None, "uses": ()}, Verdict.VALID),
        ({"usage": key_usage("key_encipherment")}, Verdict.CERTIFICATE_WRONG_USE),
        ({"uses": (ExtendedKeyUsageOID.SERVER_AUTH,)}, Verdict.CERTIFICATE_WRONG_USE),
        ({"uses": (ExtendedKeyUsageOID.TIME_STAMPING,)}, Verdict.CERTIFICATE_WRONG_USE),
        ({"uses": (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)}, Verdict.VALID),
        ({"ca": True}, Verdict.CERTIFICATE_WRONG_USE),
        ({"critical": "1.3.6.1.4.1.99999.1"}, Verdict.CHAIN_BROKEN),
        ({"kind": "rsa1024"}, Verdict.WEAK_KEY),
        ({"kind": "rsa"}, Verdict.VALID),
        ({"kind": "ec384", "hash": hashes.SHA384()}, Verdict.VALID),
        ({"hash": hashes.SHA224()}, Verdict.WEAK_ALGORITHM),
    ],
)
def test_what_it_was_issued_for(options: dict[str, object], verdict: Verdict) -> None:
    assert verdict_of(MIDDLE.issue("Ai đó", **options)) is verdict


def test_self_signed() -> None:
    alone = Authority("Tự ký", ca=False, usage=key_usage("digital_signature"), days=(365, 365))
    assert verdict_of(alone.issued) is Verdict.CERTIFICATE_SELF_SIGNED
    assert verdict_of(alone.issued, alone) is Verdict.VALID  # pinned: known by another way


def test_a_root_of_somebody_else() -> None:
    foreign = Authority("Foreign root")
    below = Authority("Foreign intermediate", parent=foreign)
    assert verdict_of(foreign.issue()) is Verdict.CHAIN_BROKEN  # its root does not travel along
    everything = below.issue().signer()
    everything = replace(everything, certificates=(*everything.certificates, foreign.certificate))
    assert check(signed(WHO, signer=everything), ROOT).verdict is Verdict.NOT_TRUSTED
    assert check(SIGNED, policy=Policy()).verdict is Verdict.CHAIN_BROKEN


def test_a_missing_link() -> None:
    bare = signed(WHO, signer=WHO.signer(chain=False))
    assert check(bare, ROOT).verdict is Verdict.CHAIN_BROKEN
    known = replace(Policy.trusting([ROOT.certificate]), intermediates=(MIDDLE.certificate,))
    assert check(bare, policy=known).verdict is Verdict.VALID


def test_an_issuer_by_name_only() -> None:
    """Somebody makes an authority with the name of the real one."""
    impostor = Authority("Test intermediate", parent=Authority("Test root"))
    assert verdict_of(impostor.issue()) is Verdict.CHAIN_BROKEN
    assert verdict_of(Authority("Test root").issue()) is Verdict.CHAIN_BROKEN


def test_who_may_sign_documents_may_not_issue_certificates() -> None:
    clerk = MIDDLE.issue("Văn thư")
    fake = Authority("Văn thư")
    fake.issued = Issued(key=clerk.key, certificate=clerk.certificate, above=clerk.above)
    assert verdict_of(fake.issue("Chủ tịch")) is Verdict.CHAIN_BROKEN
    no_sign = Authority("No cert sign", parent=ROOT, usage=key_usage("crl_sign"))
    assert verdict_of(no_sign.issue()) is Verdict.CHAIN_BROKEN


def test_an_authority_below_one_that_may_have_none() -> None:
    last = Authority("Last", parent=ROOT, path_length=0)
    assert verdict_of(last.issue()) is Verdict.VALID
    below = Authority("Too deep", parent=last)
    assert verdict_of(below.issue()) is Verdict.CHAIN_BROKEN


def test_a_chain_longer_than_any() -> None:
    authority = ROOT
    for depth in range(9):
        authority = Authority(f"Level {depth}", parent=authority)
    assert verdict_of(authority.issue()) is Verdict.CHAIN_BROKEN


# ---- revocation ------------------------------------------------------------------------------------------------


ROOT_LIST = ROOT.crl()


def test_good_by_list_and_by_answer() -> None:
    by_list = check(SIGNED, policy=policy_with(lists=(MIDDLE.crl(), ROOT_LIST), hard=True))
    assert (by_list.verdict, {one.standing for one in by_list.revocations}) == (Verdict.VALID, {Standing.GOOD})
    by_answer = check(
        SIGNED, policy=policy_with(answers=(MIDDLE.ocsp(WHO.certificate),), lists=(ROOT_LIST,), hard=True)
    )
    assert by_answer.verdict is Verdict.VALID
    assert [one.evidence.split()[0] for one in by_answer.revocations] == ["ocsp", "crl"]


@pytest.mark.parametrize("hard", [False, True])
def test_revoked(hard: bool) -> None:
    since = NOW - DAY
    listed = MIDDLE.crl([(WHO.certificate, since)])
    answered = MIDDLE.ocsp(WHO.certificate, revoked_at=since)
    for policy in (
        policy_with(lists=(listed, ROOT_LIST), hard=hard),
        policy_with(answers=(answered,), lists=(ROOT_LIST,), hard=hard),
        policy_with(answers=(MIDDLE.ocsp(WHO.certificate),), lists=(listed, ROOT_LIST), hard=hard),  # one says good
    ):
        result = check(SIGNED, policy=policy)
        assert result.verdict is Verdict.CERTIFICATE_REVOKED
        assert result.revocations[0].since == since


def test_an_authority_that_was_revoked() -> None:
    listed = ROOT.crl([(MIDDLE.certificate, NOW - DAY)])
    assert check(SIGNED, policy=policy_with(lists=(listed, MIDDLE.crl()))).verdict is Verdict.CERTIFICATE_REVOKED


def test_revoked_after_the_packet_came() -> None:
    """The seal says when it came: what was revoked later was good then."""
    listed = MIDDLE.crl([(WHO.certificate, NOW + DAY)], at=NOW + 2 * DAY)
    policy = policy_with(lists=(listed, ROOT_LIST), hard=True)
    assert check(SIGNED, policy=policy, at=NOW).verdict is Verdict.VALID
    assert check(SIGNED, policy=policy, at=NOW + 3 * DAY).verdict is Verdict.CERTIFICATE_REVOKED


def test_could_not_be_checked_is_a_verdict_of_its_own() -> None:
    stale = MIDDLE.crl(at=NOW - 30 * DAY)
    for policy in (
        policy_with(hard=True),
        policy_with(lists=(ROOT_LIST,), hard=True),
        policy_with(lists=(stale, ROOT_LIST), hard=True),
        policy_with(answers=(MIDDLE.ocsp(WHO.certificate, at=NOW - 3 * DAY),), lists=(ROOT_LIST,), hard=True),
        replace(policy_with(hard=True), revocation_source=None),
    ):
        result = check(SIGNED, policy=policy)
        assert (result.verdict, result.verdict.is_open) == (Verdict.REVOCATION_UNKNOWN, True)
        assert check(SIGNED, policy=replace(policy, revocation=RevocationMode.SOFT)).verdict is Verdict.VALID


def test_nobody_else_can_say_that_it_is_good() -> None:
    """A list or answer that the issuer did not sign is no evidence, whatever name it bears."""
    impostor = Authority("Test intermediate", parent=ROOT)
    clerk = MIDDLE.issue("Văn thư")
    unsure = (
        policy_with(lists=(impostor.crl(), ROOT_LIST), hard=True),
        policy_with(lists=(MIDDLE.crl(key=clerk.key), ROOT_LIST), hard=True),
        policy_with(answers=(MIDDLE.ocsp(WHO.certificate, responder=clerk),), lists=(ROOT_LIST,), hard=True),
        policy_with(answers=(MIDDLE.ocsp(clerk.certificate),), lists=(ROOT_LIST,), hard=True),  # about another
    )
    assert {check(SIGNED, policy=policy).verdict for policy in unsure} == {Verdict.REVOCATION_UNKNOWN}
    nor_that_it_is_not = policy_with(lists=(impostor.crl([(WHO.certificate, NOW - DAY)]), ROOT_LIST))
    assert check(SIGNED, policy=nor_that_it_is_not).verdict is Verdict.VALID


def test_an_answer_by_the_issuers_delegate() -> None:
    delegate = MIDDLE.issue("OCSP", uses=(ExtendedKeyUsageOID.OCSP_SIGNING,), days=(30, 36_500))
    answer = MIDDLE.ocsp(WHO.certificate, responder=delegate)
    assert check(SIGNED, policy=policy_with(answers=(answer,), lists=(ROOT_LIST,), hard=True)).verdict is Verdict.VALID
    elsewhere = Authority("Other").issue("OCSP", uses=(ExtendedKeyUsageOID.OCSP_SIGNING,))
    answer = MIDDLE.ocsp(WHO.certificate, responder=elsewhere)
    result = check(SIGNED, policy=policy_with(answers=(answer,), lists=(ROOT_LIST,), hard=True))
    assert result.verdict is Verdict.REVOCATION_UNKNOWN


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # the library warns, and reads it
def test_a_certificate_with_any_bit_flipped_ends_in_a_verdict() -> None:
    """No exception of the certificate library gets out, whatever it makes of the bytes."""
    whole = MIDDLE.issue(kind="rsa").certificate
    der = der_of(whole)
    said = set()
    for at in range(len(der)):
        for bit in (0x01, 0x04, 0x40, 0x80):
            broken = der[:at] + bytes((der[at] ^ bit,)) + der[at + 1 :]
            try:
                certificate = load_certificates((broken,))[0]
                check_use(certificate, Policy().uses)
                check_key(certificate.public_key(), smallest_rsa=2048, curves=Policy().curves)
                find_path(certificate, (MIDDLE.certificate,), (ROOT.certificate,), NOW)
            except CheckRefusal as refusal:
                said.add(refusal.verdict)
            else:
                assert certificate.tbs_certificate_bytes == whole.tbs_certificate_bytes, (at, bit)
    assert {Verdict.CERTIFICATE_UNREADABLE, Verdict.CHAIN_BROKEN} <= said
