"""`truc channel drain|window|move`, and windows in a configuration file, as an operator meets them."""

from __future__ import annotations

from pathlib import Path

from gateway.store.channels import HandedOver, list_health, note_hand_overs
from tests.support.nodes import House
from tests.support.terminal import Terminal


def test_a_channel_is_drained_and_says_that_it_is_empty(truc: Terminal, house: House) -> None:
    house.send(to=["check"])
    assert "đã trống và tạm dừng" in truc("channel", "drain", "check", "--wait", "30")
    told = truc.json("channel", "drain", "check")
    assert (told["empty"], told["held"], told["open"], told["waiting"]) == (True, 0, 0, 1)
    assert truc.json("channel", "show", "check")["state"] == "paused"
    truc("channel", "drain", "khong-co", code=6)


def test_what_is_said_of_a_broken_channel_that_was_paused(truc: Terminal, house: House) -> None:
    down = HandedOver(channel_id="check", seconds=0.1, has_arrived=False, fault="channel.refused")
    with house.node.store.write() as connection:
        now = house.node.store.now(connection)
        note_hand_overs(connection, [down] * 10, now=now)
        assert list_health(connection)["check"].breaker.is_broken
    assert "đang tạm ngắt, thử lại sau" in truc("channel", "show", "check")
    truc("channel", "pause", "check")
    for told in (truc("channel", "show", "check"), truc("channel", "list")):
        assert "tạm dừng nên không thử lại; trước đó kênh bị ngắt" in " ".join(told.split())
        assert "đang tạm ngắt" not in told


def test_a_channel_that_is_not_empty_in_time_is_said(truc: Terminal, house: House) -> None:
    sent = house.send(to=["check"])
    house.recipient("check").during = lambda _item: held.append(truc.json("channel", "drain", "check", code=0))
    held: list[dict[str, object]] = []
    house.work([house.ticket(sent, "check")])
    assert [(one["empty"], one["held"]) for one in held] == [(False, 1)]
    assert truc.json("channel", "drain", "check")["empty"]


def test_windows_are_set_shown_and_removed(truc: Terminal, house: House) -> None:
    assert "không có khung giờ" in truc("channel", "window", "check")
    shown = truc("channel", "window", "check", "00:00-24:00", "T7,CN 00:00-24:00")
    assert "00:00-24:00\nT7,CN 00:00-24:00" in shown
    assert "đang trong khung giờ bảo trì" in shown
    assert truc.json("channel", "show", "check")["windows"] == ["00:00-24:00", "T7,CN 00:00-24:00"]
    truc("channel", "window", "check", "ban-dem", code=2)
    assert "không phải khung giờ" in truc.err
    truc("channel", "window", "check", "22:00-05:00", "--clear", code=2)
    assert "không có khung giờ" in truc("channel", "window", "check", "--clear")
    assert [row["reason"] for row in house.rows("SELECT reason FROM events WHERE kind = 'channel.scheduled'")] == [
        "channel:check windows x2", "channel:check windows x0",
    ]  # fmt: skip


def test_a_file_sets_windows_and_an_export_gives_them_back(truc: Terminal, house: House, tmp_path: Path) -> None:
    file = tmp_path / "kenh.toml"
    head = '[[channel]]\nid = "hop-inbox-a"\nkind = "inbox"\nserves = ["inbox-a"]\n'
    file.write_text(head + 'windows = ["22:00-05:00"]\n')
    truc("apply", str(file))
    assert 'windows = ["22:00-05:00"]' in truc("export")
    file.write_text(head)
    truc("apply", str(file))
    assert truc.json("channel", "show", "hop-inbox-a")["windows"] == ["22:00-05:00"], "left as they are"
    file.write_text(head + 'windows = ["ban-dem"]\n')
    truc("apply", str(file), code=4)
    assert "không phải khung giờ" in truc.err
    file.write_text(head + "windows = []\n")
    truc("apply", str(file))
    assert truc.json("channel", "show", "hop-inbox-a")["windows"] == []


def test_a_backlog_moves_by_command_from_a_channel_that_rests(truc: Terminal, house: House, tmp_path: Path) -> None:
    sent = house.send(to=["inbox-a"])
    file = tmp_path / "kenh.toml"
    file.write_text(
        '[[channel]]\nid = "hop-inbox-a"\nkind = "inbox"\nserves = []\n'
        '[[channel]]\nid = "hop-moi"\nkind = "inbox"\nserves = ["inbox-a"]\n'
    )
    truc("apply", str(file))
    truc("channel", "move", "hop-inbox-a", "hop-moi", code=1)
    assert "còn đang mở" in truc.err
    truc("channel", "drain", "hop-inbox-a", "--wait", "30")
    assert "Đã chuyển 1 lượt" in truc("channel", "move", "hop-inbox-a", "hop-moi")
    assert truc.json("channel", "move", "hop-inbox-a", "hop-moi")["moved"] == 0
    assert house.state(sent, "inbox-a") == "available"
    assert house.shown("inbox-a") == [house.delivery(sent, "inbox-a")]


def test_what_waits_is_said_of_each_channel_and_by_the_doctor(truc: Terminal, house: House) -> None:
    for number in ("1", "2"):
        house.send(["check", "inbox-a"], number)
    house.collect("inbox-a", house.shown("inbox-a")[0])
    rows = {row["id"]: row for row in truc.json("channel", "list")}
    assert [rows[name]["queued"] for name in ("check", "hop-inbox-a")] == [2, 1]
    assert rows["check"]["oldest_seconds"] >= rows["hop-inbox-a"]["oldest_seconds"] >= 0
    assert {
        (row["queued"], row["oldest_seconds"]) for name, row in rows.items() if name not in ("check", "hop-inbox-a")
    } == {(0, None)}
    assert "Chờ lâu nhất" in truc("channel", "list")
    (backlog,) = [line for line in truc.json("doctor", code=1) if line["name"].startswith("backlog")]
    assert "ở kênh check" in backlog["vi"]
    assert "trên mọi kênh có 2 lượt" in backlog["vi"]
