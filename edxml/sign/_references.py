"""References followed: which part each one means, and whether its digest is computed as it may be.

Only two kinds are followed: "" (the whole packet) and "#id" (one element that bears that id, and no other does).
Only two kinds of transform are computed: leaving the signature itself out, and canonicalisation.
"""

from __future__ import annotations

from typing import Final

from edxml._notes import NAMESPACE
from edxml._xml import Element
from edxml.sign._skeleton import Skeleton
from edxml.sign._structure import ENVELOPED, Reference, SignatureParts, Step, child_named
from edxml.sign.algorithms import WEAK_URIS, Canonicalization, DigestAlgorithm
from edxml.sign.policy import Coverage, Policy
from edxml.sign.verdicts import CheckRefusal, SignedFile, SignedPart, Verdict

__all__ = ["canonicalization_of", "check_coverage", "digest_algorithm_of", "ids_of", "resolve_references"]

_IDS: Final = frozenset({"Id", "ID", "id"})
_MOST_WHOLE: Final = 1


def ids_of(element: Element) -> set[str]:
    """Every value by which an element may be referred to: of attributes named so, with a prefix (xml:id) or without."""
    return {value for name, value in element.attrib.items() if name.rpartition("}")[2] in _IDS and value}


def resolve_references(parts: SignatureParts, packet: Skeleton, policy: Policy) -> tuple[SignedPart, ...]:
    """Every part that the signature refers to. Whether it is as it was signed is still to be computed.

    Raises CheckRefusal: not followed, not computed, or by algorithms that the policy does not allow.
    """
    planned = [(reference, *_resolve(reference, parts, packet)) for reference in parts.references]
    if sum(apex is None for _, apex, _ in planned) > _MOST_WHOLE:
        raise CheckRefusal(Verdict.FORBIDDEN_REFERENCE, 'URI="" twice')
    return tuple(_part(reference, apex, packet, policy, is_own) for reference, apex, is_own in planned)


def _resolve(reference: Reference, parts: SignatureParts, packet: Skeleton) -> tuple[Element | None, bool]:
    """(the element, None for the whole packet; whether it is a part of the signature itself)."""
    uri = reference.uri
    if uri == "":
        return None, False
    if uri is None or not uri.startswith("#") or len(uri) < 2 or "(" in uri or uri.startswith("##"):
        raise CheckRefusal(Verdict.FORBIDDEN_REFERENCE, "no URI" if uri is None else uri)
    bearers = [one for one in packet.root.iter("*") if uri[1:] in ids_of(one)]
    if not bearers:
        raise CheckRefusal(Verdict.FORBIDDEN_REFERENCE, uri)
    if len(bearers) > 1:
        raise CheckRefusal(Verdict.DUPLICATE_ID, uri)
    apex = bearers[0]
    is_own = apex is not parts.element and any(one is parts.element for one in apex.iterancestors())
    if is_own and any(one is parts.info or one is parts.value_element for one in (apex, *apex.iterancestors())):
        raise CheckRefusal(Verdict.FORBIDDEN_REFERENCE, uri)
    return apex, is_own


def _part(reference: Reference, apex: Element | None, packet: Skeleton, policy: Policy, is_own: bool) -> SignedPart:
    form = _form_of(reference, policy)
    algorithm = digest_algorithm_of(reference.digest_uri, policy)
    packet.check_computable(apex, canonicalization_of(form.uri, policy, Verdict.FORBIDDEN_TRANSFORM), form.prefixes)
    return SignedPart(
        uri=reference.uri or "",
        path="/" if apex is None else _path(apex),
        is_own=is_own,
        digest_algorithm=str(algorithm),
        digest=reference.digest.hex(),
    )


def _form_of(reference: Reference, policy: Policy) -> Step:
    """The canonicalisation: beside leaving the signature out, once and before it, all that transforms may ask for."""
    leaves_out, form = False, None
    for step in reference.steps:
        if form is not None:  # it gave octets: nothing that works on XML can follow
            raise CheckRefusal(Verdict.FORBIDDEN_TRANSFORM, step.uri)
        if step.uri == ENVELOPED and not leaves_out:
            leaves_out = True
            continue
        canonicalization_of(step.uri, policy, Verdict.FORBIDDEN_TRANSFORM)
        form = step
    return form or Step(Canonicalization.C14N_10, ())


def _path(element: Element) -> str:
    names = [one.tag.rpartition("}")[2] for one in (element, *element.iterancestors())]
    return "/" + "/".join(reversed(names))


def check_coverage(signed: tuple[SignedPart, ...], packet: Skeleton, policy: Policy) -> bool:
    """Whether the whole packet is signed. Raises CheckRefusal (INCOMPLETE) where less is than the policy asks for.

    The header counts only where it is the very element that a reader takes: first of its name at its place, and the
    only one of its name anywhere, so that none can be wrapped away.
    """
    is_whole = any(part.uri == "" for part in signed)
    if is_whole:
        return True
    if policy.coverage is Coverage.WHOLE:
        raise CheckRefusal(Verdict.INCOMPLETE, ", ".join(part.path for part in signed if not part.is_own))
    at = packet.root
    for name in ("edXMLEnvelope", "edXMLHeader"):
        found = child_named(at, name)
        at = at if found is None else found
    header = child_named(at, "MessageHeader")
    named = [one for one in packet.root.iter("*") if one.tag in ("MessageHeader", "{" + NAMESPACE + "}MessageHeader")]
    if header is None or named != [header] or not _is_within(header, signed):
        raise CheckRefusal(Verdict.INCOMPLETE, "MessageHeader")
    return False


def signed_files(signed: tuple[SignedPart, ...], packet: Skeleton) -> tuple[SignedFile, ...]:
    """The attachments that stand within what is signed."""
    found = zip(packet.contents, packet.files, strict=True)
    return tuple(
        file for element, file in found if any(part.uri == "" for part in signed) or _is_within(element, signed)
    )


def _is_within(element: Element, signed: tuple[SignedPart, ...]) -> bool:
    """Whether an element or one around it bears an id that is signed; the signature's own parts hold nothing else."""
    ids = {part.uri[1:] for part in signed if not part.is_own}
    return any(not ids.isdisjoint(ids_of(one)) for one in (element, *element.iterancestors()))


def canonicalization_of(uri: str, policy: Policy, otherwise: Verdict) -> Canonicalization:
    """The canonicalisation that a URI names. Raises CheckRefusal (`otherwise`) where it is none that is allowed."""
    form = _CANONICALIZATIONS.get(uri)
    if form is None or form not in policy.canonicalizations:
        raise CheckRefusal(otherwise, uri)
    return form


def digest_algorithm_of(uri: str, policy: Policy) -> DigestAlgorithm:
    """The digest algorithm that a URI names. Raises CheckRefusal (weak, or not allowed)."""
    algorithm = _DIGESTS.get(uri)
    if algorithm is None or algorithm not in policy.digest_algorithms:
        raise CheckRefusal(Verdict.WEAK_ALGORITHM if uri in WEAK_URIS else Verdict.ALGORITHM_NOT_ALLOWED, uri)
    return algorithm


_CANONICALIZATIONS: Final = {str(form): form for form in Canonicalization}
_DIGESTS: Final = {str(algorithm): algorithm for algorithm in DigestAlgorithm}
