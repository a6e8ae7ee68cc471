"""Keys in hardware: a signer whose private key never leaves its token or HSM (PKCS#11).

    place = TokenKey.parse(
        "pkcs11:token=ubnd-tinh;object=ky-so?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/etc/truc/pin"
    )
    signer = open_token_signer(place)
    sign_packet(packet, out, signer)

Where a key lies is told by one text, the URI of RFC 7512; the PIN stands in a file of its own and never in the URI.
One session is opened and kept; where it is lost (the device was away, the driver restarted), it is opened again.  A PIN
that was refused is not tried again by this process until its file is written anew: tokens lock after a few.  A device
that does not answer is waited for `PATIENCE` seconds, by one; everybody else is told at once until it answers.
`pkcs11` is loaded when a token is first opened and by nobody else.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import unquote, unquote_to_bytes

from cryptography import x509

from edxml.messages import system_words
from edxml.sign._turns import PATIENCE, Turns
from edxml.sign.algorithms import SignatureAlgorithm, fits_key, is_right_signature
from edxml.sign.signer import SigningKeyInvalid, default_algorithm, issuers_of, read_certificates

if TYPE_CHECKING:
    from pkcs11 import PKCS11Error, Session

__all__ = ["TokenKey", "TokenSigner", "open_token_signer"]

Result = TypeVar("Result")

_SCHEME: Final = "pkcs11:"
_PROBE: Final = b"Which certificate is this key's?"
_refused: Final[dict[tuple[Path, str], bytes]] = {}
"""What a token refused last, by driver and label: digest of the PIN and of its file's time, so that writing the file
anew is another try.  For the whole process, since a token counts whoever asks."""

_turns: Final[dict[tuple[Path, str], Turns]] = {}
"""The turns of each device, by driver and label: for the whole process, since one that hangs does so for everybody."""

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenKey:
    """Where a private key lies: driver, token, object on it, and the file that holds the PIN."""

    module: Path  #: the maker's PKCS#11 library
    token: str  #: label of the token
    label: str = ""  #: CKA_LABEL of the key; "" where `key_id` says enough
    key_id: bytes = b""  #: CKA_ID of the key; empty where `label` says enough
    pin_file: Path  #: its first line is the PIN; only its owner may read it

    @classmethod
    def parse(cls, uri: str) -> TokenKey:
        """The place that a PKCS#11 URI (RFC 7512) names.

        Taken are `token`, `object`, `id`, `type=private`, `module-path` and `pin-source`; the key needs `object` or
        `id`, all else but `type` must be there.  Raises SigningKeyInvalid; also for a `pin-value`, which any user of
        the machine could read in the list of processes.
        """
        path, _, query = uri.strip().removeprefix(_SCHEME).partition("?")
        said: dict[str, str] = {}
        for part in (*path.split(";"), *query.split("&")) if uri.strip().startswith(_SCHEME) else ():
            name, sign, value = part.partition("=")
            if name in said or (part and not sign):
                raise SigningKeyInvalid("uri", detail=name)
            said[name] = value
        if "pin-value" in said:
            raise SigningKeyInvalid("pin_in_uri")
        needed = {"token", "module-path", "pin-source", "id" if said.get("id") else "object"}
        missing = sorted(name for name in needed if not said.get(name))
        unknown = sorted(said.keys() - needed - {"", "object", "type"})
        if unknown or missing or said.get("type", "private") != "private":
            raise SigningKeyInvalid("uri", detail=", ".join(unknown or missing or ["type"]))
        return cls(
            module=Path(unquote(said["module-path"])),
            token=unquote(said["token"]),
            label=unquote(said.get("object", "")),
            key_id=unquote_to_bytes(said.get("id", "")),
            pin_file=Path(unquote(said["pin-source"]).removeprefix("file:")),
        )

    @property
    def name(self) -> str:
        """The object's label, else its id in hex: what people are told."""
        return self.label or self.key_id.hex()


class TokenSigner:
    """Signs on a token. Safe to use from several threads; each signature is one turn of the token.

    Made by `open_token_signer`.  Not for a process that forks after it: a driver's sessions do not survive that.
    """

    __slots__ = ("_key", "_place", "_session", "_turns", "algorithm", "certificates")

    def __init__(self, place: TokenKey) -> None:
        self.algorithm = SignatureAlgorithm.RSA_SHA256
        self.certificates: tuple[x509.Certificate, ...] = ()
        self._place = place
        self._turns = _turns.setdefault((place.module, place.token), Turns())
        self._session: Session | None = None
        self._key: Any = None

    def sign(self, data: bytes) -> bytes:
        """The signature value over `data`, as XML-DSig writes it.

        A lost session is opened once more.  Raises SigningKeyInvalid: token or key are gone, the PIN is not taken, or
        the device does not answer within `PATIENCE` seconds.
        """
        return self._in_turn(lambda: self._sign(self.algorithm, data))

    def close(self) -> None:
        """Give the session back; who hangs is not waited for. Safe to repeat; a later `sign` opens a new one."""
        try:
            self._turns.take(self._drop)
        except TimeoutError:
            pass  # it has the session for as long as it hangs, and nobody can take that from it

    def _in_turn(self, work: Callable[[], Result]) -> Result:
        try:
            return self._turns.take(work)
        except TimeoutError:
            raise _fault("token_silent", self._place, detail=f"{PATIENCE:g}") from None

    def __repr__(self) -> str:
        return f"TokenSigner({self._place.token!r}, {self._place.name!r}, {self.algorithm.name})"

    def _sign(self, algorithm: SignatureAlgorithm, data: bytes) -> bytes:
        import pkcs11

        if self._key is not None:
            try:
                return _signature(self._key, algorithm, data)
            except pkcs11.PKCS11Error:  # perhaps only the session is lost; the second try tells what is wrong
                self._drop()
        with _told(self._place):
            self._open()
            return _signature(self._key, algorithm, data)

    def _open(self) -> None:
        import pkcs11

        self._drop()
        place = self._place
        pin, written_at = _read_pin(place)
        device = (place.module, place.token)
        trial = hashlib.sha256(b"%d %b" % (written_at, pin)).digest()
        if _refused.get(device) == trial:
            raise _fault("pin_wrong", place)
        try:
            driver = pkcs11.lib(str(place.module))
        except RuntimeError as why:  # of any kind: it cannot be loaded, or does not start
            raise _fault("module_unusable", place, detail=str(why)) from None
        token = driver.get_token(token_label=place.token)
        try:
            self._session = token.open(user_pin=pin.decode())
        except pkcs11.UserAlreadyLoggedIn:  # by another signer of this process: a login counts for all of it
            self._session = token.open()
        except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange):
            _refused[device] = trial
            raise
        wanted: dict[pkcs11.Attribute, Any] = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}
        wanted |= {pkcs11.Attribute.LABEL: place.label} if place.label else {}
        wanted |= {pkcs11.Attribute.ID: place.key_id} if place.key_id else {}
        found = list(self._session.get_objects(wanted))
        if len(found) != 1:
            raise _fault("token_key_ambiguous" if found else "token_key_missing", place)
        self._key = found[0]

    def _drop(self) -> None:
        session, self._session, self._key = self._session, None, None
        if session is None:
            return
        import pkcs11

        try:
            session.close()
        except pkcs11.PKCS11Error:
            pass  # it is lost, and that is why it is dropped

    def _load(self, certificates: bytes | None, algorithm: SignatureAlgorithm | None) -> None:
        """Find the certificate of the key, by trying: a private key on a token need not show its public half."""
        place = self._place
        trial, value, held = self._in_turn(lambda: self._probe(has_own=certificates is None))
        known = held if certificates is None else read_certificates(certificates)
        own = next((one for one in known if is_right_signature(trial, one.public_key(), value, _PROBE)), None)
        if own is None:
            raise (
                _fault("token_certificate_missing", place)
                if not known
                else SigningKeyInvalid("certificate_of_other_key")
            )
        self.algorithm = algorithm or default_algorithm(own.public_key())
        if not fits_key(self.algorithm, own.public_key()):
            raise SigningKeyInvalid("algorithm_of_other_key")
        self.certificates = (own, *issuers_of(own, known))

    def _probe(self, *, has_own: bool) -> tuple[SignatureAlgorithm, bytes, list[x509.Certificate]]:
        """A first signature, by which algorithm, and the certificates on the token where it `has_own`."""
        with _told(self._place):
            import pkcs11

            self._open()
            if self._key.key_type not in (pkcs11.KeyType.RSA, pkcs11.KeyType.EC):
                raise SigningKeyInvalid("key_kind")
            is_rsa = self._key.key_type is pkcs11.KeyType.RSA
            trial = SignatureAlgorithm.RSA_SHA256 if is_rsa else SignatureAlgorithm.ECDSA_SHA256
            value = _signature(self._key, trial, _PROBE)
            return trial, value, self._held_certificates() if has_own else []

    def _held_certificates(self) -> list[x509.Certificate]:
        """The X.509 certificates on the token."""
        import pkcs11

        assert self._session is not None, "opened just before"
        wanted = {
            pkcs11.Attribute.CLASS: pkcs11.ObjectClass.CERTIFICATE,
            pkcs11.Attribute.CERTIFICATE_TYPE: pkcs11.CertificateType.X_509,
        }
        try:
            return [
                x509.load_der_x509_certificate(bytes(one[pkcs11.Attribute.VALUE]))
                for one in self._session.get_objects(wanted)
            ]
        except ValueError:
            raise SigningKeyInvalid("certificate_unreadable") from None


def open_token_signer(
    place: TokenKey, *, certificates: bytes | None = None, algorithm: SignatureAlgorithm | None = None
) -> TokenSigner:
    """The signer of a key on a token, logged in and tried with one signature, which also finds its certificate.

    `certificates` (PEM, in any order) are used in place of those on the token.  Without `algorithm` it follows from the
    key as for keys in memory.  Raises SigningKeyInvalid.
    """
    signer = TokenSigner(place)
    try:
        signer._load(certificates, algorithm)
    except SigningKeyInvalid:
        signer.close()
        raise
    return signer


def _signature(key: Any, algorithm: SignatureAlgorithm, data: bytes) -> bytes:
    import pkcs11

    scheme, _, name = algorithm.name.rpartition("_")
    if scheme == "ECDSA":  # hashed here: every token knows this mechanism, few know those that hash
        digest = hashlib.new(name, data).digest()
        return bytes(key.sign(digest, mechanism=pkcs11.Mechanism.ECDSA))
    if scheme == "RSA_PSS":
        parameter = (pkcs11.Mechanism[name], pkcs11.MGF[name], hashlib.new(name).digest_size)
        return bytes(key.sign(data, mechanism=pkcs11.Mechanism[f"{name}_RSA_PKCS_PSS"], mechanism_param=parameter))
    return bytes(key.sign(data, mechanism=pkcs11.Mechanism[f"{name}_RSA_PKCS"]))


def _read_pin(place: TokenKey) -> tuple[bytes, int]:
    """The PIN, and when its file was written (ns): both of the file that was opened, whatever takes its name."""
    try:
        with place.pin_file.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_mode & _OTHERS:
                raise _fault("pin_exposed", place)
            pin = file.readline().rstrip(b"\r\n")
        pin.decode()
    except (OSError, UnicodeDecodeError) as why:
        detail = system_words(why) if isinstance(why, OSError) else "UTF-8"
        raise _fault("pin_unreadable", place, detail=detail) from None
    return pin, status.st_mtime_ns


@contextmanager
def _told(place: TokenKey) -> Iterator[None]:
    """What the driver says becomes an error of ours that names token and key."""
    try:
        import pkcs11
    except ImportError:
        raise SigningKeyInvalid("pkcs11_missing") from None
    try:
        yield
    except pkcs11.PKCS11Error as why:
        raise _fault(_reason(why), place, detail=type(why).__name__) from None


def _reason(why: PKCS11Error) -> str:
    import pkcs11

    table: tuple[tuple[tuple[type[PKCS11Error], ...], str], ...] = (
        ((pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange), "pin_wrong"),
        ((pkcs11.PinLocked,), "pin_locked"),
        ((pkcs11.PinExpired, pkcs11.UserPinNotInitialized), "pin_expired"),
        ((pkcs11.NoSuchToken, pkcs11.TokenNotPresent, pkcs11.DeviceRemoved), "token_missing"),
        ((pkcs11.MultipleTokensReturned,), "token_ambiguous"),
        ((pkcs11.MechanismInvalid, pkcs11.KeyTypeInconsistent), "token_cannot"),
    )
    return next((reason for kinds, reason in table if isinstance(why, kinds)), "token_failed")


def _fault(reason: str, place: TokenKey, *, detail: str = "") -> SigningKeyInvalid:
    return SigningKeyInvalid(
        reason, token=place.token, key=place.name, module=place.module, file=place.pin_file, detail=detail
    )
