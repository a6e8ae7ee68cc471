"""Who goes over all tables sees every one of them, whatever else was imported: a move would leave out the others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_COUNT = "import gateway.store.{} as m; print(sorted(table.name for table in m.metadata.sorted_tables))"
_WALK = """
import importlib, pkgutil, gateway.store
for found in pkgutil.walk_packages(gateway.store.__path__, "gateway.store."):
    if "migrations" not in found.name:
        importlib.import_module(found.name)
from gateway.store.schema import metadata
print(sorted(table.name for table in metadata.sorted_tables))
"""


def said_by(code: str) -> str:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True, timeout=240
    )
    return done.stdout


@pytest.mark.parametrize("module", ["carrying.moving", "upkeep", "tables"])
def test_every_table_is_seen(module: str) -> None:
    assert said_by(_COUNT.format(module)) == said_by(_WALK)
