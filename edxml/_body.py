"""Manifest and attachments: each Attachment element joined with its line of the manifest and with what it held."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edxml._content import Content
from edxml._notes import Notes, fields_of, local_name
from edxml._unzip import ZipVerdict
from edxml._xml import Element
from edxml.attachments import content_type_of, extension
from edxml.codes import Dialect
from edxml.packet import Attachment, Reference

__all__ = [
    "Joiner",
    "describe",
    "lies",
    "note_content",
    "read_attachments",
    "read_references",
    "tell_apart",
    "true_type",
]

_FILE = {
    "ContentId": "content_id",
    "ContentType": "content_type",
    "Description": "description",
    "AttachmentName": "name",
}
_BESIDE = {
    "ContentTransferEncoded": "content",
    "FieldName": "field_name",
    "MimeType": "mime_type",
    "Format": "format",
}
_REFERENCE = fields_of(_FILE)
_ATTACHMENT = fields_of(_FILE | _BESIDE)
_WRITTEN_TYPES = {
    "application/pdf": ("pdf",),
    "application/doc": ("ole", "rtf"),
    "application/msword": ("ole", "rtf"),
    "application/xls": ("ole",),
    "application/docx": ("zip",),
    "application/xlsx": ("zip",),
    "application/zip": ("zip",),
    "image/png": ("png",),
    "image/jpeg": ("jpeg",),
    "text/plain": ("text", "xml", "empty", "unknown"),
    "text/xml": ("xml",),
    "application/xml": ("xml",),
}
"""What the bytes of a declared type look like; types that are not listed are believed."""

_SAID = 1024
"""Characters of a name or a type that are looked at before the attachment itself is."""

_ZIP_WARNINGS = {ZipVerdict.ENCRYPTED: "edxml.zip_encrypted", ZipVerdict.UNREADABLE: "edxml.zip_damaged"}


def describe(element: Element, position: int) -> tuple[str, str]:
    """Name and content type of the attachment whose text is `element`, as far as they stand before the text."""
    own = _own_texts(element.getparent())
    name, content_type = own.get("name", ""), own.get("content_type", "")
    if name and content_type:
        return name, content_type
    references = element.getroottree().getroot().iter("{*}Reference")
    said = (_own_texts(one) for one in references if not _is_in_signature(one))
    lines = [line for line in said if line.get("content_id") or line.get("name")]
    bare = _bare(own.get("content_id", ""))
    line = next((one for one in lines if bare and _bare(one.get("content_id", "")) == bare), None)
    if line is None:
        line = lines[position - 1] if position <= len(lines) else {}
    return name or line.get("name", ""), content_type or line.get("content_type", "")


def _own_texts(parent: Element) -> dict[str, str]:
    """Like Notes.texts, but quietly: this look ahead is no reading."""
    if parent is None:
        return {}
    texts = {}
    for child in parent.iterchildren("*"):  # a verifier keeps instructions in the tree
        key = _REFERENCE.get(child.tag) or _REFERENCE.get(local_name(child))
        if key is not None and child.text is not None:
            texts[key] = child.text[:_SAID].strip()
    return texts


def _is_in_signature(element: Element) -> bool:
    """Whether it stands within a Signature: what is there is the signature's own, in parts under nobody's signature."""
    while element is not None:
        if element.tag.rpartition("}")[2] == "Signature":
            return True
        element = element.getparent()
    return False


def _bare(content_id: str) -> str:
    return content_id[4:] if content_id[:4].lower() == "cid:" else content_id


def read_references(manifest: Element, notes: Notes) -> tuple[Reference, ...]:
    """The lines of the manifest, in order."""
    if manifest is None:
        return ()
    read = []
    for child in manifest:
        if local_name(child) == "Reference":
            texts = notes.texts(child, _REFERENCE)
            texts.setdefault("content_id", "")
            read.append(Reference(**texts))
    return tuple(read)


@dataclass(frozen=True, slots=True)
class Joiner:
    """Finds an attachment's line of the manifest: by id without `cid:`, then by name, then by position."""

    references: tuple[Reference, ...]
    by_id: dict[str, Reference]
    by_name: dict[str, Reference]

    @staticmethod
    def over(references: tuple[Reference, ...]) -> Joiner:
        by_id = {_bare(line.content_id): line for line in reversed(references) if line.content_id}
        by_name = {line.name: line for line in reversed(references) if line.name}
        return Joiner(references, by_id, by_name)

    def line_for(self, content_id: str, name: str, position: int) -> Reference | None:
        if content_id and (line := self.by_id.get(_bare(content_id))):
            return line
        if name and (line := self.by_name.get(name)):
            return line
        return self.references[position - 1] if position <= len(self.references) else None


def read_attachments(
    root: Element,
    contents: list[Content],
    references: tuple[Reference, ...],
    dialect: Dialect,
    notes: Notes,
) -> tuple[Attachment, ...]:
    """Every file of the packet, in order of its text. `contents` is what the splitter met in the packet."""
    joiner = Joiner.over(references)
    read: list[Attachment] = []
    ids: set[str] = set()
    for position, content in enumerate(contents, 1):
        parent = content.element.getparent()
        names = (None if parent is None else local_name(parent), local_name(content.element))
        if names != ("Attachment", "ContentTransferEncoded") or _is_in_signature(parent):
            notes.error("edxml.attachment_misplaced", content.element)
            continue
        attachment = _attachment(parent, content, joiner, dialect, notes, position)
        read.append(tell_apart(attachment, ids, parent, notes))
    if len(read) == len(contents):
        _note_empty(root, len(read), notes)
    return tuple(read)


def tell_apart(attachment: Attachment, ids: set[str], element: Element, notes: Notes) -> Attachment:
    """The attachment, with an id of its own where one of those before bears the same; `ids` are theirs and grow."""
    if attachment.content_id in ids:
        notes.repaired("attachment_id_doubled", element)
        attachment = replace(attachment, content_id=f"{attachment.content_id[:40]}-{attachment.position}")
    ids.add(attachment.content_id)
    return attachment


def _note_empty(root: Element, expected: int, notes: Notes) -> None:
    lists = [child for child in root if local_name(child) == "AttachmentEncoded"]
    if len(lists) > 1:
        notes.warn("edxml.element_repeated", lists[1], name="AttachmentEncoded")
    holders = [child for one in lists for child in one if local_name(child) == "Attachment"]
    if len(holders) == expected:
        return
    for holder in holders:
        if not any(local_name(child) == "ContentTransferEncoded" for child in holder):
            notes.error("edxml.attachment_content_missing", holder)


def _attachment(
    element: Element, content: Content, joiner: Joiner, dialect: Dialect, notes: Notes, position: int
) -> Attachment:
    texts = notes.texts(element, _ATTACHMENT)
    own_id, name, own_type = (texts.get(key, "") for key in ("content_id", "name", "content_type"))
    line = joiner.line_for(own_id, name, position)
    if not own_id:
        notes.repaired("attachment_id_missing", element)
    elif line is not None and line.content_id and line.content_id != own_id and dialect is not Dialect.B:
        notes.repaired("cid_prefix_mismatch", element)
    if not name:
        notes.repaired("attachment_name_missing", element)
        name = (line.name if line else "") or f"tep-{position}"
    content_type = own_type or (line.content_type if line else "")
    if content.element.prefix is None:
        notes.repaired("encoded_unprefixed", content.element)
    note_content(element, content, content_type, name, notes)
    differs = line is not None and own_type and line.content_type and line.content_type != own_type
    if differs or lies(content_type, content):
        notes.repaired("content_type_mismatch", element)
    return content.as_attachment(
        position,
        name=name,
        content_id=_bare(own_id or (line.content_id if line else "")) or str(position),
        content_type=true_type(content_type, content, name),
        description=texts.get("description", "") or (line.description if line else ""),
    )


def lies(content_type: str, content: Content) -> bool:
    """Whether the bytes look like no file of the declared type."""
    expected = _WRITTEN_TYPES.get(content_type.lower())
    return expected is not None and content.sniffed_as_sent not in expected


def true_type(content_type: str, content: Content, name: str) -> str:
    """The content type that the file goes on with: the declared one, unless its bytes say that it cannot be so."""
    if content.is_unzipped:
        return "application/zip"
    return content_type_of(name, content.sniffed_as_sent) if lies(content_type, content) else content_type


def note_content(element: Element, content: Content, content_type: str, name: str, notes: Notes) -> None:
    """Note what its bytes say of one file: damaged or nested ZIPs, an empty file, padding that was missing."""
    if content.lacked_padding:
        notes.repaired("base64_padding", content.element)
    if not content.length:
        notes.warn("edxml.attachment_empty", element, name=name[:200])
    if content.is_unzipped and content_type.lower() != "application/zip":
        notes.repaired("zip_unwrapped", element)
    if content.is_unzipped and content.sniffed == "zip" and extension(name) in ("", "pdf", "doc", "xls", "txt"):
        notes.warn("edxml.zip_nested", element, name=name[:200])
    if content.zip_verdict is ZipVerdict.BOMB:
        notes.error("edxml.zip_bomb", element, name=name[:200])
    elif content.zip_verdict in _ZIP_WARNINGS:
        notes.warn(_ZIP_WARNINGS[content.zip_verdict], element, name=name[:200])
