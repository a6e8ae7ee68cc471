"""The commands of an operator, run as `main` runs them, on a node's real folder."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edxml.messages import Language, text
from gateway.model.instants import HOUR, MINUTE, id_floor, wall_now
from gateway.model.states import DeliveryState
from tests.support.late import let_all_be_over
from tests.support.nodes import Does, House, WorkerDied, document_id, organ
from tests.support.packets import build_packet
from tests.support.stores import tell
from tests.support.terminal import Terminal

# --- making and configuring ------------------------------------------------------------------------------------------


def test_init_is_safe_to_repeat(truc: Terminal) -> None:
    first = truc.json("init")
    again = truc.json("init")
    assert first["agencies_added"] > 500
    assert first["keys_made"]
    assert (again["agencies_added"], again["keys_made"]) == (0, False)
    assert "không có danh mục mẫu" in truc("init", "--profile", "sao_hoa", code=4) + truc.err


def test_nothing_is_made_in_a_wrong_folder(truc: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "cau-hinh.toml"
    file.write_text('[[system]]\nnames = "x"\n')
    commands = (["channel", "list"], ["account"], ["export"], ["document", "show", "x"], ["system", "list"])
    for command in (*commands, ["apply", str(file)], ["apply", str(file), "--dry-run"]):
        truc(*command, code=6)
        assert "truc init" in truc.err
        assert "TRUC_DATA" in truc.err
    assert not (tmp_path / "data").exists()


def test_export_applied_changes_nothing(truc: Terminal, house: House, tmp_path: Path) -> None:
    file = tmp_path / "cau-hinh.toml"
    file.write_text('[[system]]\nname = "moi"\nspeaks_for = ["nowhere"]\n[[channel]]\nid = "moi"\nkind = "inbox"\n'
                    'serves = ["nowhere"]\n')  # fmt: skip
    would = truc.json("apply", str(file), "--dry-run")
    assert would["is_dry_run"]
    assert {change["name"] for change in would["changes"]} == {"moi"}
    assert truc.json("apply", str(file))["changes"] == would["changes"]
    assert truc.json("apply", str(file))["changes"] == []
    exported = truc("export")
    assert 'name = "moi"' in exported
    assert "truc_" not in exported, "no token in any file"


def test_every_fault_of_a_file_is_said(truc: Terminal, house: House, tmp_path: Path) -> None:
    file = tmp_path / "sai.toml"
    file.write_text('[[system]]\nnames = "x"\n[[channel]]\nid = "a"\nkind = 3\n'
                    '[[channel]]\nid = "b"\nkind = "rest"\nsettings = { foo = 1 }\n')  # fmt: skip
    truc("apply", str(file), code=4)
    assert truc.err.count("[configuration.") >= 2
    assert "thiếu mục bắt buộc “url”" in truc.err
    assert "mục “foo”" in truc.err
    truc("apply", str(tmp_path / "khong-co.toml"), code=2)
    assert "khong-co.toml" in truc.err


def test_a_token_is_shown_once_and_two_are_valid_at_once(truc: Terminal, house: House) -> None:
    token = truc("system", "add", "moi", "--speaks-for", f"{organ('nowhere')},old").strip()
    assert re.fullmatch(r"truc_[\w-]{43}", token)
    found = next(row for row in truc.json("system", "list") if row["name"] == "moi")
    assert found["speaks_for"] == ["nowhere", "old"]
    assert found["valid_tokens"] == 1
    assert token not in json.dumps(found)
    assert truc("system", "rotate", "moi").strip() != token
    assert next(row for row in truc.json("system", "list") if row["name"] == "moi")["valid_tokens"] == 2
    truc("system", "revoke", "moi")
    assert next(row for row in truc.json("system", "list") if row["name"] == "moi")["valid_tokens"] == 0
    truc("system", "add", "moi", code=1)
    truc("system", "add", "nua", "--speaks-for", "khong-co", code=6)
    truc("system", "rotate", "khong-co", code=6)


# --- looking ---------------------------------------------------------------------------------------------------------


def test_directory_says_assumed_beside_assumed_codes_and_follows_successors(truc: Terminal) -> None:
    truc("init")
    assert "mã giả định" in truc("directory", "find", "vinh", "hưng")
    assert "mã giả định" in truc("directory", "show", "na-so-stc")
    found = truc.json("directory", "find", "thanh vinh")
    assert [row["id"] for row in found] == ["na-xa-16681-2025"]
    assert found[0]["code_is_assumed"] is True
    past = truc.json("directory", "find", "nghi phú", "--on", "2025-06-30")
    old = truc.json("directory", "show", past[0]["id"])
    assert not old["in_force"]
    assert old["carried_on_by"]
    assert truc.json("directory", "show", past[0]["id"], "--on", "2025-06-30")["in_force"]
    truc("directory", "show", "000.00.00.X00", code=6)
    truc("directory", "find", "vinh", "--on", "hôm qua", code=2)


def test_a_document_s_whole_way_in_vietnamese(truc: Terminal, house: House) -> None:
    sent = house.send(["inbox-a", "check"])
    house.recipient("check").next(Does.TAKE)
    house.work()
    key = house.recipient("check").arrivals[0].key
    for wanted in (sent.packet_id, sent.recipients[0]["delivery_id"], key, document_id("1")):
        view = truc.json("document", "show", wanted)
        assert view["packet"]["packet_id"] == sent.packet_id
        assert {line["state"] for line in view["recipients"]} == {"available", "delivered"}
        times = [view["packet"]["accepted_at"], *(line["since"] for line in view["recipients"])]
        times += [line["at"] for line in view["timeline"]]
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+07:00", time) for time in times), times
    shown = truc("document", "show", sent.packet_id)
    for said in ("Diễn biến", "Trục đã tiếp nhận", "Đã lập lượt chuyển", "Đã giao", "đã giao", "Cơ quan check"):
        assert said in shown, said
    english = truc("document", "show", sent.packet_id, "--lang", "en")
    assert "Timeline" in english
    truc("document", "show", "khong-co", code=6)


def test_the_account_closes_or_names_what_breaks_it(truc: Terminal, house: House) -> None:
    sent = house.send(["inbox-a", "inbox-b"])
    closed = truc.json("account")
    assert closed["closes"]
    assert closed["totals"]["documents"]["accepted"] == 2
    early = truc.json("account", "--to", "2020-01-01")
    assert (early["packets"], early["to"]) == (0, "2020-01-02T00:00:00.000+07:00")
    assert truc.json("account", "--to", "9999-12-31")["packets"] == 1, "the last day that there is"
    truc("account", "--from", "xx", code=2)
    for backwards in (("--from", "2026-11-01", "--to", "2026-10-01"), ("--from", "2999-01-01")):
        truc("account", *backwards, code=2)
        assert "[cli.bad_period]" in truc.err
    with house.node.store.write() as connection:
        connection.exec_driver_sql("DELETE FROM deliveries WHERE agency_id = 'inbox-b'")
    broken = truc.json("account", code=1)
    assert {gap["packet_id"] for gap in broken["gaps"] if gap["packet_id"]} == {sent.packet_id}
    said = truc("account", code=1)
    assert "ĐỐI SOÁT KHÔNG KHỚP" in said
    assert sent.packet_id in said


# --- acting ----------------------------------------------------------------------------------------------------------


def _park(house: House, number: str) -> str:
    delivery = str(house.send(["inbox-a"], number).recipients[0]["delivery_id"])
    house.fetch("inbox-a", delivery)
    house.end_response(delivery)
    house.confirm("inbox-a", delivery, arrived=False)
    return delivery


def test_parked_is_listed_released_and_counted(truc: Terminal, house: House) -> None:
    deliveries = [_park(house, "1"), _park(house, "2")]
    listed = truc.json("parked", "list")
    assert [line["delivery_id"] for line in listed] == deliveries
    reason = listed[0]["reason"]
    assert "Cơ quan inbox-a" in truc("parked", "list", "--reason", reason)
    assert f"{reason} (2)" in truc.err, "what --reason takes"
    truc("parked", "release", "--reason", "workers_died")
    assert text("parked_told.none", Language.VI, {"reason": "workers_died", "reasons": f"{reason} (2)"}) in truc.err
    assert truc.json("parked", "list", "--reason", "workers_died") == []
    for act in ("list", "release", "resend", "arrived"):
        truc("parked", act, "--reason", "khac", code=2)
        unknown = text("parked_told.reason_unknown", Language.VI, {"given": "khac", "reasons": f"{reason} (2)"})
        assert f"{unknown} [parked_told.reason_unknown]" in truc.err
    would = truc.json("parked", "release", "--reason", reason, "--dry-run")
    assert [line["outcome"] for line in would] == ["parked_told.would"] * 2
    assert len(truc.json("parked", "list")) == 2, "a dry run does nothing"
    done = truc.json("parked", "release", "--reason", reason)
    assert {line["state"] for line in done} == {DeliveryState.AVAILABLE}
    assert truc.json("parked", "list") == []
    again = truc.json("parked", "release", deliveries[0], code=1)
    assert again[0]["outcome"] == "release.not_parked"
    truc("parked", "release", code=2)
    assert text("parked_told.ids_or_reason", Language.VI, {}) in truc.err
    truc("parked", "release", "x", "--reason", reason, code=2)


def _doubt(house: House, number: str) -> str:
    house.recipient("blind").next(Does.TAKE_SILENTLY)
    sent = house.send(["blind"], number)
    house.work()
    return house.delivery(sent, "blind")


def test_all_that_one_reason_parked_may_have_arrived(truc: Terminal, house: House) -> None:
    doubtful, other = [_doubt(house, "1"), _doubt(house, "2")], _park(house, "3")
    [reason] = {line["reason"] for line in truc.json("parked", "list") if line["delivery_id"] in doubtful}
    would = truc.json("parked", "arrived", "--reason", reason, "--dry-run")
    assert [(line["delivery"], line["outcome"]) for line in would] == [(one, "parked_told.would") for one in doubtful]
    done = truc.json("parked", "arrived", "--reason", reason)
    assert {line["state"] for line in done} == {DeliveryState.DELIVERED}
    assert [line["delivery_id"] for line in truc.json("parked", "list")] == [other]
    truc("parked", "arrived", code=2)
    assert text("parked_told.ids_or_reason", Language.VI, {}) in truc.err
    truc("parked", "arrived", other, "--reason", reason, code=2)


def test_what_was_in_doubt_when_the_machine_was_started_anew_can_be_released(truc: Terminal, house: House) -> None:
    """A command cannot wait: what may have landed is over where the clocks of both machines say so."""
    delivery = _doubt(house, "1")
    _sent_before_the_start(house, "UPDATE attempts SET boot = 'former'")
    refused = truc.json("parked", "release", delivery, code=1)
    assert refused[0]["outcome"] == "release.attempt_still_open"
    _sent_before_the_start(house, "UPDATE attempts SET id = ?", id_floor(wall_now() - HOUR) + "-7000-8000-000000000000")
    done = truc.json("parked", "release", delivery)
    assert done[0]["state"] == DeliveryState.READY


def _sent_before_the_start(house: House, sentence: str, *values: object) -> None:
    with house.node.store.write() as connection:
        assert tell(connection, sentence, *values).rowcount == 1


def test_a_dry_run_asks_what_the_act_asks(truc: Terminal, house: House) -> None:
    parked, open_ = _park(house, "1"), str(house.send(["inbox-a"], "2").recipients[0]["delivery_id"])
    for act in ("arrived", "release", "resend"):
        would = truc.json("parked", act, parked, open_, "khong-co", "--dry-run", code=1)
        assert "parked_told" not in truc.err
        done = truc.json("parked", act, open_, "khong-co", code=1)
        assert would == [{"delivery": parked, "outcome": "parked_told.would"}, *done]
    said = truc("parked", "release", parked, open_, "--dry-run", code=1) + truc.err
    assert "Xử lý được: 1 lượt chuyển" in said
    assert "Không xử lý được: 1 lượt chuyển" in said
    assert "parked_told." not in said


def test_a_dry_run_asks_for_those_who_share_a_transfer_in_doubt(truc: Terminal, house: House) -> None:
    """Two agencies on one transfer: the one goes on only where the other may, and is answered for it."""
    sent = house.send(["pair-a", "pair-b"])
    house.recipient("pair").default = Does.DIE_AFTER
    for _ in range(3):
        with pytest.raises(WorkerDied):
            house.work(house.ready())
        house.recipient("pair").arrivals.clear()
        house.pass_time(2 * MINUTE)
        house.sweep()
    house.recall(["pair-b"])  # freezes that one only
    let_all_be_over(house)
    delivery = house.delivery(sent, "pair-a")
    before = house.rows("SELECT * FROM deliveries")
    would = truc.json("parked", "release", delivery, "--dry-run", code=1)
    assert house.rows("SELECT * FROM deliveries") == before
    assert would == truc.json("parked", "release", delivery, code=1)
    assert would[0]["outcome"] == "release.behind_earlier"
    assert would[0]["delivery"] == delivery


def test_resend_gives_a_new_key(truc: Terminal, house: House) -> None:
    delivery = _park(house, "1")
    before = truc.json("parked", "list")[0]["key"]
    truc("parked", "resend", delivery)
    line = truc.json("document", "show", delivery)["recipients"][0]
    assert line["key"] != before
    assert line["reason"] == "resent"


def test_channels_are_paused_and_resumed_once(truc: Terminal, house: House) -> None:
    assert "Đã tạm dừng" in truc("channel", "pause", "check")
    assert "vốn đang tạm dừng" in truc("channel", "pause", "check")
    assert next(row for row in truc.json("channel", "list") if row["id"] == "check")["state"] == "paused"
    assert "hoạt động trở lại" in truc("channel", "resume", "check")
    truc("channel", "pause", "khong-co", code=6)
    probed = truc.json("channel", "probe", code=1)
    usable = {row["channel"]: row["usable"] for row in probed}
    assert usable["hop-inbox-a"]
    assert not usable["check"], "a kind that this program does not know"
    assert truc.json("channel", "probe", "hop-inbox-a")[0]["usable"]


def test_settings_are_shown_without_secrets_and_misspelt_ones_are_named(
    truc: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUC_TOKEN", "truc_bi-mat")
    truc("settings", "check")
    shown = truc("settings", "show") + truc.err
    assert "truc_bi-mat" not in shown
    assert "TRUC_DATA" in shown
    assert {row["variable"] for row in truc.json("settings", "show", "--changed")} >= {"TRUC_NODE", "TRUC_DATA"}
    monkeypatch.setenv("TRUC_PROT", "1")
    truc("settings", "check", code=4)
    assert "TRUC_PROT" in truc.err
    assert "TRUC_PORT" in truc.err
    monkeypatch.delenv("TRUC_PROT")
    monkeypatch.setenv("TRUC_PORT", "tám nghìn")
    truc("settings", "check", code=4)
    assert "TRUC_PORT" in truc.err
    for name, value in {"TRUC_PRT": "2", "TRUC_LEASE": "-1", "TRUC_NODE": "Bad Node"}.items():
        monkeypatch.setenv(name, value)
    truc("settings", "check", code=4)
    assert all(name in truc.err for name in ("TRUC_PRT", "TRUC_LEASE", "TRUC_NODE", "TRUC_PORT"))


# --- without a node --------------------------------------------------------------------------------------------------


def test_packets_are_checked_without_a_node(truc: Terminal, tmp_path: Path) -> None:
    good, bad = tmp_path / "tot.edxml", tmp_path / "hong.edxml"
    good.write_bytes(build_packet())
    bad.write_bytes(b"<?xml version='1.0'?><x/>")
    assert truc.json("packet", "check", str(good))[0]["is_refused"] is False
    told = truc.json("packet", "check", str(good), str(bad), code=1)
    assert [row["is_refused"] for row in told] == [False, True]
    assert told[1]["findings"][0]["line"] == 1
    assert "dòng 1" in truc("packet", "check", str(bad), code=1)
    truc("packet", "check", str(tmp_path / "khong-co"), str(bad), code=2)
    assert "khong-co" in truc.err


def test_wrong_commands_are_sentences(truc: Terminal, tmp_path: Path) -> None:
    truc("khong-co-lenh", code=2)
    truc("system", "add", code=2)
    assert "truc system add --help" in truc.err
    truc("serve", "--khong-co", code=2)
    assert "--khong-co" in truc.err
    truc("--lang", "fr", "version", code=2)
    truc("system", code=2)
    assert truc("version").startswith("truc ")
    for command in ([], ["serve"], ["parked", "release"]):
        truc(*command, "--help")
        assert "Hiện hướng dẫn này rồi thoát." in truc.out


def test_the_shell_completes_commands(truc: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    for words, number, found in (("truc chan", "1", "channel"), ("truc parked re", "2", "release\nresend")):
        monkeypatch.setenv("_TRUC_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", number)
        with pytest.raises(SystemExit) as ended:
            truc()
        assert ended.value.code == 0
        assert truc.captured().strip() == found


def test_remote_commands_without_a_node_to_ask(truc: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "van-ban.edxml"
    file.write_bytes(build_packet())
    truc("send", str(file), code=4)
    assert "TRUC_TOKEN" in truc.err
    monkeypatch.setenv("TRUC_TOKEN", "truc_" + "a" * 43)
    monkeypatch.setenv("TRUC_URL", "http://127.0.0.1:9")
    truc("send", str(file), code=7)
    assert "http://127.0.0.1:9" in truc.err
    truc("inbox", "list", code=7)


def test_a_defect_is_one_line_and_tells_nothing_of_a_packet(truc: Terminal, tmp_path: Path) -> None:
    truc("init")
    (tmp_path / "data" / "keys" / "seal.crt").write_bytes(b"\xff")
    truc("channel", "probe", code=4)
    with closing(sqlite3.connect(tmp_path / "data" / "truc.db")) as database:
        database.execute("ALTER TABLE channels RENAME TO khong_phai")  # what no error of ours foresees
    truc("channel", "list", code=70)
    kept = Path(re.search(r"\S+truc-defect-\d+\.txt", truc.err)[0])  # type: ignore[index]
    assert kept.parent == tmp_path / "data"
    assert kept.stat().st_mode & 0o777 == 0o600
    written = kept.read_text()
    assert "in main" in written
    assert "khong phai" not in written
    assert "no such table" not in written, "messages may tell what a packet says"


def test_a_damaged_database_is_said_in_a_sentence(truc: Terminal, tmp_path: Path) -> None:
    truc("init")
    with (tmp_path / "data" / "truc.db").open("r+b") as file:
        file.write(b"khong phai co so du lieu")
    truc("channel", "list", code=5)
    assert "store.damaged" in truc.err
