"""stub"""

from __future__ import annotations

from pathlib import Path

from adapters.folder_layout import FolderLayout


def unpack(packet: Path, target: Path, layout: FolderLayout) -> None:
    raise NotImplementedError


def publish_unpacked(source: Path, target: Path) -> None:
    return
