"""The directory as rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

from gateway.store.agencies import load_directory, put_agencies
from gateway.store.versions import read_versions
from routing.rows import load_nghe_an
from tests.support.stores import fresh_store


def test_nghe_an_comes_back_as_it_was_and_a_repeat_changes_nothing(tmp_path: Path) -> None:
    store = fresh_store(tmp_path)
    province = load_nghe_an()
    with store.write() as connection:
        assert len(put_agencies(connection, province.agencies)) == len(province.agencies)
        raised = read_versions(connection)
        assert put_agencies(connection, province.agencies) == ()
        assert read_versions(connection) == raised
        loaded = load_directory(connection)
    by_id = {agency.id: agency for agency in loaded.agencies}
    assert by_id == {agency.id: agency for agency in province.agencies}


def test_a_changed_agency_takes_the_old_ones_place(tmp_path: Path) -> None:
    store = fresh_store(tmp_path)
    province = load_nghe_an()
    found = province.find("H99", date(2026, 1, 1))
    assert found is not None
    with store.write() as connection:
        put_agencies(connection, province.agencies)
        before = read_versions(connection)
        changed = replace(found, names=(replace(found.names[0], name="UBND tỉnh, tên mới"),))
        assert put_agencies(connection, [changed]) == (found.id,)
        assert read_versions(connection).directory == before.directory + 1
        stored = load_directory(connection).by_id(found.id)
    assert stored == changed
