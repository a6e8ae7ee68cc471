"""Archives of months (tệp lưu trữ theo tháng): written and read again before anything goes, readable without the node.

    truc-<node>-2026-07.zip
        DOC-TRUOC.txt          what this is, in both languages, for whoever finds it in ten years
        manifest.json          what is in it: rows by table, every file's SHA-256 and size, what is carried forward
        rows/packets.jsonl     one JSON object a line and row; rows/<table>.jsonl likewise; bytes are base64
        blobs/<digest>         the packets themselves, as they were accepted, named by their SHA-256

An archive is whole once it has its name.
"""

from gateway.archive.dropping import Dropped, drop_month
from gateway.archive.reading import ArchiveDamaged, read_manifest, read_rows, verify
from gateway.archive.shape import FORMAT, Manifest
from gateway.archive.terms import MonthState, Terms, months
from gateway.archive.writing import write_month

__all__ = [
    "FORMAT", "ArchiveDamaged", "Dropped", "Manifest", "MonthState", "Terms", "drop_month", "months", "read_manifest",
    "read_rows", "verify", "write_month",
]  # fmt: skip
