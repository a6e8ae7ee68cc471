"""Read models for the API, the command line and alerts: frozen values out of a connection, nothing changed.

    document   one document: recipients, statuses, timeline, sister packets; and who may see which of it
    archived   what is no longer here because its month went
    verdicts   what the signatures of a packet are worth
    lists      what an agency sent and was told; what is parked, open for longest, slowest
    search     documents by number, subject, date, agency and state, read backwards in time to a stated count
    figures    counts and ages: backlog, inboxes, the snapshot behind alerts
    inboxes    what waits in each inbox, and who was last heard of there

Every list is bounded, paged by key and read along an index, so no answer costs more as the store grows.  Lists are
for looking through: rows may commit out of order, so none of them is a feed to follow by its last id (protocol §13).
"""

from gateway.store.views.archived import archived, archived_id
from gateway.store.views.document import (
    DocumentView,
    PacketLine,
    RecipientLine,
    StatusLine,
    TimelineLine,
    document,
    find_packets,
    named_issuers,
)
from gateway.store.views.figures import (
    BacklogLine,
    InboxCount,
    ParkedCount,
    Snapshot,
    backlog,
    inbox_counts,
    snapshot,
)
from gateway.store.views.inboxes import Inbox, Unfetched, inboxes
from gateway.store.views.lists import (
    DeliveryLine,
    NoticeLine,
    SentLine,
    SlowLine,
    notices,
    oldest_open,
    parked,
    sent,
    slowest,
    undelivered,
)
from gateway.store.views.search import LOOKED_AT_MOST, Found, FoundLine, Wanted, search
from gateway.store.views.verdicts import VerdictLine, verdicts

__all__ = [
    "LOOKED_AT_MOST",
    "BacklogLine",
    "DeliveryLine",
    "DocumentView",
    "Found",
    "FoundLine",
    "Inbox",
    "InboxCount",
    "NoticeLine",
    "PacketLine",
    "ParkedCount",
    "RecipientLine",
    "SentLine",
    "SlowLine",
    "Snapshot",
    "StatusLine",
    "TimelineLine",
    "Unfetched",
    "VerdictLine",
    "Wanted",
    "archived",
    "archived_id",
    "backlog",
    "document",
    "find_packets",
    "inbox_counts",
    "inboxes",
    "named_issuers",
    "notices",
    "oldest_open",
    "parked",
    "search",
    "sent",
    "slowest",
    "snapshot",
    "undelivered",
    "verdicts",
]
