"""Planted defects keep up with the code: found here in a second, not only when the fault tests plant them."""

from __future__ import annotations

import pytest

from tests.support.defects import DEFECTS, Defect
from tests.support.family_defects import FAMILY_DEFECTS
from tests.support.postgres_defects import POSTGRES_DEFECTS
from tests.unit.house.sources import HOUSE

_ALL = DEFECTS + FAMILY_DEFECTS + POSTGRES_DEFECTS


@pytest.mark.parametrize("defect", _ALL, ids=lambda defect: defect.name.replace(" ", "-"))
def test_what_a_defect_replaces_stands_exactly_once(defect: Defect) -> None:
    assert (HOUSE / defect.file).read_text("utf-8").count(defect.old) == 1


@pytest.mark.parametrize("defect", _ALL, ids=lambda defect: defect.name.replace(" ", "-"))
def test_the_tests_that_see_a_defect_exist(defect: Defect) -> None:
    for test in defect.tests:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (HOUSE / file).read_text("utf-8"), test
