"""Broker (máy chủ hàng đợi): how it is reached, and everything that may be wrong with it, each a sentence of its own.

Nothing here is fatal to a running node: tickets are hints, the transport tries again for ever, and polled channels do
not need it.  Commands (`truc broker …`) end with these errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Final, Self
from urllib.parse import unquote, urlsplit

from edxml.messages import system_words
from gateway.model.errors import GatewayError

__all__ = [
    "Address",
    "BrokerAccess",
    "BrokerAway",
    "BrokerBlocked",
    "BrokerError",
    "BrokerExpired",
    "BrokerForbidden",
    "BrokerFrozen",
    "BrokerKeyLocked",
    "BrokerMislaid",
    "BrokerMisnamed",
    "BrokerNotTls",
    "BrokerOld",
    "BrokerRefused",
    "BrokerUnfit",
    "BrokerUnknown",
    "BrokerUnreadable",
    "BrokerUntrusted",
    "Cause",
    "ConsumerTimedOut",
    "NodeUntrusted",
    "QueueGone",
]

_PORTS: Final = {"amqp": 5672, "amqps": 5671}


class Cause(StrEnum):
    """Why a link to the broker is down, for log lines: what an operator looks at first."""

    REFUSED = "refused"  #: nobody listens at that port
    NAME_UNKNOWN = "name_unknown"  #: the address has no such name
    UNREACHABLE = "unreachable"  #: no way leads there
    TIMED_OUT = "timed_out"  #: no answer in time
    CUT = "cut"  #: the connection ended
    CERTIFICATE = "certificate"  #: one of both sides is not believed
    CREDENTIALS = "credentials"  #: who we say that we are, or what we may
    OTHER = "other"


class BrokerError(GatewayError):
    """The broker cannot be used as it should be. Parameters `address`, `why`."""

    code = "broker.error"
    retryable = True
    usual: ClassVar[Cause | None] = None

    @property
    def cause(self) -> Cause | None:
        """Why there is no link; None where there is one, or its reason says all."""
        told: Cause | None = self.params.get("cause", self.usual)
        return told


class BrokerAway(BrokerError):
    """Nobody answers there, or the connection was cut. Parameters `address`, `why`, and `cause` where it is known."""

    code = "broker.away"
    usual = Cause.OTHER


class BrokerFrozen(BrokerError):
    """It is connected and says nothing any more. Parameter `address`."""

    code = "broker.frozen"
    usual = Cause.TIMED_OUT


class BrokerRefused(BrokerError):
    """User or password are wrong. Parameters `address`, `user`."""

    code = "broker.refused"
    usual = Cause.CREDENTIALS


class BrokerForbidden(BrokerError):
    """The user may not use the virtual host, or not do this in it. Parameters `address`, `vhost`, `why`."""

    code = "broker.forbidden"
    usual = Cause.CREDENTIALS


class BrokerUntrusted(BrokerError):
    """TLS was not agreed on. Parameters `address`, `why`: OpenSSL's word."""

    code = "broker.untrusted"
    usual = Cause.CERTIFICATE


class BrokerNotTls(BrokerUntrusted):
    """Whoever answers there does not speak TLS 1.3."""

    code = "broker.not_tls"
    usual = Cause.OTHER


class BrokerUnknown(BrokerUntrusted):
    """The broker's certificate is of no authority that we trust."""

    code = "broker.certificate_unknown"


class BrokerMisnamed(BrokerUntrusted):
    """The broker's certificate is for another name. Parameter `host`: the name that we called."""

    code = "broker.certificate_name"


class BrokerExpired(BrokerUntrusted):
    """The broker's certificate is out of date, or not valid yet: then one of the clocks may be wrong."""

    code = "broker.certificate_over"


class BrokerUnfit(BrokerUntrusted):
    """The certificates are not made for what they are used for: an authority that is none, a client's on a broker."""

    code = "broker.certificate_unfit"


class NodeUntrusted(BrokerUntrusted):
    """The broker does not take our certificate, or wants one and we show none."""

    code = "broker.certificate_ours"


class BrokerOld(BrokerError):
    """The broker is older than this program needs, or no RabbitMQ. Parameters `address`, `found`, `wanted`."""

    code = "broker.old"


class BrokerUnreadable(BrokerError):
    """A file with a credential or certificate cannot be used. Parameters `path`, `why`."""

    code = "broker.unreadable"


class BrokerKeyLocked(BrokerUnreadable):
    """Our key is locked with a passphrase, for which a process has nobody to ask. Parameter `path`."""

    code = "broker.key_locked"


class BrokerMislaid(BrokerError):
    """Queues or exchanges are missing or laid out otherwise. Parameters `address`, `names`."""

    code = "broker.mislaid"


class BrokerBlocked(BrokerError):
    """The broker takes nothing: its memory or disk alarm is raised. Parameters `address`, `why`."""

    code = "broker.blocked"


class QueueGone(BrokerError):
    """A queue or exchange was deleted while it was used. Parameters `address`, `name`."""

    code = "broker.queue_gone"


class ConsumerTimedOut(BrokerError):
    """Tickets were held longer than the broker allows. Parameters `address`, `why`."""

    code = "broker.consumer_timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One node of the broker, and the virtual host there."""

    host: str
    port: int
    vhost: str

    def __str__(self) -> str:
        """For people."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAccess:
    """Where the broker is and the files by which it lets us in; they are read anew for every connection."""

    addresses: tuple[Address, ...]
    is_tls: bool
    user_file: str = ""
    password_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    @classmethod
    def parse(cls, url: str, **files: str) -> Self:
        """From `amqps://host[:port][/vhost]`, several divided by commas. Raises ValueError for anything else."""
        addresses, schemes = [], set()
        for each in url.split(","):
            parts = urlsplit(each.strip())
            if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
                raise ValueError(f"not an address of a broker: {each!r}")
            schemes.add(parts.scheme)
            vhost = unquote(parts.path.removeprefix("/")) or "/"
            addresses.append(Address(host=parts.hostname, port=parts.port or _PORTS[parts.scheme], vhost=vhost))
        if len(schemes) > 1:
            raise ValueError("all addresses are amqp, or all are amqps")
        return cls(addresses=tuple(addresses), is_tls=schemes == {"amqps"}, **files)

    def credentials(self) -> tuple[str, str]:
        """User and password as the files say now; RabbitMQ's own guest where no file is named.

        Raises BrokerUnreadable.
        """
        user = _read(self.user_file) if self.user_file else "guest"
        return user, _read(self.password_file) if self.password_file else "guest"


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as why:
        raise BrokerUnreadable(path=path, why=system_words(why)) from why
