"""The image's steps, carried out in Debian roots, and its processes as a container runs them (`make image`; minutes).

What this is not: Docker. See tests/support/image_root.py for what is the same and what is missing.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from tests.support.image_root import Container, Image
from tests.support.rabbitmq import Broker, free_ports

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

HOUSE = Path(__file__).parents[2]
GRACE = 45.0  #: stop_grace_period of the compose files
PARTS = ("api", "relay", "deliver", "periodic", "intake", "inspect")


def settings(**more: str) -> dict[str, str]:
    api, metrics = free_ports(2)
    told = {"node": "nut-thu", "host": "127.0.0.1", "port": str(api), "metrics_port": str(metrics), **more}
    return {f"TRUC_{name.upper()}": value for name, value in told.items()}


def ready(container: Container) -> str:
    assert container.process.stdout is not None
    line = container.process.stdout.readline()
    assert line.startswith("READY"), container.process.communicate(timeout=20)
    return line


def once(image: Image, volume: Path, *words: str) -> tuple[int, str]:
    with Container.start(image, list(words), volume=volume, environment=settings()) as container:
        out, errors = container.process.communicate(timeout=120)
        return container.process.returncode, out + errors


def test_the_image_holds_the_program_and_no_tools(image: Image) -> None:
    assert not list(image.root.glob("opt/truc/lib/python3*/site-packages/pip*"))
    assert not list(image.root.glob("opt/truc/lib/python3*/site-packages/pytest*"))
    assert not (image.root / "usr/bin/gcc").exists()
    assert list(image.root.glob("opt/truc/lib/python3*/site-packages/gateway/__pycache__/*.pyc")), (
        "compiled: it cannot later"
    )
    writable = subprocess.run(
        ["find", str(image.root), "-xdev", "(", "-uid", "10001", "-o", "-perm", "-0002", ")", "-not", "-type", "l"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    kept = {str(Path("/") / Path(one).relative_to(image.root)) for one in writable}
    assert kept - {"/tmp", "/var/tmp", "/run/lock", "/dev/shm"} == {"/var/lib/truc", "/var/backups/truc"} | {
        one for one in kept if one.startswith("/dev/")
    }


def test_a_node_is_made_and_made_again(image: Image, volume: Path) -> None:
    assert once(image, volume, "init")[0] == 0
    assert once(image, volume, "init")[0] == 0
    code, said = once(image, volume, "doctor")
    assert code == 0, said


def test_a_leaf_serves_and_ends_at_sigterm(image: Image, volume: Path) -> None:
    told = settings()
    with Container.start(image, image.words("CMD"), volume=volume, environment=told) as container:
        assert " pid=1" in ready(container), "the program itself is process 1"
        status = Path(f"/proc/{container.pid}/status").read_text("utf-8")
        assert "\nUid:\t10001\t10001\t10001\t10001\n" in status
        assert "\nCapEff:\t0000000000000000\n" in status
        assert "\nCapBnd:\t0000000000000000\n" in status
        assert "\nNoNewPrivs:\t1\n" in status
        health = container.health()
        assert (health.returncode, health.stdout[:4]) == (0, "200 "), health
        assert httpx2.get(f"http://127.0.0.1:{told['TRUC_PORT']}/health/ready").status_code == 200
        code, _, errors = container.stop(GRACE)
        assert code == 0, errors


def test_every_part_works_and_ends_at_sigterm(image: Image, volume: Path) -> None:
    assert once(image, volume, "init")[0] == 0
    for part in PARTS:
        with Container.start(image, [part], volume=volume, environment=settings()) as container:
            ready(container)
            health = container.health()
            assert (health.returncode, health.stdout[:4]) == (0, "200 "), (part, health)
            code, _, errors = container.stop(GRACE)
            assert code == 0, (part, errors)


def test_two_containers_of_a_part_are_two_workers(image: Image, volume: Path) -> None:
    """Each is process 1 of its own; the node must not take them for one."""
    assert once(image, volume, "init")[0] == 0
    told = [settings(), settings()]
    with (
        Container.start(image, ["periodic"], volume=volume, environment=told[0]) as first,
        Container.start(image, ["periodic"], volume=volume, environment=told[1]) as second,
    ):
        ready(first)
        ready(second)
        names = [container.stop(GRACE)[0] for container in (first, second)]
        assert names == [0, 0]


def test_a_container_that_hangs_is_not_well(image: Image, volume: Path) -> None:
    with Container.start(image, ["serve"], volume=volume, environment=settings()) as container:
        ready(container)
        os.kill(container.pid, signal.SIGSTOP)
        began = time.monotonic()
        health = container.health()
        os.kill(container.pid, signal.SIGCONT)
        assert health.returncode == 1
        assert time.monotonic() - began < 5, "before the engine's own patience ends, so that the reason is written down"


def test_a_broker_that_is_given_our_definitions_knows_the_node(image: Image, volume: Path, tmp_path: Path) -> None:
    """What docker/make_secrets made and docker/rabbitmq/rabbitmq.conf says, on one real broker, not three."""
    secrets = tmp_path / "secrets"
    subprocess.run([sys.executable, str(HOUSE / "docker/make_secrets"), str(secrets)], check=True, capture_output=True)
    told = (HOUSE / "docker/rabbitmq/rabbitmq.conf").read_text("utf-8")
    lines = dict(re.findall(r"^(\S+) = (.+)$", told, re.MULTILINE))
    lines = {name: value for name, value in lines.items() if not name.startswith(("cluster_", "log."))}
    lines["definitions.local.path"] = str(secrets / "broker-definitions.json")
    with Broker.start(tmp_path / "mq", **lines) as broker:
        environment = settings(
            broker=f"amqp://127.0.0.1:{broker.ports['amqp']}/truc",
            broker_user_file="/var/lib/truc/user", broker_password_file="/var/lib/truc/password",
        )  # fmt: skip
        for name in ("user", "password"):
            (volume / name).write_text((secrets / f"broker-{name}").read_text("utf-8"))
            os.chown(volume / name, 10001, 10001)
        for words in (["init"], ["broker", "apply"], ["broker", "check"]):
            with Container.start(image, words, volume=volume, environment=environment) as container:
                out, errors = container.process.communicate(timeout=120)
                assert container.process.returncode == 0, (words, out, errors)
        with Container.start(image, ["relay"], volume=volume, environment=environment) as container:
            ready(container)
            assert container.stop(GRACE)[0] == 0


def test_a_volume_of_somebody_else_is_a_sentence(image: Image, tmp_path: Path) -> None:
    """A folder of root's, as the engine makes one for a mount that does not exist yet."""
    folder = tmp_path / "of-root"
    folder.mkdir(mode=0o755)
    code, said = once(image, folder, "init")
    assert code not in (0, 70), said
    assert "/var/lib/truc" in said
