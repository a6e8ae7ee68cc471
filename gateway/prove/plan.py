"""The seeded generator: who sends what to whom, and in which order. Pure: the same seed and run give the same bytes.

Every road that senders take: documents with one and several recipients, small and large, urgent and not; the same again
with and without a key; an update, a recall, an update and then a recall; a replacement of one or two documents, which
may be recalled themselves before or after it; on purpose wrong: another packet under a key that was used, and another
content under a document's id, to the same recipients or to others.  What a packet refers to is sent some documents
earlier, so that both may be under way at once.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

from edxml.codes import Priority
from gateway.prove.ledger import Act, Meant, digest
from gateway.prove.marks import TestAgency
from gateway.trial.letters import Letter, compose_letter, recall_of, replacement_of, update_of

__all__ = ["Sending", "plan", "refuses", "run_of"]

_SIZES = (900, 4_000, 20_000, 20_000, 60_000, 300_000)
_LARGE = 1_500_000
_FOLLOWS_WITHIN = 6  #: documents, after which an update or a recall of one is sent at the latest
_NUMBERS = 100_000  #: documents of one sender in one run


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """A packet to send, so often in a row; each time the same answer must come."""

    meant: Meant
    body: bytes
    times: int = 1


def refuses(agency: str, wire_digest: str) -> bool:
    """Whether the clerk of a test agency refuses the document (02): one in eleven, and always the same ones."""
    return int(digest(f"{agency}:{wire_digest}".encode())[:8], 16) % 11 == 0


def plan(
    seed: int, run: int, sender: TestAgency, recipients: Sequence[TestAgency], day: date, *, follows: bool = True
) -> Iterator[Sending]:
    """What `sender` sends, without end. `run` tells documents of one proof from another's of the same seed.

    Without `follows` there are no updates and recalls.  Raises ValueError where nobody may be written to.
    """
    if not recipients:
        raise ValueError("a proof needs somebody to send to")
    return _Plan(random.Random(f"{seed}:{sender.id}"), run, sender, tuple(recipients), day).steps(follows)  # noqa: S311


def run_of(document: str) -> int:
    """Of which run the document is that says this id; 0 where it is no proof's."""
    number = document.rsplit(",", 1)[-1].split("/", 1)[0]
    return int(number) // _NUMBERS if number.isascii() and number.isdecimal() else 0


@dataclass(slots=True)
class _Plan:
    dice: random.Random
    run: int
    sender: TestAgency
    recipients: tuple[TestAgency, ...]
    day: date
    number: int = 0
    last: tuple[Sending, tuple[TestAgency, ...]] | None = None  #: the document before, where nothing has replaced it
    due: list[tuple[int, Sending]] = field(default_factory=list)  #: at which document what follows is sent

    def steps(self, follows: bool) -> Iterator[Sending]:
        while True:
            self.number += 1
            to = self._some()
            first = self._document(to)
            yield first
            yield from self._contradictions(first, to)
            if follows:
                self._follow(first, to)
                yield from self._replacement(first, to)
            ready = [entry for entry in self.due if entry[0] <= self.number]
            self.due = [entry for entry in self.due if entry[0] > self.number]
            yield from (sending for _, sending in ready)

    def _some(self) -> tuple[TestAgency, ...]:
        return tuple(self.dice.sample(self.recipients, self.dice.randint(1, min(4, len(self.recipients)))))

    def _number(self) -> int:
        return self.run * _NUMBERS + self.number

    def _letter(self, to: Sequence[TestAgency], *, seed: int) -> Letter:
        size = _LARGE if self.dice.random() < 0.02 else self.dice.choice(_SIZES)
        urgent = self.dice.random() < 0.15
        return compose_letter(
            name="", sender=self.sender.id, sender_organ=self.sender.organ, sender_name=self.sender.name,
            recipients=_written(to), number=self._number(), day=self.day, attachment_bytes=size, seed=seed,
            priority=Priority.EXPRESS if urgent else Priority.NORMAL,
        )  # fmt: skip

    def _document(self, to: Sequence[TestAgency]) -> Sending:
        letter = self._letter(to, seed=self._number())
        key = f"{self.sender.id}-{self._number()}" if self.dice.random() < 0.5 else ""
        return self._sending(Act.NEW, letter, to, key=key, times=self.dice.choice((1, 1, 1, 2, 3)))

    def _sending(
        self, act: Act, letter: Letter, to: Sequence[TestAgency], *, key: str = "", about: str = "",
        conflicts: str = "", replaces: tuple[str, ...] = (), times: int = 1,
    ) -> Sending:  # fmt: skip
        words = "conflict" if conflicts else str(act)
        meant = Meant(
            name=f"{self.sender.id}/{self._number()}/{words}", act=act, sender=self.sender.id,
            digest=digest(letter.body), document=letter.document_id, to=tuple(one.id for one in to), about=about,
            conflicts=conflicts, key=key, replaces=replaces,
        )  # fmt: skip
        return Sending(meant=meant, body=letter.body, times=times)

    def _contradictions(self, first: Sending, to: Sequence[TestAgency]) -> Iterator[Sending]:
        """Other content under the document's id, to those who have the first or to others: refused either way.

        Not where somebody refuses it: where all did, a new revision is taken.
        """
        if self.dice.random() >= 0.12 or any(refuses(one.id, first.meant.digest) for one in to):
            return
        others = [one for one in self.recipients if one not in to]
        whom = (self.dice.choice(others),) if others and self.dice.random() < 0.5 else to
        other = self._letter(whom, seed=self._number() + 1)
        key = first.meant.key if self.dice.random() < 0.5 else ""
        yield self._sending(Act.NEW, other, whom, key=key, conflicts=first.meant.name)

    def _replacement(self, first: Sending, to: tuple[TestAgency, ...]) -> Iterator[Sending]:
        """Now and then a document that replaces the last one, or the last two, to all who got any of these."""
        before, self.last = self.last, (first, to)
        if self.dice.random() >= 0.12:
            return
        replaced = [self.last] if before is None or self.dice.random() < 0.5 else [before, self.last]
        self.last = None
        whom = tuple(one for one in self.recipients if any(one in to for _, to in replaced))
        self.number += 1
        letter = replacement_of(
            tuple(old.meant.document for old, _ in replaced),
            sender=self.sender.id, sender_organ=self.sender.organ, sender_name=self.sender.name,
            recipients=_written(whom), number=self._number(), day=self.day,
        )  # fmt: skip
        names = tuple(old.meant.name for old, _ in replaced)
        made = self._sending(Act.REPLACEMENT, letter, whom, replaces=names, times=self.dice.choice((1, 2)))
        yield made
        self._follow(made, whom)

    def _follow(self, first: Sending, to: Sequence[TestAgency]) -> None:
        what = self.dice.choices(("", "update", "recall", "both"), (60, 14, 16, 10))[0]
        at = self.number
        for act, make in ((Act.UPDATE, update_of), (Act.RECALL, recall_of)):
            if what not in (str(act), "both"):
                continue
            letter = make(
                sender=self.sender.id, sender_organ=self.sender.organ, sender_name=self.sender.name,
                recipients=_written(to), number=self._number(), day=self.day,
            )  # fmt: skip
            at += self.dice.randint(0, _FOLLOWS_WITHIN // 2)
            self.due.append(
                (at, self._sending(act, letter, to, about=first.meant.name, times=self.dice.choice((1, 2))))
            )


def _written(to: Sequence[TestAgency]) -> tuple[tuple[str, str], ...]:
    return tuple((one.organ, one.name) for one in to)
