"""The letter to a vendor (thư gửi nhà cung cấp): what its software keeps getting wrong, how often, and until when.

Pure: whoever counts repairs per sending system gives the counts, and sends the text as they like.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from edxml.messages import Language, text
from edxml.profiles import source_of

__all__ = ["Letter", "LetterItem", "write_letter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterItem:
    """One repair: in how many packets, from which day to which, the id of a document to look at.

    `until` is the last day on which it is still made: `date.max` where no end was set, None where it is made no more.
    """

    name: str
    packets: int
    first: date
    last: date
    example: str = ""
    until: date | None = date.max


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What a letter says of the days `since` to `until`, both included; of `packets`, `repaired` needed a repair."""

    system: str
    since: date
    until: date
    day: date  #: on which it is written: what ended before is told as refused
    packets: int
    repaired: int
    items: tuple[LetterItem, ...]


def write_letter(letter: Letter, language: Language) -> str:
    """The letter as plain text, the commonest repair first; one that this program does not know is told by its name."""

    def say(key: str, **params: object) -> str:
        return text(f"letter.{key}", language, params)

    days = {"since": letter.since, "until": letter.until, "packets": letter.packets}
    opening = say("opening", repaired=letter.repaired, **days) if letter.items else say("nothing", **days)
    paragraphs = [say("greeting", system=letter.system), opening]
    for number, item in enumerate(sorted(letter.items, key=lambda each: (-each.packets, each.name)), 1):
        lines = [
            say("item", number=number, name=item.name, packets=item.packets, first=item.first, last=item.last),
            say("deviation", what=text(f"repair.{item.name}", language, {}), breaks=source_of(item.name)),
            say("remedy", remedy=text(f"remedy.{item.name}", language, {})),
            *([say("example", document=item.example)] if item.example else []),
            _tolerance(item, letter.day, language),
        ]
        paragraphs.append("\n   ".join(lines))
    paragraphs.append(say("closing"))
    return "\n\n".join(paragraphs) + "\n"


def _tolerance(item: LetterItem, day: date, language: Language) -> str:
    """Until when the repair is made, or that it is made no more."""
    if item.until is None:
        return text("letter.refused", language, {})
    if item.until == date.max:
        return text("letter.tolerated", language, {})
    code = "letter.tolerated_until" if day <= item.until else "letter.refused_since"
    return text(code, language, {"day": item.until})
