"""One HTTP request to an agency's server, bounded in time and size, and the truth about how far it got.

Not a general client: one connection a request, no redirects, no proxies (environment variables are not looked at), no
cookies, no compression.  What fails before the first byte of the request is `NotSent`: surely not arrived.  What
fails after it is `NoAnswer`: may have arrived.  Every wait is bounded, also against a server that takes or gives one
byte at a time: the standard library's `http.client` runs over a socket whose every step looks at the clock.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from adapters.contract import AdapterError, boot_now
from edxml.messages import SystemWords, system_words

__all__ = ["Answer", "Endpoint", "Network", "NoAnswer", "NotSent", "RestFault"]

_CHUNK: Final = 16_384
"""Bytes given to the socket at once: each such piece must be taken within `idle_wait`."""
_BODY_MOST: Final = 16_384
"""Bytes of an answer's body that are read; the rest is nobody's business."""
_SECRET_MOST: Final = 8_192

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class RestFault(AdapterError):
    """The agency's server cannot be asked, or its answer says nothing.

    Parameters of the text: `url`, `reason` (a message code), `why` (what was seen, for operators).
    """

    code = "rest.fault"
    retryable = True

    def __init__(self, *, url: str, reason: str, why: str = "") -> None:
        self.reason = reason
        super().__init__(url=url, reason=reason, why=why or reason)


class NotSent(RestFault):
    """Not one byte of the request went out."""


class NoAnswer(RestFault):
    """Bytes went out, and no usable answer came back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the server answered. `headers` by lower-case name; `body` its first 16 KiB; `took_all` of what was sent."""

    status: int
    phrase: str
    headers: Mapping[str, str]
    body: bytes
    took_all: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An agency's address as its channel's row says it. Waits in seconds; secrets and certificates are files."""

    url: str  #: without a slash at its end
    host: str
    port: int
    path: str
    is_tls: bool
    networks: tuple[Network, ...]  #: where the host may be; none: public addresses, and one that the URL itself spells
    token_file: Path | None
    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None
    connect_wait: float
    idle_wait: float

    @property
    def target(self) -> str:
        """The URL of packets, as it is signed: that of a host alone ends in a slash."""
        return self.url if self.path else f"{self.url}/"

    def ask(
        self, method: str, suffix: str, headers: Mapping[str, str], body: Iterable[bytes], *, until: float,
        answer_wait: float,
    ) -> Answer:  # fmt: skip
        """One request; `until` on the boot-time clock bounds all of it, `answer_wait` the silence after the last byte.

        Nothing of `body` is read before the connection stands. Raises NotSent, NoAnswer, and what `body` raises: bytes
        may have gone out then, never the last ones.
        """
        secrets = self._authorization()
        with self._connect(until) as plain, self._secure(plain, until) as channel:
            paced = _Paced(channel, until, self.idle_wait)
            connection = http.client.HTTPConnection(self.host, self.port)
            connection.auto_open = 0
            connection.sock = paced
            connection.putrequest(method, (self.path + suffix) or "/", skip_host=True, skip_accept_encoding=True)
            for name, value in {"Host": self.url.split("/")[2], **headers, **secrets, "Connection": "close"}.items():
                connection.putheader(name, value)
            took_all = self._send(connection, body)
            paced.idle_wait = answer_wait
            try:
                return _read(connection.getresponse(), took_all=took_all)
            except (OSError, http.client.HTTPException, ValueError) as why:
                raise NoAnswer(url=self.url, reason="rest.unanswered", why=_words(why)) from why

    def _authorization(self) -> dict[str, str]:
        """Read each time, so that a token may be replaced while the node runs."""
        if self.token_file is None:
            return {}
        try:
            with self.token_file.open("rb") as stream:
                token = stream.read(_SECRET_MOST + 1).strip().decode("ascii")
        except (OSError, UnicodeDecodeError) as why:
            raise self._not_sent("rest.secret_unreadable", f"{self.token_file}: {_words(why)}") from why
        if not token or len(token) > _SECRET_MOST or not token.isprintable() or " " in token:
            raise self._not_sent("rest.secret_unreadable", str(self.token_file))
        return {"Authorization": f"Bearer {token}"}

    def _not_sent(self, reason: str, why: str = "") -> NotSent:
        return NotSent(url=self.url, reason=reason, why=why)

    def _connect(self, until: float) -> socket.socket:
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError as why:
            raise self._not_sent("rest.name_unknown", _words(why)) from why
        addresses = [address for *_, address in found if self._is_allowed(str(address[0]))]
        if not addresses:
            raise self._not_sent("rest.address_refused", ", ".join(sorted({str(each[-1][0]) for each in found})))
        last: OSError | None = None
        for address in addresses:
            left = min(self.connect_wait, until - boot_now())
            if left <= 0:
                raise self._not_sent("rest.out_of_time")
            try:
                return socket.create_connection((str(address[0]), self.port), timeout=left)
            except OSError as why:
                last = why
        reason = "channel.refused" if isinstance(last, ConnectionRefusedError) else "rest.unreachable"
        raise self._not_sent(reason, _words(last)) from last

    def _is_allowed(self, address: str) -> bool:
        ip = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        if self.networks:
            return any(ip in network for network in self.networks)
        return ip.is_global or address == self.host

    def _secure(self, plain: socket.socket, until: float) -> socket.socket:
        if not self.is_tls:
            return plain
        plain.settimeout(max(0.001, min(self.connect_wait, until - boot_now())))
        try:
            return self._tls().wrap_socket(plain, server_hostname=self.host)
        except ssl.SSLCertVerificationError as why:
            raise self._not_sent("rest.untrusted", why.verify_message) from why
        except (OSError, ValueError) as why:
            raise self._not_sent("rest.tls", _words(why)) from why

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            # As before Python 3.13: many agencies' authorities are old, and nobody is trusted half-way.
            context.verify_flags &= ~(ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file, password=_ask_nobody)
        except OSError as why:
            files = ", ".join(str(each) for each in (self.ca_file, self.cert_file, self.key_file) if each is not None)
            raise self._not_sent("rest.secret_unreadable", f"{files}: {_words(why)}") from why
        return context

    def _send(self, connection: http.client.HTTPConnection, body: Iterable[bytes]) -> bool:
        """Whether all of it was taken. One that stops taking may have answered already, e.g. that it is too large."""
        try:
            connection.endheaders()
            for piece in body:
                connection.send(piece)
        except OSError:
            return False
        return True


class _Paced:
    """A socket for `http.client`: no piece waits longer than `idle_wait`, and nothing goes on after `until`."""

    def __init__(self, channel: socket.socket, until: float, idle_wait: float) -> None:
        self._channel = channel
        self._until = until
        self.idle_wait = idle_wait

    def _arm(self) -> None:
        left = min(self.idle_wait, self._until - boot_now())
        if left <= 0:
            raise TimeoutError("out of time")
        self._channel.settimeout(left)

    def sendall(self, data: bytes) -> None:
        """All of it, in pieces that are timed one by one."""
        view = memoryview(data)
        for start in range(0, len(view), _CHUNK):
            self._arm()
            self._channel.sendall(view[start : start + _CHUNK])

    def receive_into(self, buffer: memoryview) -> int:
        """One step of reading."""
        self._arm()
        return self._channel.recv_into(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What the answer is read from."""
        return io.BufferedReader(_Incoming(self))

    def close(self) -> None:
        """Whoever opened the connection closes it."""


class _Incoming(io.RawIOBase):
    def __init__(self, paced: _Paced) -> None:
        self._paced = paced

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._paced.receive_into(buffer)


def _read(response: http.client.HTTPResponse, *, took_all: bool) -> Answer:
    return Answer(
        status=response.status,
        phrase=response.reason,
        headers={name.lower(): value for name, value in response.getheaders()},
        body=response.read(_BODY_MOST),
        took_all=took_all,
    )


def _ask_nobody() -> NoReturn:
    """OpenSSL would ask the terminal for a key's passphrase, and the channel wait for the answer."""
    raise PermissionError("the key is locked with a passphrase")


def _words(why: BaseException | None) -> str:
    """What the system said, short."""
    said = "" if why is None else system_words(why)
    return SystemWords("".join(each if each.isprintable() else "\ufffd" for each in said)[:200])
