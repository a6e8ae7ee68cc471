"""A signer of its own for tests: slow, over a whole tree, free to sign what none should. Shares no code with ours."""

from __future__ import annotations

import copy
import hashlib
import io
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from lxml import etree

from edxml.sign import Policy, Verification, sign_packet, verify_packet
from tests.support.certificates import NOW, Authority, Issued
from tests.support.packets import build_packet

__all__ = [
    "C14N",
    "C14N11",
    "DS",
    "ENVELOPED",
    "EXCLUSIVE",
    "NS",
    "SHA256",
    "check",
    "forge",
    "parse",
    "q",
    "signed",
    "unparse",
    "with_id",
]

DS = "http://www.w3.org/2000/09/xmldsig#"
NS = "http://www.mic.gov.vn/TBT/QCVN_102_2016"
ENVELOPED = DS + "enveloped-signature"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
C14N = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
C14N11 = "http://www.w3.org/2006/12/xml-c14n11"
SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
ECDSA = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
RSA = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
Target = tuple[str | None, Sequence[str]]
WHOLE: Target = ("", (ENVELOPED, EXCLUSIVE))


def q(name: str) -> str:
    return f"{{{NS}}}{name}"


def with_id(packet: bytes | None = None) -> Any:
    """The tree of a packet whose MessageHeader bears Id="m1"."""
    root = parse(build_packet() if packet is None else packet)
    root.find(f".//{q('MessageHeader')}").set("Id", "m1")
    return root


def signed(who: Issued, packet: bytes | None = None, **options: Any) -> bytes:
    """A packet with a signature of ours, made at NOW."""
    out = io.BytesIO()
    options.setdefault("signing_time", NOW)
    signer = options.pop("signer", None) or who.signer()
    sign_packet(io.BytesIO(build_packet() if packet is None else packet), out, signer, **options)
    return out.getvalue()


def check(
    packet: bytes, authority: Authority | None = None, policy: Policy | None = None, **options: Any
) -> Verification:
    """What our verifier says of it at NOW."""
    options.setdefault("at", NOW)
    if policy is None:
        policy = Policy.trusting([authority.certificate] if authority else [])
    return verify_packet(io.BytesIO(packet), policy=policy, **options)


def parse(packet: bytes) -> Any:
    """The whole tree, attachments and all."""
    return etree.fromstring(packet, etree.XMLParser(huge_tree=True, resolve_entities=False))


def unparse(root: Any) -> bytes:
    """The bytes of a tree."""
    data: bytes = etree.tostring(root.getroottree(), encoding="utf-8", xml_declaration=True)
    return data


def canonical(element: Any, uri: str) -> bytes:
    """The canonical form of an element or a whole tree, by lxml."""
    if isinstance(element, etree._Element):  # lxml's own form of a part has defects: test_sign_packets shows them
        element = etree.ElementTree(etree.fromstring(etree.tostring(element, with_tail=False, encoding="utf-8")))
    data: bytes = etree.tostring(element, method="c14n", exclusive=uri == EXCLUSIVE, with_comments=False)
    return data


def forge(
    packet: bytes | Any,
    who: Issued,
    *,
    targets: Sequence[Target] = (WHOLE,),
    form: str = EXCLUSIVE,
    method: str | None = None,
    digest: str = SHA256,
    hash_name: str = "sha256",
    key_info: str | None = None,
    objects: str = "",
    under: str = "edXMLHeader",
    value: Callable[[bytes], bytes] | None = None,
    edit: Callable[[Any], None] | None = None,
) -> bytes:
    """A packet with a signature by any rule: `edit` changes the Signature before anything is digested.

    `value` makes the signature value of the canonical SignedInfo; the key of `who` where None.
    """
    root = parse(packet) if isinstance(packet, bytes) else packet
    references = "".join(_reference(uri, steps, digest) for uri, steps in targets)
    held = f"<X509Data><X509Certificate>{_certificate(who)}</X509Certificate></X509Data>"
    method = method or (RSA if isinstance(who.key, rsa.RSAPrivateKey) else ECDSA)
    signature = etree.fromstring(
        f'<Signature xmlns="{DS}" Id="sig"><SignedInfo><CanonicalizationMethod Algorithm="{form}"/>'
        f'<SignatureMethod Algorithm="{method}"/>{references}</SignedInfo><SignatureValue/>'
        f"<KeyInfo>{held if key_info is None else key_info}</KeyInfo>{objects}</Signature>"
    )
    holder = root if root.tag.endswith("}" + under) else root.find(f".//{{{NS}}}{under}")
    holder.append(signature)
    if edit is not None:
        edit(signature)
    for (uri, steps), reference in zip(targets, signature.iter(f"{{{DS}}}Reference"), strict=True):
        last = next((one for one in reversed(steps) if one in (EXCLUSIVE, C14N, C14N11)), C14N)
        found = canonical(_target(root, uri, ENVELOPED in steps), last)
        reference.find(f"{{{DS}}}DigestValue").text = b64encode(hashlib.new(hash_name, found).digest()).decode()
    info = canonical(signature.find(f"{{{DS}}}SignedInfo"), form)
    made = (value or _value(who.key))(info)
    signature.find(f"{{{DS}}}SignatureValue").text = b64encode(made).decode()
    return unparse(root)


def _certificate(who: Issued) -> str:
    return b64encode(who.certificate.public_bytes(serialization.Encoding.DER)).decode()


def _reference(uri: str | None, steps: Sequence[str], digest: str) -> str:
    transforms = "".join(f'<Transform Algorithm="{step}"/>' for step in steps)
    held = f"<Transforms>{transforms}</Transforms>" if steps else ""
    where = "" if uri is None else f' URI="{uri}"'
    return f'<Reference{where}>{held}<DigestMethod Algorithm="{digest}"/><DigestValue/></Reference>'


def _target(root: Any, uri: str | None, leaves_out: bool) -> Any:
    if uri is not None and uri.startswith("#") and "(" not in uri:
        bearers = [one for one in root.iter("*") if one.get("Id") == uri[1:]]
        return bearers[0] if bearers else root
    whole = copy.deepcopy(root.getroottree())
    if leaves_out:
        for one in whole.iter(f"{{{DS}}}Signature"):
            parent, before = one.getparent(), one.getprevious()
            if one.tail and before is not None:
                before.tail = (before.tail or "") + one.tail
            parent.remove(one)
            break
    return whole


def _value(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> Callable[[bytes], bytes]:
    def sign(data: bytes) -> bytes:
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        width = (key.curve.key_size + 7) // 8
        return r.to_bytes(width, "big") + s.to_bytes(width, "big")

    return sign
