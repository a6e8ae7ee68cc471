"""The header of a MIME part (RFC 2045, 2183, 2231, 2392): few fields, read strictly; names of files leniently."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header
from urllib.parse import unquote_to_bytes

from edxml._transfer import BASE64, BINARY, QUOTED_PRINTABLE
from edxml.findings import Refusal

__all__ = ["PartHead", "read_fields", "read_head", "split_parameters"]

_FIELD = re.compile(r"([!-9;-~]{1,100})[ \t]*:(.*)", re.DOTALL)
_KNOWN = ("content-type", "content-transfer-encoding", "content-id", "content-location", "content-disposition")
_PARAMETER = re.compile(r';\s*([^\s=;"*]+)(?:\*(\d{1,2}))?(\*)?\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;]*)')
_ESCAPED = re.compile(r"\\(.)")
_UNTEXT = re.compile("[^\t\x20-\ud7ff\ue000-\ufffc\U00010000-\U0010ffff]")
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "windows-1252", "windows-1258"})
"""What a name may be written in; decoders of anything else are not called."""

_FILE_NAMES = ("filename", "name")
_LONGEST_WORDS = 998  # characters of a line (RFC 5322); the library's time grows with their square

_TRANSFERS = {
    "": BINARY,
    "7bit": BINARY,
    "8bit": BINARY,
    "binary": BINARY,
    "base64": BASE64,
    "quoted-printable": QUOTED_PRINTABLE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PartHead:
    """What a part's header says. `line` is its first line in the packet; texts are empty where it says nothing."""

    line: int
    content_id: str  #: without < and >
    location: str
    media_type: str  #: lower-case, without parameters
    charset: str  #: lower-case
    name: str  #: of the file
    transfer: str  #: "base64", "quoted-printable" or "binary"
    is_ascii: bool  #: it promises bytes below 128 (7bit, or no encoding named)


def read_fields(block: bytes, line: int) -> dict[str, str]:
    """The fields that matter, by lower-case name. `block` begins at `line`. Raises Refusal."""
    fields: dict[str, str] = {}
    name = ""
    for number, raw in enumerate(block.decode("utf-8", "replace").split("\n"), line):
        text = raw.removesuffix("\r")
        if text[:1] in (" ", "\t") and name:
            if name in fields:
                fields[name] += text
            continue
        found = _FIELD.fullmatch(text)
        if found is None:
            if text:
                raise Refusal("edxml.mime_header_malformed", line=number, text=_clean(text[:80]))
            continue
        name = found[1].lower()
        if name in fields:
            raise Refusal("edxml.mime_header_repeated", line=number, name=name)
        if name in _KNOWN:
            fields[name] = found[2]
    return fields


def read_head(block: bytes, line: int) -> PartHead:
    """The header of one part. Raises Refusal, also for an encoding that cannot be undone."""
    fields = read_fields(block, line)
    media_type, parameters = split_parameters(fields.get("content-type", ""))
    _, disposition = split_parameters(fields.get("content-disposition", ""))
    told = fields.get("content-transfer-encoding", "").strip().lower()
    if told not in _TRANSFERS:
        raise Refusal("edxml.mime_encoding_unknown", line=line, text=_clean(told[:40]))
    return PartHead(
        line=line,
        content_id=_clean(fields.get("content-id", "").strip().removeprefix("<").removesuffix(">")),
        location=_clean(fields.get("content-location", "").strip()),
        media_type=media_type,
        charset=parameters.get("charset", "").lower(),
        name=disposition.get("filename", "") or parameters.get("name", ""),
        transfer=_TRANSFERS[told],
        is_ascii=told in ("", "7bit"),
    )


def split_parameters(value: str) -> tuple[str, dict[str, str]]:
    """A field's value in lower case, and its parameters by lower-case name; of two of one name the first counts.

    Names of files come in four forms: plain, as an encoded word (RFC 2047), as a value with a character set and as
    one in numbered pieces (RFC 2231), which wins where both are there.
    """
    plain: dict[str, str] = {}
    pieces: dict[str, list[tuple[int, bool, str]]] = {}
    for name, number, is_extended, written in _PARAMETER.findall(value):
        text = _ESCAPED.sub(r"\1", written[1:-1]) if written.startswith('"') else written
        if number or is_extended:
            pieces.setdefault(name.lower(), []).append((int(number or 0), bool(is_extended), text))
        elif name.lower() not in plain:
            plain[name.lower()] = _decode_words(text) if name.lower() in _FILE_NAMES else text
    plain |= {name: _join(parts) for name, parts in pieces.items()}
    return _clean(value.partition(";")[0].strip().lower()), {name: _clean(text) for name, text in plain.items()}


def _join(parts: list[tuple[int, bool, str]]) -> str:
    """The value of numbered pieces; the first extended one names the character set."""
    charset, raw = "utf-8", b""
    for number, is_extended, text in sorted(parts, key=lambda part: part[0]):
        if is_extended and number == 0 and text.count("'") >= 2:
            charset, _, text = text.split("'", 2)
        raw += unquote_to_bytes(text) if is_extended else text.encode()
    return _decode(raw, charset)


def _decode_words(text: str) -> str:
    if "=?" not in text or len(text) > _LONGEST_WORDS:
        return text
    try:
        words = decode_header(text)
    except (HeaderParseError, ValueError):
        return text
    return "".join(word if isinstance(word, str) else _decode(word, charset or "utf-8") for word, charset in words)


def _decode(raw: bytes, charset: str) -> str:
    return raw.decode(charset if charset.lower() in _CHARSETS else "utf-8", "replace")


def _clean(text: str) -> str:
    """The text in one line, as XML and databases can carry it."""
    return _UNTEXT.sub("\ufffd", text)
