"""The image that the long tests share: built once, by the Dockerfile's steps."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.image_root import Image, build_image

HOUSE = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    folder = tmp_path_factory.mktemp("image")
    folder.chmod(0o755)
    yield build_image(folder, HOUSE / "docker/Dockerfile", HOUSE)
    subprocess.run(["rm", "-rf", "--one-file-system", str(folder)], check=True)


@pytest.fixture
def volume(tmp_path: Path, image: Image) -> Path:
    """An empty volume, as the engine makes it from the image's folder: of its owner and rights."""
    folder = tmp_path / "volume"
    folder.mkdir()
    found = (image.root / "var/lib/truc").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (10001, 10001, 0o700)
    os.chown(folder, found.st_uid, found.st_gid)
    folder.chmod(0o700)
    return folder
