"""The checks of `truc doctor`: each looks at one thing and gives a level and a sentence with what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from edxml.errors import EdxmlError, TrucError
from edxml.messages import Language, SystemWords, system_words, text
from edxml.sign.policies import read_policies
from gateway.cli.broker import worries_of, worst_of
from gateway.cli.channel import ignored_in, probe_channel
from gateway.cli.opening import has_node, left_behind, lost_word, try_folder
from gateway.cli.presence import is_stopped, present
from gateway.compose import broker_access, trust_folder
from gateway.keys import open_pair
from gateway.model.errors import StoreUnwritable
from gateway.model.instants import VIETNAM, as_datetime
from gateway.node import Node
from gateway.settings import Settings, read_settings
from gateway.store import followers
from gateway.store.agencies import load_agencies
from gateway.store.jobs import list_jobs
from gateway.store.upkeep import foreign_order
from gateway.store.views import snapshot
from gateway.transport.broker import BrokerError
from gateway.transport.rabbitmq import look_at_broker
from gateway.workers.figures import alerts_of
from gateway.workers.periodic import SWEEP
from monitoring.alerts import CERTIFICATE_DAYS, AlertCode, AlertSeverity

__all__ = ["Check", "Level", "check_folder", "check_node", "check_settings"]

_SKEW = 5.0  # seconds between two clocks that may pass (protocol §13)
_BEHIND = 30  # minutes
_FEW = 3  # names in one sentence
_LAPSED = 60  # seconds for which nobody has done what a periodic process does every few
_NEEDED = ("relay", "deliver", "periodic", "intake", "inspect", "api")


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"  #: works, and somebody should look
    FAIL = "fail"  #: does not work, or soon will not


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at: `name` is stable, `code` is the code of its sentence."""

    name: str
    level: Level
    code: str
    params: Mapping[str, Any] = field(default_factory=dict)
    error: TrucError | None = None

    @classmethod
    def of_error(cls, error: TrucError) -> Check:
        """What could not even be opened."""
        return cls(name="opening", level=Level.FAIL, code=error.reason, error=error)

    def text(self, language: Language) -> str:
        """What was found and what to do."""
        return text(self.code, language, self.params) if self.error is None else self.error.text(language)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        said = {"vi": self.text(Language.VI), "en": self.text(Language.EN)}
        return {"name": self.name, "level": str(self.level), "code": self.code, **said}


def _check(name: str, level: Level, word: str, **params: Any) -> Check:
    return Check(name=name, level=level, code=f"doctor.{word}", params=params)


def check_settings() -> tuple[Settings, Check]:
    """The settings, right or SettingsError."""
    return read_settings(), _check("settings", Level.OK, "settings")


def check_folder(settings: Settings) -> Iterator[Check]:
    """The data folder, without opening the store: can it be written, and does its clock agree with ours.

    Leaves nothing behind, even when killed: the file that is tried has no name.
    """
    folder = settings.data
    if not has_node(settings):
        where, left = str(folder.resolve()), left_behind(settings)
        if left:
            yield _check("folder", Level.FAIL, lost_word(settings), folder=where, left=left, where=settings.database)
        else:
            yield _check("folder", Level.FAIL, "folder_missing", folder=where)
        return
    try:
        skew = try_folder(folder)
    except StoreUnwritable as why:
        yield _check("folder", Level.FAIL, "folder_unwritable", **why.params)
        return
    yield _check("folder", Level.OK, "folder", folder=str(folder.resolve()))
    if abs(skew) > _SKEW:
        yield _check("clock", Level.WARN, "clock_skewed", seconds=round(skew))


def check_node(node: Node, settings: Settings) -> Iterator[Check]:
    """Everything that an open node shows."""
    yield _check("store", Level.OK, "store")  # opening it refuses weak settings and another schema
    yield from _keys(node)
    yield _trust(settings)
    yield from _directory(node)
    yield from _processes(node, settings)
    yield from _broker(settings)
    yield from _wakes(node, settings)
    yield from _order(node)
    yield from _work(node)
    yield from _channels(node)
    yield from _jobs(node)


def _keys(node: Node) -> Iterator[Check]:
    """The seal ring: the key that seals, those to come, and whether its time is covered."""
    now = as_datetime(node.now())
    ring = node.keyring.ring()
    for pair in (ring.current(now), *ring.announced(now)):
        try:
            open_pair(pair)
        except TrucError as why:
            yield Check(name="keys", level=Level.FAIL, code=why.reason, error=why)
    left = (ring.covered_until(now) - now).days
    if left < 0:
        yield _check("keys", Level.FAIL, "certificate_over", days=-left)
    elif left < CERTIFICATE_DAYS:
        yield _check("keys", Level.WARN, "certificate_ends", days=left)
    else:
        yield _check("keys", Level.OK, "keys", days=left)
    for pair in ring.announced(now):
        yield _check("keys", Level.OK, "key_announced", begins=f"{pair.begins.astimezone(VIETNAM):%d/%m/%Y %H:%M}")


def _trust(settings: Settings) -> Check:
    """Whether the folder of trust can be used: a broken one stops the checks of signatures, and nothing else."""
    folder = trust_folder(settings)
    try:
        policies = read_policies(folder)
    except EdxmlError as why:
        return Check(name="trust", level=Level.WARN, code=why.reason, error=why)
    except OSError as why:
        return _check("trust", Level.WARN, "trust_unreadable", folder=str(folder), why=system_words(why))
    anchors = {anchor for policy in (policies.default, *policies.of_senders.values()) for anchor in policy.anchors}
    word = "trust" if anchors else "trust_nobody"
    return _check("trust", Level.OK, word, folder=str(folder), count=len(anchors))


def _directory(node: Node) -> Iterator[Check]:
    """Whether there are agencies at all: parts that were started before `truc init` make a node without any."""
    with node.store.read() as connection:
        if not load_agencies(connection):
            yield _check("directory", Level.WARN, "no_agencies")


def _processes(node: Node, settings: Settings) -> Iterator[Check]:
    """Which parts are alive, as they show it; intake is missed where packets come by a channel, the relay
    where tickets go by a broker."""
    spared = {"intake": not _has_source(node), "relay": not settings.broker}
    needed = [role for role in _NEEDED if not spared.get(role)]
    held = present(settings.data)
    alive = {process.part for process in held}
    missing = [] if "serve" in alive else [role for role in needed if role not in alive]
    if len(missing) == len(needed):
        yield _check("processes", Level.WARN, "not_running")
    elif missing:
        yield _check("processes", Level.WARN, "parts_missing", parts=", ".join(missing))
    else:
        yield _check("processes", Level.OK, "running", parts=", ".join(sorted(alive)))
    for one in held:
        if is_stopped(one):
            yield _check("stopped", Level.WARN, "process_stopped", part=one.part, pid=one.pid)


def _has_source(node: Node) -> bool:
    """Whether packets come by one of the channels; what cannot be opened is told by whoever looks at channels."""
    for channel_id in node.channels.refresh().by_id:
        with suppress(TrucError, OSError):
            if node.channels.source(channel_id) is not None:
                return True
    return False


def _broker(settings: Settings) -> Iterator[Check]:
    """The broker, where the node uses one: asked as a process would ask it."""
    access = broker_access(settings)
    if access is None:
        return
    try:
        report = look_at_broker(access)
    except BrokerError as why:
        yield Check(name="broker", level=Level.FAIL, code=why.reason, error=why)
        return
    if (wrong := worst_of(report)) is not None:
        yield Check(name="broker", level=Level.FAIL, code=wrong.reason, error=wrong)
        return
    told = {"version": report.version, "address": str(report.address)}
    yield Check(name="broker", level=Level.OK, code="broker_told.right", params=told)
    for code, params in worries_of(report):
        yield Check(name="broker", level=Level.WARN, code=code, params=params)


def _wakes(node: Node, settings: Settings) -> Iterator[Check]:
    """Where the database carries wake-ups between processes: whether it does, or something between us keeps them."""
    if settings.database:
        from gateway.store.notify_line import is_carrying  # its driver is loaded where there is a server

        if is_carrying(node.store):
            yield _check("wakes", Level.OK, "wakes")
        else:
            yield _check("wakes", Level.WARN, "wakes_kept")


def _order(node: Node) -> Iterator[Check]:
    """Whether the database sorts texts as the program does."""
    with node.store.read() as connection:
        collation = foreign_order(connection)
    if collation is not None:
        yield _check("order", Level.WARN, "order_foreign", collation=collation)


_ALERT_LEVELS = {AlertSeverity.CRITICAL: Level.FAIL, AlertSeverity.WARNING: Level.WARN}
_FAILS_NOTHING = frozenset({AlertCode.BACKUP_OLD, AlertCode.INBOX_UNFETCHED})
"""However urgent: the node itself works."""


def _work(node: Node) -> Iterator[Check]:
    """Disk, backlog, parked, breakers: the same rules as the alerts."""
    with node.store.read() as connection:
        seen = snapshot(connection, node.store.now(connection))
        behind = followers.behind(connection)
    alerts = [one for one in alerts_of(node, seen) if one.code is not AlertCode.NODE_RECOVERING]  # told below
    for alert in alerts:
        name = alert.code.removeprefix("alert.")
        level = Level.WARN if alert.code in _FAILS_NOTHING else _ALERT_LEVELS[alert.severity]
        yield Check(name=name, level=level, code=str(alert.code), params=alert.params)
    if not {AlertCode.DISK_LOW, AlertCode.DISK_RESERVE} & {alert.code for alert in alerts}:
        free = node.store.blobs.free()
        yield _check("disk", Level.OK, "disk", free=free >> 20, reserve=node.store.blobs.reserve >> 20)
    if not {AlertCode.BACKLOG_OLD, AlertCode.BACKLOG_STUCK} & {alert.code for alert in alerts}:
        age = 0 if seen.oldest_ready is None else round(seen.oldest_ready / 1e6)
        yield _check("backlog", Level.OK, "backlog", seconds=age)
    if AlertCode.INBOX_UNFETCHED not in {alert.code for alert in alerts}:
        count = sum(each.count for one in seen.inboxes for each in (one.urgent, one.ordinary) if each is not None)
        yield _check("inboxes", Level.OK, "inboxes", count=count)
    if not seen.parked:
        yield _check("parked", Level.OK, "nothing_parked")
    for follower, one in behind.items():
        minutes = 0 if one.since is None else round((seen.now - one.since) / 60e6)
        if minutes >= _BEHIND:
            yield _check("followers", Level.WARN, "follower_behind", follower=follower, minutes=minutes)
    if seen.dead_leases:
        yield _check("leases", Level.WARN, "dead_leases", count=seen.dead_leases)
    for channel in seen.paused_channels:
        yield _check("channel", Level.WARN, "channel_paused", channel=channel)


def _channels(node: Node) -> Iterator[Check]:
    rows = node.channels.refresh().by_id.values()
    if not rows:
        yield _check("channel", Level.WARN, "no_channels")
    for row in rows:
        found = probe_channel(node, row, only_looks=True)
        if not found.usable:
            why = SystemWords(found.detail) or found.reason
            yield _check("channel", Level.FAIL, "channel_unusable", channel=row.id, why=why)
        elif (strewn := ignored_in(node, row.id, _FEW)) is not None and strewn.count:
            names = ", ".join(f"“{one.name}”" for one in strewn.first)
            yield _check("channel", Level.WARN, "channel_ignores", channel=row.id, count=strewn.count, names=names)
    if rows:
        yield _check("channels", Level.OK, "channels", count=len(rows))


def _jobs(node: Node) -> Iterator[Check]:
    """Whoever holds the sweep renews its lease; where it ran out long ago, nobody takes what a process left."""
    with node.store.read() as connection:
        now = node.store.now(connection)
        found = list_jobs(connection)
    for job in found:
        seconds = round((now - job.lease_until) / 1e6)
        if job.name == SWEEP and job.holder and seconds > _LAPSED:
            yield _check("jobs", Level.WARN, "job_lapsed", job=job.name, holder=job.holder, seconds=seconds)
    yield _check("jobs", Level.OK, "jobs", count=sum(job.lease_until > now for job in found))
