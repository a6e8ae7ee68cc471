"""A province's processes, each from the image, on a real PostgreSQL, a real RabbitMQ and the real proxy (`make image`).

The same as docker/province.yaml but for what only the engine gives: networks with names, limits of memory, three
brokers in three containers.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from tests.deploy.test_image_steps import GRACE, HOUSE, ready, settings
from tests.support.image_root import Container, Image
from tests.support.postgres import PASSWORD, cluster
from tests.support.processes import need_program
from tests.support.rabbitmq import Broker, free_ports

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

PARTS = ("api", "api", "relay", "deliver", "deliver", "periodic", "intake", "inspect")


def lay_secrets(folder: Path, volume: Path) -> None:
    """Where the containers can read them: this runner mounts one folder alone."""
    subprocess.run([sys.executable, str(HOUSE / "docker/make_secrets"), str(folder)], check=True, capture_output=True)
    for name in ("broker-user", "broker-password"):
        (volume / name).write_bytes((folder / name).read_bytes())
    (volume / "database-password").write_text(PASSWORD, "utf-8")
    for path in volume.iterdir():
        path.chmod(0o400)
        os.chown(path, 10001, 10001)


def start_proxy(
    folder: Path, secrets: Path, apis: list[str], without: str = "(?!)"
) -> tuple[subprocess.Popen[bytes], str]:
    """docker/haproxy/haproxy.cfg with this machine's ports in the place of containers' names; without some lines."""
    (port,) = free_ports(1)
    text = (HOUSE / "docker/haproxy/haproxy.cfg").read_text("utf-8")
    text = re.sub(rf"(?m)^.*{without}.*\n", "", text)
    text = text.replace("/run/secrets/tls.pem", str(secrets / "tls.pem")).replace(
        "bind :8443", f"bind 127.0.0.1:{port}"
    )
    for number, api in enumerate(apis, 1):
        text = text.replace(f"api-{number}:8080", f"127.0.0.1:{api}")
    (folder / "haproxy.cfg").write_text(text, "utf-8")
    command = [need_program("haproxy", "haproxy"), "-W", "-f", str(folder / "haproxy.cfg")]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), f"https://127.0.0.1:{port}"


def asked(client: httpx2.Client, path: str, wanted: int, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while (status := client.get(path).status_code) != wanted:
        assert time.monotonic() < deadline, f"{path}: {status}"
        time.sleep(0.2)


def test_a_province_starts_is_well_and_ends(image: Image, volume: Path, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    lay_secrets(secrets, volume)
    told = (HOUSE / "docker/rabbitmq/rabbitmq.conf").read_text("utf-8")
    lines = dict(re.findall(r"^((?:definitions|default_queue)\S+) = (.+)$", told, re.MULTILINE))
    lines["definitions.local.path"] = str(secrets / "broker-definitions.json")
    with ExitStack() as closing:
        broker = closing.enter_context(Broker.start(tmp_path / "mq", **lines))
        given = {
            "database": cluster().create(), "database_password_file": "/var/lib/truc/database-password",
            "broker": f"amqp://127.0.0.1:{broker.ports['amqp']}/truc",
            "broker_user_file": "/var/lib/truc/broker-user", "broker_password_file": "/var/lib/truc/broker-password",
        }  # fmt: skip
        with Container.start(image, ["init"], volume=volume, environment=settings(**given)) as init:
            out, errors = init.process.communicate(timeout=120)
            assert init.process.returncode == 0, (out, errors)
        environments = [settings(**given) for _ in PARTS]
        running = [
            closing.enter_context(Container.start(image, [part], volume=volume, environment=environment))
            for part, environment in zip(PARTS, environments, strict=True)
        ]
        for part, container in zip(PARTS, running, strict=True):
            ready(container)
            health = container.health()
            assert (health.returncode, health.stdout[:4]) == (0, "200 "), (part, health)
        proxy, url = start_proxy(tmp_path, secrets, [one["TRUC_PORT"] for one in environments[:2]])
        closing.callback(proxy.wait, 20)
        closing.callback(proxy.terminate)
        time.sleep(1)
        with httpx2.Client(base_url=url, verify=False, timeout=10) as client:
            asked(client, "/v1/inbox", 401)
            asked(client, "/metrics", 404)
            asked(client, "/health/ready", 404)
            code, _, errors = running[0].stop(GRACE)
            assert code == 0, errors
            asked(client, "/v1/inbox", 401)
            assert {client.get("/v1/inbox").status_code for _ in range(10)} == {401}, "the other API answers alone"
        for part, container in list(zip(PARTS, running, strict=True))[1:]:
            code, _, errors = container.stop(GRACE)
            assert code == 0, (part, errors)
