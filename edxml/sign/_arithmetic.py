"""The arithmetic of XML signatures by signxml, over a packet whose attachments are holes in its tree.

Two small subclasses of signxml's verifier and signer.  What they change, and nothing else: a digest gets the text of
each attachment back at its place (`Skeleton.digest`), parts keep their Vietnamese names when they are copied, and
instructions beside the root count, as Canonical XML has it.
"""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, SignatureMethod
from signxml.algorithms import DigestAlgorithm as SignxmlDigest
from signxml.exceptions import InvalidDigest, InvalidSignature, SignXMLException
from signxml.processor import XMLSignatureProcessor
from signxml.signer import XMLSigner
from signxml.verifier import SignatureConfiguration, XMLVerifier

from edxml._xml import Element
from edxml.sign import _template as template
from edxml.sign._skeleton import Skeleton
from edxml.sign._structure import DSIG, XADES, SignatureParts
from edxml.sign.algorithms import Canonicalization, DigestAlgorithm
from edxml.sign.signer import Signer
from edxml.sign.verdicts import CheckRefusal, Verdict

__all__ = ["check_arithmetic", "make_signature"]


class _WithHoles(XMLSignatureProcessor):
    """What both sides share: digests with the attachments in their holes, parts that stand alone."""

    packet: Skeleton

    def _get_digest(self, data: bytes, algorithm: Any) -> bytes:
        return self.packet.digest(data, DigestAlgorithm(algorithm.value))

    def _tostring(self, xml_node: Element, **_: Any) -> bytes:
        whole = xml_node.getroottree() if xml_node.getparent() is None else xml_node
        text: bytes = etree.tostring(whole, with_tail=False, encoding="utf-8")  # ASCII breaks names like Ghi_chú
        return text

    def _c14n(self, nodes: Element, algorithm: Any, inclusive_ns_prefixes: Any = None) -> bytes:
        """Of a document of its own: lxml puts `xmlns=""` into parts of one with a default namespace above them."""
        apart = nodes if nodes.getparent() is None else etree.fromstring(self._tostring(nodes), self.parser)
        text: bytes = super()._c14n(apart.getroottree(), algorithm, inclusive_ns_prefixes)
        return text

    @property
    def parser(self) -> etree.XMLParser:
        return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True)


class _Verifier(_WithHoles, XMLVerifier):
    def __init__(self, packet: Skeleton) -> None:
        super().__init__()
        self.packet = packet
        self.digests = 0

    def _get_digest(self, data: bytes, algorithm: Any) -> bytes:
        self.digests += 1
        return super()._get_digest(data, algorithm)

    def _get_inclusive_ns_prefixes(self, transform_node: Element) -> Sequence[str] | None:
        """Parted by any blanks, as XML has lists."""
        found = transform_node.find(f"{{{Canonicalization.EXCLUSIVE}}}InclusiveNamespaces")
        return None if found is None else found.get("PrefixList", "").split()


def check_arithmetic(parts: SignatureParts, packet: Skeleton, certificate: x509.Certificate) -> None:
    """The signature value by the certificate's key, and every digest. Raises CheckRefusal.

    `parts` was taken apart and its references were resolved: who may be believed, and what must be signed, is not
    asked here.
    """
    verifier = _Verifier(packet)
    config = SignatureConfiguration(
        signature_methods=frozenset({SignatureMethod(parts.method_uri)}),
        expect_references=len(parts.references),
        ignore_ambiguous_key_info=True,  # judged before, for several KeyValues too
        verification_time=certificate.not_valid_before_utc,  # its dates are judged later, for the moment that counts
        default_reference_c14n_method=CanonicalizationMethod(Canonicalization.C14N_10),
    )
    try:
        verifier.verify(packet.root, x509_cert=certificate, validate_schema=False, expect_config=config)
    except InvalidDigest:
        uri = parts.references[verifier.digests - 1].uri
        raise CheckRefusal(Verdict.INVALID_DIGEST, f'URI="{uri}"') from None
    except InvalidSignature:
        raise CheckRefusal(Verdict.INVALID_SIGNATURE) from None
    except (SignXMLException, etree.LxmlError, ValueError, RuntimeError) as error:
        raise CheckRefusal(Verdict.NOT_CHECKED, f"signxml: {error}") from None


class _Signer(_WithHoles, XMLSigner):
    def __init__(self, packet: Skeleton, signer: Signer, digest_algorithm: DigestAlgorithm) -> None:
        super().__init__(
            signature_algorithm=SignatureMethod(signer.algorithm),
            digest_algorithm=SignxmlDigest(digest_algorithm),
            c14n_algorithm=CanonicalizationMethod(Canonicalization.EXCLUSIVE),
        )
        self.packet = packet
        self.namespaces = {}  # those of the placeholder: XML-DSig's without a prefix, as readers of packets look for it

    def digest_text(self, data: bytes) -> str:
        """The digest of canonical bytes, as it is written."""
        return b64encode(self._get_digest(data, self.digest_alg)).decode()

    def canonical(self, element: Element) -> bytes:
        """The exclusive canonical form of an element."""
        return self._c14n(element, self.c14n_alg)


class _Key:
    """A signer as signxml asks a private key: ECDSA in ASN.1, RSA as it is."""

    def __init__(self, signer: Signer) -> None:
        key: Any = signer.certificates[0].public_key()
        self._signer = signer
        self._is_elliptic = isinstance(key, ec.EllipticCurvePublicKey)
        self.key_size = key.key_size

    def sign(self, data: bytes, **_: Any) -> bytes:
        value = self._signer.sign(data)
        if not self._is_elliptic:
            return value
        half = len(value) // 2
        return encode_dss_signature(int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big"))


def make_signature(
    packet: Skeleton,
    header: Element,
    signer: Signer,
    digest_algorithm: DigestAlgorithm,
    *,
    signing_time: datetime | None = None,
    time_stamper: Callable[[bytes], bytes] | None = None,
) -> bytes:
    """A Signature over the whole packet, to stand last in `header`, in exclusive canonical form.

    With `signing_time` it has the properties of XAdES; with `time_stamper`, which gets the canonical signature value,
    also the time stamp that this gives.
    """
    made = _Signer(packet, signer, digest_algorithm)
    ids = template.Ids(f"truc-{secrets.token_hex(8)}")
    ders = [one.public_bytes(Encoding.DER) for one in signer.certificates]

    def describe(signature: Element, **_: Any) -> None:
        signature.set("Id", ids.stem)
        info = signature.find(f"{{{DSIG}}}SignedInfo")
        info.find(f"{{{DSIG}}}Reference").set("Id", ids.reference)
        if signing_time is not None:
            properties = template.properties(ids, signing_time, digest_algorithm, made.digest_text(ders[0]))
            digest = made.digest_text(made.canonical(etree.fromstring(properties)))
            info.append(etree.fromstring(template.reference(ids, digest_algorithm, digest)))
            signature.append(etree.fromstring(template.qualifying(ids, properties)))

    made.signature_annotators.append(describe)
    etree.SubElement(header, f"{{{DSIG}}}Signature", nsmap={None: DSIG}, Id="placeholder")  # signxml puts it there
    key: Any = _Key(signer)
    root = made.sign(packet.root, key=key, cert=[b64encode(der).decode() for der in ders])
    signature = next(root.iter(f"{{{DSIG}}}Signature"))
    if time_stamper is not None:
        token = b64encode(time_stamper(made.canonical(signature.find(f"{{{DSIG}}}SignatureValue")))).decode()
        holder = signature.find(f".//{{{XADES}}}QualifyingProperties")
        holder.append(etree.fromstring(template.unsigned_properties(template.time_stamp(token))))
    return made.canonical(signature)
