"""What operators are told of a rest channel: the recipient's own words, the probe, and what is wrong in a file."""

from __future__ import annotations

from pathlib import Path

from tests.fault.hops_child import BODY, accept_body, finish
from tests.support.clients import FAST
from tests.support.processes import NodeProcesses
from tests.support.rest_homes import deliveries, letter_to_may, node_of, rest_home
from tests.support.rest_servers import Asked, RestServer, answer


def test_a_parked_document_bears_the_recipients_own_words(tmp_path: Path) -> None:
    said = answer(422, '{"detail": "Sai thể thức"}'.encode(), Content_Type="application/problem+json")
    with RestServer(lambda _: said) as server:
        home = rest_home(tmp_path, server.settings())
        (tmp_path / BODY).write_bytes(letter_to_may(1))
        with node_of(home) as node:
            accept_body(node)
            finish(node)
        assert len(server.asked) == 1
    ((state, _, detail),) = deliveries(home)
    assert (state, detail) == ("parked", "422: Sai thể thức")
    told = NodeProcesses(home.data, FAST).run("--lang", "vi", "parked", "list", "--json")
    assert "422: Sai thể thức" in told.stdout, told.stderr


def test_truc_channel_probe_asks_and_changes_nothing(tmp_path: Path) -> None:
    def says_no(asked: Asked) -> bytes:
        return answer(404, key=asked.key)

    with RestServer(says_no) as server:
        home = rest_home(tmp_path, server.settings())
        done = NodeProcesses(home.data, FAST).run("channel", "probe", "k-may")
        assert done.returncode == 0, done.stdout + done.stderr
        assert [one.method for one in server.asked] == ["GET"]


def test_truc_apply_says_what_is_wrong(tmp_path: Path) -> None:
    with RestServer(lambda _: None) as server:
        home = rest_home(tmp_path, server.settings())
    file = tmp_path / "wrong.toml"
    file.write_text('[[channel]]\nid = "k-may"\nkind = "rest"\nsettings = {url = "http://10.0.0.1/den"}\n')
    done = NodeProcesses(home.data, FAST).run("--lang", "vi", "apply", str(file))
    assert done.returncode != 0
    assert "không mã hóa" in done.stdout + done.stderr
    assert "k-may" in done.stdout + done.stderr
