"""The composition root: settings in, a Node out. The only place that knows every implementation."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

from adapters.rest import rest_kind
from edxml.codes import StatusCode
from edxml.limits import DEFAULT_LIMITS
from edxml.messages import PACKAGES, Language, catalogue
from edxml.sign.verdicts import Verdict
from gateway.api.routes import ROUTES
from gateway.channels import KINDS, Channels, Kind, echo_kind
from gateway.exchange.report import echo_statuses
from gateway.identity import Callers
from gateway.keys import Keyring, KeysElsewhere, make_keys
from gateway.model.inspection import InspectionLimits, PdfVerdict
from gateway.model.instants import DAY, VIETNAM, wall_now
from gateway.model.states import AttemptEnd, DeliveryState, LinkKind
from gateway.model.step import Pace
from gateway.node import Node
from gateway.settings import Settings
from gateway.store import Clock, Store, homes, open_store, packets
from gateway.store.followers import Follower
from gateway.store.poll_line import PollLine
from gateway.transport.board import WakeLine
from gateway.transport.broker import BrokerAccess
from gateway.transport.contract import Transport
from gateway.transport.local import LocalTransport
from monitoring.alerts import Thresholds
from monitoring.metrics import Metrics, Vocabulary
from monitoring.registry import Urgency

__all__ = [
    "Today",
    "broker_access",
    "build_node",
    "inspection_limits",
    "open_keys",
    "pace_of",
    "thresholds_of",
    "trust_folder",
    "vocabulary",
]


def build_node(
    settings: Settings, *, role: str = "node", clock: Clock | None = None, kinds: Mapping[str, Kind] = KINDS
) -> Node:
    """Build one process's node. Raises what opening the store, the keys and the transport raise.

    Opening is safe to repeat and from many processes; the data folder belongs to the node named in the settings.
    Raises KeysMissing where packets were sealed with a key that is gone: restore it from the backup.
    """
    # In a container every process is number 1: the number alone would make one worker of two.
    worker = f"{settings.node}/{role}/{os.getpid()}.{secrets.token_hex(3)}"
    store = open_store(
        settings.data,
        node=settings.node,
        database=settings.database,
        password_file=settings.database_password_file,
        clock=clock,
        reserve=settings.disk_reserve_mib << 20,
        wait_seconds=settings.database_wait,
        blobs=Path(settings.blobs) if settings.blobs else None,
        is_brief=role == "cli",
    )
    try:
        keyring = open_keys(settings, store)
        metrics = Metrics(vocabulary(kinds))
        transport = _open_transport(settings, role, metrics, store)
    except BaseException:
        store.close()
        raise
    built: list[Node] = []
    ours: dict[str, Kind] = {
        "echo": echo_kind(lambda echoed: echo_statuses(built[0], echoed)),
        "rest": rest_kind(lambda: built[0].seal_key.signer),
    }
    wired = {**kinds, **{name: opener for name, opener in ours.items() if name in kinds}}
    node = Node(
        name=settings.node,
        worker=worker,
        store=store,
        transport=transport,
        channels=Channels(store, wired),
        callers=Callers(store),
        keyring=keyring,
        pace=pace_of(settings),
        limits=replace(DEFAULT_LIMITS, packet=settings.packet_mib << 20),
        metrics=metrics,
        now=wall_now if clock is None else clock.now,
        today=Today(settings),
        group=settings.group,
        slots=settings.slots,
        months_ahead=settings.months_ahead,
        thresholds=thresholds_of(settings),
    )
    built.append(node)
    return node


def _open_transport(settings: Settings, role: str, metrics: Metrics, store: Store) -> Transport:
    """Tickets by the broker where one is named, else within this process; the database wakes the node's others."""
    access = broker_access(settings)
    line = _open_line(settings, metrics, store)
    if access is None:
        return LocalTransport(role, line=line)
    from gateway.transport.rabbitmq import RabbitTransport  # loaded where there is a broker: memory of a small node

    return RabbitTransport(access, role, line=line, metrics=metrics)


def _open_line(settings: Settings, metrics: Metrics, store: Store) -> WakeLine:
    if settings.database:
        from gateway.store.notify_line import NotifyLine  # its driver is loaded where there is a server

        return NotifyLine(store.engine, metrics=metrics)
    return PollLine(store.engine)


def broker_access(settings: Settings) -> BrokerAccess | None:
    """How the broker is reached; None where the node needs none."""
    if not settings.broker:
        return None
    return BrokerAccess.parse(
        settings.broker,
        user_file=settings.broker_user_file,
        password_file=settings.broker_password_file,
        ca_file=settings.broker_ca_file,
        cert_file=settings.broker_cert_file,
        key_file=settings.broker_key_file,
    )


def open_keys(settings: Settings, store: Store) -> Keyring:
    """The node's keys, made for a new node. Raises KeysMissing and what reading them raises; KeysElsewhere where this
    machine's are not those of the node's others."""
    folder = settings.data / "keys"
    with store.read() as connection:
        noted = homes.noted_seal(connection)
        is_new = not noted and not packets.has_any(connection)
    if is_new:
        make_keys(folder, settings.node)
    if noted and not any(folder.glob("seal*")):
        raise KeysElsewhere(folder=str(folder), fingerprint=noted)
    keyring = Keyring(folder)
    if settings.database:
        own = {pair.fingerprint for pair in keyring.ring().pairs}
        if not noted:
            with store.write() as connection:
                noted = homes.claim_seal(connection, keyring.ring().pairs[0].fingerprint)
        if noted not in own:
            raise KeysElsewhere(folder=str(folder), fingerprint=noted)
    return keyring


def pace_of(settings: Settings) -> Pace:
    """The machine's times as settings give them."""
    return Pace(
        orphan_wait=_micros(settings.orphan_wait),
        fetched_wait=_micros(settings.fetched_wait),
        time_limit=int(settings.time_limit_days * DAY),
        lease=_micros(settings.lease),
        announce_again=_micros(settings.announce_again),
        first_wait=_micros(settings.first_wait),
        longest_wait=_micros(settings.longest_wait),
    )


def thresholds_of(settings: Settings) -> Thresholds:
    """When a figure becomes an alert, as far as settings say it."""
    return Thresholds(
        unfetched_seconds={Urgency.URGENT: settings.unfetched_urgent, Urgency.ORDINARY: settings.unfetched}
    )


def inspection_limits(settings: Settings) -> InspectionLimits:
    """What the inspector may use, as settings give it."""
    return InspectionLimits(
        file=settings.inspect_mib << 20,
        files=settings.inspect_files,
        wall=settings.inspect_seconds,
        cpu=settings.inspect_cpu,
        memory=settings.inspect_memory_mib << 20,
        idle=settings.inspect_idle,
    )


def trust_folder(settings: Settings) -> Path:
    """Where the certificates lie that signatures are held against (`edxml.sign.trust`); it may be absent."""
    return Path(settings.trust) if settings.trust else settings.data / "trust"


def _micros(seconds: float) -> int:
    return timedelta(seconds=seconds) // timedelta(microseconds=1)


class Today:
    """Vietnam's calendar day; fixed where the settings say so (tests, replays)."""

    def __init__(self, settings: Settings) -> None:
        self._fixed = date.fromisoformat(settings.today) if settings.today else None

    def __call__(self) -> date:
        """The day now."""
        return self._fixed or datetime.now(VIETNAM).date()


def vocabulary(kinds: Mapping[str, Kind]) -> Vocabulary:
    """The closed lists of labels: codes with a text, and what other rooms own."""
    codes = frozenset(code for package in PACKAGES for code in catalogue(package, Language.EN))
    return Vocabulary(
        reasons=codes,
        states=frozenset(map(str, DeliveryState)),
        packet_kinds=frozenset(map(str, LinkKind)),
        repairs=frozenset(code.removeprefix("repair.") for code in codes if code.startswith("repair.")),
        channel_kinds=frozenset(kinds),
        attempt_ends=frozenset(map(str, AttemptEnd)),
        statuses=frozenset(map(str, StatusCode)),
        routes=ROUTES,
        signatures=frozenset(map(str, Verdict)),
        pdf_verdicts=frozenset(map(str, PdfVerdict)),
        followers=frozenset(map(str, Follower)),
    )
