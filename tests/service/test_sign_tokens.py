"""Keys on tokens: real PKCS#11 by SoftHSM; three verifiers agree; every fault names token, key and remedy."""

from __future__ import annotations

import io
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from signxml.algorithms import SignatureMethod
from signxml.xades import XAdESSignatureConfiguration, XAdESVerifier  # type: ignore[attr-defined]

from edxml.messages import Language
from edxml.sign import (
    Policy,
    SignatureAlgorithm,
    SigningKeyInvalid,
    TokenKey,
    TokenSigner,
    Verdict,
    open_token_signer,
    verify_packet,
)
from tests.support.certificates import NOW, Authority
from tests.support.packets import build_packet, random_attachments
from tests.support.processes import need_program
from tests.support.soft_tokens import SoftToken, moody_driver, run
from tests.unit.edxml.sign.forge import signed

ROOT = Authority("Token root")
PACKET: Final = build_packet(files=random_attachments(2, largest=20_000))
HOLDERS: Final = {kind: ROOT.issue(f"Khóa {kind}", kind=kind) for kind in ("ec", "ec384", "rsa")}
ALGORITHMS: Final = [
    ("ec", SignatureAlgorithm.ECDSA_SHA256),
    ("ec384", SignatureAlgorithm.ECDSA_SHA384),
    ("rsa", SignatureAlgorithm.RSA_SHA256),
    ("rsa", SignatureAlgorithm.RSA_SHA512),
    ("rsa", SignatureAlgorithm.RSA_PSS_SHA256),
]


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> SoftToken:
    """A token with the keys of every holder, each with its certificate."""
    made = SoftToken.make("van thu", tmp_path_factory.mktemp("token"))
    for number, (kind, who) in enumerate(HOLDERS.items(), start=1):
        made.put(kind, who, number=f"{number:02}")
    made.notice()
    return made


def verdict_on(packet: bytes) -> Verdict:
    return verify_packet(io.BytesIO(packet), policy=Policy.trusting([ROOT.certificate]), at=NOW).verdict


def opened(token: SoftToken, key: str, algorithm: SignatureAlgorithm | None = None) -> TokenSigner:
    return open_token_signer(TokenKey.parse(token.uri(key)), algorithm=algorithm)


@pytest.mark.parametrize(("kind", "algorithm"), ALGORITHMS)
def test_everybody_verifies_what_a_token_signs(
    token: SoftToken, kind: str, algorithm: SignatureAlgorithm, tmp_path: Path
) -> None:
    who = HOLDERS[kind]
    signer = opened(token, kind, algorithm)
    assert signer.certificates == (who.certificate,)
    packet = signed(who, PACKET, signer=signer)
    assert verdict_on(packet) is Verdict.VALID
    assert verdict_on(packet.replace(b">123<", b">124<")) is Verdict.INVALID_DIGEST
    config = XAdESSignatureConfiguration(
        expect_references=2, location=".//", signature_methods=frozenset({SignatureMethod(str(algorithm))})
    )
    XAdESVerifier().verify(packet, x509_cert=who.certificate, expect_config=config)
    signer.close()
    if algorithm.name.startswith("RSA_PSS"):
        return  # xmlsec1 of Debian does not know it
    (tmp_path / "root.pem").write_bytes(ROOT.issued.certificate_pem)
    (tmp_path / "signed.edxml").write_bytes(packet)
    run(
        need_program("xmlsec1", "xmlsec1"), "--verify", "--verification-gmt-time", f"{NOW:%Y-%m-%d %H:%M:%S}",
        "--trusted-pem", tmp_path / "root.pem", "--id-attr:Id", "SignedProperties", tmp_path / "signed.edxml",
    )  # fmt: skip


def test_the_algorithm_follows_from_the_key(token: SoftToken) -> None:
    found = {kind: opened(token, kind).algorithm for kind in HOLDERS}
    assert found == {
        "ec": SignatureAlgorithm.ECDSA_SHA256,
        "ec384": SignatureAlgorithm.ECDSA_SHA384,
        "rsa": SignatureAlgorithm.RSA_SHA256,
    }
    with pytest.raises(SigningKeyInvalid) as why:
        opened(token, "ec", SignatureAlgorithm.RSA_SHA256)
    assert why.value.reason == "signing.algorithm_of_other_key"


def test_a_key_is_found_by_its_id_too_and_a_certificate_may_come_from_a_file(token: SoftToken) -> None:
    uri = token.uri("").replace("object=", "id=%03")
    assert open_token_signer(TokenKey.parse(uri)).certificates == (HOLDERS["rsa"].certificate,)
    place = TokenKey.parse(token.uri("ec"))
    chain = HOLDERS["rsa"].certificate_pem + HOLDERS["ec"].certificate_pem
    assert open_token_signer(place, certificates=chain).certificates == (HOLDERS["ec"].certificate,)
    with pytest.raises(SigningKeyInvalid) as why:
        open_token_signer(place, certificates=HOLDERS["rsa"].certificate_pem)
    assert why.value.reason == "signing.certificate_of_other_key"


def test_a_lost_session_is_opened_again(token: SoftToken) -> None:
    signer = opened(token, "ec")
    token.notice()  # the driver starts anew: every handle is gone
    assert verdict_on(signed(HOLDERS["ec"], PACKET, signer=signer)) is Verdict.VALID
    signer.close()
    signer.close()
    assert verdict_on(signed(HOLDERS["ec"], PACKET, signer=signer)) is Verdict.VALID


def test_two_signers_of_one_token_and_many_threads_share_a_login(token: SoftToken) -> None:
    signers = [opened(token, "ec"), opened(token, "rsa")]
    wrong: list[object] = []

    def work(number: int) -> None:
        kind = ("ec", "rsa")[number % 2]
        try:
            verdict = verdict_on(signed(HOLDERS[kind], PACKET, signer=signers[number % 2]))
        except Exception as why:  # noqa: BLE001 - told below, by the thread that judges
            verdict = why  # type: ignore[assignment]
        if verdict is not Verdict.VALID:
            wrong.append(verdict)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    signers[0].close()  # logs the whole process out: the other one logs in again
    assert verdict_on(signed(HOLDERS["rsa"], PACKET, signer=signers[1])) is Verdict.VALID


def fault_of(why: SigningKeyInvalid, *named: object) -> str:
    """The reason, once both languages name what is meant."""
    for language in Language:
        said = why.text(language)
        assert "{" not in said
        for thing in named:
            assert str(thing) in said, (language, said)
    assert why.text(Language.VI) != why.text(Language.EN)
    return why.reason.removeprefix("signing.")


def refused(place: TokenKey, *named: object) -> str:
    with pytest.raises(SigningKeyInvalid) as why:
        open_token_signer(place)
    return fault_of(why.value, *named)


def test_what_is_not_there_is_named(token: SoftToken, tmp_path: Path) -> None:
    place = TokenKey.parse(token.uri("ec"))
    assert refused(replace(place, token="khac"), "khac", token.driver) == "token_missing"
    assert refused(replace(place, label="khac"), token.label, "khac") == "token_key_missing"
    assert refused(replace(place, module=tmp_path / "gone.so"), tmp_path / "gone.so") == "module_unusable"
    assert refused(replace(place, pin_file=tmp_path / "pin"), tmp_path / "pin") == "pin_unreadable"
    exposed = tmp_path / "exposed"
    exposed.write_text("1234")
    exposed.chmod(0o644)
    assert refused(replace(place, pin_file=exposed), exposed) == "pin_exposed"


def test_a_removed_key_a_bare_key_and_twins_are_told(tmp_path: Path) -> None:
    token, who = SoftToken.make("go bo", tmp_path), HOLDERS["ec"]
    token.put("tran", who, has_certificate=False)
    token.notice()
    place = TokenKey.parse(token.uri("tran"))
    assert refused(place, token.label, "tran") == "token_certificate_missing"
    signer = open_token_signer(place, certificates=who.certificate_pem)
    token.tool("--delete-object", "--type", "privkey", "--id", "01")
    with pytest.raises(SigningKeyInvalid) as why:
        signed(who, PACKET, signer=signer)
    assert fault_of(why.value, token.label, "tran") == "token_key_missing"
    token.put("tran", who, number="07", has_certificate=False)
    assert verdict_on(signed(who, PACKET, signer=signer)) is Verdict.VALID  # back, without a restart
    token.put("tran", ROOT.issue(), number="08", has_certificate=False)
    token.notice()
    assert refused(place, token.label, "tran") == "token_key_ambiguous"
    SoftToken.make("go bo", tmp_path)
    assert refused(place, token.label) == "token_ambiguous"


def test_a_wrong_pin_is_not_tried_twice_and_a_locked_one_is_told(tmp_path: Path) -> None:
    token = SoftToken.make("khoa pin", tmp_path, driver=moody_driver())
    token.put("ec", HOLDERS["ec"])
    token.notice()
    place = TokenKey.parse(token.uri("ec"))
    signer = open_token_signer(place)
    signer.close()
    token.pin_file.write_text("0000\n")
    for _ in range(5):  # by itself a device would lock at the third
        with pytest.raises(SigningKeyInvalid) as why:
            signer.sign(b"x")
        assert fault_of(why.value, token.label, token.pin_file) == "pin_wrong"
    token.pin_file.write_text("1234\n")
    assert signer.sign(b"x")
    signer.close()
    for wrong in ("9999\n", "8888\n"):
        token.pin_file.write_text(wrong)
        assert [refused(place, token.label, token.pin_file) for _ in range(4)] == ["pin_wrong"] * 4
    token.pin_file.write_text("1234\n")
    assert refused(place, token.label, token.pin_file) == "pin_locked"


def test_an_unplugged_device_is_told_and_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = SoftToken.make("rut ra", tmp_path, driver=moody_driver())
    token.put("ec", HOLDERS["ec"])
    token.notice()
    away = tmp_path / "away"
    monkeypatch.setenv("MOODY_AWAY", str(away))
    signer = opened(token, "ec")
    away.touch()
    for _ in range(2):
        with pytest.raises(SigningKeyInvalid) as why:
            signer.sign(b"x")
        assert fault_of(why.value, token.label, token.driver) == "token_missing"
    away.unlink()
    assert verdict_on(signed(HOLDERS["ec"], PACKET, signer=signer)) is Verdict.VALID


@pytest.mark.parametrize(
    ("uri", "reason", "named"),
    [
        ("", "uri", "module-path, object, pin-source, token"),
        ("token=a;object=b?module-path=/m&pin-source=/p", "uri", "token"),
        ("pkcs11:token=a?module-path=/m&pin-source=/p", "uri", "object"),
        ("pkcs11:token=a;object=b?pin-source=/p", "uri", "module-path"),
        ("pkcs11:token=a;object=b;slot-id=1?module-path=/m&pin-source=/p", "uri", "slot-id"),
        ("pkcs11:token=a;token=b;object=b?module-path=/m&pin-source=/p", "uri", "token"),
        ("pkcs11:token=a;object=b;type=cert?module-path=/m&pin-source=/p", "uri", "type"),
        ("pkcs11:token=a;object=b?module-path=/m&pin-value=1234", "pin_in_uri", "pin-source"),
    ],
)
def test_an_address_that_cannot_be_used_says_where(uri: str, reason: str, named: str) -> None:
    with pytest.raises(SigningKeyInvalid) as why:
        TokenKey.parse(uri)
    assert fault_of(why.value, named) == reason
    assert "1234" not in why.value.text(Language.EN)


def test_an_address_is_read_as_rfc_7512_writes_it() -> None:
    found = TokenKey.parse(
        "pkcs11:token=V%C4%83n%20th%C6%B0;id=%01%ab;type=private?pin-source=file:/p%20q&module-path=/m"
    )
    assert found == TokenKey(module=Path("/m"), token="Văn thư", key_id=b"\x01\xab", pin_file=Path("/p q"))
    assert found.name == "01ab"


def test_pkcs11_is_loaded_only_when_a_token_is_opened() -> None:
    code = "import sys, edxml.sign, gateway.cli.app; sys.exit('pkcs11' in sys.modules)"
    run(sys.executable, "-c", code)
