"""Whose a folder of packets is: several machines share it, and each must be looking at the same one.

A node's first process writes a line into the folder and into the database (PostgreSQL); whoever opens both later
compares them.  So a machine on which the network file system is not mounted, or that names another folder, does not
write packets where the others never find them.

    <blobs>/node        the node's name, and the folder's own id
    <data>/machine      the id of this machine's data folder: whose part of the shared spool is its own
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, bindparam, select, update

from gateway.model.errors import BlobsElsewhere
from gateway.store import recoveries
from gateway.store.blobs import BlobFolder, sync_folder
from gateway.store.schema import node as node_table

__all__ = ["MARK", "check_home", "claim_home", "claim_seal", "noted_seal", "place_of"]

MARK: Final = "node"
_OWN: Final = select(node_table.c.blobs)
_SET: Final = update(node_table).values(blobs=bindparam("which"))
_SEAL: Final = select(node_table.c.seal)
_SET_SEAL: Final = update(node_table).where(node_table.c.seal == "").values(seal=bindparam("which"))


def claim_home(connection: Connection, blobs: BlobFolder, node: str) -> None:
    """Let the folder be the node's, or see that it is. One process at a time (`AloneAt.OPENING`); safe to repeat.

    Killed between the folder's line and the commit, the next one takes the line that is there.  A node that recovers
    from a restore takes a folder without a line.  Raises BlobsElsewhere, having written nothing.
    """
    own = str(connection.execute(_OWN).scalar_one())
    found = _read(blobs.root / MARK)
    if own and found == f"{node} {own}":
        return
    may_begin = not own or recoveries.running(connection) is not None
    if (found and (own or found.partition(" ")[0] != node)) or not may_begin:
        raise BlobsElsewhere(folder=str(blobs.root), found=found or "–", wanted=f"{node} {own}".strip())
    if not found:
        found = f"{node} {own or secrets.token_hex(8)}"
        blobs.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(blobs.root / MARK, found)
    connection.execute(_SET, {"which": found.partition(" ")[2]})


def check_home(folder: Path, node: str) -> None:
    """Before anything is copied into a folder of packets. Raises BlobsElsewhere where its line names another node."""
    found = _read(folder / MARK)
    if found and found.partition(" ")[0] != node:
        raise BlobsElsewhere(folder=str(folder), found=found, wanted=node)


def noted_seal(connection: Connection) -> str:
    """Fingerprint of the first seal certificate of a node on several machines; "" where none is noted."""
    return str(connection.execute(_SEAL).scalar_one())


def claim_seal(connection: Connection, fingerprint: str) -> str:
    """Note the first seal certificate of a node that has none noted; gives the one that is."""
    connection.execute(_SET_SEAL, {"which": fingerprint})
    return noted_seal(connection)


def place_of(data: Path) -> str:
    """The id of this machine's data folder, made where it has none. From any number of processes at once."""
    path = data / "machine"
    if not path.exists():
        made = path.with_name(f"machine-{secrets.token_hex(8)}")
        made.write_text(secrets.token_hex(8) + "\n", "ascii")
        try:
            os.link(made, path)
        except FileExistsError:
            pass  # another process was faster: its id holds
        finally:
            made.unlink()
    return _read(path)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except FileNotFoundError:
        return ""


def _write(path: Path, line: str) -> None:
    part = path.with_name(f"{path.name}-{secrets.token_hex(8)}")
    with part.open("x", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    sync_folder(path.parent)
