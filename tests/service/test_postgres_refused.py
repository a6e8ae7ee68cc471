"""What keeps a node from its PostgreSQL server has a sentence of its own: password, name, host, certificate, room."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from gateway.cli.exits import ExitCode
from gateway.model.errors import (
    StoreAbsent,
    StoreBusy,
    StoreCrowded,
    StorePooled,
    StoreRefused,
    StoreUnreachable,
    StoreUntrusted,
)
from gateway.store import has_database, open_store
from tests.support.broker_tls import Papers
from tests.support.pooler import pooler
from tests.support.postgres import PASSWORD, Cluster, cluster, start_cluster
from tests.support.stores import tell
from tests.support.terminal import Terminal, truc

__all__ = ["truc"]


def told(folder: Path, url: str, password_file: str = "") -> StoreBusy:
    """What opening a node's store there says."""
    with pytest.raises(StoreBusy) as why:
        open_store(folder, node="thu", database=url, password_file=password_file, reserve=1, wait_seconds=5.0)
    return why.value


def with_password(folder: Path, password: str) -> str:
    path = folder / "mat-khau"
    path.write_text(password + "\n", "utf-8")
    return str(path)


@pytest.mark.parametrize("password", ["sai", ""])
def test_a_wrong_password_is_refused(tmp_path: Path, password: str) -> None:
    url = cluster().url("postgres", user="khoa")
    why = told(tmp_path, url, with_password(tmp_path, password))
    assert type(why) is StoreRefused
    assert why.retryable  # no document is to blame


def test_an_unknown_user_is_refused(tmp_path: Path) -> None:
    assert type(told(tmp_path, cluster().url("postgres", user="la"))) is StoreRefused


def test_a_user_who_may_not_log_in_or_not_into_this_database_is_refused(tmp_path: Path) -> None:
    database = make_url(cluster().create()).database
    with psycopg.connect(cluster().admin_url, autocommit=True) as server:
        server.execute("CREATE ROLE dong NOLOGIN")
        server.execute("CREATE ROLE ngoai LOGIN")
        server.execute(f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    for user in ("dong", "ngoai"):
        assert type(told(tmp_path, cluster().url(str(database), user=user))) is StoreRefused


def test_a_password_file_that_is_gone_is_refused(tmp_path: Path) -> None:
    why = told(tmp_path, cluster().url("postgres", user="khoa"), str(tmp_path / "khong-co"))
    assert type(why) is StoreRefused
    assert "khong-co" in str(why.params["why"])


def test_a_password_file_that_is_no_text_is_refused_and_goes_on_once_it_is_one(tmp_path: Path) -> None:
    """A process at work read it anew for its next connection, and counted a defect against whatever it worked on."""
    url = cluster().url(str(make_url(cluster().create()).database), user="khoa")
    secret = Path(with_password(tmp_path, PASSWORD))
    store = open_store(tmp_path, node="thu", database=url, password_file=str(secret), reserve=1, wait_seconds=5.0)
    secret.write_bytes(b"m\xe1t-kh\xfd\n")
    assert type(told(tmp_path, url, str(secret))) is StoreRefused
    store.engine.dispose()
    with pytest.raises(StoreRefused) as why, store.read():
        pass
    assert "e1" not in str(why.value)
    with_password(tmp_path, PASSWORD)
    with store.read() as connection:
        assert tell(connection, "SELECT 1").scalar_one() == 1
    store.close()


def test_a_database_that_is_not_there_is_said(tmp_path: Path) -> None:
    url = cluster().url("khong-co")
    assert type(told(tmp_path, url)) is StoreAbsent
    with pytest.raises(StoreAbsent):
        has_database(tmp_path, database=url)


@pytest.mark.parametrize("address", ["postgresql://truc@khong-co.invalid/truc", "postgresql://truc@127.0.0.1:1/truc"])
def test_a_server_that_nobody_finds_is_said(tmp_path: Path, address: str) -> None:
    assert type(told(tmp_path, address)) is StoreUnreachable


@pytest.mark.parametrize("settings", [(), ("ignore_startup_parameters = options",)])
def test_a_pooler_is_not_spoken_to(tmp_path: Path, settings: tuple[str, ...]) -> None:
    """Left as it is it takes none of our settings; told to ignore them it would take us, and keep none."""
    url = cluster().create()
    with pooler(cluster(), *settings) as port:
        why = told(tmp_path, make_url(url).set(port=port).render_as_string(hide_password=False))
    assert type(why) is StorePooled
    assert not has_database(tmp_path, database=url)


# --- a server of their own ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers.make(tmp_path_factory.mktemp("giay") / "may-chu", "server")


@pytest.fixture(scope="module")
def server(papers: Papers) -> Iterator[Cluster]:
    """One that speaks TLS, with four connections."""
    made = start_cluster()
    data = made.folder / "data"
    for name in ("server.pem", "server.key"):
        shutil.copy(papers.folder / name, data / name)
        (data / name).chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(data / name, pwd.getpwnam("postgres").pw_uid)
    (data / "pg_hba.conf").write_text("host all chan 127.0.0.1/32 reject\nhost all truc 127.0.0.1/32 trust\n")
    made.stop()
    made.start(
        "ssl=on", "ssl_cert_file=server.pem", "ssl_key_file=server.key", "max_connections=4",
        "superuser_reserved_connections=0", "autovacuum=off",
    )  # fmt: skip
    yield made
    made.stop()


@pytest.mark.parametrize("user", ["chan", "la"])
def test_a_user_whom_its_rules_keep_out_is_refused(tmp_path: Path, server: Cluster, user: str) -> None:
    """One whom a rule names, and one for whom there is none."""
    assert type(told(tmp_path, server.url("postgres", user=user))) is StoreRefused


def encrypted(server: Cluster, **words: str) -> str:
    """The server's address with libpq's words."""
    return make_url(server.url("postgres")).update_query_dict(words).render_as_string(hide_password=False)


def test_an_encrypted_connection_to_the_right_server(tmp_path: Path, server: Cluster, papers: Papers) -> None:
    url = encrypted(server, sslmode="verify-full", sslrootcert=str(papers.folder / "ca.pem"))
    store = open_store(tmp_path, node="thu", database=url, reserve=1)
    with store.read() as connection:
        assert tell(connection, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").scalar_one() in (True, 1)
    store.close()


def test_another_authority_than_ours_is_not_trusted(tmp_path: Path, server: Cluster) -> None:
    other = Papers.make(tmp_path / "khac", "other")
    why = told(tmp_path / "data", encrypted(server, sslmode="verify-full", sslrootcert=str(other.folder / "ca.pem")))
    assert type(why) is StoreUntrusted


def test_an_authority_that_is_gone_is_said(tmp_path: Path, server: Cluster) -> None:
    why = told(tmp_path, encrypted(server, sslmode="verify-full", sslrootcert=str(tmp_path / "khong-co.pem")))
    assert type(why) is StoreUntrusted


def test_a_server_without_encryption_is_not_spoken_to(tmp_path: Path) -> None:
    assert type(told(tmp_path, encrypted(cluster(), sslmode="require"))) is StoreUntrusted


def fill(server: Cluster, holders: list[psycopg.Connection[tuple[object, ...]]]) -> None:
    while len(holders) < 100:
        holders.append(psycopg.connect(server.admin_url))


def test_a_server_without_room_is_said(tmp_path: Path, server: Cluster) -> None:
    holders = list[psycopg.Connection[tuple[object, ...]]]()
    try:
        with pytest.raises(psycopg.OperationalError):
            fill(server, holders)
        assert type(told(tmp_path, server.admin_url)) is StoreCrowded
    finally:
        for holder in holders:
            holder.close()


# --- what people see ------------------------------------------------------------------------------------------------


def test_a_command_says_it_and_ends_with_the_stores_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, truc: Terminal
) -> None:
    monkeypatch.setenv("TRUC_DATABASE", cluster().url("postgres", user="khoa"))
    monkeypatch.setenv("TRUC_DATABASE_PASSWORD_FILE", with_password(tmp_path, "sai"))
    truc("account", code=ExitCode.STORE)
    assert "TRUC_DATABASE_PASSWORD_FILE" in truc.err
    monkeypatch.setenv("TRUC_DATABASE_PASSWORD_FILE", with_password(tmp_path, PASSWORD))
    monkeypatch.setenv("TRUC_DATABASE", cluster().url("khong-co", user="khoa"))
    truc("account", code=ExitCode.STORE)
    assert "khong-co" in truc.err
