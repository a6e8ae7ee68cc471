"""A restored node recovers: it asks before it pushes, pushes nothing twice, and uses no turn of the past (rule 13)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from gateway.backup import begin_recovery, find_unknown
from gateway.exchange import collect
from gateway.exchange.recover import end_recovery, recover_once
from gateway.exchange.submission import Answer
from gateway.model.errors import Conflict, StorePutBack
from gateway.model.instants import DAY, MINUTE, SECOND
from gateway.model.states import DeliveryState
from gateway.store import recoveries
from gateway.store.remembered import check_remembered, remember
from gateway.workers.periodic import ClockWatch
from gateway.workers.upkeep import upkeep_once
from tests.support.late import land_late
from tests.support.nodes import Does, House, build_house, organ
from tests.support.processes import NodeProcesses
from tests.support.restores import back_up, put_back, reopen
from tests.support.stores import tell
from tests.support.terminal import Terminal


@pytest.fixture
def house(tmp_path: Path) -> House:
    return build_house(tmp_path)


def lose(house: House, tmp_path: Path) -> House:
    """The node's disk is gone; it is put back from its last backup, and what was under way can land no more."""
    again, _ = put_back(house, tmp_path / "backup", tmp_path / "restored")
    again.pass_time(3 * MINUTE)
    again.sweep()
    return again


def seen(house: House, channel: str, sent: Answer) -> int:
    return house.recipient(channel).seen(sent.packet_id)


def test_what_arrived_after_the_backup_is_found_and_not_sent_again(house: House, tmp_path: Path) -> None:
    arrived, open_ = house.send(["check"]), house.send(["check"], "2")
    back_up(house, tmp_path / "backup")
    house.recipient("check").next(Does.TAKE, Does.REFUSE)
    house.work()
    again = lose(house, tmp_path)
    assert (again.state(arrived, "check"), again.state(open_, "check")) == ("ready", "ready")
    assert again.work() == 0, "nothing is due while the node recovers"
    assert again.work(again.ready()) == 2
    assert again.state(open_, "check") == "ready", "nor is it claimed by a ticket of the past"

    done = recover_once(again.node)
    assert done is not None
    assert (done.arrived, done.absent, done.parked, done.has_ended) == (1, 1, 0, True)
    assert again.state(arrived, "check") == "delivered"
    again.run()
    assert again.state(open_, "check") == "delivered"
    assert (seen(again, "check", arrived), seen(again, "check", open_)) == (1, 1)
    again.assert_books_close()


def test_what_waited_behind_and_went_out_as_well_is_found_too(house: House, tmp_path: Path) -> None:
    """The update was promoted and handed over in the lost time: its own turn, and its recipient, are asked as well."""
    document, update = house.send(["check"]), house.update(["check"])
    back_up(house, tmp_path / "backup")
    house.run()
    assert house.recipient("check").kinds() == ["new", "update"]
    again = lose(house, tmp_path)
    assert again.state(update, "check") == "waiting"
    done = recover_once(again.node)
    assert done is not None
    assert (done.arrived, done.has_ended) == (2, True)
    again.run()
    assert again.recipient("check").kinds() == ["new", "update"]
    assert again.states(document) == again.states(update) == {"check": "delivered"}


def test_a_recall_after_the_restore_follows_what_arrived_before_it(house: House, tmp_path: Path) -> None:
    """Without the doubt the document would be withdrawn as never sent, and its recipient would keep it."""
    document = house.send(["check"])
    back_up(house, tmp_path / "backup")
    house.work()
    again = lose(house, tmp_path)
    recall = again.recall(["check"])
    assert again.state(document, "check") == "ready", "it may have arrived: not withdrawn"
    recover_once(again.node)
    again.run()
    assert again.state(document, "check") == again.state(recall, "check") == "delivered"
    assert again.recipient("check").kinds() == ["new", "recall"]


def test_a_recall_withdraws_what_the_recipient_never_got(house: House, tmp_path: Path) -> None:
    document = house.send(["check"])
    back_up(house, tmp_path / "backup")
    again = lose(house, tmp_path)
    recall = again.recall(["check"])
    recover_once(again.node)
    assert again.state(document, "check") == again.state(recall, "check") == "withdrawn"
    again.run()
    assert again.recipient("check").kinds() == []


def test_what_nobody_can_tell_waits_for_a_person(house: House, tmp_path: Path) -> None:
    sent = house.send(["blind"])
    back_up(house, tmp_path / "backup")
    house.work()
    again = lose(house, tmp_path)
    done = recover_once(again.node)
    assert done is not None
    assert (done.parked, done.has_ended) == (1, True)
    assert (again.state(sent, "blind"), again.reason(sent, "blind")) == ("parked", "outcome_unknown")
    again.run()
    assert seen(again, "blind", sent) == 1
    again.release(sent, "blind")
    again.run()
    assert seen(again, "blind", sent) == 2, "a person said so"


def test_rule_13_what_waits_again_and_is_confirmed_was_received(house: House, tmp_path: Path) -> None:
    """The update was fetched in the time that is lost: its confirmation is a fact, and fails nobody else's."""
    first = house.send(["inbox-a"])
    update, other = house.update(["inbox-a"]), house.send(["inbox-a"], "2")
    items = {sent.packet_id: house.delivery(sent, "inbox-a") for sent in (first, update, other)}
    back_up(house, tmp_path / "backup")
    house.collect("inbox-a", items[first.packet_id])
    assert isinstance(house.fetch("inbox-a", items[update.packet_id]), collect.Served)
    again = lose(house, tmp_path)
    assert again.state(update, "inbox-a") == "waiting"
    caller, wanted = again.caller("inbox-a"), [items[sent.packet_id] for sent in (update, other)]
    said = [collect.Confirm(caller=caller, delivery_id=item) for item in wanted]
    assert collect.confirm(again.node, said) == ("delivered", "delivered")
    again.assert_books_close()


def test_an_idempotent_recipient_drops_the_repeat_itself(house: House, tmp_path: Path) -> None:
    sent = house.send(["idem"])
    back_up(house, tmp_path / "backup")
    house.work()
    again = lose(house, tmp_path)
    assert again.work() == 0
    done = recover_once(again.node)
    assert done is not None
    assert done.has_ended
    again.run()
    assert again.state(sent, "idem") == "delivered"
    assert seen(again, "idem", sent) == 1


def test_a_silent_recipient_keeps_the_node_recovering_until_an_operator_ends_it(house: House, tmp_path: Path) -> None:
    arrived = house.send(["check"])
    back_up(house, tmp_path / "backup")
    house.work()
    again = lose(house, tmp_path)
    again.recipient("check").forgets = True
    other = again.send(["idem", "inbox-a"], "7")
    done = recover_once(again.node)
    assert done is not None
    assert (list(done.silent), done.has_ended) == (["check"], False)
    assert [(one.channel_id, one.count) for one in done.left] == [("check", 1)]
    assert again.shown("inbox-a") == [again.delivery(other, "inbox-a")], "it takes in and lists"
    assert again.work() == 0

    assert end_recovery(again.node, done.recovery, actor="operator")
    assert not end_recovery(again.node, done.recovery, actor="operator"), "a repeat changes nothing"
    assert recover_once(again.node) is None
    again.work()
    assert again.state(other, "idem") == "delivered"
    assert seen(again, "check", arrived) == 1, "looked up before it is sent: still nobody can tell"
    again.recipient("check").forgets = False
    again.run()
    assert (again.state(arrived, "check"), seen(again, "check", arrived)) == ("delivered", 1)


def test_a_no_counts_only_when_nothing_can_land_any_more(house: House, tmp_path: Path) -> None:
    """The lost process may have been sending: its recipient is asked when that is over (rules 4 and 5)."""
    sent = house.send(["check"])
    back_up(house, tmp_path / "backup")
    again, _ = put_back(house, tmp_path / "backup", tmp_path / "restored")
    done = recover_once(again.node)
    assert done is not None
    assert (done.absent, done.has_ended, len(done.left)) == (0, False, 1)
    assert again.now() < done.left[0].may_land_until <= again.now() + MINUTE // 2
    again.pass_time(MINUTE // 2)
    done = recover_once(again.node)
    assert done is not None
    assert (done.absent, done.has_ended) == (1, True)
    again.run()
    assert seen(again, "check", sent) == 1


def test_a_no_that_was_said_while_something_could_land_does_not_count_later(house: House, tmp_path: Path) -> None:
    """Another machine put the node back: its doubts last from when this process first saw them (rules 5 and 13)."""
    sent = house.send(["check"])
    back_up(house, tmp_path / "backup")
    again, _ = put_back(house, tmp_path / "backup", tmp_path / "restored")
    with again.node.store.write() as connection:
        tell(connection, "UPDATE attempts SET boot = 'another machine'")
    [lasts] = {row["lasts"] for row in again.rows("SELECT lasts FROM attempts")}
    again.pass_time(lasts)
    recover_once(again.node)
    again.pass_time(lasts - SECOND)

    def lands_and_ends() -> None:
        land_late(again, "check")
        again.pass_time(2 * SECOND)

    again.recipient("check").after_no = lands_and_ends
    done = recover_once(again.node)
    assert done is not None
    assert (done.absent, done.has_ended) == (0, False)
    done = recover_once(again.node)
    assert done is not None
    assert (done.arrived, done.has_ended) == (1, True)
    again.run()
    assert seen(again, "check", sent) == 1


def test_a_confirmed_item_is_shown_again_with_the_same_key(house: House, tmp_path: Path) -> None:
    sent = house.send(["inbox-a", "inbox-b"])
    item, other = house.delivery(sent, "inbox-a"), house.delivery(sent, "inbox-b")
    back_up(house, tmp_path / "backup")
    house.collect("inbox-a", item)
    house.fetch("inbox-b", other)
    again = lose(house, tmp_path)
    assert (again.shown("inbox-a"), again.shown("inbox-b")) == ([item], [other])
    assert again.confirm("inbox-a", item) is DeliveryState.DELIVERED, "its software knows the key: no second fetch"
    recall = again.recall(["inbox-b"])
    assert again.state(sent, "inbox-b") == "available", "it may have been read: the recall waits"
    assert again.state(recall, "inbox-b") == "waiting"
    again.run()
    assert (again.state(sent, "inbox-b"), again.state(recall, "inbox-b")) == ("expired", "available")
    again.assert_books_close()


def test_turns_of_the_past_are_not_used_again(house: House, tmp_path: Path) -> None:
    sent = house.send(["check", "idem"])
    back_up(house, tmp_path / "backup")
    house.recipient("check").next(Does.REFUSE)
    house.work()
    past = house.ready()
    again = lose(house, tmp_path)
    assert min(again.row(sent, one)["turn"] for one in ("check", "idem")) >= recoveries.TURN_STEP
    recover_once(again.node)
    again.work(past)
    assert again.state(sent, "check") == "ready", "a ticket of the lost time finds nothing"


def test_the_claim_of_a_lost_worker_returns(house: House, tmp_path: Path) -> None:
    sent = house.send(["check"])
    house.recipient("check").during = lambda _item: back_up(house, tmp_path / "backup")
    house.work()
    house.recipient("check").during = lambda _item: None
    again = lose(house, tmp_path)
    done = recover_once(again.node)
    assert done is not None
    assert (done.arrived, done.has_ended) == (1, True)
    assert seen(again, "check", sent) == 1
    assert again.state(sent, "check") == "delivered"


def test_a_backup_of_a_recovering_node_recovers_from_itself_alone(house: House, tmp_path: Path) -> None:
    house.send(["check"])
    back_up(house, tmp_path / "backup")
    again, first = put_back(house, tmp_path / "backup", tmp_path / "restored")
    again.pass_time(MINUTE)
    back_up(again, tmp_path / "second")
    twice, _ = put_back(again, tmp_path / "second", tmp_path / "restored-2")
    with twice.node.store.read() as connection:
        found = recoveries.running(connection)
    assert found is not None
    assert found.backup_at > first.manifest.at
    twice.pass_time(5 * MINUTE)
    twice.sweep()
    done = recover_once(twice.node)
    assert done is not None
    assert done.has_ended


def test_a_database_put_back_by_its_own_tools_recovers_by_command(house: House) -> None:
    """A failover that lost commits: the rows are those of a moment ago, and workers hold claims of then."""
    sent = house.send(["check"])
    house.recipient("check").next(Does.REFUSE)
    house.work()
    begun = begin_recovery(house.node.store, backup="", backup_at=house.now(), actor="operator")
    assert begun.doubted == 1
    assert house.work(house.ready()) == 1
    assert house.state(sent, "check") == "ready", "nothing is claimed"
    with pytest.raises(Conflict) as refused:
        begin_recovery(house.node.store, backup="", backup_at=house.now(), actor="operator")
    assert refused.value.reason == "restore.recovering"
    house.pass_time(3 * MINUTE)
    done = recover_once(house.node)
    assert done is not None
    assert (done.absent, done.has_ended) == (1, True)
    house.run()
    assert (house.state(sent, "check"), seen(house, "check", sent)) == ("delivered", 1)


def test_packets_of_the_lost_time_are_told_and_kept_for_weeks(house: House, tmp_path: Path) -> None:
    """What the database does not know lies on the disk still, where that was not lost: its senders can be named."""
    house.send(["check"])
    back_up(house, tmp_path / "backup")
    lost = house.send(["inbox-a"], "2")
    digest = house.rows("SELECT blob FROM packets WHERE id = ?", lost.packet_id)[0]["blob"]
    body = house.node.store.blobs.path(digest).read_bytes()
    again = lose(house, tmp_path)
    blobs = again.node.store.blobs
    blobs.path(digest).write_bytes(body)
    os.utime(blobs.path(digest), (0, 0))
    (told,) = find_unknown(again.node.store, blobs.root.parent)
    assert (told.digest, told.size) == (digest, len(body))
    assert organ("sender") in told.sender
    assert told.document
    recover_once(again.node)
    upkeep_once(again.node, ClockWatch(again.node.now))
    assert blobs.path(digest).exists(), "the sweep of what nobody needs leaves it alone"
    again.pass_time(31 * DAY)
    upkeep_once(again.node, ClockWatch(again.node.now))
    assert not blobs.path(digest).exists()


def test_an_unknown_packet_that_cannot_be_opened_any_more_is_told_beside_the_others(
    house: House, truc: Terminal
) -> None:
    """As one that the sweep takes away between the list and the look, and one that was set aside."""
    blobs, body = house.node.store.blobs, b"<edXML/>"
    good, gone, damaged = (hashlib.sha256(bytes([number])).hexdigest() for number in range(3))
    blobs.path(good).write_bytes(body)
    assert find_unknown(house.node.store, blobs.root.parent) == (), "what a node at work is about to commit"
    os.utime(blobs.path(good), (0, 0))
    for digest in (gone, damaged):
        blobs.path(digest).symlink_to("nowhere")
    (blobs.root / "damaged" / damaged).write_bytes(b"")
    told = {one.digest: one for one in find_unknown(house.node.store, blobs.root.parent)}
    assert {digest: (one.fault, one.size) for digest, one in told.items()} == {
        good: ("", len(body)), gone: ("blob.missing", 0), damaged: ("blob.damaged", 0)
    }  # fmt: skip
    truc("recover", "--unknown", str(blobs.root))
    assert good[:16] in truc.out
    assert "blob.missing" in truc.err
    assert damaged in truc.err
    house.close()


def test_a_database_that_knows_less_than_its_folder_is_refused(house: House, tmp_path: Path) -> None:
    """Until a recovery is begun; an earlier one does not count."""
    store, note = house.node.store, tmp_path / "data/newest"
    house.send(["check"])
    begin_recovery(store, backup="", backup_at=house.now(), actor="test")
    with store.read() as connection:
        begun = recoveries.running(connection)
    assert begun is not None
    assert end_recovery(house.node, begun, actor="test")
    house.pass_time(MINUTE)
    remember(store, tmp_path / "data")
    check_remembered(store, tmp_path / "data")
    known = json.loads(note.read_bytes())
    note.write_text(json.dumps({**known, "position": known["position"] + 1}), "ascii")
    with pytest.raises(StorePutBack):
        check_remembered(store, tmp_path / "data")
    begin_recovery(store, backup="", backup_at=house.now(), actor="test", may_repeat=True)
    check_remembered(store, tmp_path / "data")


def test_a_database_that_was_put_back_by_hand_is_noticed_at_the_start(house: House, tmp_path: Path) -> None:
    """An old copy of the file in the place of the new one, or a server's recovery: nothing starts before it is said."""
    sent = house.send(["check"])
    old = back_up(house, tmp_path / "backup").folder / "truc.db"
    house.work()
    data = tmp_path / "data"
    remember(house.node.store, data)
    check_remembered(house.node.store, data)
    house.close()
    shutil.copyfile(old, data / "truc.db")
    for left in ("truc.db-wal", "truc.db-shm"):
        (data / left).unlink(missing_ok=True)
    node = NodeProcesses(data, {"node": "thu", "disk_reserve_mib": "1"})
    refused = node.run("relay")
    assert refused.returncode == 5, refused.stderr
    assert "store.put_back" in refused.stderr
    told = {check["code"]: check["level"] for check in json.loads(node.run("doctor", "--json").stdout)}
    assert told["store.put_back"] == "fail", "whoever asks the doctor first is told why nothing starts"
    again = reopen(house, data)
    begin_recovery(again.node.store, backup="", backup_at=again.now(), actor="test")
    check_remembered(again.node.store, data)
    again.pass_time(3 * MINUTE)
    again.sweep()
    recover_once(again.node)
    check_remembered(again.node.store, data)
    again.run()
    assert seen(again, "check", sent) == 1
    again.close()
