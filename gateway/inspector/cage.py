"""The cage: what the inspector takes from itself before it sees the first byte of somebody's PDF.

Memory, processor time and size of files by limits of the system; last place in the queue for the processor, first to
go where memory ends.  Sockets, programs and other processes' memory by a filter of system calls (seccomp) that cannot
be taken off again.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import resource
import signal
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["CageFailed", "allow_seconds", "is_near_limit", "limit", "lock"]

_FILES: Final = 64
_NICE: Final = 19
_SLACK: Final = 1 << 20
_PEAK: Final = re.compile(rb"VmPeak:\s+(\d+) kB")
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_DENY: Final = 0x00050000 | 1  # SECCOMP_RET_ERRNO, EPERM
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_NUMBERS: Final = {
    # socket, connect, execve, execveat, ptrace, process_vm_readv, process_vm_writev, io_uring_setup, kill
    "x86_64": (0xC000003E, (41, 42, 59, 322, 101, 310, 311, 425, 62)),
    "aarch64": (0xC00000B7, (198, 203, 221, 281, 117, 270, 271, 425, 129)),
}
_X32: Final = 0x40000000  # the bit of x86_64's second way to number calls


class CageFailed(OSError):
    """The system does not let the process give up its rights: then it must not look at anything."""


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def limit(*, memory: int, file: int) -> None:
    """Bound this process: bytes of address space, and of any file that it writes. Cannot be undone."""
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file + _SLACK),
        (resource.RLIMIT_NOFILE, _FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    os.nice(_NICE)
    Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


def allow_seconds(*, cpu: int, wall: float) -> None:
    """From now on: so much processor time and so long, then the system ends this process (SIGXCPU, SIGALRM)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + cpu, most))
    signal.setitimer(signal.ITIMER_REAL, wall)


def is_near_limit() -> bool:
    """Whether this process ever held more than three quarters of the memory that it may have.

    From there on an allocation may have failed, and libraries answer that with whatever error they like.
    """
    peak = _PEAK.search(Path("/proc/self/status").read_bytes())
    assert peak is not None
    return int(peak[1]) * 1024 > resource.getrlimit(resource.RLIMIT_AS)[0] * 3 // 4


def lock() -> None:
    """No sockets, no programs, nobody else's memory from now on, whatever code runs. Raises CageFailed."""
    known = _NUMBERS.get(platform.machine())
    if known is None:
        raise CageFailed(f"no filter for {platform.machine()}")
    library = ctypes.CDLL(None, use_errno=True)
    code = _filter(*known)
    program = _Program(len(code) // 8, code)
    if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or library.prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0
    ):
        raise CageFailed(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _filter(architecture: int, denied: Sequence[int]) -> bytes:
    """A program for the kernel (BPF): load, compare, jump; the jumps count instructions to skip."""
    load, equal, above, answer = 0x20, 0x15, 0x35, 0x06
    steps = [
        (load, 0, 0, 4),  # the architecture
        (equal, 1, 0, architecture),
        (answer, 0, 0, _KILL),
        (load, 0, 0, 0),  # the number of the call
        (above, len(denied) + 1, 0, _X32),
        *((equal, len(denied) - i, 0, number) for i, number in enumerate(denied)),
        (answer, 0, 0, _ALLOW),
        (answer, 0, 0, _DENY),
    ]
    return b"".join(struct.pack("HBBI", *step) for step in steps)
