"""docs/guides/systemd.md on a machine whose process 1 is systemd: its commands and units as they are printed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.support.booted import Machine
from tests.support.patience import until
from tests.support.postgres import PASSWORD, cluster
from tests.support.processes import free_ports

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]

HOUSE: Final = Path(__file__).parents[2]
GUIDE: Final = (HOUSE / "docs/guides/systemd.md").read_text("utf-8")
_NEEDED: Final = ("edxml", "routing", "adapters", "monitoring", "gateway", "systemd", "pyproject.toml", "README.md")
_PARTS: Final = ("api", "relay", "deliver", "periodic", "intake", "inspect")


def block(word: str) -> str:
    """The guide's one block of commands in which `word` stands."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", GUIDE, re.MULTILINE)
    (found,) = [each for each in blocks if word in each]
    return "set -e\n" + "".join(line.strip() + "\n" for line in found.splitlines())


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The folder of a release, as somebody has it who installs it."""
    folder = tmp_path / "release"
    folder.mkdir()
    for name in (*_NEEDED, *(each.name for each in HOUSE.glob("requirements*.lock"))):
        if (HOUSE / name).is_dir():
            shutil.copytree(HOUSE / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(HOUSE / name, folder)
    return folder


def fate(machine: Machine, unit: str) -> str:
    """A unit's state and how it ended last, as "active success"."""
    words = machine.run(f"systemctl show --value -p ActiveState -p Result {unit}").stdout.split()
    return " ".join(sorted(words))


def journal(machine: Machine, part: str) -> str:
    """The end of what a part logged."""
    return machine.run(f"journalctl --no-pager -n 30 -u truc@{part}").stdout


def doctor(machine: Machine) -> str:
    """What `truc doctor` found, a line each: name, level, code."""
    found = json.loads(machine.run("truc doctor --json", code=None).stdout)
    return "\n".join(f"{one['name']} {one['level']} {one['code']}" for one in found)


def is_ready(machine: Machine, port: int) -> bool:
    asked = f"/usr/bin/python3 -c \"import urllib.request as a; a.urlopen('http://127.0.0.1:{port}/health/ready')\""
    return machine.run(asked, code=None).returncode == 0


def test_the_guide_installs_a_leaf_and_then_a_provinces_parts(tmp_path: Path, release: Path) -> None:
    api, *figures = free_ports(6)
    (release / "systemd/truc.env").write_text(f"TRUC_NODE=thu\nTRUC_PORT={api}\nTRUC_DISK_RESERVE_MIB=1\n", "utf-8")
    with Machine.boot(tmp_path, files=release, before=block("/opt/truc-build")) as machine:
        machine.run(block("systemd-sysusers"))
        assert "699" in machine.run("LANG=C.UTF-8 truc init").stdout
        assert machine.run("stat -c '%U %a' /var/lib/truc /var/lib/truc/keys/seal.key").stdout == "truc 700\ntruc 600\n"
        machine.run(block("truc@serve.service"))
        until(lambda: is_ready(machine, api), lambda: journal(machine, "serve"))
        until(lambda: "processes ok doctor.running" in doctor(machine), lambda: doctor(machine))
        channel = 'printf \'[[channel]]\\nid = "hop"\\nkind = "inbox"\\nserves = ["na-so-stc"]\\n\''
        machine.run(f"{channel} > tinh.toml; chmod 600 tinh.toml; truc apply - < tinh.toml")
        assert "[document_told.unknown]" in machine.run("truc document show 'no $HOME \"x\" %n'", code=6).stderr
        machine.run("mkdir /var/backups/truc; chown truc /var/backups/truc")
        machine.run(block("truc-backup.timer"))
        machine.run("systemctl start truc@backup.service")
        assert "thu" in machine.run("truc backup /var/backups/truc --list --json").stdout
        machine.run("systemctl stop truc.target; systemctl disable truc@serve.service")
        until(lambda: fate(machine, "truc@serve") == "inactive success", "SIGTERM is heeded")
        province(machine, api, figures)


def province(machine: Machine, api: int, figures: list[int]) -> None:
    """The same machine goes over to a server: passwords as credentials, one unit for each part, one of them killed."""
    address = cluster().create()
    machine.run(block("/etc/truc/secrets "))
    machine.run(f"umask 377; printf '{PASSWORD}' > /etc/truc/secrets/database-password")
    machine.run("sed -i /broker-/d /etc/systemd/system/truc@.service.d/province.conf; systemctl daemon-reload")
    machine.run(f"echo TRUC_DATABASE={address} >> /etc/truc/truc.env; truc store move")
    ports = block("TRUC_METRICS_PORT").replace("9101", str(figures[0])).replace("$((port + 1))", "0")
    machine.run(ports)
    until(lambda: is_ready(machine, api), lambda: journal(machine, "api"))
    machine.run("kill -9 $(systemctl show --value -p MainPID truc@relay)")
    until(lambda: fate(machine, "truc@relay") == "active success", lambda: journal(machine, "relay"))
    until(lambda: "processes ok doctor.running" in doctor(machine), lambda: doctor(machine))
    machine.run("systemctl start truc@backup.service; truc account")
    machine.run("systemctl stop truc.target")
    for part in _PARTS:
        until(lambda part=part: fate(machine, f"truc@{part}") == "inactive success", f"{part} heeds SIGTERM")
