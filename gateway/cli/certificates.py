"""Certificates that a command is told to trust, out of PEM files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import typer
from cryptography import x509

from gateway.cli.exits import ExitCode
from gateway.cli.output import Voice

__all__ = ["read_certificates"]


def read_certificates(voice: Voice, files: Iterable[Path]) -> list[x509.Certificate]:
    """All certificates of these PEM files; ends the command where a file holds none. Raises OSError."""
    found: list[x509.Certificate] = []
    for path in files:
        try:
            found += x509.load_pem_x509_certificates(path.read_bytes())
        except ValueError:
            voice.fault(voice.say("cli.no_certificate", file=str(path)), "cli.no_certificate")
            raise typer.Exit(ExitCode.USAGE) from None
    return found
