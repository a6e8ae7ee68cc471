"""Every planted defect is caught by the tests named with it, and those tests pass where nothing is planted."""

from __future__ import annotations

import compileall
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.clock_defects import CLOCK_DEFECTS
from tests.support.defects import DEFECTS as PROTOCOL_DEFECTS
from tests.support.defects import Defect
from tests.support.family_defects import FAMILY_DEFECTS
from tests.support.leaving import folder_of_this_process
from tests.support.postgres_defects import POSTGRES_DEFECTS
from tests.support.warm_runs import WarmRuns

_ROOT = Path(__file__).parents[2]
_COPIED = ("gateway", "edxml", "adapters", "routing", "monitoring", "tests", "pyproject.toml")
_PROTOCOL_ROWS = ("§1", "§2", "§3", "§4", "§5", "§6", "§7", "§9", "§10")
_PASSED, _FAILED = 0, 1
ALL_OF_THEM = 3000.0
"""Seconds that all the tests named with defects may take, one after another, on a machine however busy."""

DEFECTS = PROTOCOL_DEFECTS + CLOCK_DEFECTS + FAMILY_DEFECTS + POSTGRES_DEFECTS


def copy_program(folder: Path) -> Path:
    """The program and its tests in a folder of their own, compiled: each planted defect is a new process."""
    folder.mkdir(exist_ok=True)
    for name in _COPIED:
        source = _ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns(".hypothesis", "*.toml~"))
        else:
            shutil.copy2(source, folder / name)
    assert compileall.compile_dir(folder, quiet=2), f"a module in {folder} does not compile"
    return folder


@cache
def _place() -> Path:
    return folder_of_this_process("planted")


def run_tests(runs: WarmRuns, tests: tuple[str, ...], *, seconds: float = 280) -> subprocess.CompletedProcess[str]:
    """Run tests of the copy in a process of its own, for so long at most.

    Their folders are not where those of this run are: old ones there are deleted by whoever sees them, and a run that
    is not alone in that ends without its last lines.
    """
    quiet = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--assert=plain", "--durations=0", "--tb=line"]
    quiet.append(f"--basetemp={_place() / 'base'}")
    if not any("postgresql" in test for test in tests):
        quiet += ["-k", "not postgresql"]  # what both databases show is shown by one
    return runs.run([*quiet, *tests], seconds=seconds)


def plant(folder: Path, defect: Defect) -> None:
    """Put the defect into the copy. Fails where it no longer fits, so that none goes stale unseen."""
    path = folder / defect.file
    text = path.read_text("utf-8")
    found = text.count(defect.old)
    assert found == 1, f"defect no longer fits: {defect.name!r} finds its text {found} times in {defect.file}"
    path.write_text(text.replace(defect.old, defect.new), "utf-8")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmRuns]:
    with WarmRuns(copy_program(tmp_path_factory.mktemp("program"))) as runs:
        yield runs


@pytest.mark.xdist_group("planted")
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name.replace(" ", "-"))
def test_a_planted_defect_is_caught(program: WarmRuns, defect: Defect, request: pytest.FixtureRequest) -> None:
    if defect.needs_strace:
        request.getfixturevalue("strace")
    path = program.folder / defect.file
    whole = path.read_bytes()
    try:
        plant(program.folder, defect)
        done = run_tests(program, defect.tests)
    finally:
        path.write_bytes(whole)
    assert done.returncode == _FAILED, f"not caught, or did not run:\n{done.stdout[-3000:]}"
    assert f"{len(defect.tests)} failed" in done.stdout or f"{len(defect.tests)} error" in done.stdout, done.stdout


@pytest.mark.long  # the suite itself runs them; this shows that nothing else fails in the copy
@pytest.mark.timeout(ALL_OF_THEM + 60)
@pytest.mark.xdist_group("planted")
def test_the_same_tests_pass_where_nothing_is_planted(program: WarmRuns, strace: str) -> None:
    assert strace
    done = run_tests(program, tuple(sorted({test for defect in DEFECTS for test in defect.tests})), seconds=ALL_OF_THEM)
    assert done.returncode == _PASSED, done.stdout[-3000:]


def test_every_row_of_the_protocols_table_has_a_defect() -> None:
    rows = " ".join(defect.row for defect in DEFECTS)
    assert [row for row in _PROTOCOL_ROWS if row not in rows] == []
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS)
