"""What an archive's manifest says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

__all__ = ["BYTES", "FORMAT", "MANIFEST", "README", "Content", "Manifest", "archive_name", "parse_manifest"]

FORMAT: Final = "truc-archive/1"
MANIFEST: Final = "manifest.json"
README: Final = "DOC-TRUOC.txt"
BYTES: Final = frozenset({"seal", "salt", "leaf"})
"""Columns whose values are bytes, written as base64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One file within an archive."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is in an archive, and of when; instants in ISO 8601."""

    format: str
    node: str
    release: str
    month: str
    written_at: str
    rows: Mapping[str, int]
    files: Mapping[str, Content]
    last_position: int  #: of the month's events when it was written
    carried: tuple[tuple[int, str, str, str, int], ...]  #: (day, agency, book, fate, deliveries)

    def text(self) -> str:
        """As it is written."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1, sort_keys=True)


def archive_name(node: str, month: str) -> str:
    """The file of one month."""
    return f"truc-{node}-{month}.zip"


def parse_manifest(text: str) -> Manifest:
    """Raises ValueError, KeyError or TypeError where it is none."""
    found: dict[str, Any] = json.loads(text)
    if found["format"] != FORMAT:
        raise ValueError(f"format {found['format']}")
    files = {str(name): Content(**one) for name, one in found.pop("files").items()}
    carried = tuple((int(d), str(a), str(b), str(f), int(n)) for d, a, b, f, n in found.pop("carried"))
    return Manifest(**found, files=files, carried=carried)
