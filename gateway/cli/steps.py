"""Bars of long commands: one for each step, named by its word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import TaskID

from gateway.cli.output import Voice

__all__ = ["show_steps"]


@contextmanager
def show_steps(voice: Voice, texts: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar per step; silent where nobody looks at it. `texts`: where the steps' names stand, `<texts>.step_<word>`."""
    with voice.progress() as bar:
        tasks: dict[str, TaskID] = {}

        def tell(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(voice.say(f"{texts}.step_{step}"), total=total)
            bar.update(tasks[step], completed=done, total=total)

        yield tell
