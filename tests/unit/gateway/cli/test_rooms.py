"""Commands load what they need: the list of first words is what the modules add, and light commands stay light."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest
import typer

from gateway.cli.app import PANELS, ROOMS, command_tree


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_adds_the_words_that_are_listed(room: str) -> None:
    app = typer.Typer()
    app.callback()(lambda: None)
    import_module(f"gateway.cli.{room}").register(app)
    tree = typer.main.get_command(app)
    assert tuple(tree.commands) == ROOMS[room]  # type: ignore[attr-defined]


@pytest.mark.parametrize("word", ["", "--help", "pakcet", "không có"])
def test_what_is_no_word_of_ours_gets_the_whole_tree(word: str) -> None:
    assert set(command_tree(word).commands) == {word for words in ROOMS.values() for word in words}


def test_every_first_word_stands_under_one_heading() -> None:
    assert sorted(word for words in PANELS.values() for word in words) == sorted(
        word for words in ROOMS.values() for word in words
    )


def test_looking_at_a_packet_loads_no_database_and_no_server() -> None:
    program = (
        "import sys; from gateway.cli import main; main(['packet', 'check', '/dev/null']); "
        "print(sorted({'sqlalchemy', 'fastapi', 'alembic', 'uvicorn', 'pyhanko', 'pika'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
