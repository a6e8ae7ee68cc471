"""Everything that a running node refuses, as one tree.

GatewayError
├── StoreError
│   ├── StoreBusy            the database is locked or away: try again (retryable)
│   │   ├── StoreUndone      PostgreSQL undid the transaction for another's sake: run it again
│   │   ├── StoreUnsure      the connection was lost with the commit, which may have been done: look, or repeat
│   │   ├── StoreUnreachable, StoreCrowded               nobody answers there, no connection is free: it goes by itself
│   │   ├── StoreRefused, StoreAbsent, StoreUntrusted    user or password, name, certificate: a person's turn
│   │   ├── StoreUnsafe      the database would not keep what it confirms: refuse to start, and to go on
│   │   ├── StorePooled      a pooler stands between us and the server: a person's turn
│   │   └── StorePutBack     the database knows less than the node remembers: let it recover
│   ├── StoreConflict        a unique constraint refused it: somebody else was faster
│   ├── StoreUnwritable      the data folder takes nothing: full, read-only, or not ours (retryable)
│   ├── StoreDamaged         the database is damaged: restore it
│   ├── StoreForeign         the data folder belongs to another node
│   │   ├── BlobsElsewhere   the folder of packets is not the one that the database speaks of
│   │   └── DataShared       two machines on one data folder
│   ├── StoreOutdated        the schema is not this program's: migrate, or run the newer program
│   ├── StoreUnmigrated      the schema could not be brought to this program's: nothing was changed
│   ├── StoreLeft            the node went back from this database to its file (truc store back): drop it
│   ├── StoreMoved           the rows were moved into another database: that one is the node's now
│   ├── StoreProgram         a program of the database's makers is missing, or says no
│   ├── StoreUnfinished      a move or a restore into this database did not end: run it again
│   ├── BlobMissing          a stored packet's bytes are gone
│   │   └── ItemMissing      (api.problems) its recipient is told so
│   ├── BlobDamaged          a stored packet's bytes do not match their digest
│   │   └── ItemDamaged      (api.problems) its recipient is told so
│   ├── DiskReserve          not enough free disk to accept safely (retryable)
│   ├── ArchiveDamaged       (archive) a file is no archive, or is not what was written
│   └── BackupDamaged        (backup) a file of a backup is missing, or is not what was written
├── Refusal                  a caller's request is refused; each has its own code
│   ├── Unauthenticated, Forbidden, NotFound, Conflict, Gone, TooLarge
│   ├── BadRequest           the request is not well made
│   │   ├── NotAllowed, NotAcceptedKind, RangeNotSatisfiable, TooSlow, HeadTooLong, CodingUnknown  (api.problems)
│   │   └── BadFields        (api.faults) fields of it are wrong, with every fault
│   └── PacketRefusal        (exchange.submission) the packet itself is refused, with every finding
├── SettingsError            a setting is wrong
│   ├── SettingsWrong        variables are wrong or unknown, with every fault
│   └── ConfigurationInvalid (configuration.faults) a configuration file is wrong, with every fault
├── KeysMissing, KeysExposed, KeysDamaged, KeysUnfit     (keys) the seal key cannot be used
│   └── KeysElsewhere        another machine of the node has other keys
├── ProfileUnreadable        (channels) the stored profile of a system cannot be read (retryable)
├── KeysAway                 (keys) the token with the seal key does not sign now (retryable)
├── BrokerError              (transport.broker) the broker cannot be used as it should be; nothing is lost (retryable)
│   ├── BrokerAway, BrokerFrozen, BrokerBlocked, QueueGone, ConsumerTimedOut     it goes by itself
│   ├── BrokerUntrusted      no secure connection came about, and why; a person's turn
│   │   └── BrokerNotTls, BrokerUnknown, BrokerMisnamed, BrokerExpired, BrokerUnfit, NodeUntrusted
│   ├── BrokerUnreadable     a file with a credential or certificate cannot be used; a person's turn
│   │   └── BrokerKeyLocked
│   └── BrokerRefused, BrokerForbidden, BrokerOld, BrokerMislaid     a person's turn
├── Overloaded               (api.problems) as many submissions as fit are under way (retryable)
│   ├── Crowded              (api.problems) as many connections as fit are there
│   └── TooManyBytes, TooManyPolls           (api.problems) as many bytes come, or long polls wait, as fit
├── ShareHeld                (api.problems) one system has as many submissions under way as it may (retryable)
│   └── ShareOfBytesHeld, ShareOfPollsHeld   (api.problems) the same of bytes, and of long polls
├── Ending                   (api.problems) the process ends before it could answer
├── TransportClosed, KeyExpired               (api.health) this process is not ready, and why
├── InspectorUnavailable     (workers.inspect_process) no PDF can be inspected now, and none is to blame (retryable)
│   └── InspectorStopped     the node ends in the middle of a file
├── Unentered                (exchange.submission) a packet met a defect of ours while it was entered
└── Damaged, KillsWorker     (workers.intake) a file from a channel is not taken in
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from edxml.errors import TrucError
from edxml.messages import Language, text

__all__ = [
    "BadRequest",
    "BlobDamaged",
    "BlobMissing",
    "BlobsElsewhere",
    "Conflict",
    "DataShared",
    "DiskReserve",
    "Forbidden",
    "GatewayError",
    "Gone",
    "NotFound",
    "Refusal",
    "SettingFault",
    "SettingsError",
    "SettingsWrong",
    "StoreAbsent",
    "StoreBusy",
    "StoreConflict",
    "StoreCrowded",
    "StoreDamaged",
    "StoreError",
    "StoreForeign",
    "StoreLeft",
    "StoreMoved",
    "StoreOutdated",
    "StorePooled",
    "StoreProgram",
    "StorePutBack",
    "StoreRefused",
    "StoreUndone",
    "StoreUnfinished",
    "StoreUnmigrated",
    "StoreUnreachable",
    "StoreUnsafe",
    "StoreUnsure",
    "StoreUntrusted",
    "StoreUnwritable",
    "TooLarge",
    "Unauthenticated",
]


class GatewayError(TrucError):
    """Any error of a running node."""

    code: ClassVar[str] = "gateway.error"


class StoreError(GatewayError):
    """The store cannot do what it was asked."""

    code = "store.error"


class StoreBusy(StoreError):
    """The database is locked or away; nothing was changed. Parameter `why`."""

    code = "store.busy"
    retryable = True


class StoreUndone(StoreBusy):
    """The database undid this transaction for another's sake, or lost its connection before the commit was sent."""


class StoreUnsure(StoreBusy):
    """The connection to the database was lost with the commit: it may have been done. Parameter `why`."""

    code = "store.unsure"


class StoreUnreachable(StoreBusy):
    """Nobody answers at the database's address. Parameter `why`."""

    code = "store.unreachable"


class StoreCrowded(StoreBusy):
    """The database server gives no more connections. Parameter `why`."""

    code = "store.crowded"


class StoreRefused(StoreBusy):
    """The database server does not let us in: user, password, or its rules. Parameter `why`.

    Retryable as all of its kind: no document is to blame, and the node goes on once a person has mended it.
    """

    code = "store.refused"


class StoreAbsent(StoreBusy):
    """The server has no database of this name. Parameter `why`."""

    code = "store.absent"


class StorePooled(StoreBusy):
    """A pooler stands between us and the server, so that our connections would not be our own. Parameter `why`."""

    code = "store.pooled"


class StoreUntrusted(StoreBusy):
    """No encrypted connection to the server: its certificate or ours is not accepted. Parameter `why`."""

    code = "store.untrusted"


class StoreConflict(StoreError):
    """A unique constraint refused what was written: somebody else was faster. Parameter `why`."""

    code = "store.conflict"
    retryable = True


class StoreUnsafe(StoreBusy):
    """The database would not keep what it confirms. Parameters `setting`, `value`, `wanted`.

    Retryable as all of its kind: a server that takes another's place may be such a one, and nothing is done on it.
    """

    code = "store.unsafe"


class StoreUnwritable(StoreError):
    """Nothing can be written into the data folder; nothing was changed. Parameters `folder`, `why`."""

    code = "store.unwritable"
    retryable = True


class StoreDamaged(StoreError):
    """The database file is damaged, or is no database: restore it. Parameter `why`."""

    code = "store.damaged"


class StoreForeign(StoreError):
    """The data folder belongs to another node. Parameters `folder`, `owner`, `node`."""

    code = "store.foreign"


class BlobsElsewhere(StoreForeign):
    """The folder of packets is not the node's. Parameters `folder`, `found` and `wanted`, the line in its mark."""

    code = "store.blobs_elsewhere"


class DataShared(StoreForeign):
    """Another machine works on this data folder: each has its own. Parameters `folder`, `host`."""

    code = "store.data_shared"


class StoreOutdated(StoreError):
    """The schema is not the one of this program. Parameters `found`, `wanted`."""

    code = "store.outdated"


class StoreMoved(StoreError):
    """The rows of this database were moved into another one. Parameter `where`: that one, without its password."""

    code = "store.moved"


class StoreLeft(StoreError):
    """The node went back from this database to the file `other`, and nobody opens it again. Parameter `other`."""

    code = "store.left"


class StoreProgram(StoreError):
    """A program of the database's makers is missing or failed. Parameters `program`, `why`: its first line."""

    code = "store.program"


class StoreUnmigrated(StoreError):
    """The database refused a step of the migration, and all of it was undone. Parameters `found`, `wanted`, `why`."""

    code = "store.unmigrated"


class StorePutBack(StoreBusy):
    """The database knows less than the data folder, or this process, knew. Parameters `remembered`, `known`: moments.

    Retryable as all of its kind: no document is to blame, and the node goes on once a recovery was begun.
    """

    code = "store.put_back"


class StoreUnfinished(StoreError):
    """Rows are being put into this database, and not all of them are there. Parameters `other`, `command`."""

    code = "store.unfinished"


class BlobMissing(StoreError):
    """A stored packet's bytes are gone. Parameter `digest`."""

    code = "blob.missing"


class BlobDamaged(StoreError):
    """A stored packet's bytes do not match their digest. Parameter `digest`."""

    code = "blob.damaged"


class DiskReserve(StoreError):
    """Accepting would eat into the disk reserve. Parameters `free`, `reserve` in MiB."""

    code = "store.disk_reserve"
    retryable = True


class Refusal(GatewayError):
    """A caller's request is refused; nothing was changed but the event that says so.

    Made with the `reason` code of the text; HTTP status and log level follow from the class.
    """

    code = "gateway.refused"

    def __init__(self, reason: str, **params: Any) -> None:
        self.reason = reason
        super().__init__(**params)
        self.args = (reason, params)

    def text(self, language: Language) -> str:
        """The sentence of the reason."""
        return text(self.reason, language, self.params)


class Unauthenticated(Refusal):
    """No valid token."""


class Forbidden(Refusal):
    """The caller is known and may not do this."""


class NotFound(Refusal):
    """No such thing, or not the caller's: foreign and absent answer alike."""


class Conflict(Refusal):
    """The request contradicts what is stored."""


class Gone(Refusal):
    """It was there, and is withdrawn or expired."""


class BadRequest(Refusal):
    """The request is not well made."""


class TooLarge(Refusal):
    """The body is larger than allowed; parameter `limit` in bytes."""


class SettingsError(GatewayError):
    """A setting or a configuration file is wrong. Parameters `where`, `why`."""

    code = "settings.invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingFault:
    """One variable that is wrong: the code of its sentence, which names the variable, its value and what to do."""

    code: str
    params: Mapping[str, Any]

    def text(self, language: Language) -> str:
        """The sentence."""
        return text(self.code, language, self.params)


class SettingsWrong(SettingsError):
    """Variables of the environment are wrong or unknown; `faults` says each."""

    code = "settings.wrong"

    def __init__(self, faults: Sequence[SettingFault]) -> None:
        self.faults = tuple(faults)
        super().__init__(count=len(self.faults), faults=self._told(Language.EN))

    def _told(self, language: Language) -> str:
        return " ".join(fault.text(language) for fault in self.faults)

    def text(self, language: Language) -> str:
        """Every fault, in `language`."""
        return text(self.code, language, {**self.params, "faults": self._told(language)})
