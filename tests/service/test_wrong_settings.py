"""Every wrong setting of broker, database and disk as a person meets it: one table, one sentence each.

For each row: `truc doctor` fails on its code in both languages; what cannot work refuses to start with its exit code
and one line; what can wait starts without (the doctor has opened the whole node); the runbook says what to do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.transport.rabbitmq import make_layout
from gateway.transport.topology import LAYOUT
from tests.support.old_broker import OldBroker
from tests.support.postgres import cluster
from tests.support.processes import SmallDisk
from tests.support.rabbitmq import Broker, free_ports
from tests.support.terminal import Terminal
from tests.support.tls_listener import TlsListener, Vouched

pytestmark = pytest.mark.xdist_group("rabbitmq")

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook"
STARTS = 0
"""The node starts all the same, and goes on trying."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What rows are arranged on: a node that was made in `data`."""

    request: pytest.FixtureRequest
    truc: Terminal
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def broker(self) -> Broker:
        """Asked for only where a row needs one."""
        found = self.request.getfixturevalue("broker")
        assert isinstance(found, Broker)
        return found

    def file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    def user(self, name: str, password: str, vhost: str) -> dict[str, str]:
        """Settings that go to the shared broker as this user."""
        files = {"broker_user_file": self.file("user", name), "broker_password_file": self.file("password", password)}
        return {"broker": self.broker.url(vhost), **files}

    def own(self, vhost: str) -> dict[str, str]:
        """Settings that go to the shared broker as its first user."""
        files = {f"broker_{name}": path for name, path in self.broker.files.items()}
        return {"broker": self.broker.url(vhost), **files}


Arrange = Callable[[Ground], Iterator[dict[str, str]]]


def _set(**settings: str) -> Arrange:
    def arrange(_ground: Ground) -> Iterator[dict[str, str]]:
        yield settings

    return arrange


def _nobody(_ground: Ground) -> Iterator[dict[str, str]]:
    yield {"broker": f"amqp://127.0.0.1:{free_ports(1)[0]}/truc"}


def _folder_as_password(ground: Ground) -> Iterator[dict[str, str]]:
    yield {"broker": "amqp://mq/truc", "broker_password_file": str(ground.folder)}


def _no_certificate(ground: Ground) -> Iterator[dict[str, str]]:
    yield {"broker": "amqps://mq/truc", "broker_ca_file": ground.file("rong.pem", "khong phai chung thu")}


def _old(_ground: Ground) -> Iterator[dict[str, str]]:
    with OldBroker() as old:
        yield {"broker": f"amqp://127.0.0.1:{old.port}/truc"}


def _listening(**vouched: float | str) -> Arrange:
    def arrange(ground: Ground) -> Iterator[dict[str, str]]:
        made = Vouched.make(ground.folder / "that", **vouched)  # type: ignore[arg-type]
        with TlsListener(made) as listener:
            yield {"broker": f"amqps://localhost:{listener.port}/truc", "broker_ca_file": made.ca_file}

    return arrange


def _stranger(ground: Ground) -> Iterator[dict[str, str]]:
    made, other = (Vouched.make(ground.folder / word) for word in ("that", "la"))
    with TlsListener(made) as listener:
        yield {"broker": f"amqps://localhost:{listener.port}/truc", "broker_ca_file": other.ca_file}


def _no_tls(ground: Ground) -> Iterator[dict[str, str]]:
    with OldBroker() as plain:
        ca_file = Vouched.make(ground.folder / "that").ca_file
        yield {"broker": f"amqps://localhost:{plain.port}/truc", "broker_ca_file": ca_file}


def _wrong_password(ground: Ground) -> Iterator[dict[str, str]]:
    ground.broker.add_user("quen", "dung")
    yield ground.user("quen", "sai", ground.broker.new_vhost())


def _no_vhost(ground: Ground) -> Iterator[dict[str, str]]:
    yield ground.own("khong-co")


def _no_rights(ground: Ground) -> Iterator[dict[str, str]]:
    vhost = ground.broker.new_vhost()
    make_layout(ground.broker.access(vhost))
    ground.broker.add_user("it-quyen", "x")
    ground.broker.allow("it-quyen", vhost, configure="^$", write="^$", read="^$")
    yield ground.user("it-quyen", "x", vhost)


def _laid_otherwise(ground: Ground) -> Iterator[dict[str, str]]:
    vhost = ground.broker.new_vhost()
    ground.broker.ask("PUT", f"queues/{vhost}/{LAYOUT[0].name}", {"durable": True, "arguments": {}})
    yield ground.own(vhost)


def _later_schema(ground: Ground) -> Iterator[dict[str, str]]:
    with sqlite3.connect(ground.data / "truc.db") as rows:
        rows.execute("UPDATE alembic_version SET version_num = '9999'")
    rows.close()
    yield {}


def _half_migrated(ground: Ground) -> Iterator[dict[str, str]]:
    """Tables of this release, and a revision of an earlier one: the next step makes what is there."""
    with sqlite3.connect(ground.data / "truc.db") as rows:
        rows.execute("UPDATE alembic_version SET version_num = '0003'")
    rows.close()
    yield {}


def _another_node(_ground: Ground) -> Iterator[dict[str, str]]:
    yield {"node": "nut-khac"}


def _full(ground: Ground) -> Iterator[dict[str, str]]:
    with SmallDisk(ground.folder / "dia", mib=8) as disk:
        ground.truc.set(data=str(disk.path / "nut"))
        ground.truc("init")
        (disk.path / "day").write_bytes(bytes((8 << 20) - sum(p.stat().st_blocks * 512 for p in disk.path.rglob("*"))))
        yield {"data": str(disk.path / "nut")}


def _no_database(_ground: Ground) -> Iterator[dict[str, str]]:
    yield {"database": cluster().url("khong-co")}


def _database_away(_ground: Ground) -> Iterator[dict[str, str]]:
    yield {"database": f"postgresql://truc@127.0.0.1:{free_ports(1)[0]}/truc"}


def _database_password(ground: Ground) -> Iterator[dict[str, str]]:
    url = cluster().url(cluster().create().rpartition("/")[2], user="khoa")
    yield {"database": url, "database_password_file": ground.file("db", "sai")}


_FOLDER = """
[[system]]
name = "so-tp"
speaks_for = ["na-so-stp"]

[[channel]]
id = "thu-muc"
kind = "folder"
system = "so-tp"
serves = ["na-so-stp"]
settings = {{root = "{root}"}}
"""


def _forgetful(ground: Ground) -> Iterator[dict[str, str]]:
    ground.truc("apply", ground.file("kenh.toml", _FOLDER.format(root=ground.folder)))
    yield {"time_limit_days": "200"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`says`: the code that the doctor fails on; `ends`: how a process ends, or STARTS; `check`: how the broker's check
    ends; `page`: the code that the runbook speaks of, where it is another."""

    arrange: Arrange
    says: str
    ends: int
    check: int = 0
    page: str = ""


BROKER = {
    "not an address": Row(arrange=_set(broker="mq:5672"), says="settings.wrong", ends=4, check=4),
    "no password file": Row(
        arrange=_set(broker="amqp://mq/truc", broker_password_file="/khong/co"), says="settings.wrong", ends=4, check=4
    ),
    "a folder as password": Row(arrange=_folder_as_password, says="settings.wrong", ends=4, check=4),
    "nobody there": Row(arrange=_nobody, says="broker.away", ends=STARTS, check=8),
    "no certificate in the file": Row(arrange=_no_certificate, says="broker.unreadable", ends=STARTS, check=8),
    "too old": Row(arrange=_old, says="broker.old", ends=STARTS, check=8),
    "certificate over": Row(
        arrange=_listening(begins=-9.0, ends=-2.0), says="broker.certificate_over", ends=STARTS, check=8
    ),
    "certificate of another": Row(arrange=_listening(host="mq9"), says="broker.certificate_name", ends=STARTS, check=8),
    "certificate of nobody": Row(arrange=_stranger, says="broker.certificate_unknown", ends=STARTS, check=8),
    "our certificate": Row(arrange=_listening(), says="broker.certificate_ours", ends=STARTS, check=8),
    "no TLS": Row(arrange=_no_tls, says="broker.not_tls", ends=STARTS, check=8),
    "wrong password": Row(arrange=_wrong_password, says="broker.refused", ends=STARTS, check=8),
    "no virtual host": Row(arrange=_no_vhost, says="broker.forbidden", ends=STARTS, check=8),
    "no rights": Row(arrange=_no_rights, says="broker.forbidden", ends=STARTS, check=8),
    "laid out otherwise": Row(arrange=_laid_otherwise, says="broker.mislaid", ends=STARTS, check=8),
}
STORE = {
    "a time limit beyond a folder's memory": Row(arrange=_forgetful, says="settings.wrong", ends=4),
    "a later schema": Row(arrange=_later_schema, says="store.outdated", ends=5),
    "a half-applied migration": Row(arrange=_half_migrated, says="store.unmigrated", ends=5),
    "another node's folder": Row(arrange=_another_node, says="store.foreign", ends=3),
    "a full disk": Row(arrange=_full, says="doctor.folder_unwritable", ends=5, page="store.unwritable"),
    "no such database": Row(arrange=_no_database, says="store.absent", ends=5),
    "no server": Row(arrange=_database_away, says="store.unreachable", ends=5),
    "wrong password of the database": Row(arrange=_database_password, says="store.refused", ends=5),
}


@pytest.mark.parametrize("name", [*BROKER, *STORE])
def test_what_is_wrong_is_said_where_a_person_looks(
    request: pytest.FixtureRequest, truc: Terminal, tmp_path: Path, name: str
) -> None:
    row = (BROKER | STORE)[name]
    truc("init")
    with _arranged(row, Ground(request, truc, tmp_path)) as settings:
        truc.set(**settings)
        checks = truc.json("doctor", code=1)
        (found,) = [check for check in checks if check["level"] == "fail"]
        assert found["code"] == row.says
        assert len({found["vi"], found["en"], ""}) == 3
        if row.check:
            truc("broker", "check", code=row.check)
            assert f"[{row.says}]" in truc.err
        if row.ends:
            truc("serve", "--port", "0", code=row.ends)
            assert truc.err.count("\n") == 1, truc.err
            assert "READY" not in truc.out
    page = row.page or row.says
    told = (RUNBOOK / f"{page.partition('.')[0]}.md").read_text("utf-8").partition("<!-- generated")[0]
    assert page in told or page == "settings.wrong", f"the runbook does not say what to do about {page}"


@contextmanager
def _arranged(row: Row, ground: Ground) -> Iterator[dict[str, str]]:
    yield from row.arrange(ground)


def test_a_channel_that_remembers_keys_for_less_than_the_time_limit_is_not_applied(
    truc: Terminal, tmp_path: Path
) -> None:
    truc("init")
    truc.set(time_limit_days="200")
    (tmp_path / "kenh.toml").write_text(_FOLDER.format(root=tmp_path))
    for words in ([], ["--dry-run"]):
        truc("apply", str(tmp_path / "kenh.toml"), *words, code=4)
        assert "[configuration.invalid]" in truc.err or "[configuration.channel_forgets]" in truc.err
        assert "120" in truc.err
        assert "200" in truc.err
        assert "remember_days" in truc.err
    (tmp_path / "kenh.toml").write_text(_FOLDER.format(root=tmp_path).replace("}", ", remember_days = 201}"))
    truc("apply", str(tmp_path / "kenh.toml"))
