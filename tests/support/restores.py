"""A house backed up, wiped, and restored from its backup: the same recipients, the same clock, another data folder."""

from __future__ import annotations

from pathlib import Path

from gateway.backup import Backup, Restored, check_backup, make_backup, restore
from gateway.channels import KINDS
from gateway.compose import build_node
from gateway.settings import read_settings
from tests.support.house_rows import TODAY
from tests.support.nodes import House
from tests.support.recipients import memory_kind

__all__ = ["back_up", "put_back", "reopen", "silent"]

NODE = "thu"


def silent(_step: str, _done: int, _total: int) -> None:
    """Tells nobody how far it is."""


def back_up(house: House, folder: Path) -> Backup:
    """A backup of the house in `folder`, its keys in `folder`.keys."""
    return make_backup(
        house.node.store,
        data_of(house),
        folder,
        node=NODE,
        release="0",
        actor="test",
        tell=silent,
        keys=keys_of(folder),
    )


def put_back(house: House, folder: Path, data: Path) -> tuple[House, Restored]:
    """The house as the newest backup has it, in the data folder `data`; the old one is closed."""
    kinds = {**KINDS, "memory": memory_kind(house.recipients)}
    checked = check_backup(folder, node=NODE, tell=silent, keys=keys_of(folder))
    done = restore(checked, data, actor="test", tell=silent, kinds=kinds, clock=house.clock)
    house.close()
    return reopen(house, data), done


def reopen(house: House, data: Path, database: str = "") -> House:
    """The house with the data folder `data`, its rows there or in `database`; whatever it was before is closed."""
    kinds = {**KINDS, "memory": memory_kind(house.recipients)}
    values = {"data": data, "node": NODE, "today": TODAY, "disk_reserve_mib": 1, "database": database}
    settings = read_settings({f"TRUC_{name.upper()}": str(value) for name, value in values.items()})
    node = build_node(settings, clock=house.clock, kinds=kinds)
    return House(node=node, clock=house.clock, recipients=house.recipients, root=house.root, database=database)


def data_of(house: House) -> Path:
    """The data folder of a house."""
    return house.node.store.blobs.root.parent


def keys_of(folder: Path) -> Path:
    """Where the keys of the backups in `folder` lie."""
    return folder.with_name(folder.name + ".keys")
