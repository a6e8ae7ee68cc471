"""The letter to a vendor (thư gửi nhà cung cấp): what its software keeps getting wrong, how often, and until when.

Pure: whoever counts repairs per sending system gives the counts, and sends the text as they like.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from edxml.messages import Language, text
from edxml.profiles import REPAIR_KINDS

__all__ = ["Letter", "write_letter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What a letter says: `repairs` are (name, number of packets) of the days `since` to `until`, both included.

    `deadline` is the last day on which these repairs are still made; None where none was decided.
    """

    system: str
    since: date
    until: date
    packets: int
    repairs: tuple[tuple[str, int], ...]
    deadline: date | None = None


def write_letter(letter: Letter, language: Language) -> str:
    """The letter as plain text, the commonest repair first. Raises KeyError for a repair that does not exist."""

    def say(key: str, **params: object) -> str:
        return text(f"letter.{key}", language, params)

    days = {"since": _day(letter.since, language), "until": _day(letter.until, language)}
    paragraphs = [say("greeting", system=letter.system), say("opening", packets=letter.packets, **days)]
    for number, (name, count) in enumerate(sorted(letter.repairs, key=lambda each: (-each[1], each[0])), 1):
        kind = REPAIR_KINDS[name]
        what = text(f"repair.{name}", language, {})
        paragraphs.append(say("item", number=number, name=name, count=count, what=what, breaks=kind.breaks))
    if letter.deadline is not None:
        paragraphs.append(say("deadline", day=_day(letter.deadline, language)))
    paragraphs.append(say("closing"))
    return "\n\n".join(paragraphs) + "\n"


def _day(day: date, language: Language) -> str:
    return f"{day:%d/%m/%Y}" if language is Language.VI else day.isoformat()
