"""What fuzzing starts from: our own packets in every dialect, hostile XML of our own, seals, ZIPs, small texts."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edxml import BusinessKind, Dialect, DocumentId, OrganId, ReceiverChange, Replacement, StatusCode
from edxml._seal_text import frame, signed_info, signed_properties, statement
from edxml.seal import SealKey, SealStatement, load_seal_key, make_seal
from edxml.sign import Form, KeySigner, sign_packet
from tests.support.certificates import NOW, Authority
from tests.support.packets import build_packet, build_status, make_packet, make_status

__all__ = [
    "DICTIONARY",
    "authority",
    "packets",
    "seal_anything",
    "seal_key",
    "seals",
    "signed_packets",
    "statements",
    "texts",
    "zips",
]

DICTIONARY: tuple[bytes, ...] = (
    b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?", b"?>", b"<!DOCTYPE a>", b"<!ENTITY", b"&#10;", b"&amp;", b"&x;",
    b"<edXML:ContentTransferEncoded>", b"</edXML:ContentTransferEncoded>", b"<edXML:ContentTransferEncoded/>",
    b"<Attachment>", b"</Attachment>", b"cid:", b"application/zip", b"xmlns:edXML=", b' xmlns=""', b"\xef\xbb\xbf",
    b"<edXML:To>", b"</edXML:To>", b"<edXML:OrganId>", b"<edXML:StatusCode>", b"2025/02/30", b"30/02/2025", b"14",
    b"windows-1258", b"UTF-16", b"\xff\xfe", b"<\0",
    b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"MIME-Version:", b"\r\n\r\n", b"--x",
)  # fmt: skip
"""Words of the formats that a mutator would not find by itself."""

_NS = "http://www.mic.gov.vn/TBT/QCVN_102_2016"


def zips() -> Iterator[bytes]:
    """ZIPs as senders wrap files, whole and broken."""
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        for names in ((), ("a.xls",), ("a.xls", "b.xls")):
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w", method) as archive:
                for name in names:
                    archive.writestr(zipfile.ZipInfo(name, (2025, 9, 1, 0, 0, 0)), b"xin chao " * 9)
            yield out.getvalue()
            yield out.getvalue()[:-30]


def packets() -> Iterator[bytes]:
    """Packets and statuses: right ones, repaired ones, ones of the dialects that are refused, hostile ones."""
    for dialect in (Dialect.A, Dialect.B):
        yield from _right(dialect)
    good = build_packet(recipients=("000.00.01.H99",))
    yield from _deviant(good)
    yield from _foreign(good)
    yield from _hostile(good)


def _right(dialect: Dialect) -> Iterator[bytes]:
    change = ReceiverChange(OrganId.parse("H99.03"), True)
    replaced = Replacement(DocumentId("H99,2025/08/01,9/UBND"), (OrganId.parse("H99.02"),))
    yield build_packet(dialect=dialect, files=(("a.pdf", b"%PDF-1.7 a"), ("b.xls", next(zips())), ("c.txt", b"")))
    yield build_packet(
        dialect=dialect, files=(), business_kind=BusinessKind.UPDATE, receivers_changed=True,
        receiver_changes=(change,), response_for=(make_status().response_for,), tasks=("1", "2"),
    )  # fmt: skip
    yield build_packet(
        dialect=dialect, files=(), business_kind=BusinessKind.REPLACEMENT, replacements=(replaced,),
        other=replace(make_packet().other, appendixes=("Phụ lục",), page_amount=2, sphere="Tỉnh"),
    )  # fmt: skip
    for code in StatusCode:
        yield build_status(dialect=dialect, code=code)


def _deviant(good: bytes) -> Iterator[bytes]:
    """What real senders do."""
    yield b"\xef\xbb\xbf" + good.replace(b"\n", b"\r\n")
    yield b"junk " + good
    wide = good.decode().replace('"UTF-8"', '"UTF-16"')
    yield wide.encode("utf-16")
    yield b"\xfe\xff" + good.decode().replace("\n", "\r\n").encode("utf-16-be")
    yield wide.encode("utf-16-be")
    yield wide.replace("<edXML:Subject>", "<edXML:Subject>\U0002070e").encode("utf-16-le") + b"\r\n"
    yield good.replace(b"Priority>0<", "Priority>Hỏa tốc<".encode())
    yield good.replace(b'"UTF-8"', b'"windows-1258"')
    yield re.sub(rb" *<edXML:Bussiness>.*</edXML:Bussiness>", b"", good, flags=re.DOTALL)
    yield good.replace(b"Bussiness>", b"Business>")
    yield good.replace(b"2025/09/01</", b"01/09/2025</")
    yield good.replace(b"2025/09/01</", b"2025/09/31</")
    yield good.replace(b"<edXML:Subject>", b"<edXML:Subject>(M\xe1\xba\xacT) ")
    yield re.sub(rb"(<edXML:ContentTransferEncoded[^>]*>)([^<]*)", rb"\1<![CDATA[\2]]>", good)
    yield re.sub(rb"<ContentId>[^<]*</ContentId>", b"", good)
    yield re.sub(rb"<edXML:ContentTransferEncoded [^>]*>", b"<edXML:ContentTransferEncoded>", good)
    yield good.replace(b"edXML:", b"").replace(b" xmlns:edXML", b" xmlns:x")


def _foreign(good: bytes) -> Iterator[bytes]:
    """The other dialects' outsides."""
    yield b'<edXMLEnvelope xmlns="http://www.go.vn/eDoc"/>'
    yield b'<edXML:attachment xmlns:edXML="http://www.e-doc.vn/Schema/"/>'
    yield f'<EdXMLEnvelope xmlns="{_NS}"/>'.encode()
    envelope = (
        b'<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/" '
        b'xmlns:edXML="http://www.e-doc.vn/Schema/" xmlns:xlink="http://www.w3.org/1999/xlink"><SOAP-ENV:Header>'
        b"<edXML:MessageHeader><edXML:From><edXML:OrganId>000.00.00.H99</edXML:OrganId></edXML:From><edXML:To>"
        b"<edXML:OrganId>H99.02</edXML:OrganId></edXML:To><edXML:Code><edXML:CodeNumber>1</edXML:CodeNumber>"
        b"<edXML:CodeNotation>UBND</edXML:CodeNotation></edXML:Code><edXML:DocumentId>1</edXML:DocumentId>"
        b"<edXML:Subject>x</edXML:Subject></edXML:MessageHeader></SOAP-ENV:Header><SOAP-ENV:Body><edXML:Manifest>"
        b'<edXML:Reference xlink:href="cid:a.pdf"/></edXML:Manifest></SOAP-ENV:Body></SOAP-ENV:Envelope>'
    )
    yield envelope
    part = b"--x\r\nContent-Type: text/xml; charset=UTF-8\r\nContent-ID: <Start>\r\n\r\n" + envelope
    file = b"\r\n--x\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
    file += b"Content-ID: <a.pdf>\r\n\r\nQUJD\r\n--x--\r\n"
    yield part + file
    yield b'MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary="x"; start="<Start>"\r\n\r\n' + part + file
    yield good[: len(good) // 2]


def _hostile(good: bytes) -> Iterator[bytes]:
    """Attacks in small."""
    subject = b"<edXML:Subject>"
    yield good.replace(b"?>\n", b'?>\n<!DOCTYPE edXML [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>', 1)
    for text in (b"<![CDATA[<!--]]>", b"<!-- <![CDATA[ -->", b"<?x <a> ?>", b"<a>" * 40 + b"</a>" * 40, b"&#1;", b"\0"):
        yield good.replace(subject, subject + text)
    yield good.replace(subject, b"<edXML:ContentTransferEncoded>QUJD</edXML:ContentTransferEncoded>" + subject)
    yield good.replace(b">JVBERi", b">JV==Ri")


@cache
def authority() -> Authority:
    """Who issued the certificate of `signed_packets`."""
    return Authority("Fuzz")


def signed_packets() -> Iterator[bytes]:
    """Packets with a signature of ours, plain and XAdES, and one that was altered since."""
    signer: KeySigner = authority().issue("Văn thư").signer()
    for form in (Form.BES, Form.PLAIN):
        out = io.BytesIO()
        sign_packet(io.BytesIO(build_packet()), out, signer, signing_time=NOW, form=form)
        yield out.getvalue()
        yield out.getvalue().replace(b"<edXML:Subject>", b"<edXML:Subject>x")


@cache
def seal_key() -> SealKey:
    """The key of `seals`: the same in every run, so that kept inputs stay right seals."""
    key = ec.derive_private_key(0x5EED, ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    certificate = authority().issue("Trục", key=key).certificate
    return load_seal_key(pem, certificate.public_bytes(serialization.Encoding.PEM))


def statements() -> tuple[SealStatement, ...]:
    """What `seals` state."""
    return tuple(
        SealStatement(
            packet_id="0199", node="truc-na", packet_digest="ab" * 32, size=20_000,
            attachments=(("cd" * 32, 7),) * count, sender="000.00.00.H99", recipients=("H99.01",) * count,
            accepted_at=datetime(2026, 6, 1, tzinfo=UTC), repairs=("bom",) * count,
        )
        for count in (0, 3)
    )  # fmt: skip


def seal_anything(body: bytes) -> bytes:
    """The seal that a thief of the key would make over any bytes: only the statement can be wrong."""
    text = body.decode("utf-8", "replace")
    found = re.search("<AcceptedAt>([0-9TZ:.-]{20,32})</AcceptedAt>", text)
    moment = found[1] if found else "2026-06-01T00:00:00.000000Z"
    key = seal_key()
    digests = [
        b64encode(hashlib.sha256(part.encode()).digest()).decode()
        for part in (statement(text, alone=True), signed_properties(moment, key.certificate_digest, alone=True))
    ]
    signed = key.signer.sign(signed_info(*digests, alone=True).encode())
    return frame(
        statement=statement(text, alone=False),
        info=signed_info(*digests, alone=False),
        properties=signed_properties(moment, key.certificate_digest, alone=False),
        signature=b64encode(signed).decode(),
        certificate=key.certificate_text,
    ).encode()


def seals() -> Iterator[bytes]:
    """Right seals, small and large, and statements to be sealed."""
    for sealed in statements():
        seal = make_seal(sealed, seal_key())
        yield seal
        body = seal[seal.index(b"<Version>") : seal.index(b"</Statement>")]
        yield b"1" + body
        yield b"1<!-- x --><?x y?>" + body
        yield b"1" + re.sub(rb"<AcceptedAt>[^<]*", b"<AcceptedAt>0001-01-01T00:00:00+14:00", body)


def texts() -> Iterator[bytes]:
    """Organ ids, document ids, dates, times, codes, names of kinds."""
    for text in (
        "000.00.01.H99", "H99.02", "28.22.H17", "vxp.saas.03", "H99,2025/09/01,123/UBND-VX", "H99,2025/02/30,1",
        "2025/09/01", "01/09/2025", "2025-09-01T00:00:00Z", "2025/09/01 09:00:00", "1/2/2025 7:05", "15/2025/QĐ-UBND",
        "Quyết định (cá biệt)", "14", "0", "999999999", "QÐ", "(MẬT)", "cid:1",
    ):  # fmt: skip
        yield text.encode()
