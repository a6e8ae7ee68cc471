"""A Signature element taken apart, strictly: what XML-DSig does not allow in a place makes it malformed.

Leaves hold text and nothing else: a comment or instruction in the middle of a digest has fooled verifiers that read up
to it.  (The parser drops comments before anything is read or digested; instructions stay and are refused here.)
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from edxml._notes import NAMESPACE
from edxml._xml import Element
from edxml.sign.verdicts import CheckRefusal, Verdict

__all__ = [
    "DSIG", "ENCODED_KEY", "ENVELOPED", "PROPERTIES_TYPE", "XADES", "Reference", "SignatureParts", "Step", "XadesParts",
    "child_named", "locate", "take_apart",
]  # fmt: skip

DSIG: Final = "http://www.w3.org/2000/09/xmldsig#"
XADES: Final = "http://uri.etsi.org/01903/v1.3.2#"
PROPERTIES_TYPE: Final = "http://uri.etsi.org/01903#SignedProperties"
ENVELOPED: Final = DSIG + "enveloped-signature"
_DS: Final = "{" + DSIG + "}"
ENCODED_KEY: Final = "{http://www.w3.org/2009/xmldsig11#}DEREncodedKeyValue"
_XA: Final = "{" + XADES + "}"
_EXCLUSIVE_NS: Final = "{http://www.w3.org/2001/10/xml-exc-c14n#}"
_MOST_REFERENCES: Final = 16
_MOST_STEPS: Final = 4
_MOST_PREFIXES: Final = 32
_MOST_CERTIFICATES: Final = 16
_BLANK: Final = re.compile(r"[ \t\r\n]+")
_PLACES: Final = ((), ("edXMLEnvelope",), ("edXMLEnvelope", "edXMLHeader"), ("edXMLHeader",))


@dataclass(frozen=True, slots=True)
class Step:
    """One transform, or the canonicalisation of SignedInfo."""

    uri: str
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One thing that is signed."""

    uri: str | None
    type: str
    steps: tuple[Step, ...]
    digest_uri: str
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class XadesParts:
    """What XAdES adds."""

    properties: Element
    signing_time: datetime | None
    certificate_digests: tuple[tuple[str, bytes], ...]  #: (algorithm URI, digest) of the signer's certificate
    time_stamps: tuple[tuple[Step | None, bytes], ...]  #: (canonicalisation, RFC 3161 token) over the signature value


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureParts:
    """A Signature element taken apart."""

    element: Element
    info: Element
    canonicalization: Step
    method_uri: str
    references: tuple[Reference, ...]
    value_element: Element
    value: bytes
    certificates: tuple[bytes, ...]  #: DER
    key_values: tuple[Element, ...]  #: KeyValue, DEREncodedKeyValue
    xades: XadesParts | None


def locate(root: Element) -> Element:
    """The one Signature of a packet. Raises CheckRefusal: none, none that is one, several, or out of place."""
    real = list(root.iter(_DS + "Signature"))
    if not real:
        decoration = next((one for one in root.iter("{*}Signature", "Signature") if len(one)), None)
        if decoration is not None:
            raise CheckRefusal(Verdict.NOT_XMLDSIG, decoration.tag)
        raise CheckRefusal(Verdict.ABSENT)
    if len(real) > 1:
        raise CheckRefusal(Verdict.SEVERAL, str(len(real)))
    above = [one.tag.removeprefix("{" + NAMESPACE + "}") for one in real[0].iterancestors()][:-1]
    if tuple(reversed(above)) not in _PLACES or real[0] is root:
        raise CheckRefusal(Verdict.MISPLACED, "/".join(["", *reversed(above), "Signature"]))
    return real[0]


def child_named(parent: Element, name: str) -> Element:
    """The first child `name` as a reader of packets takes it (in our namespace or none), None where there is none."""
    return next((one for one in parent if one.tag in (name, "{" + NAMESPACE + "}" + name)), None)


def take_apart(element: Element) -> SignatureParts:
    """The parts of a Signature. Raises CheckRefusal (MALFORMED)."""
    info, value_element, *rest = _children(element, (_DS + "SignedInfo", _DS + "SignatureValue"), more=True)
    key_infos = [one for one in rest if one.tag == _DS + "KeyInfo"]
    objects = [one for one in rest if one.tag == _DS + "Object"]
    if len(key_infos) > 1 or [*key_infos, *objects] != rest:
        raise _malformed(element)
    method, signature_method, *references = _children(
        info, (_DS + "CanonicalizationMethod", _DS + "SignatureMethod"), more=True
    )
    if not references or len(references) > _MOST_REFERENCES:
        raise CheckRefusal(Verdict.FORBIDDEN_REFERENCE, f"{len(references)} references")
    certificates, key_values = _keys(key_infos)
    return SignatureParts(
        element=element,
        info=info,
        canonicalization=_step(method),
        method_uri=_attribute(signature_method, "Algorithm"),
        references=tuple(map(_reference, references)),
        value_element=value_element,
        value=_base64(value_element),
        certificates=certificates,
        key_values=key_values,
        xades=_xades(element, objects),
    )


def _reference(element: Element) -> Reference:
    if element.tag != _DS + "Reference":
        raise _malformed(element)
    parts = list(element)
    steps: Sequence[Element] = ()
    if parts and parts[0].tag == _DS + "Transforms":
        steps = list(parts.pop(0))
        if not 0 < len(steps) <= _MOST_STEPS or any(one.tag != _DS + "Transform" for one in steps):
            raise _malformed(element)
    if [one.tag for one in parts] != [_DS + "DigestMethod", _DS + "DigestValue"]:
        raise _malformed(element)
    return Reference(
        uri=element.get("URI"),
        type=element.get("Type", ""),
        steps=tuple(map(_step, steps)),
        digest_uri=_attribute(parts[0], "Algorithm"),
        digest=_base64(parts[1]),
    )


def _step(element: Element) -> Step:
    """A transform or canonicalisation with its parameters. Parameters of others than exclusive ones are refused."""
    uri = _attribute(element, "Algorithm")
    prefixes: tuple[str, ...] = ()
    for child in element:
        if child.tag != _EXCLUSIVE_NS + "InclusiveNamespaces" or len(element) > 1:
            raise CheckRefusal(Verdict.FORBIDDEN_TRANSFORM, uri)
        prefixes = tuple(_attribute(child, "PrefixList").split())
        if len(prefixes) > _MOST_PREFIXES:
            raise CheckRefusal(Verdict.NOT_CHECKED, "PrefixList")
    return Step(uri, prefixes)


def _keys(key_infos: Sequence[Element]) -> tuple[tuple[bytes, ...], tuple[Element, ...]]:
    found: list[bytes] = []
    values: list[Element] = []
    for child in key_infos[0] if key_infos else ():
        if child.tag == _DS + "X509Data":
            found.extend(_base64(one) for one in child if one.tag == _DS + "X509Certificate")
        elif child.tag in (_DS + "KeyValue", ENCODED_KEY):
            values.append(child)
    if len(found) > _MOST_CERTIFICATES:
        raise CheckRefusal(Verdict.NOT_CHECKED, f"{len(found)} certificates")
    return tuple(found), tuple(values)


def _xades(element: Element, objects: Sequence[Element]) -> XadesParts | None:
    qualifying = [one for holder in objects for one in holder if one.tag == _XA + "QualifyingProperties"]
    if not qualifying:
        return None
    properties = qualifying[0].findall(_XA + "SignedProperties")
    if len(qualifying) > 1 or len(properties) != 1 or qualifying[0].get("Target") != f"#{element.get('Id')}":
        raise _malformed(qualifying[0])
    signed = properties[0].find(_XA + "SignedSignatureProperties")
    if signed is None:
        raise _malformed(properties[0])
    return XadesParts(
        properties=properties[0],
        signing_time=_moment(signed.find(_XA + "SigningTime")),
        certificate_digests=_certificate_digests(signed),
        time_stamps=tuple(
            _time_stamp(one)
            for one in qualifying[0].iterfind(
                f"{_XA}UnsignedProperties/{_XA}UnsignedSignatureProperties/{_XA}SignatureTimeStamp"
            )
        ),
    )


def _certificate_digests(signed: Element) -> tuple[tuple[str, bytes], ...]:
    """Of the signer's certificate: the first Cert of each of the two forms that the standard has."""
    digests = []
    for name in ("SigningCertificateV2", "SigningCertificate"):
        for holder in signed.iterfind(f"{_XA}{name}"):
            found = holder.find(f"{_XA}Cert/{_XA}CertDigest")
            if found is None:
                raise _malformed(holder)
            method, value = _children(found, (_DS + "DigestMethod", _DS + "DigestValue"))
            digests.append((_attribute(method, "Algorithm"), _base64(value)))
    return tuple(digests)


def _time_stamp(element: Element) -> tuple[Step | None, bytes]:
    method = element.find(_DS + "CanonicalizationMethod")
    tokens = element.findall(_XA + "EncapsulatedTimeStamp")
    if len(tokens) != 1:
        raise _malformed(element)
    return (None if method is None else _step(method)), _base64(tokens[0])


def _moment(element: Element) -> datetime | None:
    if element is None:
        return None
    try:
        moment = datetime.fromisoformat(_text(element).strip())
        if moment.tzinfo is None:  # XAdES leaves it open; then it proves nothing and is not compared
            return None
        moment.astimezone(UTC)  # a zone may lead out of the calendar
    except (ValueError, OverflowError):
        raise _malformed(element) from None
    return moment


def _children(element: Element, names: Sequence[str], *, more: bool = False) -> list[Element]:
    """The children, which begin with (or are exactly) those named."""
    children = list(element)
    if [one.tag for one in children[: len(names)]] != list(names) or (len(children) > len(names) and not more):
        raise _malformed(element)
    return children


def _attribute(element: Element, name: str) -> str:
    value: str | None = element.get(name)
    if value is None:
        raise _malformed(element)
    return value


def _text(element: Element) -> str:
    if len(element):
        raise _malformed(element)
    return element.text or ""


def _base64(element: Element) -> bytes:
    try:
        return binascii.a2b_base64(_BLANK.sub("", _text(element)).encode("ascii"), strict_mode=True)
    except (ValueError, UnicodeEncodeError):
        raise _malformed(element) from None


def _malformed(element: Element) -> CheckRefusal:
    return CheckRefusal(Verdict.MALFORMED, str(element.tag).rpartition("}")[2])
