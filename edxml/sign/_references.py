"""References followed and digested anew: which part each one means, whether it is still as it was signed.

Only two kinds are followed: "" (the whole packet) and "#id" (one element that bears that id, and no other does).
Only two kinds of transform are computed: leaving the signature itself out, and canonicalisation.
"""

from __future__ import annotations

import hmac
from typing import Final

from edxml._notes import NAMESPACE
from edxml._xml import Element
from edxml.sign._skeleton import Skeleton
from edxml.sign._structure import Reference, SignatureParts, Step, child_named
from edxml.sign._template import ENVELOPED
from edxml.sign.algorithms import WEAK_URIS, Canonicalization, DigestAlgorithm
from edxml.sign.policy import Coverage, Policy
from edxml.sign.verdicts import CheckRefusal, SignedFile, SignedPart, Verdict

__all__ = ["canonicalization_of", "check_coverage", "check_references", "digest_algorithm_of"]

_IDS: Final = ("Id", "ID", "id", "{http://www.w3.org/XML/1998/namespace}id")
_MOST_WHOLE: Final = 1


def check_references(parts: SignatureParts, packet: Skeleton, policy: Policy) -> tuple[SignedPart, ...]:
    """Every part that is signed, found and with the right digest. Raises CheckRefusal.

    Takes the signature out of the tree (its text around stays), so digests of its own parts come first.
    """
    planned = [(reference, *_resolve(reference, parts, packet)) for reference in parts.references]
    if sum(apex is None for _, apex, _ in planned) > _MOST_WHOLE:
        raise CheckRefusal(Verdict.FORBIDDEN_REFERENCE, 'URI="" twice')
    checks = [(reference, apex, _plan(reference, policy), is_own) for reference, apex, is_own in planned]
    with_signature = [check for check in checks if not check[2][0]]
    without = [check for check in checks if check[2][0]]
    signed = [
        _check(reference, apex, plan[1], packet, policy, is_own) for reference, apex, plan, is_own in with_signature
    ]
    _detach(parts.element)
    signed += [_check(reference, apex, plan[1], packet, policy, is_own) for reference, apex, plan, is_own in without]
    return tuple(signed)


def _resolve(reference: Reference, parts: SignatureParts, packet: Skeleton) -> tuple[Element | None, bool]:
    """(the element, None for the whole packet; whether it is a part of the signature itself)."""
    uri = reference.uri
    if uri == "":
        return None, False
    if uri is None or not uri.startswith("#") or len(uri) < 2 or "(" in uri:
        raise CheckRefusal(Verdict.FORBIDDEN_REFERENCE, "no URI" if uri is None else uri)
    bearers = [one for one in packet.root.iter("*") if any(one.get(name) == uri[1:] for name in _IDS)]
    if not bearers:
        raise CheckRefusal(Verdict.FORBIDDEN_REFERENCE, uri)
    if len(bearers) > 1:
        raise CheckRefusal(Verdict.DUPLICATE_ID, uri)
    apex = bearers[0]
    is_own = apex is not parts.element and any(one is parts.element for one in apex.iterancestors())
    if is_own and any(one is parts.info or one is parts.value_element for one in (apex, *apex.iterancestors())):
        raise CheckRefusal(Verdict.FORBIDDEN_REFERENCE, uri)
    return apex, is_own


def _plan(reference: Reference, policy: Policy) -> tuple[bool, Step]:
    """(whether the signature is left out, the canonicalisation): all that transforms may ask for."""
    leaves_out, form = False, None
    for step in reference.steps:
        if form is not None:  # it gave octets: nothing that works on XML can follow
            raise CheckRefusal(Verdict.FORBIDDEN_TRANSFORM, step.uri)
        if step.uri == ENVELOPED and not leaves_out:
            leaves_out = True
            continue
        canonicalization_of(step.uri, policy, Verdict.FORBIDDEN_TRANSFORM)
        form = step
    return leaves_out, form or Step(Canonicalization.C14N_10, ())


def _check(
    reference: Reference, apex: Element | None, form: Step, packet: Skeleton, policy: Policy, is_own: bool
) -> SignedPart:
    algorithm = digest_algorithm_of(reference.digest_uri, policy)
    canonicalization = canonicalization_of(form.uri, policy, Verdict.FORBIDDEN_TRANSFORM)
    digest = packet.digest(apex, canonicalization, algorithm, prefixes=form.prefixes)
    if not hmac.compare_digest(digest, reference.digest):
        raise CheckRefusal(Verdict.INVALID_DIGEST, f'URI="{reference.uri}"')
    return SignedPart(
        uri=reference.uri or "",
        path="/" if apex is None else _path(apex),
        is_own=is_own,
        digest_algorithm=str(algorithm),
        digest=digest.hex(),
    )


def _path(element: Element) -> str:
    names = [one.tag.rpartition("}")[2] for one in (element, *element.iterancestors())]
    return "/" + "/".join(reversed(names))


def _detach(signature: Element) -> None:
    """Take the signature out; the text behind it stays where it was."""
    parent, before, tail = signature.getparent(), signature.getprevious(), signature.tail
    signature.tail = None
    parent.remove(signature)
    if tail:
        if before is not None:
            before.tail = (before.tail or "") + tail
        else:
            parent.text = (parent.text or "") + tail


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
    return any(one.get(name) in ids for one in (element, *element.iterancestors()) for name in _IDS if one.get(name))


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
