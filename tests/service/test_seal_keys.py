"""The seal key of a running node: replaced without a restart, kept on a token; and one seal per packet."""

from __future__ import annotations

import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from edxml.seal import OpenedSeal, generate_seal_key, open_seal
from gateway.cli.app import main
from gateway.keys import rotate_keys
from tests.support.certificates import Authority
from tests.support.clients import FAST, NODE, letter, make_home
from tests.support.edge import SENDER, RunningApi, running_api
from tests.support.patience import PATIENCE, until
from tests.support.processes import NodeProcesses
from tests.support.soft_tokens import SoftToken, moody_driver

DAY = timedelta(days=1)


def certificates(api: RunningApi) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(api.foreign.get("/v1/seal-certificates.pem").content)


def states(api: RunningApi) -> list[str]:
    got = api.foreign.get("/v1/seal-certificates")
    assert got.status_code == 200, got.text
    return [item["state"] for item in got.json()["items"]]


def opened(api: RunningApi, packet_id: str) -> OpenedSeal:
    seal = api.sender.get(f"/v1/packets/{packet_id}/seal").content
    return open_seal(seal, trusted=certificates(api))


def truc(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    capsys.readouterr()
    found = main([*arguments, "--lang", "en"])
    out, err = capsys.readouterr()
    assert found == code, (arguments, out, err)
    assert "Traceback" not in out + err
    assert not re.search(r"\b(key_told|help|column|doctor)\.|\{\w+\}", out + err)
    return out + err


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that `running_api` and the command line share."""
    monkeypatch.setenv("TRUC_DATA", str(tmp_path / "var"))
    monkeypatch.setenv("TRUC_DISK_RESERVE_MIB", "1")
    return tmp_path / "var"


def test_a_new_key_is_announced_and_taken_over_without_a_restart(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_api(tmp_path) as api:
        first = api.send()["packet_id"]
        assert "current" in truc(capsys, "key", "list")
        said = truc(capsys, "key", "rotate")
        assert states(api) == ["current", "announced"], "whoever verifies can fetch it before it is used"
        assert certificates(api)[1].fingerprint(hashes.SHA256()).hex() in said
        second = api.send()["packet_id"]
        assert opened(api, second).certificate == opened(api, first).certificate == certificates(api)[0]
        assert "already" in truc(capsys, "key", "rotate", "--at", "2030-01-01")
        # and now one that begins at once, as if the announced one's day had come
        for path in (data / "keys").glob("seal-*"):
            path.unlink()
        truc(capsys, "key", "rotate", "--at", "now")
        third = api.send()["packet_id"]
        assert states(api) == ["former", "current"]
        assert [opened(api, one).certificate for one in (first, second, third)] == [
            certificates(api)[0], certificates(api)[0], certificates(api)[1],
        ]  # fmt: skip


def test_the_end_of_the_last_certificate_is_told_days_before(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime.now(UTC)
    folder = data / "keys"
    folder.mkdir(parents=True, mode=0o700)
    key, certificate = generate_seal_key("nut", begins=now - 30 * DAY, days=40)  # ends in ten days
    for name, content in (("seal.key", key), ("seal.crt", certificate)):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    with running_api(tmp_path):
        checks = doctor(capsys)
        assert checks["doctor.certificate_ends"] == "warn"
        truc(capsys, "key", "rotate", "--at", f"{now + DAY:%Y-%m-%dT%H:%M:%S+00:00}")
        checks = doctor(capsys)
        assert "doctor.certificate_ends" not in checks
        assert checks["doctor.keys"] == checks["doctor.key_announced"] == "ok"
        (folder / "seal.key").chmod(0o644)
        assert doctor(capsys, code=1)["keys.exposed"] == "fail"


def doctor(capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, str]:
    capsys.readouterr()
    assert main(["doctor", "--json"]) == code
    return {check["code"]: check["level"] for check in json.loads(capsys.readouterr().out)}


def test_the_command_refuses_what_makes_no_sense(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with running_api(tmp_path):
        who = Authority().issue("nut", days=(3650, 3650))
        Path("k.pem").write_bytes(who.key_pem)
        Path("c.pem").write_bytes(who.certificate_pem)
        truc(capsys, "key", "rotate", "--at", "2020-01-01", code=2)
        truc(capsys, "key", "rotate", "--at", "hôm nay", code=2)
        truc(capsys, "key", "rotate", "--key", "k.pem", code=2)
        truc(capsys, "key", "rotate", "--cert", "c.pem", code=2)
        truc(capsys, "key", "rotate", "--cert", "c.pem", "--key", "c.pem", code=4)
        truc(capsys, "key", "rotate", "--cert", "c.pem", "--key", "k.pem", "--at", "2099-01-01", code=4)
        assert "former" not in truc(capsys, "key", "list")
        truc(capsys, "key", "rotate", "--cert", "c.pem", "--key", "k.pem", "--at", "now")
        (first, second) = json.loads(truc(capsys, "key", "list", "--json"))
        assert (first["state"], second["state"], second["key"]) == ("former", "current", "file")
        truc(capsys, "key", "export", "nut.pem")
        assert len(x509.load_pem_x509_certificates(Path("nut.pem").read_bytes())) == 2
        truc(capsys, "key", "export", "nut.pem", code=2)


def test_the_key_may_lie_on_a_token(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = SoftToken.make("niem phong", tmp_path, driver=moody_driver())
    who = Authority("Gốc").issue("nut", days=(3650, 3650))
    token.put("seal", who)
    token.notice()
    away = tmp_path / "away"
    monkeypatch.setenv("MOODY_AWAY", str(away))
    (tmp_path / "c.pem").write_bytes(who.certificate_pem)
    with running_api(tmp_path) as api:
        at = ("--at", "now", "--cert", str(tmp_path / "c.pem"))
        truc(capsys, "key", "rotate", *at, "--pkcs11", token.uri("khac"), code=4)
        truc(capsys, "key", "rotate", *at, "--pkcs11", token.uri("seal"))
        assert "1234" not in "".join(path.read_text() for path in (data / "keys").glob("seal-*.key"))
        sealed = api.send()["packet_id"]
        assert opened(api, sealed).certificate == who.certificate
        assert json.loads(truc(capsys, "key", "list", "--json"))[-1]["key"] == "token"
        assert doctor(capsys)["doctor.keys"] == "ok"
        away.touch()
        body = api.packet()
        got = api.sender.post("/v1/packets", content=body)
        assert (got.status_code, got.json()["code"]) == (503, "keys.away"), got.text
        assert got.headers["retry-after"]
        assert "niem phong" not in got.text, "where the key is, is not for senders"
        assert doctor(capsys, code=1)["keys.away"] == "fail"
        assert not ready(api)
    with running_api(tmp_path) as api:  # started anew while the device is away
        assert not ready(api)
        assert api.sender.get(f"/v1/packets/{sealed}/packet").status_code == 200, "what was accepted can be fetched"
        away.unlink()
        assert opened(api, api.send(body)["packet_id"]).certificate == who.certificate
        until(lambda: ready(api))
        token.pin_file.write_text("0000\n")
        token.notice()  # sessions are lost, so it must log in again
        for _ in range(4):  # by itself a device would lock at the third
            assert api.sender.post("/v1/packets", content=api.packet()).json()["code"] == "keys.away"
        token.pin_file.write_text("1234\n")
        api.send()


def test_a_token_that_hangs_holds_up_nobody_who_needs_no_seal(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = SoftToken.make("dang treo", tmp_path, driver=moody_driver())
    who = Authority("Gốc").issue("nut", days=(3650, 3650))
    token.put("seal", who)
    token.notice()
    hangs = tmp_path / "hangs"
    monkeypatch.setenv("MOODY_HANGS", str(hangs))
    (tmp_path / "c.pem").write_bytes(who.certificate_pem)
    with running_api(tmp_path) as api:
        at = ("--at", "now", "--cert", str(tmp_path / "c.pem"))
        truc(capsys, "key", "rotate", *at, "--pkcs11", token.uri("seal"))
        sealed, bodies = api.send()["packet_id"], [api.packet() for _ in range(12)]
        hangs.touch()

        def post(body: bytes) -> tuple[int, str, str]:
            headers = {"Authorization": f"Bearer {api.tokens[SENDER]}"}
            got = httpx2.post(f"{api.url}/v1/packets", content=body, headers=headers, timeout=PATIENCE)
            return got.status_code, got.json().get("code", ""), got.json().get("en", "")

        began = time.monotonic()
        with ThreadPoolExecutor(12) as pool:
            told = list(pool.map(post, bodies))
        assert {(status, code) for status, code, _ in told} == {(503, "keys.away")}
        until(lambda: "dang treo” has not answered for 5 seconds" in httpx2.get(f"{api.url}/health/ready").text)
        assert time.monotonic() - began < 40, "the hanging call is waited for once, not once by each"
        assert not ready(api)
        assert api.sender.get(f"/v1/packets/{sealed}/packet").status_code == 200
        assert len(threads_named("token")) == 1, "one thread is lost to it, however many ask"
        hangs.unlink()
        until(lambda: post(bodies[0])[0] == 202)  # the call that hung comes back first
        assert [status for status, *_ in map(post, bodies)] == [202] * 12, "it goes on by itself"
        until(lambda: threads_named("token") == [], lambda: threads_named("token"))


def threads_named(name: str) -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == name]


def ready(api: RunningApi) -> bool:
    return httpx2.get(f"{api.url}/health/ready", timeout=PATIENCE).status_code == 200


# ---- one seal per packet --------------------------------------------------------------------------------------------


def test_a_packet_has_one_seal_however_often_it_is_sent(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        body = api.packet()
        barrier = threading.Barrier(8)

        def send(_number: int) -> dict[str, Any]:
            barrier.wait()
            with httpx2.Client(base_url=api.url, headers=api.sender.headers, timeout=30) as client:
                got = client.post("/v1/packets", content=body)
            assert got.status_code in (200, 202), got.text
            return dict(got.json())

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(send, range(8)))
        (packet_id,) = {answer["packet_id"] for answer in answers}
        assert [answer["is_repeat"] for answer in answers].count(False) == 1
        seal = api.sender.get(f"/v1/packets/{packet_id}/seal").content
        now = datetime.now(UTC)
        rotate_keys(tmp_path / "var" / "keys", "nut", begins=now, now=now)
        again = api.sender.post("/v1/packets", content=body).json()
        assert (again["packet_id"], again["is_repeat"]) == (packet_id, True)
        assert api.sender.get(f"/v1/packets/{packet_id}/seal").content == seal, "the first one stays, by the former key"
        assert opened(api, packet_id).statement.packet_id == packet_id


@pytest.mark.fault
@pytest.mark.parametrize("point", ["blob.folder_synced", "accept.written", "accept.committed"])
def test_a_packet_has_one_seal_though_the_node_dies_over_it(tmp_path: Path, point: str) -> None:
    home = make_home(tmp_path)
    one = letter(1, ("hop-1",))
    headers = {"Authorization": f"Bearer {home.tokens['don']}", "content-type": "application/xml"}

    def seals() -> list[tuple[str, bytes]]:
        store = home.open()
        try:
            with store.read() as connection:
                rows = connection.exec_driver_sql("SELECT id, seal FROM packets").all()
        finally:
            store.close()
        return [(str(row[0]), bytes(row[1])) for row in rows]

    with NodeProcesses(home.data, FAST) as node:
        node.start("api", crash_at=point)
        with pytest.raises(httpx2.HTTPError):
            httpx2.post(f"{node.url}/v1/packets", content=one.body, headers=headers, timeout=20)
        node.wait_killed("api")
        before = seals()
        assert len(before) == (1 if point == "accept.committed" else 0)
        now = datetime.now(UTC)
        rotate_keys(home.data / "keys", NODE, begins=now, now=now)
        node.start("api")
        answers = [
            httpx2.post(f"{node.url}/v1/packets", content=one.body, headers=headers, timeout=20).json()
            for _ in range(3)
        ]
        after = seals()
        assert len(after) == 1
        assert before in ([], after), "what was sealed is not sealed again"
        assert {answer["packet_id"] for answer in answers} == {after[0][0]}
        known = httpx2.get(f"{node.url}/v1/seal-certificates.pem", headers=headers, timeout=20).content
        sealed = open_seal(after[0][1], trusted=x509.load_pem_x509_certificates(known))
        assert sealed.statement.packet_id == after[0][0]
