"""One target under atheris: `python -m tests.fuzz.drive TARGET [libFuzzer's arguments]`. `make fuzz` runs them all."""

from __future__ import annotations

import sys
import warnings

import atheris

with atheris.instrument_imports(include=["edxml"]):
    from tests.fuzz.targets import TARGETS

__all__: list[str] = []

if __name__ == "__main__":
    warnings.simplefilter("error")
    name, *arguments = sys.argv[1:]
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name].run)
    atheris.Fuzz()
