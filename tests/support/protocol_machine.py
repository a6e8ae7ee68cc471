"""The protocol as a state machine against the real store: submissions, workers that stall, die and report late,
operators, pollers, statuses, time, sweeps, in any order. After every step and at the end the promises are checked.

    1  a recipient sees a packet once, on every channel that can tell; on a blind one unless a person let it go again
    2  nothing withdrawn arrives
    3  nothing overtakes: what arrives, arrives in the order of its chain
    4  the account closes, and states moved only along the table
    5  nothing is stuck: with everybody behaving, everything comes to an end
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from adapters.contract import HandOver
from gateway.exchange.submission import Answer
from gateway.exchange.sweep import expire_once, reclaim_once, settle_once
from gateway.model.errors import Conflict
from gateway.model.instants import DAY, HOUR, MINUTE, SECOND
from gateway.model.moves import MOVES, is_allowed
from gateway.model.states import DeliveryState as S
from gateway.transport.contract import Ticket
from tests.support.nodes import Database, Does, House, WorkerDied, build_house, organ
from tests.support.postgres import cluster
from tests.support.recipients import Landed

__all__ = ["ACTS", "CAST", "DOES", "INDEX", "MEANWHILE", "SPANS", "TO", "Protocol"]


CHANNELS = {"idem": "idem", "check": "check", "blind": "blind", "pair-a": "pair", "pair-b": "pair"}
AGENCIES = ("idem", "check", "blind", "pair-a", "pair-b", "inbox-a")
CAST = st.lists(st.sampled_from(AGENCIES), min_size=1, max_size=2, unique=True)  # few, so that they meet often
TO = st.integers(min_value=0, max_value=2)
NUMBERS = st.sampled_from(["1", "1", "1", "2"])
ACTS = ("new", "other new", "update", "other update", "remove", "replace", "recall", "recall", "recall",
        "recall again")  # fmt: skip
SPANS = st.sampled_from([SECOND, 6 * SECOND, 31 * SECOND, 61 * SECOND, 16 * MINUTE, 61 * MINUTE, DAY, 31 * DAY])
DOES = st.sampled_from(list(Does))
MEANWHILE = st.sampled_from(["", "", "", "steal", "stall", "recall", "expire"])
INDEX = st.integers(min_value=0, max_value=30)


class Protocol(RuleBasedStateMachine):
    """One node, its agencies and everybody who does something to it."""

    database: ClassVar[Database] = Database.SQLITE

    @initialize(cast=CAST, begins=st.sampled_from(["document", "document", "document", "recall", "nothing"]), does=DOES)
    def start(self, cast: list[str], begins: str, does: Does) -> None:
        self.cast = cast
        self.folder = Path(tempfile.mkdtemp(prefix="truc-protocol-"))
        self.house: House = build_house(self.folder, database=self.database)
        self.old_tickets: list[Ticket] = []
        self.bodies: list[bytes] = []
        self.let_go: set[str] = set()  #: packets that a person released in doubt or sent again
        for channel in set(CHANNELS.values()):
            self.house.recipient(channel)
        if begins == "document":
            self.send(2, "1", "")
            self.work(0, does, "", False, does)
        elif begins == "recall":
            self.recall(2, "1", "")

    def _to(self, to: int) -> list[str]:
        """Both of the cast, or one of them."""
        return self.cast if to == 2 else [self.cast[to % len(self.cast)]]

    # --- senders ---------------------------------------------------------------------------------------------

    def _send(self, act: Callable[[], Answer]) -> None:
        try:
            act()
        except AssertionError as why:  # refused: a conflict, or a document after its recall
            if not str(why).startswith(("document.conflict", "document.recalled")):
                raise

    def send(self, to: int, number: str, text: str) -> None:
        more = {"subject": text} if text else {}
        self.bodies.append(self.house.packet(self._to(to), number, **more))
        self._send(lambda: self.house.send(self._to(to), number, **more))

    @rule(to=TO, number=NUMBERS, what=st.sampled_from(ACTS))
    def submit(self, to: int, number: str, what: str) -> None:
        """A sender's act; recalls most often."""
        agencies = self._to(to)
        if what == "new":
            self.send(to, number, "")
        elif what == "other new":
            self.send(to, number, "Bản khác")
        elif what.startswith("recall"):
            self.recall(to, number, what)
        elif what == "replace":
            self._send(lambda: self.house.replacement(agencies, number, str(int(number) + 5)))
        elif what == "remove":
            self._send(lambda: self.house.update(["sender-2"], number, removes=agencies))
        else:
            self._send(lambda: self.house.update(agencies, number, **({"subject": what} if "other" in what else {})))

    def recall(self, to: int, number: str, text: str) -> None:
        self.house.recall(self._to(to), number, **({"business_reason": text} if text else {}))

    @precondition(lambda self: self.bodies)
    @rule(at=INDEX)
    def repeat(self, at: int) -> None:
        before = len(self.house.rows("SELECT id FROM packets"))
        body = self.bodies[at % len(self.bodies)]
        first, again = self.house.submit(body), self.house.submit(body)
        after = len(self.house.rows("SELECT id FROM packets"))
        assert after - before <= 1
        if isinstance(first, Answer):
            assert isinstance(again, Answer)
            assert again.is_repeat

    # --- workers ---------------------------------------------------------------------------------------------

    @precondition(lambda self: self.house.ready())
    @rule(at=INDEX, does=DOES, meanwhile=MEANWHILE, early=st.booleans(), then=DOES)
    def work(self, at: int, does: Does, meanwhile: str, early: bool, then: Does) -> None:
        tickets = self.house.ready()
        if not tickets:
            return
        ticket = tickets[at % len(tickets)]
        self.old_tickets.append(ticket)
        recipient = self.house.recipient(self._channel(ticket))
        is_stuck = meanwhile in ("steal", "stall")  # longer than anybody sends: bytes land before it or never (rule 4)
        steals = [then] if meanwhile == "steal" else []
        recipient.next(*([*steals, does] if early else [does, *steals]))

        def happens(item: HandOver) -> None:
            recipient.during = recipient.during_stage = recipient.after = _nothing
            self._happens(meanwhile, item)

        if early:
            recipient.during_stage = happens
        elif is_stuck:
            recipient.after = happens
        else:
            recipient.during = happens
        self._work([ticket])
        recipient.during = recipient.during_stage = recipient.after = _nothing
        recipient._script.clear()

    def _happens(self, what: str, item: HandOver) -> None:
        if what in ("steal", "stall"):
            self.house.pass_time(61 * SECOND)
            reclaim_once(self.house.node)
        if what == "steal":
            self._work([one for one in self.house.ready() if one.transfer_id == item.key], "w2")
        elif what == "recall":
            number = item.document_id.rsplit(",", 1)[1].split("/")[0]
            agencies = [one for one in AGENCIES if organ(one) in item.recipients]
            self.house.recall(agencies, number)
        elif what == "expire":
            expire_once(self.house.node)
            settle_once(self.house.node)

    def _work(self, tickets: list[Ticket], worker: str = "w1") -> None:
        try:
            self.house.worker(worker).work(tickets)
        except WorkerDied:
            return

    def _channel(self, ticket: Ticket) -> str:
        found = self.house.rows("SELECT channel_id FROM transfers WHERE id = ?", ticket.transfer_id)
        return str(found[0]["channel_id"])

    @precondition(lambda self: self.old_tickets)
    @rule(at=INDEX)
    def work_on_an_old_ticket(self, at: int) -> None:
        self._work([self.old_tickets[at % len(self.old_tickets)]])

    @rule(at=INDEX)
    def land_late(self, at: int) -> None:
        """Bytes that went out land before their attempt is over, whatever became of their sender."""
        rows = self.house.rows(
            "SELECT a.transfer_id, a.turn, t.channel_id, d.packet_id, p.kind, d.organ"
            " FROM attempts a JOIN deliveries d ON d.id = a.delivery_id JOIN transfers t ON t.id = a.transfer_id"
            " JOIN packets p ON p.id = d.packet_id JOIN channels c ON c.id = t.channel_id WHERE NOT c.is_polled"
            " AND (a.outcome IS NULL OR a.outcome = 'unknown') AND a.boot_over > ?"
            " ORDER BY a.transfer_id, a.turn, d.organ",
            self.house.clock.boot_now(),
        )
        rows = [row for row in rows if not self._knows(row["channel_id"], row["transfer_id"])]
        if under_way := [list(group) for _, group in groupby(rows, itemgetter("transfer_id", "turn"))]:
            organs = under_way[at % len(under_way)]
            row = organs[0]
            self.house.recipients[row["channel_id"]].arrivals.append(
                Landed(key=row["transfer_id"], packet_id=row["packet_id"], kind=row["kind"], is_copy=True,
                       recipients=tuple(one["organ"] for one in organs))
            )  # fmt: skip

    def _knows(self, channel: str, key: str) -> bool:
        return any(landed.key == key for landed in self.house.recipients[channel].arrivals)

    # --- the poller --------------------------------------------------------------------------------------------

    @precondition(lambda self: "inbox-a" in self.cast)
    @rule(at=INDEX)
    def fetch(self, at: int) -> None:
        if shown := self.house.shown("inbox-a"):
            self.house.fetch("inbox-a", shown[at % len(shown)])

    @precondition(lambda self: "inbox-a" in self.cast)
    @rule(at=INDEX, ends=st.booleans())
    def end_or_confirm(self, at: int, ends: bool) -> None:
        items = self.house.rows("SELECT id FROM deliveries WHERE agency_id = 'inbox-a' ORDER BY id")
        if not items:
            return
        item = items[at % len(items)]["id"]
        if ends and item in self.house.served:
            self.house.end_response(item)
        else:
            self.house.confirm("inbox-a", item, arrived=at % 4 != 0)

    # --- statuses: recipients tell the truth -------------------------------------------------------------------

    @rule(to=TO, number=NUMBERS, code=st.sampled_from(["01", "03", "06"]))
    def tell(self, to: int, number: str, code: str) -> None:
        agency = self._to(to)[0]
        if agency not in CHANNELS:
            return
        seen = [landed.packet_id for landed in self.house.recipients[CHANNELS[agency]].arrivals
                if organ(agency) in landed.recipients]  # fmt: skip
        documents = self.house.rows(
            "SELECT id FROM packets WHERE document_key LIKE ? AND kind != 'recall'", f"%,{number}/%"
        )
        first = self.house.rows(
            "SELECT d.packet_id FROM deliveries d WHERE d.document LIKE ? AND"
            " d.agency_id = ? AND d.kind != 'recall' AND d.state NOT IN ('withdrawn', 'delivered', 'refused')"
            " ORDER BY d.position LIMIT 1",
            f"%,{number}/%",
            agency,
        )
        truly = first[0]["packet_id"] in seen if first else bool({row["id"] for row in documents} & set(seen))
        if truly:
            self.house.tell(agency, code, number)

    # --- operators, time ---------------------------------------------------------------------------------------

    @precondition(lambda self: self.house.rows("SELECT 1 FROM deliveries WHERE state IN ('parked', 'expired')"))
    @rule(at=INDEX, again=st.booleans(), asks=st.booleans())
    def operate(self, at: int, again: bool, asks: bool = False) -> None:
        """Somebody lets it go on or has it sent again; or asks the recipient first, who tells the truth."""
        rows = self.house.rows("SELECT id, agency_id, packet_id, transfer_id FROM deliveries"
                               " WHERE state IN ('parked', 'expired') ORDER BY id")  # fmt: skip
        if not rows:
            return
        row = rows[at % len(rows)]
        doubt = self.house.rows(
            "SELECT 1 FROM attempts a JOIN deliveries d ON d.id = a.delivery_id"
            " JOIN transfers t ON t.id = a.transfer_id JOIN channels c ON c.id = t.channel_id"
            " WHERE d.packet_id = ? AND c.sink = 'blind' AND coalesce(a.outcome, '') != 'surely_not'",
            row["packet_id"],
        )
        channel = CHANNELS.get(row["agency_id"], "")
        has_it = channel and self._knows(channel, row["transfer_id"])
        act = self.house.resend_delivery if again else self.house.release_delivery
        try:
            self.house.vouch_for(row["id"]) if asks and has_it else act(row["id"])
        except Conflict:
            return
        if asks and has_it:
            return
        if again or doubt:
            self.let_go.add(row["packet_id"])

    @rule(span=SPANS, jobs=st.lists(st.sampled_from([reclaim_once, settle_once, expire_once]), max_size=3))
    def pass_time(self, span: int, jobs: list[Callable[[Any], int]]) -> None:
        """Time passes; then some of what the sweep does, in any order."""
        self.house.pass_time(span)
        for job in jobs:
            job(self.house.node)

    @rule(hours=st.sampled_from([-1, 1]))
    def set_clock(self, hours: int) -> None:
        """Somebody sets the store's clock; no time passes."""
        self.house.clock.jump(hours * HOUR)

    # --- what must hold ------------------------------------------------------------------------------------------

    @invariant()
    def promises_hold(self) -> None:
        if not hasattr(self, "house"):
            return
        rows = self.house.rows("SELECT * FROM deliveries")
        of = {(row["packet_id"], row["agency_id"]): row for row in rows}
        for agency, channel in CHANNELS.items():
            before: list[dict[str, Any]] = []
            seen: dict[str, int] = {}
            for landed in self.house.recipients[channel].arrivals:
                if organ(agency) not in landed.recipients or not landed.is_copy:
                    continue
                row = of[landed.packet_id, agency]
                assert row["state"] != S.WITHDRAWN, f"withdrawn and arrived: {row}"
                seen[landed.packet_id] = seen.get(landed.packet_id, 0) + 1
                assert not any(_stands_behind(other, row) for other in before), f"overtaken: {row}"
                before.append(row)
            twice = {packet for packet, times in seen.items() if times > 1}
            assert twice <= self.let_go, f"seen twice by {agency}: {twice - self.let_go}"
        for row in rows:
            waits = row["state"] == S.WAITING
            assert not (waits and row["position"] == 1 and self._kind(row) != "recall"), f"head left waiting: {row}"

    def _kind(self, row: dict[str, Any]) -> str:
        return str(self.house.rows("SELECT kind FROM deliveries WHERE id = ?", row["id"])[0]["kind"])

    def teardown(self) -> None:
        if not hasattr(self, "house"):
            return
        try:
            self.check_the_end()
        finally:
            self.put_away()

    def check_the_end(self) -> None:
        """Promises 4 and 5."""
        self._moves_are_in_the_table()
        self.house.assert_books_close()
        self._everything_ends()
        self.promises_hold()
        self.house.assert_books_close()

    def put_away(self) -> None:
        """Close the node and delete its folder."""
        self.house.close()
        if self.house.database:
            cluster().drop(self.house.database)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _moves_are_in_the_table(self) -> None:
        """As the events tell it; claims leave no event of their own."""
        states: dict[str, str | None] = {}
        events = self.house.rows("SELECT delivery_id, state_after FROM events WHERE delivery_id != '' AND"
                                 " kind LIKE 'delivery.%' ORDER BY rowid")  # fmt: skip
        for event in events:
            before, after = states.get(event["delivery_id"]), S(event["state_after"])
            claimed = before == S.READY and after in MOVES[S.CLAIMED]
            assert is_allowed(None if before is None else S(before), after) or claimed, f"{before} → {after}"
            states[event["delivery_id"]] = after

    def _everything_ends(self) -> None:
        for recipient in self.house.recipients.values():
            recipient.default = Does.TAKE
        for item in list(self.house.served):
            self.house.end_response(item)
        for _ in range(12):
            self.house.run(step=11 * MINUTE, patience=7)
            self.house.pass_time(31 * DAY)
            if not self._open():
                return
        assert not self._open(), f"stuck: {self._open()}"

    def _open(self) -> list[dict[str, Any]]:
        final = ", ".join(f"'{state}'" for state in S if state.is_final)
        return self.house.rows(
            f"SELECT kind, state, reason, agency_id, chain_id, position FROM deliveries WHERE state NOT IN ({final})"
            " AND book = 'documents'"
        )


def _nothing(_item: HandOver) -> None:
    """Nothing else happens."""


def _stands_behind(other: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether `other` was to arrive after `row`: a recall is about one document, all else of a family has one order."""
    is_later = other["chain_id"] == row["chain_id"] and other["position"] > row["position"]
    return is_later and ("recall" not in (other["kind"], row["kind"]) or other["document"] == row["document"])
