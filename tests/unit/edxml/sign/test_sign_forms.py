"""Algorithms, keys and build of a signature: what is not exactly as it must be has a verdict of its own."""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from lxml import etree

from edxml.sign import Policy, SignatureAlgorithm, Verdict
from tests.support.certificates import Authority
from tests.support.packets import build_packet
from tests.unit.edxml.sign.forge import (
    C14N,
    DS,
    ENVELOPED,
    EXCLUSIVE,
    check,
    forge,
    parse,
    signed,
    unparse,
)

ROOT = Authority()
WHO = ROOT.issue()
RSA_WHO = ROOT.issue(kind="rsa")
PACKET = build_packet()
SIGNED = signed(WHO)
MORE = "http://www.w3.org/2001/04/xmldsig-more#"
BASE64 = DS + "base64"
XPATH = "http://www.w3.org/TR/1999/REC-xpath-19991116"
XSLT = "http://www.w3.org/TR/1999/REC-xslt-19991116"


# ---- transforms and algorithms -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "steps",
    [
        (XSLT,),
        (XPATH,),
        ("http://www.w3.org/2002/06/xmldsig-filter2",),
        (BASE64,),
        (EXCLUSIVE + "WithComments",),
        (C14N + "#WithComments",),
        ("http://www.w3.org/TR/xml-exc-c14n#",),  # the wrong URI of the official samples
        (EXCLUSIVE, ENVELOPED),
        (EXCLUSIVE, EXCLUSIVE),
        (ENVELOPED, ENVELOPED),
        ("urn:unknown",),
    ],
)
def test_transforms_that_are_not_computed(steps: tuple[str, ...]) -> None:
    result = check(forge(PACKET, WHO, targets=[("", (*steps,))]), ROOT)
    assert result.verdict is Verdict.FORBIDDEN_TRANSFORM


def test_a_stylesheet_within_a_transform() -> None:
    def put(signature: Any) -> None:
        transform = next(signature.iter(f"{{{DS}}}Transform"))
        transform.append(etree.fromstring('<x:stylesheet xmlns:x="http://www.w3.org/1999/XSL/Transform"/>'))

    assert check(forge(PACKET, WHO, edit=put), ROOT).verdict is Verdict.FORBIDDEN_TRANSFORM


@pytest.mark.parametrize(
    ("method", "verdict"),
    [
        (DS + "rsa-sha1", Verdict.WEAK_ALGORITHM),
        (DS + "hmac-sha1", Verdict.WEAK_ALGORITHM),
        (MORE + "ecdsa-sha1", Verdict.WEAK_ALGORITHM),
        (MORE + "rsa-md5", Verdict.WEAK_ALGORITHM),
        (MORE + "hmac-sha256", Verdict.ALGORITHM_NOT_ALLOWED),
        ("http://www.w3.org/2009/xmldsig11#dsa-sha256", Verdict.ALGORITHM_NOT_ALLOWED),
        ("urn:none", Verdict.ALGORITHM_NOT_ALLOWED),
        ("", Verdict.ALGORITHM_NOT_ALLOWED),
        (MORE + "rsa-sha256", Verdict.KEY_MISMATCH),
    ],
)
def test_signature_methods(method: str, verdict: Verdict) -> None:
    def set_method(signature: Any) -> None:
        next(signature.iter(f"{{{DS}}}SignatureMethod")).set("Algorithm", method)

    assert check(forge(PACKET, WHO, edit=set_method), ROOT).verdict is verdict


def test_a_public_key_as_a_shared_secret() -> None:
    """The classic: HMAC with the public key, which everybody has."""
    public = RSA_WHO.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    forged = forge(PACKET, RSA_WHO, method=MORE + "hmac-sha256", value=lambda info: hmac.digest(public, info, "sha256"))
    assert check(forged, ROOT).verdict is Verdict.ALGORITHM_NOT_ALLOWED


def test_a_digest_by_sha1() -> None:
    assert check(forge(PACKET, WHO, digest=DS + "sha1", hash_name="sha1"), ROOT).verdict is Verdict.WEAK_ALGORITHM


def test_an_algorithm_that_the_policy_does_not_list() -> None:
    policy = replace(
        Policy.trusting([ROOT.certificate]), signature_algorithms=frozenset({SignatureAlgorithm.RSA_SHA256})
    )
    assert check(SIGNED, policy=policy).verdict is Verdict.ALGORITHM_NOT_ALLOWED
    assert check(signed(RSA_WHO), policy=policy).verdict is Verdict.VALID


# ---- keys ----------------------------------------------------------------------------------------------------------


def rsa_key_value(numbers: Any) -> str:
    modulus, exponent = (
        b64encode(n.to_bytes((n.bit_length() + 7) // 8, "big")).decode() for n in (numbers.n, numbers.e)
    )
    return (
        f"<KeyValue><RSAKeyValue><Modulus>{modulus}</Modulus><Exponent>{exponent}</Exponent></RSAKeyValue></KeyValue>"
    )


def certificate_text(who: Any) -> str:
    body = b"".join(who.certificate_pem.splitlines()[1:-1]).decode()
    return f"<X509Data><X509Certificate>{body}</X509Certificate></X509Data>"


def test_a_bare_key_is_nobodys() -> None:
    value = rsa_key_value(RSA_WHO.key.public_key().public_numbers())
    assert check(forge(PACKET, RSA_WHO, key_info=value), ROOT).verdict is Verdict.NO_CERTIFICATE
    assert check(forge(PACKET, WHO, key_info="<KeyName>a</KeyName>"), ROOT).verdict is Verdict.NO_CERTIFICATE


def test_a_key_beside_the_certificate_must_be_its_own() -> None:
    own = rsa_key_value(RSA_WHO.key.public_key().public_numbers())
    held = certificate_text(RSA_WHO)
    assert check(forge(PACKET, RSA_WHO, key_info=own + held), ROOT).verdict is Verdict.VALID
    other = rsa_key_value(Authority("x", kind="rsa3072").issued.key.public_key().public_numbers())
    assert check(forge(PACKET, RSA_WHO, key_info=other + held), ROOT).verdict is Verdict.CERTIFICATE_MISMATCH


def test_another_certificate_than_the_signature_names() -> None:
    """XAdES signs the certificate's digest: one for the same key, with another name, cannot be put in its place."""
    double = ROOT.issue("Chủ tịch UBND tỉnh", key=WHO.key)
    texts = [
        certificate_text(one)[len("<X509Data><X509Certificate>") : -len("</X509Certificate></X509Data>")]
        for one in (WHO, double)
    ]
    swapped = SIGNED.replace(texts[0].encode(), texts[1].encode())
    assert swapped != SIGNED
    assert check(swapped, ROOT).verdict is Verdict.CERTIFICATE_MISMATCH


def test_a_truncated_certificate() -> None:
    cut = forge(PACKET, WHO, key_info="<X509Data><X509Certificate>MIIFqTCCBJGgAwIB</X509Certificate></X509Data>")
    assert check(cut, ROOT).verdict is Verdict.CERTIFICATE_UNREADABLE


# ---- structure -----------------------------------------------------------------------------------------------------


def add(tag: str, at: str = "") -> Callable[[Any], None]:
    def edit(signature: Any) -> None:
        holder = signature if not at else next(signature.iter(f"{{{DS}}}{at}"))
        etree.SubElement(holder, f"{{{DS}}}{tag}")

    return edit


def drop(tag: str) -> Callable[[Any], None]:
    def edit(packet: Any) -> None:
        element = next(packet.iter(f"{{{DS}}}{tag}"))
        element.getparent().remove(element)

    return edit


@pytest.mark.parametrize(
    "edit",
    [add("SignedInfo"), add("SignatureValue"), add("KeyInfo"), add("x"), add("x", "SignedInfo"), add("x", "Reference")],
)
def test_more_than_belongs_there(edit: Callable[[Any], None]) -> None:
    assert check(forge(PACKET, WHO, edit=edit), ROOT).verdict is Verdict.MALFORMED


@pytest.mark.parametrize(
    "tag", ["SignedInfo", "SignatureValue", "CanonicalizationMethod", "SignatureMethod", "DigestMethod", "DigestValue"]
)
def test_less_than_belongs_there(tag: str) -> None:
    root = parse(SIGNED)
    drop(tag)(root)
    assert check(unparse(root), ROOT).verdict is Verdict.MALFORMED


@pytest.mark.parametrize("tag", ["DigestValue", "SignatureValue", "X509Certificate"])
def test_values_hold_text_and_nothing_else(tag: str) -> None:
    """A verifier that reads a digest up to the first node in it has been fooled before."""
    root = parse(SIGNED)
    element = next(root.iter(f"{{{DS}}}{tag}"))
    element.append(etree.ProcessingInstruction("x"))
    assert check(unparse(root), ROOT).verdict is Verdict.MALFORMED
    etree.SubElement(next(root.iter(f"{{{DS}}}{tag}")), "x")
    assert check(unparse(root), ROOT).verdict is Verdict.MALFORMED


def test_signature_elements_of_another_namespace() -> None:
    moved = SIGNED.replace(DS.encode(), b"http://www.w3.org/2000/09/xmldsig")
    assert check(moved, ROOT).verdict is Verdict.NOT_XMLDSIG
    inner = SIGNED.replace(b"<SignedInfo>", b'<SignedInfo xmlns="urn:other">')
    assert check(inner, ROOT).verdict is Verdict.MALFORMED


def test_unsigned_properties_of_xades_say_nothing() -> None:
    """Properties that no reference covers could claim any time and certificate."""
    root = parse(SIGNED)
    qualifying = root.find(f".//{{{DS}}}Object")
    plain = forge(PACKET, WHO, objects=etree.tostring(qualifying, with_tail=False).decode())
    plain = plain.replace(b'Id="sig"', b'Id="' + root.find(f".//{{{DS}}}Signature").get("Id").encode() + b'"')
    assert check(plain, ROOT).verdict is Verdict.INCOMPLETE
