"""Packets of dialect D for tests, made of dialect A's by hand: build_soap(…) and soap_message(…) give bytes."""

from __future__ import annotations

import base64
import io
import re
import zipfile
from collections.abc import Sequence
from typing import Any

from edxml import Packet, write
from tests.support.packets import Files, make_packet

__all__ = ["BOUNDARY", "SOAP_11", "SOAP_12", "build_soap", "soap_envelope", "soap_message", "soap_part", "write_soap"]

SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"
BOUNDARY = "Boundary"
PDF = (("van-ban.pdf", b"%PDF-1.7\nxin chao\n%%EOF\n"),)


def soap_envelope(packet: Packet, *, namespace: str = SOAP_11) -> bytes:
    """The envelope of `packet`, with its manifest as software of 2014 wrote it: ids in xlink:href."""
    out = io.BytesIO()
    write(packet.__class__(**{**_fields(packet), "attachments": ()}), out)
    inner = out.getvalue().decode()
    header = inner[inner.index("<edXML:MessageHeader>") : inner.index("</edXML:edXMLHeader>")]
    references = "".join(
        f'<edXML:Reference xlink:href="cid:{file.content_id}" xlink:type="simple">'
        f"<edXML:Description>{_escape(file.description)}</edXML:Description>"
        f"<edXML:AttachmentName>{_escape(file.name)}</edXML:AttachmentName>"
        f"<edXML:ContentType>{file.content_type}</edXML:ContentType></edXML:Reference>\n"
        for file in packet.attachments
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<SOAP-ENV:Envelope xmlns:SOAP-ENV="{namespace}" xmlns:edXML="http://www.e-doc.vn/Schema/"'
        ' xmlns:xlink="http://www.w3.org/1999/xlink">\n<SOAP-ENV:Header>\n'
        '<Token xmlns="http://e-doc.vn/xsd">chi-la-thu</Token>\n'
        f"{header}</SOAP-ENV:Header>\n<SOAP-ENV:Body>\n"
        f'<edXML:Manifest edXML:version="1.0">\n{references}</edXML:Manifest>\n'
        "</SOAP-ENV:Body>\n</SOAP-ENV:Envelope>\n"
    ).encode()


def _fields(packet: Packet) -> dict[str, Any]:
    return {name: getattr(packet, name) for name in packet.__dataclass_fields__}


def _escape(text: str) -> str:
    return re.sub("[&<>\r]", lambda found: f"&#{ord(found[0])};", text)


def soap_part(content: bytes, transfer: str, *fields: str, end: bytes = b"\r\n") -> bytes:
    """One part, with its header, without boundaries; `content` is encoded as `transfer` says."""
    lines = [*fields, f"Content-Transfer-Encoding: {transfer}"]
    if transfer == "base64":
        content = base64.encodebytes(content).replace(b"\n", end)
    elif transfer == "quoted-printable":
        content = end.join(_quote(content[at : at + 20]) + b"=" for at in range(0, len(content), 20))
    return end.join(line.encode() for line in lines) + end * 2 + content


def _wrapped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0d0e2e1c.bin", data)
    return out.getvalue()


def _quote(data: bytes) -> bytes:
    return b"".join(b"=%02X" % byte if byte < 33 or byte > 126 or byte == 61 else bytes((byte,)) for byte in data)


def soap_message(
    parts: Sequence[bytes],
    *,
    head: bytes = b"",
    boundary: str = BOUNDARY,
    end: bytes = b"\r\n",
    tail: bytes | None = None,
) -> bytes:
    """Parts with boundaries around them; `head` stands in front, `tail` instead of what closes the message."""
    line = b"--" + boundary.encode()
    whole = head + b"".join(line + end + part + end for part in parts)
    return whole + (line + b"--" + end if tail is None else tail)


def build_soap(
    *,
    files: Files = PDF,
    transfer: str = "base64",
    head: bytes = b"",
    boundary: str = BOUNDARY,
    end: bytes = b"\r\n",
    namespace: str = SOAP_11,
    **overrides: Any,
) -> bytes:
    """The bytes of a right packet of dialect D; takes what make_packet takes, and how its message is written."""
    packet = make_packet(files=files, **overrides)
    return write_soap(
        packet,
        [data for _, data in files],
        transfer=transfer,
        head=head,
        boundary=boundary,
        end=end,
        namespace=namespace,
    )


def write_soap(
    packet: Packet,
    files: Sequence[bytes],
    *,
    transfer: str = "base64",
    head: bytes = b"",
    boundary: str = BOUNDARY,
    end: bytes = b"\r\n",
    namespace: str = SOAP_11,
) -> bytes:
    """`packet` with the bytes of its `files` as dialect D."""
    root = soap_part(
        soap_envelope(packet, namespace=namespace), "8bit",
        "Content-Type: text/xml; charset=utf-8", "Content-ID:<Start>",
        end=end,
    )  # fmt: skip
    attached = [
        soap_part(
            _wrapped(data) if file.encoding == "zip" else data,
            transfer,
            f"Content-Type: {file.content_type}",
            f"Content-ID: <{file.content_id}>",
            end=end,
        )
        for file, data in zip(packet.attachments, files, strict=True)
    ]
    return soap_message([root, *attached], head=head, boundary=boundary, end=end)
