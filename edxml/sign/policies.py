"""Policies per sender: a folder of trust for everyone, and what is different for some senders, as data.

<folder>/anchors/ …       the trust of everyone (`edxml.sign.trust`)
<folder>/policies.toml    what is different, for some senders or, without `senders`, for all others:

[[policy]]
name = "noi-vu"
senders = ["H99.05", "000.00.05.H99"]
trust = "noi-vu"                    a folder in this one, of the same form; absent: the trust of everyone
signatures = ["ecdsa-sha256"]       absent: all that are taken at all
digests = ["sha256"]
coverage = "whole"                  or "header"
revocation = "hard"                 or "soft", "off"
requires_xades = false
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

from edxml.errors import EdxmlError
from edxml.ids import OrganId, OrganIdMalformed
from edxml.sign.algorithms import DigestAlgorithm, SignatureAlgorithm
from edxml.sign.policy import Coverage, Policy, RevocationMode
from edxml.sign.trust import read_trust

__all__ = ["Policies", "PoliciesInvalid", "read_policies"]

FILE: Final = "policies.toml"
_FIELDS: Final = frozenset(
    {"name", "senders", "trust", "signatures", "digests", "coverage", "revocation", "requires_xades"}
)
C = TypeVar("C", bound=StrEnum)


class PoliciesInvalid(EdxmlError):
    """A file of policies that says what it cannot; parameters `file` and `why`."""

    code = "edxml.policies_invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """The policy of each sender that has one of its own, and that of all others."""

    default: Policy
    of_senders: Mapping[OrganId, Policy]

    def of(self, sender: OrganId | None) -> Policy:
        """Under which conditions a signature of `sender` is believed."""
        return self.default if sender is None else self.of_senders.get(sender, self.default)


def read_policies(folder: Path) -> Policies:
    """The policies that `folder` describes; without the folder nobody is trusted.

    A policy's name ends with that of its trust, so that a verdict tells on which certificates it rests.
    Raises PoliciesInvalid, TrustUnreadable, and OSError where a file may not be read.
    """
    everyone = read_trust(folder)
    default, own = everyone, dict[OrganId, Policy]()
    for entry in _entries(folder):
        try:
            policy, senders = _policy(folder, entry, everyone), _senders(entry)
        except ValueError as why:
            raise PoliciesInvalid(file=str(folder / FILE), why=str(why)) from None
        if twice := own.keys() & senders:
            raise PoliciesInvalid(file=str(folder / FILE), why=f"twice: {min(one.text for one in twice)}")
        own |= dict.fromkeys(senders, policy)
        default = default if senders else policy
    return Policies(default=default, of_senders=own)


def _entries(folder: Path) -> list[Any]:
    path = folder / FILE
    if not path.is_file():
        return []
    try:
        entries = tomllib.loads(path.read_text("utf-8")).get("policy", [])
    except ValueError as why:  # no TOML, no UTF-8
        raise PoliciesInvalid(file=str(path), why=str(why)) from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise PoliciesInvalid(file=str(path), why="policies are [[policy]] tables")
    return entries


def _policy(folder: Path, entry: Mapping[str, Any], everyone: Policy) -> Policy:
    """The policy of one table. Raises ValueError saying what is wrong with it."""
    if unknown := entry.keys() - _FIELDS:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise ValueError("a policy needs a name")
    trust = _trust(folder, entry["trust"]) if "trust" in entry else everyone
    requires_xades = entry.get("requires_xades", False)
    if not isinstance(requires_xades, bool):
        raise ValueError("requires_xades is true or false")
    return replace(
        trust,
        name=f"{name} {trust.name}",
        signature_algorithms=_algorithms(entry.get("signatures"), SignatureAlgorithm),
        digest_algorithms=_algorithms(entry.get("digests"), DigestAlgorithm),
        coverage=Coverage(entry.get("coverage", Coverage.WHOLE)),
        revocation=RevocationMode(entry.get("revocation", RevocationMode.HARD)),
        requires_xades=requires_xades,
    )


def _trust(folder: Path, name: Any) -> Policy:
    if not isinstance(name, str) or Path(name).name != name or not (folder / name).is_dir():
        raise ValueError(f"no such folder of trust: {name}")
    return read_trust(folder / name)


def _algorithms(names: Any, known: type[C]) -> frozenset[C]:
    """Algorithms by the end of their URI ("ecdsa-sha256") or their name here ("ECDSA_SHA256")."""
    if names is None:
        return frozenset(known)
    by_name = {alias: one for one in known for alias in (one.rpartition("#")[2], one.name)}
    if not isinstance(names, list) or not names or (strange := [name for name in names if name not in by_name]):
        raise ValueError(f"no such algorithm: {', '.join(map(str, strange)) if names else ''}")
    return frozenset(by_name[name] for name in names)


def _senders(entry: Mapping[str, Any]) -> frozenset[OrganId]:
    senders = entry.get("senders", [])
    if not isinstance(senders, list) or ("senders" in entry and not senders):
        raise ValueError("senders is a list of organ codes; leave it out for everyone")
    try:
        return frozenset(OrganId.parse(sender) for sender in senders)
    except (OrganIdMalformed, TypeError, AttributeError) as why:
        raise ValueError(f"no organ code: {senders}") from why
