"""The checker: what senders were told and recipients saw, held against what the installation says. Pure.

Its rules are the promises of docs/guarantees.md, seen from outside:

    lost            told "accepted", and neither seen nor accounted for; a status likewise
    seen twice      a recipient got two copies of one packet
    altered         a recipient got bytes that nobody sent, or somebody else's packet
    overtaken       a packet came before the one that it refers to, or a document after its recall
    broken word     a repeat got another answer, a contradiction was accepted, a good packet was refused
    unexplained     a copy is not delivered and nothing that happened says why
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.prove.ledger import Act, Meant, Record, Seen, Told
from gateway.prove.plan import run_of

__all__ = ["FATES", "Copy", "Judgement", "Wrong", "WrongKind", "judge"]

FATES = ("delivered", "refused", "withdrawn", "undeliverable", "expired", "parked", "open")
"""The columns of the account, in its order; every state that is none of the others is `open`."""


class WrongKind(StrEnum):
    """How a promise was broken; each has a text (`prove_wrong.<kind>`)."""

    LOST = "lost"
    TWICE = "twice"
    ALTERED = "altered"
    OVERTAKEN = "overtaken"
    BROKEN_WORD = "broken_word"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """One broken promise: which packet by its name in the ledger, at which agency, and what was found."""

    kind: WrongKind
    name: str
    agency: str = ""
    found: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What the installation says of one packet for one agency."""

    state: str
    reason: str = ""
    may_have_arrived: bool = False
    key: str = ""

    @property
    def fate(self) -> str:
        """Its column in the account."""
        return self.state if self.state in FATES else "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What became of everything that was accepted: `accepted` is the sum of `fates`, in copies.

    `statuses`: those that recipients reported; `open_statuses`: of these, the ones that are still on their way.
    """

    packets: int
    accepted: int
    fates: Mapping[str, int]
    repeats: int
    refusals: Mapping[str, int]
    statuses: int
    open_statuses: int
    wrongs: tuple[Wrong, ...]

    def count(self, *kinds: WrongKind) -> int:
        """How many promises of these kinds were broken."""
        return sum(wrong.kind in kinds for wrong in self.wrongs)

    @property
    def is_proof(self) -> bool:
        """Nothing is broken and nothing is still on its way."""
        return not self.wrongs and not self.fates["open"] and not self.open_statuses


_PARKED = frozenset(
    {
        "may_have_arrived", "outcome_unknown", "workers_died", "tried_too_often", "document_fault", "sink_parked",
        "recipient_failed", "behind_earlier",
    }
)  # fmt: skip
"""Reasons for which a person must decide though nobody did anything wrong: faults can bring each of them about."""

_OF_BLIND = "outcome_unknown"
"""Only where nobody can be asked, and a repeat would be a second copy, may a doubt come to a person by itself. Whether
such a copy came is open; that it came twice is not (`twice`)."""

_SUPERSEDED = "superseded"
"""Withdrawn since an update or a replacement of it arrived, or may have."""

Account = Mapping[str, Mapping[str, Copy]]
"""Packet id → agency → what the installation says. A packet that it does not know is not in it; what is in it and no
sender was told of is a status."""


def judge(
    record: Record, account: Account, *, unwatched: Collection[str] = (), blind: Collection[str] = (), run: int = 0
) -> Judgement:
    """Hold the ledgers against the installation's own account of each packet.

    `unwatched`: agencies without a ledger (an echo answers within the node): what is said of them is believed.
    `blind`: agencies that cannot be asked what they got, nor drop what they have.  `run`: this proof's number; what an
    earlier one, which was interrupted, has left in an inbox is none of its packets.  0: nobody went before.
    The answer is the same for the same values, in whatever order threads wrote lines of different agencies.
    """
    case = _Case(record, account, frozenset(unwatched), frozenset(blind), run)
    wrongs = (*case.words(), *case.copies(), *case.arrivals(), *case.order(), *case.statuses())
    fates = Counter(dict.fromkeys(FATES, 0))
    for packet_id in case.packets.values():
        fates.update(copy.fate for copy in account.get(packet_id, {}).values())
    return Judgement(
        packets=len(case.packets),
        accepted=sum(fates.values()),
        fates=fates,
        repeats=sum(told.is_repeat for told in record.told),
        refusals=Counter(told.code for told in record.told if told.code),
        statuses=len(case.reported),
        open_statuses=sum(
            any(copy.fate == "open" for copy in account.get(packet_id, {}).values()) for packet_id in case.reported
        ),
        wrongs=tuple(sorted(set(wrongs), key=lambda wrong: (wrong.kind, wrong.name, wrong.agency, wrong.found))),
    )


def _families(meant: Mapping[str, Meant]) -> list[list[Meant]]:
    """What was sent, in its order, by documents that are tied by replacement, directly or through others."""
    tied = {one.document: frozenset({one.document}) for one in meant.values()}
    for one in meant.values():
        united = tied[one.document].union(*(tied[meant[name].document] for name in one.replaces if name in meant))
        tied |= dict.fromkeys(united, united)
    found: dict[frozenset[str], list[Meant]] = defaultdict(list)
    for one in meant.values():
        found[tied[one.document]].append(one)
    return list(found.values())


class _Case:
    """The ledgers, indexed once."""

    def __init__(
        self, record: Record, account: Account, unwatched: frozenset[str], blind: frozenset[str], run: int
    ) -> None:
        self.account = account
        self.run = run
        self.unwatched = unwatched
        self.blind = blind
        self.meant = {meant.name: meant for meant in record.meant}
        self.told: dict[str, list[Told]] = defaultdict(list)
        for told in record.told:
            self.told[told.name].append(told)
        self.packets = {told.name: told.packet_id for told in record.told if told.is_accepted}
        self.by_digest: dict[str, list[Meant]] = defaultdict(list)
        for meant in self.meant.values():
            self.by_digest[meant.digest].append(meant)
        self.seen: dict[str, list[Seen]] = defaultdict(list)
        for seen in record.seen:
            if not seen.is_status:
                self.seen[seen.agency].append(seen)
        self.status_copies = Counter((s.agency, s.packet_id) for s in record.seen if s.is_status and s.is_copy)
        self.reported = {one.packet_id: one.agency for one in record.reported if one.packet_id}
        self.places: dict[tuple[str, str], list[int]] = defaultdict(list)
        for agency, all_seen in self.seen.items():
            for place, seen in enumerate(all_seen):
                if seen.is_copy:
                    self.places[agency, seen.digest].append(place)
        self.documents: dict[str, list[Meant]] = defaultdict(list)
        for meant in self.meant.values():
            self.documents[meant.document].append(meant)
        self.families = _families(self.meant)
        self.refused = {(seen.agency, seen.digest) for seen in record.seen if seen.refused}
        self.recalled = {meant.document for meant in self.meant.values() if meant.act is Act.RECALL}

    # --- what senders were told ------------------------------------------------------------------------------

    def words(self) -> Iterator[Wrong]:
        """Repeats get the first answer; contradictions are refused, and nothing else is."""
        for name, all_told in self.told.items():
            meant = self.meant.get(name)
            if meant is None:
                yield Wrong(kind=WrongKind.BROKEN_WORD, name=name, found="answered, and never meant")
                continue
            accepted = [told for told in all_told if told.is_accepted]
            for told in all_told:
                if told.is_accepted and meant.conflicts:
                    yield Wrong(kind=WrongKind.BROKEN_WORD, name=name, found=f"contradicts {meant.conflicts}: accepted")
                elif not told.is_accepted and not meant.conflicts:
                    yield Wrong(kind=WrongKind.BROKEN_WORD, name=name, found=f"refused: {told.code or told.status}")
            ids = {told.packet_id for told in accepted}
            if len(ids) > 1:
                yield Wrong(kind=WrongKind.BROKEN_WORD, name=name, found=f"two answers: {', '.join(sorted(ids))}")
            for told in accepted[1:]:
                if not told.is_repeat:
                    yield Wrong(kind=WrongKind.BROKEN_WORD, name=name, found="a repeat was taken for a new packet")

    # --- what became of each copy ----------------------------------------------------------------------------

    def copies(self) -> Iterator[Wrong]:
        """Every accepted copy is seen, or something that happened says why not."""
        for name, packet_id in self.packets.items():
            meant, said = self.meant.get(name), self.account.get(packet_id)
            if meant is None:
                continue  # told by `words`
            if said is None:
                yield Wrong(kind=WrongKind.LOST, name=name, found=f"accepted as {packet_id}, and not known any more")
                continue
            for agency in meant.to:
                if (copy := said.get(agency)) is None:
                    yield Wrong(kind=WrongKind.LOST, name=name, agency=agency, found="no delivery")
                elif agency not in self.unwatched:
                    yield from self._copy(meant, agency, copy)
            for agency in said.keys() - set(meant.to):
                yield Wrong(kind=WrongKind.ALTERED, name=name, agency=agency, found="a delivery to nobody's recipient")

    def _copy(self, meant: Meant, agency: str, copy: Copy) -> Iterator[Wrong]:
        arrived = bool(self.places.get((agency, meant.digest)))
        refused = (agency, meant.digest) in self.refused

        def wrong(kind: WrongKind, found: str) -> Wrong:
            return Wrong(kind=kind, name=meant.name, agency=agency, found=found)

        match copy.fate:
            case "delivered" if not arrived:
                yield wrong(WrongKind.LOST, "delivered, never seen")
            case "delivered" if refused:
                yield wrong(WrongKind.BROKEN_WORD, "refused by its recipient, and called delivered")
            case "refused" if not refused:
                yield wrong(WrongKind.UNEXPLAINED, "refused by nobody")
            case "undeliverable":
                yield wrong(WrongKind.UNEXPLAINED, f"undeliverable: {copy.reason}")
            case "withdrawn" | "expired":
                if found := self._given_up(meant, agency, copy, arrived=arrived):
                    yield wrong(*found)
            case "parked" if arrived and not copy.may_have_arrived:
                yield wrong(WrongKind.LOST, "parked as surely not arrived, and seen")
            case "parked" if copy.reason not in _PARKED:
                yield wrong(WrongKind.UNEXPLAINED, f"parked: {copy.reason}")
            case "parked" if copy.reason == _OF_BLIND and agency not in self.blind:
                yield wrong(
                    WrongKind.UNEXPLAINED, "parked in doubt, where the recipient could be asked or sent to again"
                )

    def _given_up(self, meant: Meant, agency: str, copy: Copy, *, arrived: bool) -> tuple[WrongKind, str] | None:
        """What is wrong with a copy that the node let go; None where a recall of its document says why.

        A recall itself may end so only as "nothing to recall": where nobody saw anything of the document.
        """
        is_recall, recalled = meant.act is Act.RECALL, meant.document in self.recalled
        if copy.fate == "withdrawn":
            if arrived:
                return WrongKind.OVERTAKEN, "withdrawn, and seen"
            if is_recall and self._saw_document(meant.document, agency):
                return WrongKind.LOST, "a recall withdrawn as if its document had not been seen"
            if recalled or (copy.reason == _SUPERSEDED and self._has_newer(meant, agency)):
                return None
            return WrongKind.UNEXPLAINED, "withdrawn by nobody"
        if arrived and not copy.may_have_arrived:
            return WrongKind.LOST, "expired as surely not arrived, and seen"
        if is_recall or not recalled:
            return WrongKind.UNEXPLAINED, f"expired: {copy.reason}"
        return None

    def _has_newer(self, meant: Meant, agency: str) -> bool:
        """Whether an update or a replacement was accepted for this recipient that may have come in its place."""
        family = next(family for family in self.families if meant in family)
        newer = [one for one in family if one.act in (Act.UPDATE, Act.REPLACEMENT) and one is not meant]
        return any(agency in one.to and one.name in self.packets for one in newer)

    def _saw_document(self, document: str, agency: str) -> bool:
        return any(
            bool(self.places.get((agency, meant.digest)))
            for meant in self.documents[document]
            if meant.act is not Act.RECALL and not meant.conflicts
        )

    # --- what recipients saw ---------------------------------------------------------------------------------

    def arrivals(self) -> Iterator[Wrong]:
        """Every copy is somebody's, meant for whoever got it, and the only one."""
        for agency, all_seen in self.seen.items():
            for seen in all_seen:
                known = self.by_digest.get(seen.digest, [])
                if not known and 0 < run_of(seen.document) < self.run:
                    continue
                if not known:
                    yield Wrong(kind=WrongKind.ALTERED, name=seen.key, agency=agency, found=f"bytes {seen.digest[:16]}")
                elif not any(agency in meant.to for meant in known):
                    yield Wrong(kind=WrongKind.ALTERED, name=known[0].name, agency=agency, found="sent to others")
                elif all(meant.conflicts for meant in known):
                    yield Wrong(kind=WrongKind.ALTERED, name=known[0].name, agency=agency, found="refused, and seen")
        for (agency, wanted), places in self.places.items():
            if len(places) > 1:
                known = self.by_digest.get(wanted, [])
                name = known[0].name if known else wanted[:16]
                yield Wrong(kind=WrongKind.TWICE, name=name, agency=agency, found=f"{len(places)} copies")
        for (agency, packet_id), count in self.status_copies.items():
            if count > 1:
                yield Wrong(kind=WrongKind.TWICE, name=packet_id, agency=agency, found=f"{count} copies of a status")

    def order(self) -> Iterator[Wrong]:
        """The packets of a document come in the order in which they were accepted, and none without its document.

        So do documents that are tied by replacement, and their updates, from when they are.
        """
        for all_meant in self.documents.values():
            good = [meant for meant in all_meant if self._is_good(meant)]
            for agency in sorted({agency for meant in good for agency in meant.to}):
                yield from self._order_at(agency, [meant for meant in good if agency in meant.to])
        for family in self.families:
            yield from self._order_in([one for one in family if self._is_good(one) and one.act is not Act.RECALL])

    def _is_good(self, meant: Meant) -> bool:
        return meant.name in self.packets and not meant.conflicts

    def _order_in(self, family: list[Meant]) -> Iterator[Wrong]:
        """What came before something that was accepted earlier, and that belonged with it when it was accepted."""
        for count, meant in enumerate(family, 1):
            (earlier,) = (known for known in _families({m.name: m for m in family[:count]}) if meant in known)
            for agency in meant.to:
                mine = self.places.get((agency, meant.digest), ())
                places = {p: one.name for one in earlier[:-1] for p in self.places.get((agency, one.digest), ())}
                if mine and places and mine[0] < max(places):
                    found = f"before {places[max(places)]}"
                    yield Wrong(kind=WrongKind.OVERTAKEN, name=meant.name, agency=agency, found=found)

    def _order_at(self, agency: str, family: list[Meant]) -> Iterator[Wrong]:
        latest, last = -1, ""
        for meant in family:
            mine = self.places.get((agency, meant.digest))
            if not mine:
                continue
            if mine[0] < latest:
                yield Wrong(kind=WrongKind.OVERTAKEN, name=meant.name, agency=agency, found=f"before {last}")
            latest, last = max(latest, *mine), meant.name
            about = self.meant.get(meant.about)
            if about and not self.places.get((agency, about.digest)) and not self._in_doubt(about, agency):
                yield Wrong(kind=WrongKind.OVERTAKEN, name=meant.name, agency=agency, found=f"without {about.name}")

    def _in_doubt(self, about: Meant, agency: str) -> bool:
        """Whether what is referred to may have arrived for all that the installation knows, or nobody watches."""
        copy = self.account.get(self.packets.get(about.name, ""), {}).get(agency)
        return agency in self.unwatched or (copy is not None and copy.may_have_arrived)

    # --- what recipients said --------------------------------------------------------------------------------

    def statuses(self) -> Iterator[Wrong]:
        """Every status that was taken from a recipient, or that the installation speaks of, is seen by the sender."""
        letters = {told.packet_id for all_told in self.told.values() for told in all_told}
        for packet_id, reporter in self.reported.items():
            if not self.account.get(packet_id):
                found = "a status that was taken, and is not known any more"
                yield Wrong(kind=WrongKind.LOST, name=packet_id, agency=reporter, found=found)
        for packet_id in self.account.keys() - letters:
            for agency, copy in self.account[packet_id].items():
                if agency not in self.unwatched and (wrong := self._status(packet_id, agency, copy)):
                    yield Wrong(kind=wrong[0], name=packet_id, agency=agency, found=wrong[1])

    def _status(self, packet_id: str, agency: str, copy: Copy) -> tuple[WrongKind, str] | None:
        has_arrived = bool(self.status_copies[agency, packet_id])
        match copy.fate:
            case "open":
                return None
            case "delivered":
                return None if has_arrived else (WrongKind.LOST, "a status delivered, never seen")
            case "parked" if copy.reason in _PARKED:
                if has_arrived and not copy.may_have_arrived:
                    return WrongKind.LOST, "a status parked as surely not arrived, and seen"
                return None
            case fate:
                return WrongKind.UNEXPLAINED, f"a status {fate}: {copy.reason}"
