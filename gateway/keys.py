"""The node's keys: the seal key and its certificate, in files that only the node's own user can read.

    <data>/keys/            0700
    <data>/keys/seal.key    0600, P-256, PKCS#8 PEM
    <data>/keys/seal.crt    0600, self-signed certificate, PEM

The certificate is written last and is what says that the pair is whole: a key without one was never used.  A
certificate without its key is never repaired by itself, because seals made with the lost key would be orphaned.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edxml import seal
from edxml.crashpoints import crash_point, declare
from edxml.errors import SealInvalid
from gateway.model.errors import GatewayError

__all__ = ["KeysDamaged", "KeysExposed", "KeysMissing", "load_seal_key", "make_keys"]

_KEY = "seal.key"
_CERTIFICATE = "seal.crt"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

declare("keys.key_written", "the seal key has its name; there is no certificate yet, so the pair does not count")
declare("keys.certificate_written", "key and certificate have their names, both durable")


class KeysMissing(GatewayError):
    """There are no keys in the folder, or one of the pair is gone. Parameters `path`, `folder`."""

    code = "keys.missing"


class KeysExposed(GatewayError):
    """Others than the node's user may read a key. Parameters `path`, `mode`."""

    code = "keys.exposed"


class KeysDamaged(GatewayError):
    """Key and certificate cannot be read, or do not belong together. Parameters `folder`, `why`."""

    code = "keys.damaged"


def make_keys(folder: Path, node_name: str) -> bool:
    """Make the seal key and its certificate where there are none; True where they were made now.

    Safe to repeat, to kill and to run twice at once.  Raises KeysMissing where a certificate lies there without its
    key: only a restored backup, or moving the certificate away on purpose, may go on from there.

    Crash points: keys.key_written, keys.certificate_written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    key, certificate = folder / _KEY, folder / _CERTIFICATE
    with _one_at_a_time(folder):
        if certificate.exists():
            if not key.exists():
                raise KeysMissing(path=str(key), folder=str(folder))
            return False
        key_pem, certificate_pem = seal.generate_seal_key(node_name)
        _write_durably(key, key_pem)
        crash_point("keys.key_written")
        _write_durably(certificate, certificate_pem)
        crash_point("keys.certificate_written")
        return True


def load_seal_key(folder: Path) -> seal.SealKey:
    """The seal key (khóa niêm phong) of the node. Raises KeysMissing, KeysExposed, KeysDamaged."""
    pems = []
    for path in (folder / _KEY, folder / _CERTIFICATE):
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            if path.name == _KEY and mode & _OTHERS:
                raise KeysExposed(path=str(path), mode=f"{mode:04o}")
            pems.append(path.read_bytes())
        except FileNotFoundError as why:
            raise KeysMissing(path=str(path), folder=str(folder)) from why
        except PermissionError as why:
            raise KeysDamaged(folder=str(folder), why=str(why)) from why
    try:
        return seal.load_seal_key(*pems)
    except SealInvalid as why:
        raise KeysDamaged(folder=str(folder), why=why.params["why"]) from why


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


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
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
