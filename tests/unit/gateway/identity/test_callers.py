"""Who calls: tokens, what a caller may do, rotation, and refusals that cannot fill a disk."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.event import listen

from gateway.identity import Callers, new_token, register_system, revoke_tokens, rotate_token
from gateway.identity.refusals import Refusals
from gateway.model.errors import Conflict, Forbidden, NotFound, Unauthenticated
from gateway.model.instants import DAY, MINUTE
from gateway.store import Store, systems
from gateway.store.agencies import put_agencies
from routing.agency import Agency, AgencyKind, DatedName
from tests.support.stores import HandClock, fresh_store, kinds_of_events

A, B = "co-quan-a", "co-quan-b"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(tmp_path: Path, clock: HandClock) -> Store:
    store = fresh_store(tmp_path, clock)
    with store.write() as connection:
        put_agencies(connection, [Agency(id=i, kind=AgencyKind.OTHER, names=(DatedName(name=i),)) for i in (A, B)])
    return store


def refusal_of(callers: Callers, authorization: str | None) -> str:
    with pytest.raises(Unauthenticated) as why:
        callers.authenticate(authorization)
    return why.value.reason


def test_a_token_is_256_random_bits_and_the_store_keeps_only_its_digest(store: Store) -> None:
    token, digest = new_token()
    assert token.startswith("truc_")
    assert len(token) == len("truc_") + 43
    assert token != new_token()[0]
    added = register_system(store, "Phần mềm A", agency_ids=[A], actor="an")
    database = (store.blobs.root.parent / "truc.db").read_bytes()
    journal = (store.blobs.root.parent / "truc.db-wal").read_bytes()
    assert added.token.encode() not in database + journal
    assert added.token not in repr(added)
    assert len(digest) == 64


def test_a_caller_speaks_for_its_agencies_and_no_others(store: Store) -> None:
    added = register_system(store, "Phần mềm A", agency_ids=[A], actor="an")
    caller = Callers(store).authenticate(f"Bearer {added.token}")
    assert (caller.system_id, caller.name, caller.agency_ids) == (added.system_id, "Phần mềm A", {A})
    caller.require_agency(A)
    refused = []
    for foreign in (B, "khong-co"):  # foreign and absent answer alike
        with pytest.raises(Forbidden) as why:
            caller.require_agency(foreign)
        refused.append((why.value.reason, why.value.params))
    assert refused == [("identity.foreign_agency", {})] * 2


def test_an_operator_speaks_for_nobody(store: Store) -> None:
    added = register_system(store, "Quản trị", is_operator=True, actor="an")
    caller = Callers(store).authenticate(f"bearer  {added.token} ")
    assert caller.is_operator
    with pytest.raises(Forbidden):
        caller.require_agency(A)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic dHJ1Yzp0cnVj"])
def test_without_a_token(store: Store, header: str | None) -> None:
    assert refusal_of(Callers(store), header) == "identity.no_token"


def test_unknown_malformed_expired_and_disabled_are_refused_alike(store: Store, clock: HandClock) -> None:
    revoked = register_system(store, "Thu hồi", actor="an")
    disabled = register_system(store, "Tắt", actor="an")
    assert revoke_tokens(store, "Thu hồi") == 1
    with store.write() as connection:
        systems.change_system(connection, disabled.system_id, is_operator=False, is_enabled=False, profile="lenient")
    callers = Callers(store)
    for token in (new_token()[0], "truc_x", "truc_" + "é" * 43, revoked.token, disabled.token):
        assert refusal_of(callers, f"Bearer {token}") == "identity.bad_token"


def test_what_is_remembered_is_told_without_the_store_and_for_a_second_only(store: Store, clock: HandClock) -> None:
    now = [100.0]
    callers = Callers(store, clock=lambda: now[0])
    token = register_system(store, "Phần mềm A", agency_ids=[A], actor="an").token
    assert callers.recall(f"Bearer {token}") is None, "nobody has asked yet"
    caller = callers.authenticate(f"Bearer {token}")
    asked: list[str] = []
    listen(store.engine, "before_cursor_execute", lambda *about: asked.append(about[2]))
    now[0] += 0.999
    assert callers.recall(f"Bearer {token}") is caller
    assert callers.recall(f"Bearer {new_token()[0]}") is None, "unknown ones are not remembered"
    now[0] += 0.001
    assert callers.recall(f"Bearer {token}") is None
    assert asked == []
    assert callers.authenticate(f"Bearer {token}") is caller
    revoke_tokens(store, "Phần mềm A")
    callers.refresh()
    assert callers.recall(f"Bearer {token}") is None, "what is remembered is of another version"


def test_what_is_remembered_ends_with_the_token(store: Store, clock: HandClock) -> None:
    callers = Callers(store, clock=lambda: 0.0)
    first = register_system(store, "Phần mềm A", actor="an").token
    clock.turn(1)
    rotate_token(store, "Phần mềm A", grace=timedelta(days=7), actor="an")
    assert callers.authenticate(f"Bearer {first}") is callers.recall(f"Bearer {first}")
    clock.turn(7 * DAY)
    for header, code in ((f"Bearer {first}", "identity.bad_token"), ("", "identity.no_token")):
        with pytest.raises(Unauthenticated) as why:
            callers.recall(header)
        assert why.value.reason == code


def test_rotation_leaves_two_valid_never_three(store: Store, clock: HandClock) -> None:
    callers = Callers(store)
    first = register_system(store, "Phần mềm A", actor="an").token
    assert callers.authenticate(f"Bearer {first}")
    clock.turn(1)
    second = rotate_token(store, "Phần mềm A", grace=timedelta(days=7), actor="an").token
    callers.refresh()
    assert callers.authenticate(f"Bearer {first}")
    assert callers.authenticate(f"Bearer {second}")
    clock.turn(1)
    third = rotate_token(store, "Phần mềm A", grace=timedelta(days=7), actor="an").token
    callers.refresh()
    assert refusal_of(callers, f"Bearer {first}") == "identity.bad_token"
    assert callers.authenticate(f"Bearer {second}")
    clock.turn(7 * DAY)  # the cache knows when a token ends: no look at the store is needed
    assert refusal_of(callers, f"Bearer {second}") == "identity.bad_token"
    assert callers.authenticate(f"Bearer {third}")


def test_one_owning_system_per_agency(store: Store) -> None:
    register_system(store, "A", agency_ids=[A], actor="an")
    with pytest.raises(Conflict) as taken:
        register_system(store, "A khác", agency_ids=[A, B], actor="an")
    assert taken.value.reason == "system.agency_taken"
    with store.read() as connection:  # nothing was changed
        assert [system.name for system in systems.list_systems(connection)] == ["A"]
        assert systems.owners_of(connection, [B]) == {}
    with pytest.raises(Conflict):
        register_system(store, "A", actor="an")
    with pytest.raises(NotFound):
        register_system(store, "C", agency_ids=["khong-co"], actor="an")
    with pytest.raises(NotFound):
        rotate_token(store, "khong-co", actor="an")


def test_every_refusal_is_an_event_and_a_flood_is_one_a_minute(store: Store, clock: HandClock) -> None:
    refusals = Refusals(store)
    for _ in range(1000):
        refusals.note("identity.bad_token")
    refusals.note("identity.foreign_agency", system_id="s1", agency_id=A)
    bad = ("caller.refused", "unknown", "identity.bad_token")
    foreign = ("caller.refused", "system:s1", "identity.foreign_agency")
    assert kinds_of_events(store) == [bad, foreign]
    clock.turn(MINUTE)
    refusals.flush()
    refusals.flush()
    flood = ("caller.refused", "unknown", "identity.bad_token x999")
    assert kinds_of_events(store) == [bad, foreign, flood]
    clock.turn(1)
    refusals.note("identity.bad_token")
    assert kinds_of_events(store) == [bad, foreign, flood, bad]


def test_inventing_new_kinds_of_refusal_does_not_fill_the_disk_either(store: Store) -> None:
    refusals = Refusals(store)
    for number in range(300):
        refusals.note("identity.foreign_agency", agency_id=f"a{number}")
    refusals.flush(everything=True)
    told = kinds_of_events(store)
    assert len(told) == 258
    assert told[-1][2] == "identity.many_refusals x43"
