"""Settings of one node: read from the environment (`TRUC_…`), never from the database, only by `compose`.

The default runs with nothing set.  Channels, credentials and rules are rows, not settings (`truc apply`).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from datetime import date
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from adapters.settings import without_passwords
from gateway.model.errors import SettingFault, SettingsWrong

__all__ = ["Settings", "environment_of", "find_misspelt", "read_settings"]


class Settings(BaseSettings):
    """What one process of a node is told. Spans in seconds, sizes in MiB, unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="TRUC_", frozen=True, extra="forbid", allow_inf_nan=False)

    node: str = Field("nut-lien-thong", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="Name of this node")
    data: Path = Field(Path("var"), description="Folder of the database, the blobs, the keys and the run-time locks")
    blobs: str = Field(
        "", description="Folder of the packets' bytes, which a node's machines share; empty: blobs/ in the data folder"
    )
    host: str = Field("127.0.0.1", description="Address that the API listens on")
    database: str = Field(
        "",
        pattern=r"^$|^postgresql://[^\s:@/]+@[^\s@]+/[^\s/@?]+(\?\S*)?$",
        description="PostgreSQL database, as postgresql://user@host/name; empty: SQLite in the data folder",
    )
    database_password_file: str = Field("", description="File with the password of the database's user")
    port: int = Field(8080, ge=0, le=65535, description="Port that the API listens on; 0 picks a free one")
    metrics_port: int = Field(0, ge=0, le=65535, description="Port of /metrics of processes without an API; 0: none")
    watch_from: str = Field(
        "127.0.0.0/8,::1",
        description="Networks, divided by commas, whose machines may read /metrics and why a node is not ready; "
        "empty: none",
    )
    log_format: Literal["human", "json"] = Field("human", description="Log lines for people or for programs")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged")
    language: Literal["vi", "en", "auto"] = Field("auto", description="Language of texts; auto follows the locale")
    packet_mib: int = Field(1024, ge=1, description="Largest packet")
    disk_reserve_mib: int = Field(256, ge=1, description="Free disk below which nothing more is accepted")
    database_wait: float = Field(20, gt=0, description="How long to wait for the database's writer, or another's lock")
    slots: int = Field(4, ge=1, le=64, description="Groups of tickets that one delivering process works on at once")
    group: int = Field(32, ge=1, le=256, description="Most members of a group in one transaction")
    examiners: int = Field(1, ge=0, le=16, description="Most processes that an API starts to read packets under load")
    submissions: int = Field(256, ge=1, le=65536, description="Most packets under way into one API; others come again")
    coming_mib: int = Field(8192, ge=1, description="Most of what comes into one API at once; others come again")
    polls: int = Field(4096, ge=1, le=65536, description="Most long polls that wait at one API; others come again")
    share: int = Field(
        25, ge=1, le=100, description="Percent of submissions, coming_mib and polls that one system may hold"
    )
    end_within: float = Field(40, gt=0, description="Within how long a process that is told to end has ended")
    lease: float = Field(60, gt=0, description="How long a claim stands without being renewed")
    announce_again: float = Field(60, gt=0, description="After how long an unclaimed ticket is announced again")
    sweep: float = Field(5, gt=0, description="How often time's own moves are made (leases, limits, orphans)")
    look: float = Field(2, gt=0, description="How often folders are looked through where no change was noticed")
    first_wait: float = Field(5, gt=0, description="First wait after a failure; doubles up to longest_wait")
    longest_wait: float = Field(
        600, gt=0, description="Longest wait between two tries of a document; a faulty channel rests 30 s to 10 min"
    )
    time_limit_days: float = Field(
        30, ge=0.00001, le=3650, description="After how long an unconfirmed delivery expires"
    )
    orphan_wait: float = Field(900, gt=0, description="How long a recall waits for a document that never came")
    fetched_wait: float = Field(
        900, gt=0, description="How long a recall waits for a confirmation after the last fetch"
    )
    unfetched: float = Field(
        14_400, gt=0, description="After how long an operator is told of a document that nobody fetches from its inbox"
    )
    unfetched_urgent: float = Field(900, gt=0, description="The same for urgent ones (khẩn, thượng khẩn, hỏa tốc)")
    inspect: bool = Field(True, description="Look at the signatures of PDF attachments, behind the hops")
    inspect_mib: int = Field(128, ge=1, description="Largest PDF that is inspected")
    inspect_files: int = Field(20, ge=1, description="Most PDFs of one packet that are inspected")
    inspect_seconds: float = Field(30, gt=0, description="Longest time for one PDF")
    inspect_cpu: int = Field(15, ge=1, description="Most processor time for one PDF")
    inspect_memory_mib: int = Field(512, ge=128, description="Address space of the inspector's process")
    inspect_idle: float = Field(10, ge=0, description="After how long without work the inspector's process ends")
    trust: str = Field("", description="Folder of trusted certificates; empty: trust/ in the data folder")
    broker: str = Field(
        "",
        pattern=r"^$|^amqps://[^@/\s,]+(/[^@/\s,]*)?(,amqps://[^@/\s,]+(/[^@/\s,]*)?)*$"
        r"|^amqp://[^@/\s,]+(/[^@/\s,]*)?(,amqp://[^@/\s,]+(/[^@/\s,]*)?)*$",
        description="RabbitMQ as amqps://host:port/vhost, several divided by commas; empty: within this machine",
    )
    broker_user_file: str = Field("", description="File with the user at the broker; empty: guest")
    broker_password_file: str = Field("", description="File with that user's password; empty: guest")
    broker_ca_file: str = Field("", description="Certificates that the broker's must be of; empty: the machine's own")
    broker_cert_file: str = Field("", description="Certificate that this node shows to the broker; empty: none")
    broker_key_file: str = Field("", description="Key of that certificate; empty: in the same file")
    keep_documents: int = Field(
        0, ge=0, le=1200, description="Months that documents are kept after the one they came in; 0: for ever"
    )
    keep_statuses: int = Field(0, ge=0, le=1200, description="The same for status packets")
    keep_events: int = Field(0, ge=0, le=1200, description="The same for what the node remembers of their way")
    months_ahead: int = Field(3, ge=1, le=24, description="Months of tables that are made ahead on PostgreSQL")
    long_poll: float = Field(30, ge=0, le=300, description="Longest wait of a long poll")
    today: str = Field("", pattern=r"^$|^\d{4}-\d{2}-\d{2}$", description="Day for validity of agencies; empty: today")

    @property
    def blob_folder(self) -> Path:
        """Where the packets' bytes lie."""
        return Path(self.blobs) if self.blobs else self.data / "blobs"

    def is_watched_from(self, address: str) -> bool:
        """Whether a machine with this address watches over the node. What is no address does not."""
        try:
            found = ip_address(address)
        except ValueError:
            return False
        found = getattr(found, "ipv4_mapped", None) or found
        return any(found in network for network in _networks(self.watch_from))


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment. Raises SettingsWrong naming each variable that is wrong or misspelt."""
    known = os.environ if environment is None else environment
    faults = [_unknown(name, nearest) for name, nearest in find_misspelt(known).items()]
    values = {name: known[f"TRUC_{name.upper()}"] for name in Settings.model_fields if f"TRUC_{name.upper()}" in known}
    try:
        settings = Settings(**values)  # type: ignore[arg-type]
    except ValidationError as why:
        faults += [_wrong(str(error["loc"][0]), error["input"]) for error in why.errors()]
        raise SettingsWrong(faults) from why
    faults += [_wrong(name, getattr(settings, name)) for name in _wrong_together(settings)]
    if faults:
        raise SettingsWrong(faults)
    return settings


def _wrong_together(settings: Settings) -> Iterator[str]:
    """Settings of the right form that mean nothing: a day that no calendar has, a file where a folder must be."""
    try:
        date.fromisoformat(settings.today or "2026-01-01")
    except ValueError:
        yield "today"
    try:
        _networks(settings.watch_from)
    except ValueError:
        yield "watch_from"
    if settings.data.exists() and not settings.data.is_dir():
        yield "data"
    if "password=" in settings.database.partition("?")[2]:  # also sslpassword: an address is shown and handed on
        yield "database"
    if settings.database_password_file and not _is_readable(settings.database_password_file):
        yield "database_password_file"
    if settings.blobs and not Path(settings.blobs).is_dir():
        yield "blobs"
    if settings.trust and not Path(settings.trust).is_dir():
        yield "trust"
    yield from (name for name in _BROKER_FILES if (path := getattr(settings, name)) and not _is_readable(path))


def _networks(text: str) -> list[IPv4Network | IPv6Network]:
    """Raises ValueError."""
    return [ip_network(part.strip()) for part in text.split(",") if part.strip()]


def _is_readable(path: str) -> bool:
    """Whether it is a file, a pipe or a device that we may read; not a folder."""
    return os.access(path, os.R_OK) and not os.path.isdir(path)


_BROKER_FILES = tuple(name for name in Settings.model_fields if name.startswith("broker_"))
_CODES = {
    ("int", "between"): "settings.whole_between", ("int", "from"): "settings.whole_from",
    ("float", "between"): "settings.number_between", ("float", "from"): "settings.number_from",
    ("float", "above"): "settings.number_above",
}  # fmt: skip
_FORMS = {
    "broker": "settings.broker", **dict.fromkeys(_BROKER_FILES, "settings.broker_file"),
    "node": "settings.node_name", "today": "settings.day", "data": "settings.folder",
    "blobs": "settings.shared_folder", "trust": "settings.existing_folder", "database": "settings.database",
    "database_password_file": "settings.database_file", "watch_from": "settings.networks",
}  # fmt: skip
_LONGEST_SHOWN = 60


def _wrong(name: str, value: object) -> SettingFault:
    """The fault of one setting, from what its field wants."""
    field = Settings.model_fields[name]
    kind = field.annotation
    least, most, above = (
        next((getattr(limit, word) for limit in field.metadata if hasattr(limit, word)), None)
        for word in ("ge", "le", "gt")
    )
    said = str(without_passwords(str(value)))
    shown = "".join(each if each.isprintable() else "\ufffd" for each in said)[:_LONGEST_SHOWN]
    params: dict[str, object] = {"name": f"TRUC_{name.upper()}", "value": shown, "default": str(field.default)}
    if kind in (int, float):
        span = "above" if above is not None else "from" if most is None else "between"
        params |= {"least": least if above is None else above, "most": most}
        return SettingFault(code=_CODES[kind.__name__, span], params=params)
    if kind is bool:
        return SettingFault(code="settings.switch", params=params)
    if name in _FORMS:
        return SettingFault(code=_FORMS[name], params=params)
    return SettingFault(code="settings.choice", params={**params, "choices": ", ".join(map(str, get_args(kind)))})


def _unknown(name: str, nearest: str) -> SettingFault:
    code = "settings.misspelt" if nearest else "settings.unknown"
    return SettingFault(code=code, params={"name": name, "nearest": nearest})


def environment_of(settings: Settings) -> dict[str, str]:
    """The variables that give another process the same settings."""
    return {f"TRUC_{name.upper()}": str(value) for name, value in settings.model_dump(mode="json").items()}


_OTHERS = frozenset({"TRUC_CRASH_AT", "TRUC_TOKEN", "TRUC_URL"})
"""Variables of ours that are no settings: the fault tests' and the client commands'."""


def find_misspelt(environment: Mapping[str, str]) -> dict[str, str]:
    """TRUC_ variables that no setting has, each with the nearest name or "" (pydantic does not notice these)."""
    known = {name.upper() for name in Settings.model_fields} | {name.removeprefix("TRUC_") for name in _OTHERS}
    strange = [name.removeprefix("TRUC_") for name in environment if name.startswith("TRUC_")]
    near = {name: difflib.get_close_matches(name, known, 1) for name in strange if name not in known}
    return {f"TRUC_{name}": f"TRUC_{found[0]}" if found else "" for name, found in near.items()}
