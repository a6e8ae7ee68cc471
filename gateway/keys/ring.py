"""The ring as a value: which certificates there are, and which seals when. Read from the folder, never written here."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from gateway.keys.faults import KeysDamaged, KeysExposed, KeysMissing

__all__ = ["FIRST", "KeyState", "SealPair", "SealRing", "load_ring", "name_of"]

FIRST: Final = "seal"
"""Name of the pair that a node is made with."""

_NAME: Final = re.compile(r"seal(?:-(\d{8}T\d{6}Z))?")
_STAMP: Final = "%Y%m%dT%H%M%SZ"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class KeyState(StrEnum):
    """What a pair is at a moment."""

    CURRENT = "current"  #: it seals
    ANNOUNCED = "announced"  #: it will
    FORMER = "former"  #: it did; its certificate is kept for verification


@dataclass(frozen=True, slots=True, kw_only=True)
class SealPair:
    """One certificate of the ring with its key, if that is still there."""

    folder: Path
    name: str  #: of both files, without suffix
    begins: datetime  #: from when it seals, aware
    certificate: x509.Certificate
    key_text: bytes | None  #: PEM or PKCS#11 address; None: former, its key is erased

    @property
    def is_on_token(self) -> bool:
        """Whether the key lies on a token or HSM."""
        return self.key_text is not None and self.key_text.startswith(b"pkcs11:")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, hex: by which people compare it."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def __repr__(self) -> str:
        return f"SealPair({self.name!r})"  # a private key must not get into a log


@dataclass(frozen=True, slots=True, kw_only=True)
class SealRing:
    """All seal certificates of a node, in the order in which they begin; at least one."""

    pairs: tuple[SealPair, ...]

    def current(self, at: datetime) -> SealPair:
        """The pair that seals at that moment; the first one where none has begun."""
        return next((pair for pair in reversed(self.pairs) if pair.begins <= at), self.pairs[0])

    def announced(self, at: datetime) -> tuple[SealPair, ...]:
        """Pairs that are still to begin."""
        return tuple(pair for pair in self.pairs if pair.begins > at)

    def state(self, pair: SealPair, at: datetime) -> KeyState:
        """What the pair is at that moment."""
        if pair == self.current(at):
            return KeyState.CURRENT
        return KeyState.ANNOUNCED if pair.begins > at else KeyState.FORMER

    def covered_until(self, at: datetime) -> datetime:
        """Until when there is a valid certificate to seal with, those announced counted."""
        end = self.current(at).certificate.not_valid_after_utc
        for pair in self.announced(at):
            if pair.begins > end:
                break
            end = pair.certificate.not_valid_after_utc
        return end


def name_of(begins: datetime) -> str:
    """The name of the pair that seals from that moment (aware, whole seconds) on."""
    return f"{FIRST}-{begins.astimezone(UTC):{_STAMP}}"


def load_ring(folder: Path) -> SealRing:
    """The ring as it lies on disk; keys are not opened. Raises KeysMissing, KeysExposed, KeysDamaged."""
    pairs, name = [], FIRST
    try:
        for name in sorted(path.stem for path in folder.glob("seal*.crt")):
            found = _NAME.fullmatch(name)
            if found is None:
                raise KeysDamaged(folder=str(folder), why=f"{name}.crt")
            certificate = x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())
            begins = datetime.strptime(found[1], _STAMP).replace(tzinfo=UTC) if found[1] else None
            pairs.append(
                SealPair(
                    folder=folder,
                    name=name,
                    begins=begins or certificate.not_valid_before_utc,
                    certificate=certificate,
                    key_text=_read_key(folder / f"{name}.key"),
                )
            )
    except PermissionError as why:
        raise KeysDamaged(folder=str(folder), why=str(why)) from why
    except ValueError as why:
        raise KeysDamaged(folder=str(folder), why=f"{name}.crt: {why}") from why
    if not pairs:
        raise KeysMissing(path=str(folder / f"{FIRST}.crt"), folder=str(folder))
    return SealRing(pairs=tuple(sorted(pairs, key=lambda pair: pair.begins)))


def _read_key(path: Path) -> bytes | None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS:
            raise KeysExposed(path=str(path), mode=f"{mode:04o}")
        return path.read_bytes().strip()
    except FileNotFoundError:
        return None
