"""What applying a file changes, for people to read before and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from edxml.messages import Language, text

__all__ = ["Change", "ChangeKind", "Noun", "changes_between"]


class ChangeKind(StrEnum):
    """Nothing is ever removed: an agency ends by its dates, a system is disabled, a channel serves nobody."""

    ADDED = "added"
    CHANGED = "changed"


class Noun(StrEnum):
    """What changes."""

    AGENCY = "agency"
    PROFILE = "profile"
    SYSTEM = "system"
    CHANNEL = "channel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference. `field`, `before` and `after` are as a file would write them; "" for something new."""

    kind: ChangeKind
    noun: Noun
    name: str
    field: str = ""
    before: str = ""
    after: str = ""

    def text(self, language: Language) -> str:
        """The change as one line."""
        params = {"name": self.name, "field": self.field, "before": self.before or "∅", "after": self.after or "∅"}
        return text(f"configuration.{self.kind}_{self.noun}", language, params)


def changes_between(
    noun: Noun, name: str, before: Mapping[str, str] | None, after: Mapping[str, str]
) -> Iterator[Change]:
    """The changes that turn `before` (None: not there) into `after`, both as field → shown value."""
    if before is None:
        yield Change(kind=ChangeKind.ADDED, noun=noun, name=name)
        return
    for field, value in after.items():
        if before.get(field, "") != value:
            yield Change(
                kind=ChangeKind.CHANGED, noun=noun, name=name, field=field, before=before.get(field, ""), after=value
            )
