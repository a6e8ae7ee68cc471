"""An image without a Docker engine: the Dockerfile's steps carried out in fresh Debian roots, and its processes run
there as a container would run them.

    root = build_image(folder, HOUSE / "docker/Dockerfile", HOUSE)
    with Container.start(root, ["serve"], volume=data, environment={"TRUC_PORT": "18080"}) as container: …

Roots are made by mmdebstrap, processes run under bubblewrap (both of Debian): process 1 of their own process
namespace, the root read-only, an own /tmp, an uid above 0 with no capability and no way to get one.  What it is not:
no layers, no image format, no control groups, no seccomp profile of the engine's, and the machine's own network.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.support.dockerfile import Instruction, Stage, read_stages
from tests.support.processes import need_program

__all__ = ["Container", "Image", "build_image"]

_STEP: Final = 900.0
_PACKAGES: Final = {"mmdebstrap": "mmdebstrap", "bwrap": "bubblewrap", "unshare": "util-linux"}
_PASSED_ON: Final = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "http_proxy", "https_proxy", "no_proxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A built image: its root and what its last stage says of running it."""

    root: Path
    stage: Stage

    def words(self, word: str) -> list[str]:
        """The words of ENTRYPOINT, CMD or HEALTHCHECK."""
        found = self.stage.last(word)
        return (found.exec_form() if found else None) or []

    @property
    def user(self) -> tuple[str, str]:
        """Numbers of user and group."""
        found = self.stage.last("USER")
        assert found is not None
        user, _, group = found.text.partition(":")
        return user, group


def build_image(folder: Path, dockerfile: Path, context: Path) -> Image:
    """Carry out every step of `dockerfile`, stage by stage. Needs root; raises AssertionError with a step's output."""
    for program, package in _PACKAGES.items():
        need_program(program, package)
    roots: dict[str, Path] = {}
    stages = read_stages(dockerfile)
    for number, stage in enumerate(stages):
        root = roots[stage.name or str(number)] = folder / (stage.name or "image")
        _lay(root, stage.base)
        place, environment = "/", {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        for each in stage.instructions:
            if each.word == "ENV":
                environment |= Stage(base="", name="", instructions=[each]).environment()
            elif each.word == "WORKDIR":
                place = each.text
                (root / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
            elif each.word == "RUN":
                _run(root, each, place, environment)
            elif each.word == "COPY":
                _copy(root, each, place, context, roots)
    return Image(root=root, stage=stages[-1])


def _lay(root: Path, base: str) -> None:
    found = re.fullmatch(r"(?:.*/)?debian:([a-z]+)-slim", base)
    assert found is not None, f"{base}: only Debian's own image has a root that can be made here"
    kept = root.with_name(f"base-{found[1]}.tar")
    if not kept.exists():
        _do(["mmdebstrap", "--quiet", "--variant=minbase", found[1], str(kept)])
    root.mkdir(parents=True)
    _do(["tar", "--extract", "--file", str(kept), "--directory", str(root)])


def _run(root: Path, each: Instruction, place: str, environment: Mapping[str, str]) -> None:
    """One RUN step, as root of the root, with this machine's name server and certificates on loan."""
    loans = {"/etc/resolv.conf": "/etc/resolv.conf"}
    lent = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    bundle = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    if bundle:
        loans[bundle] = "/run/lent.pem"
        lent |= {"PIP_CERT": "/run/lent.pem", "SSL_CERT_FILE": "/run/lent.pem"}
    binds = [word for outside, inside in loans.items() for word in ("--ro-bind", outside, inside)]
    command = [
        "bwrap", "--bind", str(root), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/run", *binds,
        "--unshare-pid", "--unshare-ipc", "--die-with-parent", "--cap-add", "ALL", "--chdir", place, "--clearenv",
        *(word for pair in {**environment, **lent}.items() for word in ("--setenv", *pair)),
        "--", "/bin/sh", "-c", each.text,
    ]  # fmt: skip
    _do(command, f"line {each.line}: RUN {each.text}")


def _copy(root: Path, each: Instruction, place: str, context: Path, roots: Mapping[str, Path]) -> None:
    words = each.text.split()
    source = context
    if words[0].startswith("--from="):
        source = roots[words.pop(0).removeprefix("--from=")]
    *names, target = words
    goal = root / str(Path(place) / target).lstrip("/")
    for name in names:
        found = source / name.lstrip("/")
        assert found.exists(), f"line {each.line}: {name} is not there"
        if found.is_dir():
            left_out = shutil.ignore_patterns("__pycache__") if source == context else None  # as .dockerignore has it
            shutil.copytree(found, goal, symlinks=True, ignore=left_out, dirs_exist_ok=True)
        else:
            goal.mkdir(parents=True, exist_ok=True) if target.endswith("/") else None
            shutil.copy2(found, goal)


def _do(command: list[str], what: str = "") -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_STEP, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{what or command}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"


@dataclass(slots=True)
class Container:
    """One process as a container would run it. `pid`: process 1, seen from outside."""

    image: Image
    process: subprocess.Popen[str]
    pid: int

    @classmethod
    def start(cls, image: Image, words: list[str], *, volume: Path, environment: Mapping[str, str]) -> Self:
        """Start ENTRYPOINT with `words`; returns at once."""
        reading, writing = os.pipe()
        command = [
            *_sandbox(image, volume, environment, "--info-fd", str(writing), "--unshare-pid", "--as-pid-1"),
            *_as_user(image), *image.words("ENTRYPOINT"), *words,
        ]  # fmt: skip
        process = subprocess.Popen(
            command, pass_fds=[writing], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(writing)
        with os.fdopen(reading) as answers:
            told: dict[str, Any] = json.loads(answers.read())
        return cls(image, process, int(told["child-pid"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.process.communicate(timeout=10)

    def health(self) -> subprocess.CompletedProcess[str]:
        """HEALTHCHECK, run beside process 1 as the engine does it."""
        command = [
            "nsenter", "--target", str(self.pid), "--pid", "--mount", "--root", "--wd=/", "env",
            *(f"{name}={value}" for name, value in self.environment().items()),
            *_as_user(self.image), *self.image.words("HEALTHCHECK"),
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, timeout=240)

    def environment(self) -> dict[str, str]:
        """What process 1 was given."""
        pairs = Path(f"/proc/{self.pid}/environ").read_text("utf-8").split("\0")
        return dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    def stop(self, seconds: float) -> tuple[int, str, str]:
        """SIGTERM to process 1, as `docker stop` sends it: exit code, output, errors."""
        os.kill(self.pid, signal.SIGTERM)
        out, errors = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, errors


def _sandbox(image: Image, volume: Path, environment: Mapping[str, str], *more: str) -> list[str]:
    values = {**image.stage.environment(), **environment}
    return [
        need_program("bwrap", "bubblewrap"), "--ro-bind", str(image.root), "/", "--proc", "/proc", "--dev", "/dev",
        "--tmpfs", "/tmp", "--bind", str(volume), "/var/lib/truc", "--unshare-ipc", "--cap-add", "CAP_SETUID",
        "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP", "--die-with-parent", *more, "--clearenv",
        *(word for pair in values.items() for word in ("--setenv", *pair)), "--",
    ]  # fmt: skip


def _as_user(image: Image) -> list[str]:
    user, group = image.user
    return [
        "/usr/bin/setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--inh-caps=-all",
        "--bounding-set=-all", "--no-new-privs", "--",
    ]  # fmt: skip
