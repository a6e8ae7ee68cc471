"""Making pairs and replacing them: every step durable, each repeat harmless."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from edxml.crashpoints import crash_point, declare
from edxml.seal import generate_seal_key, seal_key_of
from edxml.sign import Signer, SigningKeyInvalid, TokenKey, load_pem_signer, open_token_signer
from gateway.keys.faults import KeysUnfit
from gateway.keys.keyring import require_key
from gateway.keys.ring import FIRST, SealPair, SealRing, load_ring, name_of

__all__ = ["make_keys", "rotate_keys"]

_OVERLAP: Final = timedelta(days=1)
"""How long a key is kept after another took over: packets that were being taken in then are long done."""

declare("keys.key_written", "the seal key has its name; there is no certificate yet, so the pair does not count")
declare("keys.certificate_written", "key and certificate have their names, both durable")
declare("keys.former_erased", "the private key of a former pair is gone, its certificate stays")


def make_keys(folder: Path, node_name: str) -> bool:
    """Make the first pair where there is none; True where it was made now.

    Safe to repeat, to kill and to run twice at once.  Raises KeysMissing where a certificate lies there without its
    key: only a restored backup, or moving the certificate away on purpose, may go on from there.

    Crash points: keys.key_written, keys.certificate_written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    with _one_at_a_time(folder):
        if any(folder.glob("seal*.crt")):
            require_key(load_ring(folder).current(datetime.now(UTC)))
            return False
        _write_pair(folder, FIRST, *generate_seal_key(node_name))
        return True


def rotate_keys(
    folder: Path,
    node_name: str,
    *,
    begins: datetime,
    now: datetime,
    days: int = 3650,
    given: tuple[bytes, bytes] | None = None,
) -> tuple[SealPair, bool]:
    """Announce a new pair that seals from `begins` (aware) on; gives it, and whether it was made now.

    Where one is announced that begins no later, or one begins in the same second, that one is given back: a repeat,
    also after a crash, makes no second, and no pair that may have sealed is written over.  One that begins sooner is
    made: a stolen key does not wait for what was announced.  `given` are key (PEM or PKCS#11 address) and
    certificate (PEM) of an authority; without it a key with a certificate of its own, valid for so many days, is made.
    Private keys of former pairs are erased, a day after they were replaced.
    Raises KeysUnfit, SigningKeyInvalid and what `load_ring` raises.

    Crash points: keys.key_written, keys.certificate_written, keys.former_erased.
    """
    begins = begins.astimezone(UTC).replace(microsecond=0)
    with _one_at_a_time(folder):
        ring = load_ring(folder)
        name = name_of(begins)
        waiting = tuple(pair for pair in ring.announced(now) if pair.begins <= begins) or tuple(
            pair for pair in ring.pairs if pair.name == name
        )
        if not waiting:
            pair = given or generate_seal_key(node_name, days=days, begins=begins)
            if given is not None:
                _check_fit(*given, begins=begins)
            for orphan in folder.glob("seal-*.key"):  # left by a crash; it was never used
                if not orphan.with_suffix(".crt").exists():
                    orphan.unlink()
            _write_pair(folder, name, *pair)
            ring = load_ring(folder)
        _erase_former(ring, now)
        made = waiting[0] if waiting else next(pair for pair in ring.pairs if pair.name == name)
        return made, not waiting


def _check_fit(key_text: bytes, certificate_pem: bytes, *, begins: datetime) -> None:
    """Raises KeysUnfit, SigningKeyInvalid and what opening raises where the pair could not seal from `begins` on."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except ValueError:
        raise SigningKeyInvalid("certificate_unreadable") from None
    since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not since <= begins < until:
        raise KeysUnfit(begins=begins, valid_from=since, valid_until=until)
    if key_text.startswith(b"pkcs11:"):
        signer: Signer = open_token_signer(TokenKey.parse(key_text.decode()), certificates=certificate_pem)
    else:
        signer = load_pem_signer(key_text, certificate_pem)
    seal_key_of(signer)


def _erase_former(ring: SealRing, now: datetime) -> None:
    for pair, successor in zip(ring.pairs, ring.pairs[1:], strict=False):
        if pair.key_text is not None and successor.begins + _OVERLAP <= now:
            (pair.folder / f"{pair.name}.key").unlink(missing_ok=True)
            _sync_folder(pair.folder)
            crash_point("keys.former_erased")


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write_pair(folder: Path, name: str, key_text: bytes, certificate_pem: bytes) -> None:
    _write_durably(folder / f"{name}.key", key_text)
    crash_point("keys.key_written")
    _write_durably(folder / f"{name}.crt", certificate_pem)
    crash_point("keys.certificate_written")


def _write_durably(path: Path, content: bytes) -> None:
    """Temporary name, fsync, rename, fsync of the folder; readable by the owner alone from the first byte on."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
