"""Names in certificates as one line of text: what is written into one is whoever asked for the certificate's own."""

from __future__ import annotations

import re

from cryptography import x509

from edxml.characters import COMMANDING

__all__ = ["name_text"]


def name_text(name: x509.Name) -> str:
    """The name by RFC 4514, with every character that moves a cursor, breaks a line or turns the direction of writing
    as `\\hh` (2.4): none could forge a second line beside its own, or tell a terminal what to do."""
    return COMMANDING.sub(_escaped, name.rfc4514_string())


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"\\{byte:02X}" for byte in found[0].encode())
