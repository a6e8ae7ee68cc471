"""Reading a configuration file. What is written is checked here; what it means for this node, in `plan`."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from edxml.findings import Finding
from edxml.ids import OrganForm, OrganId, OrganIdMalformed
from gateway.configuration.entries import ChannelEntry, Configuration, ProfileEntry, SystemEntry
from gateway.configuration.faults import ConfigurationInvalid, fault
from gateway.model.windows import WindowMalformed, parse_window
from routing.agency import Agency, AgencyKind, CodeScheme, DatedCode, DatedName, DatedParent, Share, Succession

__all__ = ["decode", "parse", "read"]

_MOST_AT_ONCE = 256


def decode(written: bytes) -> str:
    """The text of a file; a byte order mark is passed over. Raises ConfigurationInvalid where it is not in UTF-8."""
    try:
        return written.decode("utf-8-sig")
    except UnicodeDecodeError as why:
        line = written.count(b"\n", 0, why.start) + 1
        raise ConfigurationInvalid([fault("not_utf8", f"TOML:{line}", line=line)]) from None


def parse(text: str) -> Configuration:
    """The configuration that a TOML text writes. Raises ConfigurationInvalid with every fault and its place."""
    found = read(text)
    if found.faults:
        raise ConfigurationInvalid(found.faults)
    return found


def read(text: str) -> Configuration:
    """What a TOML text writes, with its `faults`, so that `make_plan` tells those of meaning in the same breath.

    Raises ConfigurationInvalid only for a text that is no TOML.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as why:
        line = re.search(r"at line (\d+)", str(why))
        where = f"TOML:{line[1]}" if line else "TOML:EOF"
        raise ConfigurationInvalid(
            [fault("not_toml", where, line=int(line[1]) if line else None, why=str(why))]
        ) from why
    twice = tuple(found for section, key in _NAMED_BY.items() for found in _twice(raw, section, key))
    try:
        document = _Document.model_validate(raw)
    except ValidationError as why:
        return _remains(raw, why.errors(), twice)
    return Configuration(
        faults=twice,
        agencies=tuple(table.as_agency() for table in document.agency),
        profiles=tuple(table.as_entry(_where(("profile", i), raw)) for i, table in enumerate(document.profile)),
        systems=tuple(table.as_entry(_where(("system", i), raw)) for i, table in enumerate(document.system)),
        channels=tuple(table.as_entry(_where(("channel", i), raw)) for i, table in enumerate(document.channel)),
    )


# --- the file's own shape ------------------------------------------------------------------------------------------


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Span(_Table):
    valid_from: date | None = None
    valid_to: date | None = None


class _Name(_Span):
    name: str = Field(min_length=1)
    abbreviation: str = ""


class _Parent(_Span):
    id: str


class _Code(_Span):
    code: str = Field(min_length=1)
    scheme: Annotated[CodeScheme | None, Field(strict=False)] = None
    assumed: bool = False

    def as_code(self) -> DatedCode:
        return DatedCode(
            scheme=self.scheme or _scheme_of(self.code),
            code=self.code,
            valid_from=self.valid_from,
            valid_to=self.valid_to,
            assumed=self.assumed,
        )


class _Successor(_Table):
    id: str
    effective: date
    share: Annotated[Share, Field(strict=False)] = Share.FULL
    act: str = ""


def _code_alone(value: object) -> object:
    return {"code": value} if isinstance(value, str) else value


class _Agency(_Span):
    """Short form: `name`, `abbreviation`, `parent`, codes as plain texts. Long form: dated tables."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    kind: Annotated[AgencyKind, Field(strict=False)] = AgencyKind.OTHER
    name: str | None = Field(None, min_length=1)
    abbreviation: str = ""
    names: list[_Name] = []
    parent: str | None = None
    parents: list[_Parent] = []
    codes: list[Annotated[_Code, BeforeValidator(_code_alone)]] = []
    successors: list[_Successor] = []

    @model_validator(mode="after")
    def _one_form(self) -> _Agency:
        if (self.name is None) == (not self.names):
            raise PydanticCustomError("name_or_names", "either name or names")
        if self.parent is not None and self.parents:
            raise PydanticCustomError("parent_or_parents", "either parent or parents")
        return self

    def as_agency(self) -> Agency:
        names = tuple(DatedName(**table.model_dump()) for table in self.names)
        parents = tuple(
            DatedParent(agency_id=table.id, valid_from=table.valid_from, valid_to=table.valid_to)
            for table in self.parents
        )
        if self.name is not None:
            names = (DatedName(name=self.name, abbreviation=self.abbreviation),)
        if self.parent is not None:
            parents = (DatedParent(agency_id=self.parent),)
        return Agency(
            id=self.id,
            kind=self.kind,
            names=names,
            parents=parents,
            codes=tuple(table.as_code() for table in self.codes),
            successors=tuple(
                Succession(agency_id=table.id, effective=table.effective, share=table.share, act=table.act)
                for table in self.successors
            ),
            valid_from=self.valid_from,
            valid_to=self.valid_to,
        )


class _Allowance(_Table):
    repairs: list[str]
    but: list[str] = []
    senders: list[str] = []
    until: date | None = None
    why: str = ""
    schema_: bool = Field(False, alias="schema")


class _Profile(_Table):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    allow: list[_Allowance] = []

    def as_entry(self, where: str) -> ProfileEntry:
        return ProfileEntry(
            where=where,
            name=self.name,
            allow=tuple(table.model_dump(by_alias=True, exclude_unset=True) for table in self.allow),
        )


class _System(_Table):
    name: str = Field(min_length=1, max_length=100)
    operator: bool = False
    enabled: bool | None = None
    profile: str | None = None
    speaks_for: list[str] = []

    def as_entry(self, where: str) -> SystemEntry:
        return SystemEntry(
            where=where,
            name=self.name,
            is_operator=self.operator,
            is_enabled=self.enabled,
            profile=self.profile,
            speaks_for=tuple(self.speaks_for),
        )


def _plain(value: object) -> object:
    """Settings travel as JSON: a day or a time would come back as something else."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not isinstance(value, dict | list | str | int | float):
        raise PydanticCustomError("not_plain", "text, number, flag, list or table")
    for item in inner:
        _plain(item)
    return value


def _window(text: str) -> str:
    try:
        return parse_window(text).text
    except WindowMalformed as why:
        raise PydanticCustomError("window", "a window") from why


class _Channel(_Table):
    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    kind: str
    serves: list[str] = []
    system: str | None = None
    paused: bool | None = None
    speaks_for_agency: bool = False
    in_flight: int = Field(4, ge=1, le=_MOST_AT_ONCE)
    windows: list[Annotated[str, AfterValidator(_window)]] | None = None
    settings: Annotated[dict[str, Any], BeforeValidator(_plain)] = {}

    def as_entry(self, where: str) -> ChannelEntry:
        return ChannelEntry(
            where=where,
            id=self.id,
            kind=self.kind,
            serves=tuple(self.serves),
            system=self.system,
            is_paused=self.paused,
            speaks_for_agency=self.speaks_for_agency,
            in_flight=self.in_flight,
            windows=None if self.windows is None else tuple(self.windows),
            settings=self.settings,
        )


class _Document(_Table):
    agency: list[_Agency] = []
    profile: list[_Profile] = []
    system: list[_System] = []
    channel: list[_Channel] = []


_SCHEMES = {OrganForm.QCVN2016: CodeScheme.QCVN2016, OrganForm.QD2020: CodeScheme.QD2020}


def _scheme_of(code: str) -> CodeScheme:
    try:
        return _SCHEMES.get(OrganId.parse(code).form, CodeScheme.OTHER)
    except OrganIdMalformed:
        return CodeScheme.OTHER


# --- faults ----------------------------------------------------------------------------------------------------

_NAMED_BY = {"agency": "id", "profile": "name", "system": "name", "channel": "id"}
_REASONS = {
    "missing": "missing",
    "string_type": "not_text",
    "string_too_short": "missing",
    "bool_type": "not_flag",
    "int_type": "not_integer",
    "list_type": "not_list",
    "dict_type": "not_table",
    "model_type": "not_table",
    "date_type": "not_day",
    "date_from_datetime_inexact": "not_day",
    "enum": "not_one_of",
    "string_pattern_mismatch": "wrong_form",
    "greater_than_equal": "out_of_range",
    "less_than_equal": "out_of_range",
    "name_or_names": "name_or_names",
    "parent_or_parents": "parent_or_parents",
    "not_plain": "not_plain",
    "window": "window",
}
_FIELDS = {
    "": tuple(_Document.model_fields),
    "agency": tuple(_Agency.model_fields),
    "profile": tuple(_Profile.model_fields),
    "system": tuple(_System.model_fields),
    "channel": tuple(_Channel.model_fields),
}


def _fault_of(error: ErrorDetails, raw: Mapping[str, Any]) -> Finding:
    loc = error["loc"]
    where = _where(loc, raw)
    if error["type"] == "extra_forbidden":
        section = str(loc[0]) if len(loc) > 1 else ""
        nearest = difflib.get_close_matches(str(loc[-1]), _FIELDS[section], 1)
        return fault("misspelt", where, nearest=nearest[0]) if nearest else fault("unknown_field", where)
    words = error.get("ctx", {})
    reason = _REASONS.get(error["type"], "wrong_value")
    params = {"not_one_of": {"choices": words.get("expected", "")}, "out_of_range": {"most": _MOST_AT_ONCE},
              "wrong_value": {"why": error["msg"]}}  # fmt: skip
    return fault(reason, where, **params.get(reason, {}))


def _where(loc: Sequence[int | str], raw: Mapping[str, Any]) -> str:
    """`("channel", 2, "in_flight")` as "[[channel]] 3 kenh-16: in_flight", as a person counts and names."""
    section = str(loc[0])
    if len(loc) < 2 or not isinstance(loc[1], int):
        return section
    table = raw[section][loc[1]]
    name = table.get(_NAMED_BY.get(section, ""), "") if isinstance(table, dict) else ""
    inner = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in loc[2:])
    head = f"[[{section}]] {loc[1] + 1}" + (f" {name}" if name else "")
    return head + (f": {inner.removeprefix('.')}" if inner else "")


def _remains(raw: Mapping[str, Any], errors: Sequence[ErrorDetails], twice: tuple[Finding, ...]) -> Configuration:
    """What can be made out of a file with faults. Agencies are one whole: with a fault among them there are none."""
    places = {error["loc"][:3] for error in errors}
    unread = {str(loc[0]) for loc in places if len(loc) < 3 or loc[2] == _NAMED_BY[str(loc[0])]}
    unread = set(_NAMED_BY) if unread - _NAMED_BY.keys() else unread
    unread |= {str(loc[0]) for loc in places} & {"agency", "profile"}

    def left(section: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        for i, table in enumerate(_tables(raw, section)):
            if isinstance(table, dict):
                good = {name: value for name, value in table.items() if (section, i, name) not in places}
                yield _where((section, i), raw), table, {_NAMED_BY[section]: "", **good}

    channels = []
    for where, table, good in left("channel"):
        if "kind" in good:
            kept = {name: table[name] for name in ("settings",) if isinstance(table.get(name), dict)}
            if "system" in table and "system" not in good:
                unread.add("system")  # it has one, and nobody knows which
                kept["system"] = str(table["system"])
            channels.append(_Channel.model_construct(**(good | kept)).as_entry(where))
    valid = {name: raw.get(name, []) for name in ("agency", "profile") if name not in unread}
    whole = _Document.model_validate(valid)
    return Configuration(
        agencies=tuple(table.as_agency() for table in whole.agency),
        profiles=tuple(table.as_entry(_where(("profile", i), raw)) for i, table in enumerate(whole.profile)),
        systems=tuple(_System.model_construct(**good).as_entry(where) for where, _, good in left("system")),
        channels=tuple(channels),
        faults=(*(_fault_of(error, raw) for error in errors), *twice),
        unread=frozenset(unread),
    )


def _tables(raw: Mapping[str, Any], section: str) -> list[Any]:
    found = raw.get(section, [])
    return found if isinstance(found, list) else []


def _twice(raw: Mapping[str, Any], section: str, key: str) -> list[Finding]:
    names = [table.get(key) for table in _tables(raw, section) if isinstance(table, dict)]
    counts = Counter(name for name in names if name and isinstance(name, str))
    return [fault("twice", f"[[{section}]] {name}", name=name) for name, count in counts.items() if count > 1]
