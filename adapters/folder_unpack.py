"""Attachments beside the packet, for software that cannot open one (setting `unpack`): `den/<key>/<name>`.

A convenience: the packet is what is delivered.  An attachment that cannot be decoded, or does not match its digest,
is left out and the companion says so; it never holds up the packet.  Memory does not grow with an attachment.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any, BinaryIO

from adapters.folder_layout import FolderLayout, is_there, set_mode, sync_directory
from adapters.folder_names import safe_name
from edxml.attachments import AttachmentDamaged, open_decoded
from edxml.packet import Attachment, Packet
from edxml.read import read

__all__ = ["drop_folder", "publish_unpacked", "unpack"]

Listing = tuple[dict[str, Any], ...]


def unpack(packet: Path, folder: Path, layout: FolderLayout) -> Listing:
    """Write each attachment of the staged `packet` into the new `folder`, durably; gives the companion's `files`.

    Names are safe, unique whatever the case, and in the packet's order; `saved_as` is None where the attachment could
    not be decoded. Raises OSError when the disk refuses; the caller then drops `folder`.
    """
    os.mkdir(folder)
    os.chmod(folder, layout.file_mode | (layout.file_mode & 0o444) >> 2)
    taken: set[str] = set()
    listing: list[dict[str, Any]] = []
    with packet.open("rb") as stream:
        found = read(stream).packet
        for attachment in found.attachments if isinstance(found, Packet) else ():
            name = safe_name(attachment.name, taken)
            if _save(stream, attachment, folder / name, layout.file_mode):
                taken.add(name.casefold())
                saved_as: str | None = name
            else:
                saved_as = None
            listing.append({"name": attachment.name, "saved_as": saved_as, "sha256": attachment.digest})
    sync_directory(folder)
    return tuple(listing)


def _save(packet: BinaryIO, attachment: Attachment, path: Path, mode: int) -> bool:
    """Whether the decoded bytes stand at `path` and are the ones that were accepted; else nothing stands there."""
    seen = hashlib.sha256()
    try:
        with path.open("xb") as stream:
            set_mode(stream.fileno(), mode)
            for piece in open_decoded(packet, attachment):
                seen.update(piece)
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
    except AttachmentDamaged:
        path.unlink()
        return False
    if seen.hexdigest() != attachment.digest:
        path.unlink()
        return False
    return True


def publish_unpacked(staged: Path, target: Path) -> None:
    """Show the attachments of a published packet. Repeatable; a folder that is already shown stays as it is."""
    if is_there(target):
        drop_folder(staged)
    elif is_there(staged):
        os.rename(staged, target)


def drop_folder(folder: Path) -> None:
    """Remove a staged folder with all in it. Safe to repeat."""
    if is_there(folder):
        shutil.rmtree(folder)
