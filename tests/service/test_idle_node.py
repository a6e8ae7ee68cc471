"""A node with nothing to do sleeps: counted in wakes of its threads, which no other work on the machine adds to."""

from __future__ import annotations

import time
from pathlib import Path

from tests.support.patience import until
from tests.support.processes import NodeProcesses

_SECONDS = 5
_MAIN = 3  # wakes a second; the loop itself needs one
_ALL = 15


def _wakes(pid: int) -> dict[str, int]:
    """How often each thread of a process gave the processor up by itself, by thread."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        found[task.name] = next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
    return found


def test_an_idle_node_wakes_its_server_once_a_second(tmp_path: Path) -> None:
    with NodeProcesses(tmp_path / "nut", {}) as node:
        assert node.run("init").returncode == 0
        node.start("serve")
        pid, woken = node.pid("serve"), dict[str, int]()

        def sleeps() -> bool:
            """For one span at least: what a start leaves behind may take long on a busy machine."""
            before = _wakes(pid)
            time.sleep(_SECONDS)
            woken.update({task: count - before.get(task, 0) for task, count in _wakes(pid).items()})
            return woken[str(pid)] <= _MAIN * _SECONDS and sum(woken.values()) <= _ALL * _SECONDS

        time.sleep(3)  # the rest of the start, where nothing else runs
        until(sleeps, woken)
