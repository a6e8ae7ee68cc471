"""A folder of trust: certificates and revocations as an operator lays them down, read into a policy.

    <folder>/anchors/         trusted as they are: root authorities, or single certificates
    <folder>/intermediates/   known between signers and anchors; not trusted by themselves
    <folder>/time-stamps/     trusted for time stamps alone
    <folder>/revocations/     lists (CRL) and answers (OCSP) that were fetched before

Certificates and lists may be DER or PEM, answers are DER and end in `.ocsp`; other names do not matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from edxml.errors import EdxmlError
from edxml.sign.policy import Policy, RevocationMode
from edxml.sign.revocation import CachedRevocations

__all__ = ["TrustUnreadable", "read_trust"]


class TrustUnreadable(EdxmlError):
    """A file of a folder of trust is none of what belongs there; parameter `file`."""

    code = "edxml.trust_unreadable"


def read_trust(folder: Path, *, revocation: RevocationMode = RevocationMode.HARD) -> Policy:
    """The policy that a folder describes; nobody is trusted where it, or a part of it, is absent.

    Its name is the start of a digest over all files, so that two verdicts can be told to rest on the same trust.
    Raises TrustUnreadable naming the file, OSError where one may not be read.
    """
    seen = hashlib.sha256()
    anchors = _certificates(folder / "anchors", seen)
    intermediates = _certificates(folder / "intermediates", seen)
    stamps = _certificates(folder / "time-stamps", seen)
    revocations = _revocations(folder / "revocations", seen)
    return Policy(
        name=f"trust:{seen.hexdigest()[:12]}" if anchors else "none",
        anchors=anchors,
        intermediates=intermediates,
        time_stamp_anchors=stamps,
        revocation=revocation,
        revocation_source=revocations,
    )


def _files(folder: Path, seen: hashlib._Hash) -> Iterator[tuple[Path, bytes]]:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            data = path.read_bytes()
            seen.update(hashlib.sha256(folder.name.encode() + data).digest())
            yield path, data


def _certificates(folder: Path, seen: hashlib._Hash) -> tuple[x509.Certificate, ...]:
    found: list[x509.Certificate] = []
    for path, data in _files(folder, seen):
        try:
            if b"-----BEGIN" in data:
                found += x509.load_pem_x509_certificates(data)
            else:
                found.append(x509.load_der_x509_certificate(data))
        except ValueError:
            raise TrustUnreadable(file=str(path)) from None
    return tuple(found)


def _revocations(folder: Path, seen: hashlib._Hash) -> CachedRevocations:
    lists, answers = CachedRevocations().lists, CachedRevocations().answers
    for path, data in _files(folder, seen):
        is_answer = path.suffix == ".ocsp"
        try:
            one = CachedRevocations.load(lists=() if is_answer else [data], answers=[data] if is_answer else ())
        except ValueError:
            raise TrustUnreadable(file=str(path)) from None
        lists, answers = lists + one.lists, answers + one.answers
    return CachedRevocations(lists=lists, answers=answers)
