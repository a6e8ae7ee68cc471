"""The ring in use: keys opened once, and new ones taken over by processes that run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from edxml.messages import Language
from edxml.seal import SealKey, load_seal_key, seal_key_of
from edxml.sign import SignatureAlgorithm, Signer, SigningKeyInvalid, TokenKey, open_token_signer
from gateway.keys.faults import KeysAway, KeysDamaged, KeysMissing
from gateway.keys.ring import SealPair, SealRing, load_ring
from gateway.model.errors import GatewayError
from monitoring import log

__all__ = ["Keyring", "open_pair", "require_key"]

_log = log.get("keys")
_UNSETTLED: Final = 1_000_000_000
"""Nanoseconds for which a folder's time of change is not believed: two changes within one tick of it look alike."""


def open_pair(pair: SealPair) -> SealKey:
    """The key to seal with (khóa niêm phong). Raises KeysMissing, KeysDamaged, KeysAway."""
    key_text = require_key(pair)
    certificate = pair.certificate.public_bytes(Encoding.PEM)
    try:
        if pair.is_on_token:
            try:
                signer = open_token_signer(TokenKey.parse(key_text.decode()), certificates=certificate)
            except SigningKeyInvalid as why:
                raise KeysAway(why) from why
            return seal_key_of(_OnToken(signer))
        return load_seal_key(key_text, certificate)
    except SigningKeyInvalid as why:
        raise KeysDamaged(folder=str(pair.folder), why=f"{pair.name}: {why.text(Language.EN)}") from why


class Keyring:
    """The ring of a running process: what another process adds is taken over without a restart. For all threads.

    A ring that has become unreadable is told in the log, and sealing goes on with what was read before: documents do
    not wait for a slip of the hand in a folder.  `truc doctor` and the readiness of a new process do refuse it.
    """

    def __init__(self, folder: Path) -> None:
        """Raises what `load_ring` raises, and KeysMissing and KeysDamaged for the key that seals now.

        A token that is away is waited for: what was accepted before can be fetched meanwhile.
        """
        self._folder = folder
        self._lock = Lock()
        self._opened: dict[str, tuple[SealPair, SealKey]] = {}
        self._changed_at = _change_of(folder)
        self._ring = load_ring(folder)
        try:
            self.key_at(datetime.now(UTC))
        except KeysAway as why:
            _log.error("keys.token_away", reason=why.cause.reason)

    def ring(self) -> SealRing:
        """The ring as it lies on disk now."""
        changed_at = _change_of(self._folder)
        if changed_at is None or changed_at != self._changed_at:
            with self._lock:
                self._read(changed_at)
        return self._ring

    def key_at(self, moment: datetime) -> SealKey:
        """The key that seals at that moment, opened once. Raises KeysMissing, KeysDamaged, KeysAway."""
        pair = self.ring().current(moment)
        held = self._opened.get(pair.name)
        if held is None or held[0] != pair:
            with self._lock:
                held = self._opened.get(pair.name)
                if held is None or held[0] != pair:
                    held = self._opened[pair.name] = (pair, open_pair(pair))
        return held[1]

    def _read(self, changed_at: int | None) -> None:
        try:
            self._ring = load_ring(self._folder)
        except GatewayError as why:
            _log.error("keys.unreadable", reason=why.reason)
        self._changed_at = changed_at


def _change_of(folder: Path) -> int | None:
    """When the folder last changed (ns); None where that is too near to tell two changes apart."""
    try:
        changed_at = folder.stat().st_mtime_ns
    except FileNotFoundError:
        return None
    return changed_at if abs(datetime.now(UTC).timestamp() * 1e9 - changed_at) > _UNSETTLED else None


@dataclass(frozen=True, slots=True)
class _OnToken:
    """A token's signer whose failures are those of a node: worth another try."""

    signer: Signer

    @property
    def algorithm(self) -> SignatureAlgorithm:
        return self.signer.algorithm

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        return self.signer.certificates

    def sign(self, data: bytes) -> bytes:
        try:
            return self.signer.sign(data)
        except SigningKeyInvalid as why:
            raise KeysAway(why) from why


def require_key(pair: SealPair) -> bytes:
    """What its key file holds. Raises KeysMissing where the key is gone."""
    if pair.key_text is None:
        raise KeysMissing(path=str(pair.folder / f"{pair.name}.key"), folder=str(pair.folder))
    return pair.key_text
