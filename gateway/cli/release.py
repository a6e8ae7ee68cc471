"""The release of this program, as it was installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

__all__ = ["release_name"]


def release_name() -> str:
    """The release; "0" where the program is run from a tree that was never installed."""
    try:
        return version_of("truc")
    except PackageNotFoundError:
        return "0"
