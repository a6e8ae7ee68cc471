"""A machine whose process 1 is systemd, for tests of units: namespaces of its own over a copy of this machine's files.

    with Machine.boot(folder, files=release, before="make what is installed") as machine:
        machine.run("systemctl start …")

Its root is this machine's, written to in memory alone; its processes, mounts, host name and control groups are its own,
its network is this machine's.  Of this machine's services none is started, of the kernel nothing is set.  Needs root.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.support.families import family
from tests.support.patience import PATIENCE
from tests.support.processes import need_program

__all__ = ["Machine"]

_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED_ON: Final = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "http_proxy", "https_proxy", "no_proxy")

_LAY: Final = """
set -e
mount --make-rprivate /
mount -t tmpfs laid "$1"
mkdir "$1/up" "$1/work" "$1/root" "$1/groups"
mount -t overlay root -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$1/root"
mount -t cgroup2 groups "$1/groups"
mkdir "$1/groups/$2"
echo $$ > "$1/groups/$2/cgroup.procs"
cd "$1/root"
mkdir -p before opt root
mount -t tmpfs opt opt
cp -a "$3/." root/
mount -t proc proc proc
mount --rbind /dev dev
chroot . /bin/sh -exc "cd /root; $4"
umount -R dev proc
exec unshare --cgroup --pid --uts --ipc --fork /bin/bash -c "$5" boot
"""

_BOOT: Final = """
set -e
mount -t proc proc proc
mount --bind -o ro proc/sys proc/sys
mount -t sysfs -o ro sys sys
mount -t cgroup2 groups sys/fs/cgroup
for at in run tmp dev; do mount -t tmpfs $at $at; done
for at in null zero full random urandom tty; do touch dev/$at; mount --bind /dev/$at dev/$at; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 pts dev/pts
mount -t tmpfs shm dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
tr -d - < /proc/sys/kernel/random/uuid > etc/machine-id
rm -rf etc/systemd/system etc/truc var/lib/truc
mkdir -p etc/systemd/system
printf '[Unit]\\nRequires=basic.target\\nAfter=basic.target\\n' > etc/systemd/system/default.target
pivot_root . before
cd /
umount -l /before
mount --make-rshared /
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --log-target=console
"""

_END: Final = """
mount -t cgroup2 groups "$1"
cd "$1"
for try in 1 2 3 4 5 6 7 8 9; do find "$2" -depth -type d -exec rmdir {} + && break; sleep 1; done
"""


def _name_of(pid: int) -> str:
    """What a process runs; nothing of one that ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/comm").read_text("utf-8").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@dataclass(slots=True)
class Machine:
    """A machine that has booted; `pid`: of its systemd, as this machine counts."""

    process: subprocess.Popen[bytes]
    pid: int
    groups: str

    @classmethod
    def boot(cls, folder: Path, *, files: Path, before: str) -> Self:
        """Lay its files below `folder`, `files` in /root, run `before` there, as an installation is made; then boot.

        Raises AssertionError with what was said.
        """
        for program, package in {"unshare": "util-linux", "nsenter": "util-linux", "systemctl": "systemd"}.items():
            need_program(program, package)
        place = folder / "machine"
        place.mkdir()
        groups = f"test-{os.getpid()}-{time.monotonic_ns()}"
        said = folder / "machine.log"
        environment = {"HOME": "/root", "LANG": "C.UTF-8", "PATH": _PATH.removeprefix("PATH=")}
        environment |= {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        with said.open("wb") as log:
            words = ["lay", str(place), groups, str(files), before, _BOOT]
            command = ["unshare", "--mount", "/bin/bash", "-c", _LAY, *words]
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        machine = cls(process, 0, groups)
        deadline = time.monotonic() + 4 * PATIENCE
        while not machine._is_up():
            if process.poll() is not None or time.monotonic() > deadline:
                machine.end()
                raise AssertionError(f"it did not boot: {said.read_text('utf-8', 'replace')[-4000:]}")
            time.sleep(0.3)
        return machine

    def _is_up(self) -> bool:
        """Whether systemd is there and has reached its target."""
        for pid in family(self.process.pid):
            if _name_of(pid) == "systemd":
                self.pid = pid
                return self.run("systemctl is-system-running", code=None).stdout.strip() in ("running", "degraded")
        return False

    def run(self, script: str, *, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """A script of bash in /root, as root. Raises AssertionError with what it said where it ends otherwise."""
        inside = ["nsenter", "-t", str(self.pid), "-m", "-p", "-C", "-u", "-i", "-r", "-w", "env", "-i", _PATH]
        words = ["HOME=/root", "LANG=C.UTF-8", "TERM=dumb", "bash", "-c", f"cd /root; {script}"]
        done = subprocess.run([*inside, *words], capture_output=True, text=True, timeout=600)
        assert code is None or done.returncode == code, f"{script}\n{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def end(self) -> None:
        """End it and all that runs in it: its namespaces go with its process 1. Safe to repeat."""
        if self.process.poll() is None:
            for pid in (self.pid or self.process.pid, self.process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(60)
        with tempfile.TemporaryDirectory() as place:
            command = ["unshare", "--mount", "/bin/sh", "-c", _END, "end", place, self.groups]
            subprocess.run(command, capture_output=True, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *why: object) -> None:
        self.end()
