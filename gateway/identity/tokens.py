"""Tokens (mã truy cập): 256 random bits for the caller, their SHA-256 for the store.

A token of this many random bits needs no salt and no slow hash: nobody can guess one, and whoever reads the store
cannot go back from a digest.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets

__all__ = ["PREFIX", "digest_token", "is_token", "new_token"]

PREFIX = "truc_"
"""What every token begins with, so that scanners of leaked secrets and people can tell what they found."""

_SHAPE = re.compile(r"truc_[A-Za-z0-9_-]{43}", re.ASCII)


def new_token() -> tuple[str, str]:
    """A token to be shown once, and the digest to be stored."""
    token = PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    return token, digest_token(token)


def is_token(text: str) -> bool:
    """Whether `text` has the shape of a token of ours."""
    return _SHAPE.fullmatch(text) is not None


def digest_token(token: str) -> str:
    """SHA-256 of a token, lower-case hex."""
    return hashlib.sha256(token.encode()).hexdigest()
