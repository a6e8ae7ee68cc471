"""What the fault tests need of the machine."""

from __future__ import annotations

import pytest

from tests.support.processes import need_program


@pytest.fixture(scope="session")
def strace() -> str:
    """The path of strace, installed where it was missing (Debian package `strace`)."""
    return need_program("strace", "strace")
