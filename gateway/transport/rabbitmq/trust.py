"""Trust: the TLS context for a broker, and which of its six faults ended a handshake."""

from __future__ import annotations

import ssl
from typing import Final, NoReturn

from edxml.messages import system_words
from gateway.transport.broker import (
    Address,
    BrokerAccess,
    BrokerExpired,
    BrokerKeyLocked,
    BrokerMisnamed,
    BrokerNotTls,
    BrokerUnfit,
    BrokerUnknown,
    BrokerUnreadable,
    BrokerUntrusted,
    NodeUntrusted,
)

__all__ = ["explain_tls", "tls_context"]

_OUT_OF_DATE: Final = frozenset({9, 10})  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_OTHER_NAME: Final = frozenset({62, 64})  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_UNKNOWN: Final = frozenset({2, 18, 19, 20, 21})  # no issuer, self-signed alone or in the chain, not to be traced
_UNFIT: Final = frozenset({25, 26, 32, 79})  # too many below an authority, purpose, may not sign, no authority at all
_NO_TLS: Final = (
    "WRONG_VERSION_NUMBER",
    "UNSUPPORTED_PROTOCOL",
    "ALERT_PROTOCOL_VERSION",
    "HTTP_REQUEST",
    "UNEXPECTED_EOF",
)
_ALERT: Final = "ALERT"  # told by the other side: after our checks were done it is our certificate that it minds


def tls_context(access: BrokerAccess) -> ssl.SSLContext:
    """TLS 1.3; the broker's certificate must be of the authority named (else of one that the machine trusts).

    What was trusted is no other before and after a change of Python, which from 3.13 on asks an authority to say what
    its key is for (RFC 5280 §4.2.1.3) and believes one that another one answers for.

    Files are read anew. Raises BrokerUnreadable; of a key with a passphrase BrokerKeyLocked: left to itself OpenSSL
    asks the terminal, and everybody waits for the answer.
    """

    def ask_nobody() -> NoReturn:
        raise BrokerKeyLocked(path=access.key_file or access.cert_file)

    path = access.ca_file
    try:
        context = ssl.create_default_context(cafile=path or None)
        context.verify_flags &= ~(ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if access.cert_file:
            path = ", ".join(filter(None, (access.cert_file, access.key_file)))
            context.load_cert_chain(access.cert_file, access.key_file or None, password=ask_nobody)
    except (OSError, ssl.SSLError) as why:
        raise BrokerUnreadable(path=path, why=system_words(why)) from why
    return context


def explain_tls(error: ssl.SSLError, address: Address) -> BrokerUntrusted:
    """Our error for OpenSSL's."""
    at = str(address)
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message
        if error.verify_code in _OUT_OF_DATE:
            return BrokerExpired(address=at, why=why)
        if error.verify_code in _OTHER_NAME:
            return BrokerMisnamed(address=at, why=why, host=address.host)
        if error.verify_code in _UNFIT:
            return BrokerUnfit(address=at, why=why)
        kind = BrokerUnknown if error.verify_code in _UNKNOWN else BrokerUntrusted
        return kind(address=at, why=why)
    why = error.reason or str(error)
    if any(word in why for word in _NO_TLS):
        return BrokerNotTls(address=at, why=why)
    return NodeUntrusted(address=at, why=why) if _ALERT in why else BrokerUntrusted(address=at, why=why)
