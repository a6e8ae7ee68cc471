"""A folder of trust becomes a policy; certificates and time stamps are judged by themselves as they are in packets."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from edxml.sign import RevocationMode, Verdict
from edxml.sign.certificates import der_of
from edxml.sign.judging import judge_certificate, judge_time_stamp
from edxml.sign.trust import TrustUnreadable, read_trust
from tests.support.certificates import NOW, Authority

DAY = timedelta(days=1)


def lay(folder: Path, part: str, name: str, data: bytes) -> None:
    (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / part / name).write_bytes(data)


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def test_without_the_folder_nobody_is_trusted(tmp_path: Path) -> None:
    policy = read_trust(tmp_path / "none")
    assert (policy.name, policy.anchors, policy.time_stamp_anchors) == ("none", (), ())
    assert policy.revocation is RevocationMode.HARD


def test_every_part_of_the_folder_has_its_place_in_the_policy(tmp_path: Path) -> None:
    root, tsa = Authority("Goc"), Authority("Dau thoi gian")
    between = Authority("Giua", parent=root)
    signer = between.issue()
    lay(tmp_path, "anchors", "goc.pem", pem(root.certificate) + pem(Authority("Hai").certificate))
    lay(tmp_path, "intermediates", "giua.cer", der_of(between.certificate))
    lay(tmp_path, "time-stamps", "tsa.crt", pem(tsa.certificate))
    lay(tmp_path, "revocations", "goc.crl", root.crl())
    lay(tmp_path, "revocations", "nguoi-ky.ocsp", between.ocsp(signer.certificate))
    lay(tmp_path, "anchors", ".ghi-chu", b"khong phai chung thu")
    policy = read_trust(tmp_path)
    assert len(policy.anchors) == 2
    assert policy.intermediates == (between.certificate,)
    assert policy.time_stamp_anchors == (tsa.certificate,)
    judged = judge_certificate(der_of(signer.certificate), [], policy, NOW)
    assert (judged.verdict, len(judged.chain)) == (Verdict.VALID, 3)


def test_what_is_revoked_in_the_folder_is_revoked(tmp_path: Path) -> None:
    root = Authority("Goc")
    signer = root.issue()
    lay(tmp_path, "anchors", "goc.pem", pem(root.certificate))
    assert judge_certificate(der_of(signer.certificate), [], read_trust(tmp_path), NOW).verdict is (
        Verdict.REVOCATION_UNKNOWN
    )
    lay(tmp_path, "revocations", "goc.crl", root.crl([(signer.certificate, NOW - DAY)]))
    assert judge_certificate(der_of(signer.certificate), [], read_trust(tmp_path), NOW).verdict is (
        Verdict.CERTIFICATE_REVOKED
    )


def test_the_name_tells_one_trust_from_another(tmp_path: Path) -> None:
    lay(tmp_path, "anchors", "mot.pem", pem(Authority("Mot").certificate))
    first = read_trust(tmp_path).name
    assert read_trust(tmp_path).name == first
    lay(tmp_path, "revocations", "hai.crl", Authority("Hai").crl())
    assert read_trust(tmp_path).name != first


@pytest.mark.parametrize(
    ("part", "name", "data"),
    [
        ("anchors", "hong.pem", b"-----BEGIN CERTIFICATE-----\nhong\n-----END CERTIFICATE-----\n"),
        ("anchors", "hong.cer", b"hong"),
        ("revocations", "hong.crl", b"hong"),
        ("revocations", "hong.ocsp", b"hong"),
    ],
)
def test_what_does_not_belong_there_is_named(tmp_path: Path, part: str, name: str, data: bytes) -> None:
    lay(tmp_path, part, name, data)
    with pytest.raises(TrustUnreadable) as refused:
        read_trust(tmp_path)
    assert refused.value.params["file"].endswith(f"{part}/{name}")


def test_a_certificate_that_is_none_is_a_verdict_and_no_error(tmp_path: Path) -> None:
    judged = judge_certificate(b"\x30\x03abc", [], read_trust(tmp_path), NOW)
    assert (judged.verdict, judged.certificate) == (Verdict.CERTIFICATE_UNREADABLE, None)


def test_a_stamp_is_not_judged_where_no_authority_is_trusted_and_is_none_where_it_is_none(tmp_path: Path) -> None:
    assert judge_time_stamp(b"khong", b"", read_trust(tmp_path)).verdict is Verdict.NOT_CHECKED
    lay(tmp_path, "time-stamps", "tsa.pem", pem(Authority().certificate))
    assert judge_time_stamp(b"khong", b"", read_trust(tmp_path)).verdict is Verdict.TIME_STAMP_INVALID
