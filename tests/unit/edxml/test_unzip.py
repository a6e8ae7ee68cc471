"""A ZIP is unwrapped only where every unpacker would find the same one file in it."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest

from edxml._unzip import SingleEntry, ZipVerdict

FILE = b"xin chao " * 100


def zipped(method: int = zipfile.ZIP_DEFLATED, *, comment: bytes = b"", streamed: bool = False) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(Unseekable(out) if streamed else out, "w", method) as archive:
        info = zipfile.ZipInfo("a.xls", (2025, 9, 1, 0, 0, 0))
        info.compress_type = method
        with archive.open(info, "w", force_zip64=streamed) as entry:
            entry.write(FILE)
        archive.comment = comment
    return out.getvalue()


class Unseekable(io.RawIOBase):
    """Makes zipfile write what it knows too late behind the file, as streaming writers do."""

    def __init__(self, out: io.BytesIO) -> None:
        super().__init__()
        self._out = out

    def write(self, data: bytes) -> int:  # type: ignore[override]
        return self._out.write(data)

    def writable(self) -> bool:
        return True


def unzip(data: bytes) -> tuple[ZipVerdict, bytes]:
    out: list[bytes] = []
    entry = SingleEntry(out.append, max_size=1 << 20, max_ratio=250)
    for start in range(0, len(data), 100):
        entry.feed(data[start : start + 100])
    return entry.finish(), b"".join(out)


RIGHT = {
    "stored": zipped(zipfile.ZIP_STORED),
    "deflated": zipped(),
    "with a comment": zipped(comment=b"bao cao"),
    "streamed, with 64-bit sizes": zipped(streamed=True),
}


@pytest.mark.parametrize("data", RIGHT.values(), ids=RIGHT.keys())
def test_a_file_alone_in_its_zip_is_unwrapped(data: bytes) -> None:
    assert unzip(data) == (ZipVerdict.SINGLE, FILE)


def with_end64(data: bytes) -> bytes:
    """The same with the records that large archives have."""
    end = data.rindex(b"PK\x05\x06")
    size, offset = struct.unpack_from("<II", data, end + 12)
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, offset)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    close = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:end] + record + locator + close


def test_the_end_of_large_archives_is_known() -> None:
    data = with_end64(zipped())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("a.xls") == FILE
    assert unzip(data) == (ZipVerdict.SINGLE, FILE)
    assert unzip(data.replace(struct.pack("<QQ", 1, 1), struct.pack("<QQ", 1, 2)))[0] is ZipVerdict.UNREADABLE


def changed(data: bytes, mark: bytes, offset: int, form: str, value: int) -> bytes:
    at = data.rindex(mark) + offset
    return data[:at] + struct.pack(form, value) + data[at + struct.calcsize(form) :]


GOOD = zipped()
OTHER = zipped(zipfile.ZIP_STORED)
TWO_FACED = {
    "another archive behind it": GOOD + OTHER,
    "an end record in the comment": zipped(comment=b"x" + OTHER[-22:]),
    "bytes behind the end": GOOD + b"\0",
    "a longer comment than there is": changed(GOOD, b"PK\x05\x06", 20, "<H", 3),
    "a directory elsewhere": changed(GOOD, b"PK\x05\x06", 16, "<I", 0),
    "a directory of another size": changed(GOOD, b"PK\x05\x06", 12, "<I", 1),
    "two entries, says the end": changed(GOOD, b"PK\x05\x06", 10, "<H", 2),
    "an entry elsewhere": changed(GOOD, b"PK\x01\x02", 42, "<I", 4),
    "another method in the directory": changed(GOOD, b"PK\x01\x02", 10, "<H", 0),
    "encrypted, says the directory": changed(GOOD, b"PK\x01\x02", 8, "<H", 1),
    "another name in the directory": changed(GOOD, b"PK\x01\x02", 46, "<B", ord("b")),
    "another check sum": changed(GOOD, b"PK\x01\x02", 16, "<I", 1),
    "another length": changed(GOOD, b"PK\x01\x02", 24, "<I", 1),
    "no end": GOOD[:-22],
    "half an end": GOOD[:-1],
}


@pytest.mark.parametrize("data", TWO_FACED.values(), ids=TWO_FACED.keys())
def test_a_zip_that_others_may_read_otherwise_stays_as_it_was_sent(data: bytes) -> None:
    assert unzip(data)[0] is ZipVerdict.UNREADABLE
