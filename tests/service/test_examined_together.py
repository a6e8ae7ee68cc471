"""A group is examined step by step: what becomes of a member is what would become of it alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import count

import pytest

from gateway.exchange.cases import in_step
from gateway.exchange.examine import prepare_silently
from gateway.exchange.submission import PacketRefusal, Prepared, Submission
from gateway.model.errors import Forbidden
from tests.support.nodes import House, organ
from tests.support.packets import build_status


def _in_memory(house: House, body: bytes, sender: str = "sender") -> Submission:
    """A body as the API hands it on that is small: neither written nor hashed."""
    came = house.submission(body, sender)
    came.spooled.unlink()
    return replace(came, body=body, digest="")


def _told(outcome: Prepared | Exception) -> object:
    """All but what is made anew each time."""
    if isinstance(outcome, PacketRefusal):
        return outcome.reason, outcome.findings, outcome.is_secret
    if not isinstance(outcome, Prepared):
        return type(outcome), str(outcome)
    unique = {"packet_id", "submission", "seal"}
    return {name: getattr(outcome, name) for name in Prepared.__slots__ if name not in unique}


def test_members_of_a_group_do_not_touch_each_other(house: House) -> None:
    status = build_status(sender=organ("inbox-a"), issuer=organ("sender"), number="1")
    bodies = [
        (house.packet(["inbox-a"], "1"), "sender"),
        (house.packet(["inbox-a"], "2", subject="MẬT: kế hoạch"), "sender"),
        (b"<edXML", "sender"),
        (house.packet(["inbox-a"], "3"), "inbox-a"),
        (house.packet(["nobody"], "4"), "sender"),
        (status, "inbox-a"),
        (house.packet(["inbox-a", "check"], "5") + b"\r\n", "sender"),
        (house.packet(["inbox-a"], "1"), "sender"),
    ]
    group = [_in_memory(house, *body) for body in bodies]
    together = prepare_silently(house.node, group)
    alone = [prepare_silently(house.node, [_in_memory(house, *body)])[0] for body in bodies]

    assert [_told(outcome) for outcome in together] == [_told(outcome) for outcome in alone]
    kinds = [type(outcome) for outcome in together]
    assert kinds == [Prepared, PacketRefusal, PacketRefusal, Forbidden, PacketRefusal, *[Prepared] * 3]
    good = [outcome for outcome in together if isinstance(outcome, Prepared)]
    assert len({outcome.packet_id for outcome in good}) == len(good)
    for outcome in good:
        digest = hashlib.sha256(outcome.submission.body or b"").hexdigest()
        assert outcome.digest == digest, "of every byte that came, the last CRLF too"
        house.node.store.blobs.check(digest)


def test_whoever_failed_in_one_step_is_in_no_later_one() -> None:
    seen: list[int] = []

    def third(value: int, other: str) -> str:
        seen.append(value)
        return f"{other}{12 // value}"

    first = in_step(lambda value: 12 // value, [3, 0, 1])
    second = in_step(third, first, ["a", "b", "c"])
    assert second[::2] == ["a3", "c1"]
    assert second[1] is first[1]
    assert isinstance(first[1], ZeroDivisionError)
    assert seen == [4, 12]
    with pytest.raises(ValueError, match="shorter"):
        in_step(third, [1, 2], ["a"])


def test_a_body_that_stood_on_the_disk_is_not_tried_again_where_the_disk_refused_its_group(house: House) -> None:
    """Of pages that were lost the kernel tells once: the same file's next fsync says yes."""
    small, on_disk, refused = _of_three_folders(house)
    (house.node.store.blobs.root / hashlib.sha256(refused).hexdigest()[:2]).rmdir()
    group = [_in_memory(house, refused), house.submission(on_disk), _in_memory(house, small)]
    of_refused, of_disk, of_small = prepare_silently(house.node, group)
    assert isinstance(of_refused, OSError)
    assert isinstance(of_disk, OSError)
    assert isinstance(of_small, Prepared), "its bytes are here, and were written once more"
    house.node.store.blobs.check(of_small.digest)


def _of_three_folders(house: House) -> list[bytes]:
    """Packets whose blobs lie in a folder each."""
    found: dict[str, bytes] = {}
    for number in count(1):
        packet = house.packet(["inbox-a"], str(number))
        found.setdefault(hashlib.sha256(packet).hexdigest()[:2], packet)
        if len(found) == 3:
            break
    return list(found.values())
