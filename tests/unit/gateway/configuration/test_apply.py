"""Applying: idempotent, all or nothing, and never what would leave an agency unreachable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edxml.messages import Language
from gateway.channels import KINDS
from gateway.configuration import ChangeKind, ConfigurationInvalid, apply, diff, export, init_rows, parse, read
from gateway.identity import digest_token, rotate_token
from gateway.store import Store, channels, systems
from gateway.store.agencies import load_directory
from gateway.store.versions import read_versions
from tests.support.stores import fresh_store, kinds_of_events

BASE = """
[[agency]]
id = "echo-nhan"
name = 'Cơ quan thử "tiếp nhận" \\ ở Vinh'
codes = [{ code = "H99.99.1", assumed = true }]

[[system]]
name = "Phần mềm A"
speaks_for = ["H99.12", "na-so-stp"]

[[system]]
name = "Quản trị"
operator = true

[[channel]]
id = "hop-thu-a"
kind = "inbox"
serves = ["na-so-snv", "H99.13"]
speaks_for_agency = true

[[channel]]
id = "echo"
kind = "echo"
serves = ["echo-nhan"]
in_flight = 2
settings = { answer = "accept", delay = 1.5, statuses = ["01", "03"] }

[[channel]]
id = "xa"
kind = "folder"
serves = ["H99.201"]
system = "Phần mềm A"
settings = { root = "/srv/truc/xã Đô Lương", unpack = true }
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = fresh_store(tmp_path)
    init_rows(store)
    return store


def everything(store: Store) -> tuple[object, ...]:
    with store.read() as connection:
        return (
            load_directory(connection).agencies,
            systems.list_systems(connection),
            channels.list_channels(connection),
            read_versions(connection),
        )


def faults(store: Store, text: str) -> list[tuple[str, str]]:
    before = everything(store)
    with pytest.raises(ConfigurationInvalid) as why:
        apply(store, read(text))
    assert everything(store) == before
    for finding in why.value.findings:
        assert "{" not in finding.text(Language.VI) != finding.code
    assert "{" not in why.value.text(Language.VI)
    return [(finding.code.removeprefix("configuration."), finding.place.path) for finding in why.value.findings]


def test_a_file_is_applied_and_a_repeat_changes_nothing(store: Store) -> None:
    first = apply(store, parse(BASE), actor="an")
    assert [(change.kind, change.name) for change in first] == [
        (ChangeKind.ADDED, name) for name in ("echo-nhan", "Phần mềm A", "Quản trị", "hop-thu-a", "echo", "xa")
    ]
    assert ("configuration.applied", "an", "changes x6") in kinds_of_events(store)
    before, events = everything(store), kinds_of_events(store)
    assert apply(store, parse(BASE)) == ()
    assert everything(store) == before
    assert kinds_of_events(store) == events
    with store.read() as connection:
        rows = {row.id: row for row in channels.list_channels(connection)}
        owner = {row.name: row for row in systems.list_systems(connection)}
    assert rows["hop-thu-a"].agency_ids == {"na-so-snv", "na-so-stp"}
    assert rows["hop-thu-a"].is_polled
    assert rows["xa"].sink == "checkable"
    assert rows["xa"].system_id == owner["Phần mềm A"].id
    assert rows["echo"].settings == {"answer": "accept", "delay": 1.5, "statuses": ["01", "03"]}
    assert owner["Phần mềm A"].agency_ids == {"na-so-snv", "na-so-stp"}


def test_a_dry_run_tells_and_changes_nothing(store: Store) -> None:
    before = everything(store)
    told = apply(store, parse(BASE), dry_run=True)
    assert everything(store) == before
    assert told == diff(store, parse(BASE)) == apply(store, parse(BASE))


def test_no_token_and_no_digest_is_ever_exported(store: Store) -> None:
    apply(store, parse(BASE))
    token = rotate_token(store, "Phần mềm A", actor="an").token
    text = export(store)
    assert token not in text
    assert digest_token(token) not in text


def test_what_is_exported_changes_nothing_when_applied(store: Store, tmp_path: Path) -> None:
    apply(store, parse(BASE))
    with store.write() as connection:
        channels.set_state(connection, "echo", channels.ChannelState.PAUSED, now=1, actor="an")
        (system, _) = systems.list_systems(connection)
        systems.change_system(connection, system.id, is_operator=False, is_enabled=False, profile="lenient")
    text = export(store)
    assert apply(store, parse(text)) == ()
    assert "na-so-snv" in text
    assert '[[agency]]\nid = "na-' not in text  # the packaged directory is not repeated
    twin = fresh_store(tmp_path / "khác")
    init_rows(twin)
    apply(twin, parse(text))
    assert export(twin) == text
    assert "paused = true" in text
    assert "enabled = false" in text


def test_changes_are_shown_field_by_field(store: Store) -> None:
    apply(store, parse(BASE))
    text = BASE.replace("in_flight = 2", "in_flight = 3").replace("operator = true", "operator = false")
    text = text.replace("ở Vinh", "ở Nghi Lộc")
    changes = apply(store, parse(text))
    assert [(c.name, c.field, c.before, c.after) for c in changes[1:]] == [
        ("Quản trị", "operator", "true", "false"),
        ("echo", "in_flight", "2", "3"),
    ]
    assert changes[0].field == "names"
    assert changes[2].text(Language.VI) == "kênh echo: in_flight 2 → 3"


def test_an_operators_pause_outlives_a_file_that_does_not_speak_of_it(store: Store) -> None:
    apply(store, parse(BASE))
    with store.write() as connection:
        channels.set_state(connection, "echo", channels.ChannelState.PAUSED, now=1, actor="an")
    assert apply(store, parse(BASE)) == ()
    (change,) = apply(store, parse(BASE.replace("in_flight = 2", "in_flight = 2\npaused = false")), actor="an")
    assert (change.field, change.after) == ("paused", "false")
    assert ("channel.resumed", "an", "channel:echo") in kinds_of_events(store)


def test_an_agency_passes_from_one_to_another_only_where_the_file_says_both(store: Store) -> None:
    apply(store, parse(BASE))
    taking = """
[[system]]
name = "Phần mềm B"
speaks_for = ["na-so-stp"]

[[channel]]
id = "hop-thu-b"
kind = "inbox"
serves = ["na-so-stp"]
"""
    assert faults(store, taking) == [
        ("agency_owned", "[[system]] 1 Phần mềm B"),
        ("agency_served", "[[channel]] 1 hop-thu-b"),
    ]
    giving = BASE.replace(', "na-so-stp"]', "]").replace(', "H99.13"]', "]")
    apply(store, parse(taking + giving))
    with store.read() as connection:
        assert channels.channels_of(connection, ["na-so-stp"]) == {"na-so-stp": "hop-thu-b"}
        assert len(systems.owners_of(connection, ["na-so-stp", "na-so-snv"])) == 2


def test_no_agency_with_a_system_is_left_without_a_channel(store: Store) -> None:
    alone = '[[system]]\nname = "C"\nspeaks_for = ["na-so-stp"]\n'
    assert faults(store, alone) == [("agency_without_channel", "[[system]] C")]
    apply(store, parse(BASE))
    assert (
        faults(store, '[[channel]]\nid = "hop-thu-a"\nkind = "inbox"\n')
        == [
            ("agency_without_channel", "[[system]] Phần mềm A"),
        ]
        * 2
    )


def test_every_fault_of_meaning_is_said_at_once(store: Store) -> None:
    apply(store, parse(BASE))
    text = """
[[system]]
name = "D"
speaks_for = ["khong-co"]

[[channel]]
id = "echo"
kind = "inbox"
settings = { a = 1 }

[[channel]]
id = "k1"
kind = "fax"
serves = ["khong-co"]
system = "Không có"

[[channel]]
id = "k2"
kind = "folder"
settings = { root = "/t" }

[[channel]]
id = "k3"
kind = "folder"
settings = { rot = "/t" }

[[channel]]
id = "k4"
kind = "inbox"
system = "Không có"
"""
    assert faults(store, text) == [
        ("agency_unknown", "[[system]] 1 D"),
        ("kind_fixed", "[[channel]] 1 echo"),
        ("no_settings", "[[channel]] 1 echo"),
        ("system_unknown", "[[channel]] 2 k1"),
        ("agency_unknown", "[[channel]] 2 k1"),
        ("kind_unknown", "[[channel]] 2 k1"),
        ("channel_without_system", "[[channel]] 3 k2"),
        ("adapters.setting_wrong", "[[channel]] 4 k3: settings.rot"),
        ("adapters.setting_missing", "[[channel]] 4 k3: settings.root"),
        ("system_unknown", "[[channel]] 5 k4"),
    ]


def test_faults_of_writing_hide_none_of_the_settings(store: Store) -> None:
    text = """
[[system]]
name = "D"
operator = "ja"
speaks_for = ["khong-co"]

[[channel]]
id = "k1"
kind = "rest"
serves = ["khong-co-2"]
in_flight = -3

[channel.settings]
foo = 1
sureness = "maybe"
plain_http = "ja"
networks = ["10.300.0.0/8", "10.0.0.0/8", "10.0.0.1/8"]
url = "http://u:p@host:1/x?y"
token_file = 3

[[channel]]
id = "k2"
kind = "folder"
system = "D"
paused = "ja"
settings = { file_mode = "0999", settle = -1 }

[[channel]]
id = "k3"
kind = "echo"
settings = { answer = "maybe", delay = -1, statuses = ["99"] }

[[channel]]
id = "k4"
kind = "rest"
settings = { }
"""
    assert faults(store, text) == [
        ("not_flag", "[[system]] 1 D: operator"),
        ("out_of_range", "[[channel]] 1 k1: in_flight"),
        ("not_flag", "[[channel]] 2 k2: paused"),
        ("agency_unknown", "[[system]] 1 D"),
        ("agency_unknown", "[[channel]] 1 k1"),
        ("adapters.setting_wrong", "[[channel]] 1 k1: settings.foo"),
        ("adapters.setting_wrong", "[[channel]] 1 k1: settings.plain_http"),
        ("adapters.setting_wrong", "[[channel]] 1 k1: settings.url"),
        ("adapters.setting_wrong", "[[channel]] 1 k1: settings.networks"),
        ("adapters.setting_wrong", "[[channel]] 1 k1: settings.networks"),
        ("adapters.setting_wrong", "[[channel]] 1 k1: settings.token_file"),
        ("adapters.setting_wrong", "[[channel]] 1 k1: settings.sureness"),
        ("adapters.setting_missing", "[[channel]] 2 k2: settings.root"),
        ("adapters.setting_wrong", "[[channel]] 2 k2: settings.file_mode"),
        ("adapters.setting_wrong", "[[channel]] 2 k2: settings.settle"),
        ("adapters.setting_wrong", "[[channel]] 3 k3: settings.answer"),
        ("adapters.setting_wrong", "[[channel]] 3 k3: settings.delay"),
        ("adapters.setting_wrong", "[[channel]] 3 k3: settings.statuses"),
        ("adapters.setting_missing", "[[channel]] 4 k4: settings.url"),
    ]


UNREAD: list[tuple[str, list[tuple[str, str]]]] = [
    ('[[system]]\nname = 3\n[[channel]]\nid = "k"\nkind = "inbox"\nsystem = "D"',
     [("not_text", "[[system]] 1 3: name")]),
    ('[[sistem]]\nname = "D"\n[[channel]]\nid = "k"\nkind = "inbox"\nsystem = "D"', [("misspelt", "sistem")]),
    ('[[agency]]\nid = "a"\n[[channel]]\nid = "k"\nkind = "inbox"\nserves = ["a"]',
     [("name_or_names", "[[agency]] 1 a")]),
    ('[[channel]]\nid = "k"\nkind = "folder"\nsystem = 3\nsettings = { root = "/t" }',
     [("not_text", "[[channel]] 1 k: system")]),
    ('[[channel]]\nid = "k"\nsettings = { root = "t" }', [("missing", "[[channel]] 1 k: kind")]),
    ('[[channel]]\nid = "k"\nkind = "folder"\nsystem = 3\nsettings = { root = 2025-07-01 }',
     [("not_text", "[[channel]] 1 k: system"), ("not_plain", "[[channel]] 1 k: settings"),
      ("adapters.setting_wrong", "[[channel]] 1 k: settings.root")]),
    ('[[profile]]\nname = 3\n[[system]]\nname = "D"\nprofile = "p"', [("not_text", "[[profile]] 1 3: name")]),
    ('[[channel]]\nid = "k"\nkind = "inbox"\n' * 2, [("twice", "[[channel]] k")]),
    ('[[agency]]\nid = "a"\nname = "A"\n' * 2, [("twice", "[[agency]] a")]),
    ("channel = 3\n[[agency]]\nid = 3", [("not_text", "[[agency]] 1 3: id"), ("not_list", "channel")]),
]  # fmt: skip


def test_nothing_is_called_unknown_that_could_not_be_read(tmp_path: Path) -> None:
    store = fresh_store(tmp_path)
    for text, told in UNREAD:
        assert faults(store, text) == told


def test_a_wrong_channel_still_counts_as_the_way_to_its_agencies(store: Store) -> None:
    text = """
[[system]]
name = "D"
speaks_for = ["H99.12"]

[[channel]]
id = "k"
kind = "rest"
serves = ["H99.12"]
"""
    assert faults(store, text) == [("adapters.setting_missing", "[[channel]] 1 k: settings.url")]


def test_agencies_that_contradict_the_directory_are_refused(store: Store) -> None:
    text = '[[agency]]\nid = "moi"\nname = "Mới"\nparent = "khong-co"\ncodes = ["H99.12"]\n'
    assert [code for code, _ in faults(store, text)] == ["directory.parent_unknown", "directory.code_taken"]


def test_a_further_kind_is_one_entry_more(store: Store) -> None:
    text = BASE + '[[channel]]\nid = "thu"\nkind = "stand_in"\n'
    assert faults(store, text) == [("kind_unknown", "[[channel]] 4 thu")]
    assert len(apply(store, parse(text), kinds={**KINDS, "stand_in": KINDS["echo"]})) == 7


def test_init_fills_the_directory_once_and_keeps_what_an_operator_changed(tmp_path: Path) -> None:
    store = fresh_store(tmp_path)
    assert init_rows(store) > 600
    apply(store, parse('[[agency]]\nid = "na-so-stp"\nname = "Sở Tư pháp, tên mới"\nparent = "na-tinh"\n'))
    assert init_rows(store) == 0
    assert 'name = "Sở Tư pháp, tên mới"' in export(store)
    with pytest.raises(ConfigurationInvalid):
        init_rows(store, "mat_trang")


def test_a_password_that_an_old_row_holds_in_its_address_is_not_told(store: Store) -> None:
    text = '[[channel]]\nid = "k"\nkind = "rest"\nsettings = { url = "https://may.vn/den" }\n'
    apply(store, read(text))
    with store.write() as connection:
        (row,) = channels.list_channels(connection)
        channels.put_channel(connection, replace(row, settings={"url": "https://nut:mat-khau@may.vn/den"}))
    (change,) = apply(store, read(text))
    assert change.field == "settings"
    assert "https://nut:…@may.vn/den" in change.text(Language.VI)
    assert "mat-khau" not in f"{change}{change.text(Language.EN)}"
