"""A channel row's settings, checked one by one; every fault names channel, setting, what was given and what may be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from adapters.contract import AdapterError
from edxml.messages import Language, Term, text

__all__ = ["SettingWrong", "SettingsReader"]


class SettingWrong(AdapterError):
    """One setting of a channel is wrong.

    Parameters `channel`, `setting`, `what` (a text's code), `given`, `allowed`, and for logs `why` in English.
    """

    code: ClassVar[str] = "adapters.setting_wrong"

    def __init__(self, *, channel: str, setting: str, what: str, given: object = "", allowed: str = "") -> None:
        why = f"{text(what, Language.EN, {})} {given!r} {allowed}".rstrip()
        super().__init__(
            channel=channel, setting=setting, what=Term(what), given=repr(given), allowed=allowed or "–", why=why
        )


class SettingsReader:
    """The settings of one row over the defaults of its kind. Raises SettingWrong, also for one that does not exist."""

    def __init__(self, given: Mapping[str, object], defaults: Mapping[str, object], channel: str) -> None:
        self._channel = channel
        for name in given.keys() - defaults.keys():
            raise self.wrong(name, "setting.unknown", given[name], ", ".join(defaults))
        self._values = {**defaults, **given}

    def wrong(self, setting: str, what: str, given: object = "", allowed: str = "") -> SettingWrong:
        """The error to raise."""
        return SettingWrong(channel=self._channel, setting=setting, what=what, given=given, allowed=allowed)

    def raw(self, name: str) -> object:
        """The value as it was given, or the default."""
        return self._values[name]

    def number(self, name: str, *, least: float, most: float) -> float:
        """A number from `least` to `most`."""
        value = self._values[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise self.wrong(name, "setting.number", value, f"{least:g} … {most:g}")
        return float(value)

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._values[name]
        if not isinstance(value, bool):
            raise self.wrong(name, "setting.flag", value, "true, false")
        return value

    def word(self, name: str, allowed: tuple[str, ...]) -> str:
        """One of a closed list."""
        value = self._values[name]
        if not isinstance(value, str) or value not in allowed:
            raise self.wrong(name, "setting.word", value, ", ".join(allowed))
        return value

    def words(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._values[name]
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            raise self.wrong(name, "setting.words", value)
        return tuple(value)

    def path(self, name: str) -> Path | None:
        """An absolute path, or None where it was left empty."""
        value = self._values[name]
        if isinstance(value, str | Path) and not str(value):
            return None
        if not isinstance(value, str | Path) or "\x00" in str(value) or not Path(value).is_absolute():
            raise self.wrong(name, "setting.path", value)
        return Path(value)
