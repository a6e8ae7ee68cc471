"""All tables there are: who goes over every one of them takes `metadata` from here, whatever else is imported."""

from __future__ import annotations

from gateway.store import (  # noqa: F401 - theirs join it
    schema_judged,
    schema_periods,
    schema_recoveries,
    schema_sightings,
    schema_walks,
)
from gateway.store.schema import metadata

__all__ = ["metadata"]
