"""The `rest` channel (kênh REST đẩy): the node posts packets to the agency's own server, signed with its seal key.

    channel = rest_kind(lambda: keyring_signer)({"url": "https://qlvb.h99.vn/truc/den"}, "kenh-16")
    channel.sink     POSTs packets, asks with GET what became of them

It hands over only; what the agency sends comes by `/v1` as from everybody.  How it stays exactly once is said in
`rest_sink`, what answers mean in `rest_answers`, the guide for the agency's programmer is docs/guides/channels/rest.md.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NoReturn
from urllib.parse import SplitResult, urlsplit

from adapters.contract import SinkKind
from adapters.rest_http import Endpoint, Network, RestFault
from adapters.rest_sink import RestSink
from adapters.settings import SettingsReader
from edxml.sign.signer import Signer

__all__ = ["SETTINGS", "RestChannel", "rest_kind"]

SETTINGS: Final[Mapping[str, object]] = {
    "url": "",
    "sureness": "checkable",
    "networks": [],
    "plain_http": False,
    "token_file": "",
    "ca_file": "",
    "cert_file": "",
    "key_file": "",
    "connect_wait": 5.0,
    "idle_wait": 20.0,
    "answer_wait": 30.0,
    "least_rate": 64,
    "sending_limit": 3600.0,
    "settle_time": 30.0,
}
"""Every setting with its default. Times in seconds, `least_rate` in KiB a second; `url` must be given."""

_PORTS: Final = {"https": 443, "http": 80}
_NOWHERE: Final = SplitResult("https", "", "", "", "")
"""Stands in for an address that is missing or wrong until that is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestChannel:
    """An agency's server; it is only handed over to."""

    sink: RestSink
    source: None = None


def _no_signer() -> NoReturn:
    raise RestFault(url="", reason="rest.no_key")


def rest_kind(signer: Callable[[], Signer] = _no_signer) -> Callable[[Mapping[str, object], str], RestChannel]:
    """The opener of rest channels that sign with what `signer` gives at each request (the node's key of that moment).

    Without one a channel can be checked and hands nothing over.  Opening touches no network and reads no secret; raises
    SettingWrong for settings that are unknown, missing or wrong: the first, with the others in its `also`.
    """

    def open_rest(settings: Mapping[str, object], channel_id: str) -> RestChannel:
        reader = SettingsReader(settings, SETTINGS, channel_id)
        channel = RestChannel(
            sink=RestSink(
                endpoint=_endpoint(reader),
                signer=signer,
                kind=SinkKind(reader.word("sureness", tuple(map(str, SinkKind)))),
                answer_wait=reader.number("answer_wait", least=1, most=600),
                least_rate=reader.number("least_rate", least=1, most=1_000_000) * 1024,
                sending_limit=timedelta(seconds=reader.number("sending_limit", least=1, most=86_400)),
                settle_time=timedelta(seconds=reader.number("settle_time", least=0, most=3600)),
            )
        )
        reader.check()
        return channel

    return open_rest


def _endpoint(reader: SettingsReader) -> Endpoint:
    parts = _url(reader)
    is_cert_empty, is_key_empty = reader.raw("cert_file") == "", reader.raw("key_file") == ""
    if is_cert_empty != is_key_empty:
        reader.note("key_file" if is_key_empty else "cert_file", "setting.rest_pair")
    name = parts.hostname or ""
    port = parts.port or _PORTS[parts.scheme]
    host = f"[{name}]" if ":" in name else name
    authority = host if port == _PORTS[parts.scheme] else f"{host}:{port}"
    path = parts.path.rstrip("/")
    return Endpoint(
        url=f"{parts.scheme}://{authority}{path}",
        host=name,
        port=port,
        path=path,
        is_tls=parts.scheme == "https",
        networks=_networks(reader),
        token_file=reader.path("token_file"),
        ca_file=reader.path("ca_file"),
        cert_file=reader.path("cert_file"),
        key_file=reader.path("key_file"),
        connect_wait=reader.number("connect_wait", least=0.1, most=60),
        idle_wait=reader.number("idle_wait", least=0.1, most=600),
    )


def _url(reader: SettingsReader) -> SplitResult:
    """http(s), a host, a path; nothing hidden in it, and nothing that would have to be guessed."""
    given = reader.raw("url")
    is_plain_allowed = reader.flag("plain_http")
    if given == "":
        reader.note_missing("url", "setting.rest_url")
        return _NOWHERE
    try:
        parts = urlsplit(given if isinstance(given, str) else "")
        is_right = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, is_right = _NOWHERE, False
    plain = isinstance(given, str) and given.isascii() and given.isprintable() and " " not in given
    if not is_right or not plain or "@" in parts.netloc or set("?#") & set(str(given)):
        reader.note("url", "setting.rest_url", given)
        return _NOWHERE
    if parts.scheme == "http" and not is_plain_allowed and isinstance(reader.raw("plain_http"), bool):
        reader.note("url", "setting.rest_plain", given)
    return parts


def _networks(reader: SettingsReader) -> tuple[Network, ...]:
    found = []
    for text in reader.words("networks"):
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError:
            reader.note("networks", "setting.rest_network", text)
    return tuple(found)
