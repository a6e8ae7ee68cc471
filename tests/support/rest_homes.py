"""A node with one agency behind a rest channel, for tests that go the whole way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gateway.channels import KINDS, Kind
from gateway.compose import build_node
from gateway.configuration import apply, parse
from gateway.node import Node
from gateway.settings import read_settings
from tests.support.clients import FAST, NODE, TODAY, Home, letter, make_home
from tests.support.nodes import organ

__all__ = ["deliveries", "home_of_may", "letter_to_may", "node_of", "rest_home"]


def rest_home(folder: Path, settings: Mapping[str, object]) -> Home:
    """A node with one more agency `may`, whose rest channel has these settings."""
    return home_of_may(folder, "rest", settings)


def home_of_may(folder: Path, kind: str, settings: Mapping[str, object], kinds: Mapping[str, Kind] = KINDS) -> Home:
    """A node with one more agency `may`, behind a channel of this kind with these settings."""
    home = make_home(folder)
    lines = [
        f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}" for name, value in settings.items()
    ]
    configuration = f"""
[[agency]]
id = "may"
name = "Máy Nhận"
codes = ["{organ("nowhere")}"]

[[channel]]
id = "k-may"
kind = "{kind}"
serves = ["may"]
settings = {{{", ".join(lines)}}}
"""
    store = home.open()
    apply(store, parse(configuration), actor="test", on=TODAY, kinds=kinds)
    store.close()
    return home


def letter_to_may(number: int, size: int = 3_000) -> bytes:
    """A right document for `may`."""
    return letter(number, ("hop-1",), size=size).body.replace(b"000.00.02.H99", organ("nowhere").encode())


@contextmanager
def node_of(home: Home) -> Iterator[Node]:
    """The node in this process, with the times of FAST."""
    values = {f"TRUC_{name.upper()}": value for name, value in (FAST | {"node": NODE}).items()}
    node = build_node(read_settings({**values, "TRUC_DATA": str(home.data)}))
    try:
        yield node
    finally:
        node.transport.close()
        node.store.close()


def deliveries(home: Home) -> list[tuple[str, str, str]]:
    """State, key and detail of each delivery to `may`, oldest first."""
    store = home.open()
    with store.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT state, transfer_id, detail FROM deliveries WHERE agency_id = 'may' ORDER BY rowid"
        ).all()
    store.close()
    return [(str(row[0]), str(row[1]), str(row[2])) for row in rows]
