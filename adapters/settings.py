"""A channel's settings, all checked before one is used; a fault names channel, setting, what was given and may be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from adapters.contract import AdapterError
from edxml.messages import Language, Term, text

__all__ = ["SettingMissing", "SettingWrong", "SettingsReader", "without_passwords"]

_PASSWORD: Final = re.compile(r"(//[^:/@?]*:).*(?=@)|((?:password|token|secret)=)[^&]*", re.IGNORECASE | re.DOTALL)


def without_passwords(value: Any) -> Any:
    """A setting's value as it may be shown: what stands for a password within an address is "…", in lists and tables
    too. No setting needs one there: passwords and tokens are kept in files that settings name."""
    if isinstance(value, str):
        return _PASSWORD.sub(r"\1\2…", value)
    if isinstance(value, Mapping):
        return {name: without_passwords(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_passwords(one) for one in value]
    return value


class SettingWrong(AdapterError):
    """One setting of a channel is wrong.

    Parameters `channel`, `setting`, `what` (a text's code), `given`, `allowed`, and for logs `why` in English.
    """

    code: ClassVar[str] = "adapters.setting_wrong"

    def __init__(self, *, channel: str, setting: str, what: str, given: object = "", allowed: str = "") -> None:
        shown = repr(without_passwords(given))
        why = f"{text(what, Language.EN, {})} {shown} {allowed}".rstrip()
        super().__init__(
            channel=channel, setting=setting, what=Term(what), given=shown, allowed=allowed or "–", why=why
        )


class SettingMissing(SettingWrong):
    """A setting without a default was not given. `what`: the text that says what it is."""

    code: ClassVar[str] = "adapters.setting_missing"


class SettingsReader:
    """The settings of one row over the defaults of its kind. Every fault is noted, also a setting that does not exist.

    Where a setting is wrong its reading gives a stand-in of the right shape.  `check` raises what was noted: call it
    when all is read and before anything is used.
    """

    def __init__(self, given: Mapping[str, object], defaults: Mapping[str, object], channel: str) -> None:
        self._channel = channel
        self._faults: list[SettingWrong] = []
        for name in given:
            if name not in defaults:
                self.note(name, "setting.unknown", given[name], ", ".join(defaults))
        self._values = {**defaults, **given}

    def note(self, setting: str, what: str, given: object = "", allowed: str = "") -> None:
        """Keep a fault for `check`."""
        self._faults.append(
            SettingWrong(channel=self._channel, setting=setting, what=what, given=given, allowed=allowed)
        )

    def note_missing(self, setting: str, what: str) -> None:
        """Keep for `check` that a setting must be given; `what` says what it is."""
        self._faults.append(SettingMissing(channel=self._channel, setting=setting, what=what))

    def check(self) -> None:
        """Raise the first SettingWrong, with the others in its `also`; nothing where all is right."""
        if self._faults:
            first, *others = self._faults
            first.also = tuple(others)
            raise first

    def raw(self, name: str) -> object:
        """The value as it was given, or the default."""
        return self._values[name]

    def number(self, name: str, *, least: float, most: float) -> float:
        """A number from `least` to `most`."""
        value = self._values[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            self.note(name, "setting.number", value, f"{least:g} … {most:g}")
            return least
        return float(value)

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._values[name]
        if not isinstance(value, bool):
            self.note(name, "setting.flag", value, "true, false")
            return False
        return value

    def word(self, name: str, allowed: tuple[str, ...]) -> str:
        """One of a closed list."""
        value = self._values[name]
        if not isinstance(value, str) or value not in allowed:
            self.note(name, "setting.word", value, ", ".join(allowed))
            return allowed[0]
        return value

    def words(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._values[name]
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            self.note(name, "setting.words", value)
            return ()
        return tuple(value)

    def path(self, name: str) -> Path | None:
        """An absolute path, or None where it was left empty."""
        value = self._values[name]
        if isinstance(value, str | Path) and not str(value):
            return None
        if not isinstance(value, str | Path) or "\x00" in str(value) or not Path(value).is_absolute():
            self.note(name, "setting.path", value)
            return None
        return Path(value)
