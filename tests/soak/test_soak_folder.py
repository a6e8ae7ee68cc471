"""The folder of a soak: where nobody named one, the database server's own user gets into it."""

from __future__ import annotations

import shutil
import stat

from tests.soak.__main__ import make_folder


def test_the_folder_of_a_run_is_open_to_the_user_of_the_database() -> None:
    folder = make_folder("")
    try:
        wanted = stat.S_IROTH | stat.S_IXOTH
        assert folder.stat().st_mode & wanted == wanted
    finally:
        shutil.rmtree(folder)
