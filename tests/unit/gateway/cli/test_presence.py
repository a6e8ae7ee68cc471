"""Who shows that it lives is seen until it leaves, however many start at the same moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.cli.presence import present, show_presence


def test_parts_that_start_together_do_not_clear_each_other_away(tmp_path: Path) -> None:
    parts = [f"part{number}" for number in range(12)]
    with ThreadPoolExecutor(len(parts)) as pool:
        for _ in range(60):
            leave = list(pool.map(lambda part: show_presence(tmp_path, part), parts))
            assert sorted(one.part for one in present(tmp_path)) == sorted(parts)
            for each in leave:
                each()
    assert present(tmp_path) == ()


def test_parts_of_two_containers_may_have_the_same_number_and_tick(tmp_path: Path) -> None:
    leave = [show_presence(tmp_path, "deliver") for _ in range(2)]
    assert [one.part for one in present(tmp_path)] == ["deliver", "deliver"]
    leave[0]()
    assert [one.part for one in present(tmp_path)] == ["deliver"]
    leave[1]()
    assert present(tmp_path) == ()
