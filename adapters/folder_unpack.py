"""Attachments beside the packet, for software that cannot open one (setting `unpack`): `den/<key>/<name>`.

A convenience: the packet is what is delivered.  An attachment that cannot be decoded, or does not match its digest,
is left out and the companion says so; it never holds up the packet.  Memory does not grow with an attachment.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any, BinaryIO

from adapters.folder_ground import Place, folder_mode
from edxml.attachments import AttachmentDamaged, open_decoded
from edxml.file_names import safe_name
from edxml.packet import Attachment, Packet
from edxml.read import read

__all__ = ["publish_unpacked", "unpack"]

Listing = tuple[dict[str, Any], ...]


def unpack(staging: Place, packet: str, folder: str, mode: int) -> Listing:
    """Write each attachment of the staged `packet` into the new `folder`, durably; gives the companion's `files`.

    Names are safe, unique whatever the case, and in the packet's order; `saved_as` is None where the attachment could
    not be decoded. Raises OSError when the disk refuses; the caller then drops `folder`.
    """
    staging.make_place(folder, folder_mode(mode))
    taken: set[str] = set()
    listing: list[dict[str, Any]] = []
    into = staging.open_place(folder)
    try:
        with open(staging.open(packet), "rb") as stream:
            found = read(stream).packet
            for attachment in found.attachments if isinstance(found, Packet) else ():
                name = safe_name(attachment.name, taken)
                saved_as = name if _save(stream, attachment, into, name, mode) else None
                if saved_as:
                    taken.add(name.casefold())
                listing.append({"name": attachment.name, "saved_as": saved_as, "sha256": attachment.digest})
        into.sync()
    finally:
        into.close()
    return tuple(listing)


def _save(packet: BinaryIO, attachment: Attachment, into: Place, name: str, mode: int) -> bool:
    """Whether the decoded bytes stand under `name` and are the ones that were accepted; else nothing stands there."""
    seen = hashlib.sha256()
    try:
        with open(into.create(name, mode), "wb") as stream:
            for piece in open_decoded(packet, attachment):
                seen.update(piece)
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
    except AttachmentDamaged:
        into.remove(name)
        return False
    if seen.hexdigest() != attachment.digest:
        into.remove(name)
        return False
    return True


def publish_unpacked(staging: Place, folder: str, target: Place, name: str) -> None:
    """Show the attachments of a published packet. Repeatable; a folder that is already shown stays as it is."""
    if target.has(name):
        staging.drop_place(folder)
    elif staging.has(folder):
        staging.move(folder, target, name)
