"""Who sends a request, provable without a shared secret: HTTP Message Signatures (RFC 9421) with the node's seal key.

The recipient verifies with the node's certificate (`/v1/seal-certificates`), which `keyid` names by its SHA-256.  What
is signed is said by `Signature-Input` itself; the algorithm is `ecdsa-p256-sha256` (RFC 9421 §3.3.4: r and s, 32 bytes
each).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives import hashes

from edxml.sign.signer import Signer

__all__ = ["content_digest", "sign_request"]

_LABEL: Final = "truc"
_ALGORITHM: Final = "ecdsa-p256-sha256"


def content_digest(digest: str) -> str:
    """The value of `Content-Digest` (RFC 9530) for a SHA-256 in hex."""
    return f"sha-256=:{b64encode(bytes.fromhex(digest)).decode()}:"


def sign_request(
    *, method: str, uri: str, headers: Mapping[str, str], covered: tuple[str, ...], signer: Signer, created: int
) -> dict[str, str]:
    """The headers `Signature-Input` and `Signature` for a request to `uri`, exactly as it is sent.

    Signed are method, target URI and those of the headers `covered` (lower-case names) that the request has; `created`
    is in seconds since 1970.  `signer` must be on P-256 with SHA-256.  Raises what signing raises.
    """
    known = {name.lower(): value for name, value in headers.items()}
    parts = {"@method": method, "@target-uri": uri} | {name: known[name] for name in covered if name in known}
    names = " ".join(f'"{name}"' for name in parts)
    fingerprint = signer.certificates[0].fingerprint(hashes.SHA256()).hex()
    params = f'({names});created={created};keyid="{fingerprint}";alg="{_ALGORITHM}"'
    lines = [f'"{name}": {value.strip()}' for name, value in parts.items()]
    base = "\n".join([*lines, f'"@signature-params": {params}'])
    value = b64encode(signer.sign(base.encode("ascii"))).decode()
    return {"Signature-Input": f"{_LABEL}={params}", "Signature": f"{_LABEL}=:{value}:"}
