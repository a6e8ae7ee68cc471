"""How answers look: words for closed lists, spans, moments, JSON that programs read."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from edxml.codes import StatusCode
from edxml.commands.exits import InputWrong
from edxml.messages import Language
from gateway.account import BookLine
from gateway.cli.exits import ExitCode, RemoteRefused, RemoteUnreachable, exit_code_of
from gateway.cli.moments import parse_day, parse_moment
from gateway.cli.output import Voice
from gateway.keys import KeysMissing
from gateway.model.chain import Reason
from gateway.model.errors import (
    Conflict,
    DiskReserve,
    NotFound,
    SettingsError,
    StoreBusy,
    StoreForeign,
    StoreUnsafe,
)
from gateway.model.events import EventKind
from gateway.model.instants import DAY, local_iso
from gateway.model.states import Book, ChannelState, DeliveryState, Holder, LinkKind
from routing.agency import CodeScheme, Share


def make_voice(language: Language = Language.VI) -> tuple[Voice, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, width=120, highlight=False, markup=False)
    return Voice(language=language, out=console, err=Console(file=io.StringIO())), out


@pytest.mark.parametrize("language", list(Language))
def test_every_value_of_a_closed_list_has_a_word(language: Language) -> None:
    voice, _ = make_voice(language)
    lists = {
        "state": DeliveryState, "holder": Holder, "packet_kind": LinkKind, "book": Book, "channel_state": ChannelState,
        "scheme": CodeScheme, "share": Share, "event": EventKind, "delivery": Reason,
    }  # fmt: skip
    for table, values in lists.items():
        for value in values:
            assert voice.label(table, value) != value or language is Language.EN, f"{table}.{value}"
            assert voice.say(f"{table}.{value.replace('.', '_')}") != f"{table}.{value.replace('.', '_')}"
    for code in StatusCode:
        assert voice.label("status_code", f"s{code}").startswith(code)


def test_what_has_no_word_is_shown_as_it_is() -> None:
    voice, _ = make_voice()
    assert voice.label("state", "") == ""
    assert voice.label("state", "unheard_of") == "unheard_of"
    assert voice.reason("echo.down") == voice.say("echo.down") != "echo.down"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.25, "0.2 s"), (59, "59 s"), (60, "1 min"), (3_700, "1 h 1 min"), (90_000, "1 d 1 h"), (-3, "0 s")],
)
def test_spans(seconds: float, said: str) -> None:
    voice, _ = make_voice(Language.EN)
    assert voice.span(seconds) == said


def test_json_is_json_whatever_is_in_it() -> None:
    voice, out = make_voice()
    voice.json({"line": BookLine(agency_id="a", book="documents"), "ids": frozenset({"b", "a"}), "what": "“Hòa”"})
    found = json.loads(out.getvalue())
    assert found["line"]["agency_id"] == "a"
    assert found["ids"] == ["a", "b"]
    assert found["what"] == "“Hòa”"


def test_letters_of_a_name_are_never_taken_for_a_style() -> None:
    voice, out = make_voice()
    voice.table(("name", "#size"), [("[bold]Xã[/bold] [link=x]", 3)])
    voice.write("[red]")
    assert "[bold]Xã[/bold] [link=x]" in out.getvalue()
    assert "[red]" in out.getvalue()


def test_an_empty_table_is_one_sentence() -> None:
    voice, out = make_voice()
    voice.table(("name",), [])
    assert out.getvalue() == "Không có dữ liệu.\n"


def test_moments_are_vietnam_s_and_a_last_day_is_meant_whole() -> None:
    start = parse_moment("2026-07-01")
    assert local_iso(start) == "2026-07-01T00:00:00.000+07:00"
    assert parse_moment("2026-07-01", is_end=True) == start + DAY
    assert parse_moment("2026-07-01T00:00", is_end=True) == start
    assert parse_moment("2026-06-30T17:00:00+00:00") == start
    assert parse_moment("1/7/2026") == parse_moment("01/07/2026") == start
    assert parse_moment("1/7/2026", is_end=True) == start + DAY
    for wrong in ("hôm qua", "2026-13-01", "31/6/2026", "1/7"):
        with pytest.raises(InputWrong):
            parse_moment(wrong)
        with pytest.raises(InputWrong):
            parse_day(wrong)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreForeign(folder="f", owner="a", node="b"), ExitCode.FOREIGN),
        (StoreBusy(why="locked"), ExitCode.STORE),
        (StoreUnsafe(setting="s", value="v", wanted="w"), ExitCode.STORE),
        (DiskReserve(free=1, reserve=2), ExitCode.STORE),
        (SettingsError(where="x", why="y"), ExitCode.SETTINGS),
        (KeysMissing(path="p", folder="f"), ExitCode.SETTINGS),
        (NotFound("channel.unknown", channel="x"), ExitCode.NOT_FOUND),
        (Conflict("system.name_taken", name="x"), ExitCode.FINDINGS),
        (RemoteUnreachable(url="u", why="w"), ExitCode.REMOTE),
        (RemoteRefused({"code": "identity.bad_token", "vi": "Sai", "en": "Wrong"}), ExitCode.REMOTE),
        (RemoteRefused({"code": "packet.refused", "findings": [{"code": "edxml.x"}]}), ExitCode.FINDINGS),
    ],
)
def test_exit_codes(error: Exception, code: ExitCode) -> None:
    assert exit_code_of(error) is code  # type: ignore[arg-type]


def test_a_remote_node_s_own_sentence_is_told() -> None:
    refused = RemoteRefused({"code": "identity.bad_token", "vi": "Sai mã", "en": "Wrong token"})
    assert (refused.text(Language.VI), refused.text(Language.EN)) == ("Sai mã", "Wrong token")
    assert refused.reason == "identity.bad_token"
