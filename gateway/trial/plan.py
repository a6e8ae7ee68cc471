"""What the demo sends: errands of every kind, planned before the first letter goes out.

Errands of one lane run one after the other, so that a recall follows its letter.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

from edxml.codes import Priority
from gateway.model.states import ChannelState
from gateway.store import Store
from gateway.store.channels import set_state
from gateway.trial.clients import Sending
from gateway.trial.ledger import digest
from gateway.trial.letters import Letter, compose_letter, damaged_letters, recall_of
from gateway.trial.province import Place, Province
from routing.agency import Agency, AgencyKind
from routing.directory import Directory
from routing.rows import load_nghe_an

__all__ = ["Act", "Errand", "do_act", "plan_errands"]

Act = Callable[[str, Letter], object]
"""(name of the act, letter or, for acts on a channel, a letter named after the agency) → whatever the act answers."""

_ORDINARY = 190
_WIDE = 9
_WIDE_REACH = 100
_HEAVY = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One thing that a sender does: acts in order. `deliveries`: how many recipients will be settled by it."""

    name: str
    lane: int
    sender: str
    acts: tuple[tuple[str, Letter], ...]
    deliveries: int

    def run(self, act: Act) -> None:
        """Do the acts in order."""
        for name, letter in self.acts:
            act(name, letter)


def do_act(store: Store, client: Sending, name: str, letter: Letter) -> object:
    """One act: send, some, again, pause, resume, damage."""
    if name in ("pause", "resume"):
        state = ChannelState.PAUSED if name == "pause" else ChannelState.OPEN
        with store.write() as connection:
            now = store.now(connection)
            return set_state(connection, f"k-{letter.name}", state, now=now, actor="demo")
    if name == "damage":
        path = store.blobs.path(letter.name)
        path.write_bytes(path.read_bytes().replace(b"%PDF", b"%PDX").replace(b"</edXML>", b"</edXML> "))
        return None
    if name == "some":
        return client.send(letter, recipients="some")
    return client.send(letter, key=f"demo-{letter.document_id}" if name == "keyed" else "")


def plan_errands(province: Province) -> list[Errand]:
    """All errands, shuffled the same way every time; about 2,000 deliveries."""
    planner = _Planner(province)
    errands = [
        planner.notice(),
        *(planner.wide(i) for i in range(_WIDE)),
        *(planner.ordinary(i) for i in range(_ORDINARY)),
        *(planner.heavy(i) for i in range(_HEAVY)),
        *planner.repeated(),
        *planner.damaged(),
        *planner.wrong_recipients(),
        planner.recalled(),
        planner.blob_damaged(),
    ]
    random.Random(3).shuffle(errands)  # noqa: S311 - a repeatable order
    return [replace(errand, lane=lane) for lane, errand in enumerate(errands)]


class _Planner:
    """Numbers letters per sender, picks recipients with a repeatable chance."""

    def __init__(self, province: Province) -> None:
        self._province = province
        self._chance = random.Random(11)  # noqa: S311 - repeatable
        self._number = 0
        self._directory: Directory = load_nghe_an()
        self._day = province.day

    def _letter(
        self,
        name: str,
        recipients: list[tuple[str, str]],
        *,
        sender: Place | None = None,
        priority: Priority = Priority.NORMAL,
        size: int = 12_000,
    ) -> Letter:
        self._number += 1
        chosen = sender or self._chance.choice(self._province.departments)
        return compose_letter(
            name=name,
            sender=chosen.id,
            sender_organ=chosen.organ,
            sender_name=chosen.name,
            recipients=tuple(recipients),
            number=self._number,
            day=self._day,
            priority=priority,
            attachment_bytes=size,
            seed=self._number,
        )

    def _errand(self, *acts: tuple[str, Letter], deliveries: int) -> Errand:
        letter = next(letter for _, letter in acts if letter.sender)
        return Errand(name=letter.name, lane=0, sender=letter.sender, acts=acts, deliveries=deliveries)

    def _some_communes(self, count: int) -> list[tuple[str, str]]:
        return [(p.organ, p.name) for p in self._chance.sample(self._province.communes, count)]

    def notice(self) -> Errand:
        """One notice to all 130 communes."""
        everyone = [(p.organ, p.name) for p in self._province.communes]
        return self._errand(("send", self._letter("notice", everyone)), deliveries=len(everyone))

    def wide(self, index: int) -> Errand:
        """A letter to a hundred communes, every third urgent."""
        priority = Priority.NORMAL if index % 3 else Priority.URGENT
        letter = self._letter("wide", self._some_communes(_WIDE_REACH), priority=priority)
        return self._errand(("send", letter), deliveries=_WIDE_REACH)

    def ordinary(self, index: int) -> Errand:
        """A letter to four communes; one in ten at the highest urgency (hỏa tốc)."""
        priority = Priority.NORMAL if index % 10 else Priority.EXPRESS
        letter = self._letter("urgent" if priority else "ordinary", self._some_communes(4), priority=priority)
        return self._errand(("keyed", letter), deliveries=4)

    def heavy(self, _index: int) -> Errand:
        """A letter with an attachment of the real size of signed scans: 0.28 to 1.3 MB."""
        letter = self._letter("heavy", self._some_communes(3), size=self._chance.randint(280_000, 1_340_000))
        return self._errand(("send", letter), deliveries=3)

    def repeated(self) -> Iterator[Errand]:
        """The same letter sent again, with and without an Idempotency-Key: one delivery each."""
        for name in ("send", "keyed") * 6:
            letter = self._letter("repeated", self._some_communes(2))
            yield self._errand((name, letter), (name, letter), deliveries=2)

    def damaged(self) -> Iterator[Errand]:
        """Packets that must be refused, each of another kind."""
        for letter in damaged_letters(self._letter("damaged", self._some_communes(2))):
            yield self._errand(("send", letter), deliveries=0)

    def wrong_recipients(self) -> Iterator[Errand]:
        """An unknown unit, a commune abolished in 2025, a district without a single successor."""
        commune = self._abolished(AgencyKind.COMMUNE)
        district = self._abolished(AgencyKind.DISTRICT)
        unknown = ("H99.ZZ9", "Đơn vị không có trong danh mục")
        good = self._some_communes(2)
        yield self._errand(("send", self._letter("unknown_unit", [*good, unknown])), deliveries=0)
        yield self._errand(("some", self._letter("unknown_unit_some", [*good, unknown])), deliveries=3)
        yield self._errand(("send", self._letter("abolished_commune", [commune])), deliveries=1)
        yield self._errand(("send", self._letter("abolished_district", [district])), deliveries=0)

    def _abolished(self, kind: AgencyKind) -> tuple[str, str]:
        """The first agency of a kind that ended before today, with the code and name of its last day."""
        ended = [a for a in self._directory.agencies if a.kind is kind and _ended_before(a, self._day)]
        agency = min(ended, key=lambda a: a.id)
        assert agency.valid_to is not None
        code = agency.organ_code_on(agency.valid_to)
        assert code is not None
        return code.code, agency.name_on(agency.valid_to)

    def recalled(self) -> Errand:
        """A letter to a commune whose channel is paused, and its recall: withdrawn before anybody saw it."""
        sender = self._province.departments[0]
        commune = self._province.folder_communes[0]
        letter = self._letter("recalled", [(commune.organ, commune.name)], sender=sender)
        recall = recall_of(
            sender=sender.id,
            sender_organ=sender.organ,
            sender_name=sender.name,
            recipients=((commune.organ, commune.name),),
            number=self._number,
            day=self._day,
        )
        channel = replace(letter, name=commune.id, sender="")
        acts = (("pause", channel), ("send", letter), ("send", recall), ("resume", channel))
        return self._errand(*acts, deliveries=2)

    def blob_damaged(self) -> Errand:
        """A stored packet altered on disk before its hand-over: parked, and a person is told."""
        commune = self._province.folder_communes[1]
        letter = self._letter("blob_damaged", [(commune.organ, commune.name)])
        channel = replace(letter, name=commune.id, sender="")
        blob = replace(letter, name=digest(letter.body), sender="")
        acts = (("pause", channel), ("send", letter), ("damage", blob), ("resume", channel))
        return self._errand(*acts, deliveries=1)


def _ended_before(agency: Agency, day: date) -> bool:
    return agency.valid_to is not None and agency.valid_to < day - timedelta(days=1)
