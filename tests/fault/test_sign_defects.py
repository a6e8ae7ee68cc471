"""Every check of edxml.sign, taken out of a copy, is missed by the tests named with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fault.test_planted_defects import ALL_OF_THEM, copy_program, plant, run_tests
from tests.support.defects import Defect
from tests.support.sign_defects import SIGN_DEFECTS
from tests.support.warm_runs import WarmRuns

_PASSED, _FAILED = 0, 1


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmRuns]:
    with WarmRuns(copy_program(tmp_path_factory.mktemp("program"))) as runs:
        yield runs


@pytest.mark.xdist_group("planted-signatures")
@pytest.mark.parametrize("defect", SIGN_DEFECTS, ids=lambda defect: defect.name.replace(" ", "-"))
def test_a_check_that_is_taken_out_is_missed(program: WarmRuns, defect: Defect) -> None:
    path = program.folder / defect.file
    whole = path.read_text("utf-8")
    plant(program.folder, defect)
    try:
        done = run_tests(program, defect.tests)
    finally:
        path.write_text(whole, "utf-8")
    assert done.returncode == _FAILED, f"{defect.tests} passed or broke without it:\n{done.stdout[-2000:]}"
    assert "error" not in done.stdout.splitlines()[-1], done.stdout[-2000:]


@pytest.mark.long  # the suite itself runs them
@pytest.mark.timeout(ALL_OF_THEM + 60)
@pytest.mark.xdist_group("planted-signatures")
def test_where_nothing_is_taken_out_they_pass(program: WarmRuns) -> None:
    named = tuple(dict.fromkeys(test for defect in SIGN_DEFECTS for test in defect.tests))
    done = run_tests(program, named, seconds=ALL_OF_THEM)
    assert done.returncode == _PASSED, done.stdout[-2000:]
