"""PDFs for tests, signed by pyHanko itself, altered, stamped, locked and hostile ones.

root = Authority()
whole = sign_pdf(plain_pdf(), root.issue())
altered = alter_pdf(whole)
"""

from __future__ import annotations

import io
import zlib
from datetime import datetime

from asn1crypto import algos, keys
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.writer import PageObject, PdfFileWriter
from pyhanko.sign import PdfSignatureMetadata, PdfTimeStamper, SimpleSigner
from pyhanko.sign import sign_pdf as sign
from pyhanko.sign.fields import MDPPerm, SigFieldSpec, SigSeedSubFilter
from pyhanko.sign.timestamps import DummyTimeStamper
from pyhanko_certvalidator.registry import SimpleCertificateStore

from edxml.sign.certificates import der_of
from tests.support.certificates import Authority, Issued

__all__ = [
    "add_page",
    "binary_pdf",
    "bomb_pdf",
    "crowded_pdf",
    "deep_pdf",
    "encrypt_pdf",
    "forge_pdf",
    "plain_pdf",
    "sign_pdf",
    "slow_pdf",
    "stamp_pdf",
    "stamping",
    "take_out",
]  # fmt: skip


def plain_pdf(text: str = "Kinh gui UBND xa", *, is_compressed: bool = False) -> bytes:
    """One page with a line of text, and no signature. Compressed: the name `Sig` stands in an object stream."""
    writer = PdfFileWriter(stream_xrefs=is_compressed)
    _add_page(writer, text)
    if is_compressed:
        names = generic.DictionaryObject({generic.NameObject("/Sig"): generic.NumberObject(1)})
        writer.add_object(names, obj_stream=writer.prepare_object_stream())
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def binary_pdf(*, is_compressed: bool = False) -> bytes:
    """As `plain_pdf`, with the second line that most writers put in to mark a file as binary; pyHanko's is UTF-8."""
    pdf = plain_pdf(is_compressed=is_compressed)
    start = pdf.index(b"\n") + 1
    end = pdf.index(b"\n", start)
    return pdf[:start] + b"%\xe2\xe3\xcf\xd3".ljust(end - start, b"%") + pdf[end:]


def _add_page(writer: PdfFileWriter | IncrementalPdfFileWriter, text: str) -> None:
    content = writer.add_object(generic.StreamObject(stream_data=f"BT ({text}) Tj ET".encode()))
    writer.insert_page(PageObject(contents=content, media_box=generic.ArrayObject(map(generic.NumberObject, _A4))))


_A4 = (0, 0, 595, 842)


def _signer(issued: Issued, digest: str) -> SimpleSigner:
    store = SimpleCertificateStore()
    store.register_multiple([asn1_x509.Certificate.load(der_of(one)) for one in issued.above])
    key = issued.key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificate = asn1_x509.Certificate.load(der_of(issued.certificate))
    kind = "ecdsa" if certificate.public_key.algorithm == "ec" else "rsa"
    mechanism = f"{digest}_ecdsa" if kind == "ecdsa" else f"{digest}_rsa"
    return SimpleSigner(
        signing_cert=certificate,
        signing_key=keys.PrivateKeyInfo.load(key),
        cert_registry=store,
        signature_mechanism=algos.SignedDigestAlgorithm({"algorithm": mechanism}),
    )


def stamping(authority: Authority, at: datetime) -> DummyTimeStamper:
    """A time-stamp authority below `authority` that always says `at`."""
    issued = authority.issue("TSA", kind="rsa", uses=(ExtendedKeyUsageOID.TIME_STAMPING,), uses_critical=True)
    signer = _signer(issued, "sha256")
    store = SimpleCertificateStore()
    store.register_multiple([asn1_x509.Certificate.load(der_of(one)) for one in issued.above])
    return DummyTimeStamper(tsa_cert=signer.signing_cert, tsa_key=signer.signing_key, certs_to_embed=store, fixed_dt=at)


def sign_pdf(
    pdf: bytes,
    issued: Issued,
    *,
    field: str = "ChuKy1",
    digest: str = "sha256",
    stamper: DummyTimeStamper | None = None,
    allows: MDPPerm | None = None,
) -> bytes:
    """Sign as an incremental update; `allows` certifies and says what may be added later."""
    writer = IncrementalPdfFileWriter(io.BytesIO(pdf))
    meta = PdfSignatureMetadata(
        field_name=field, md_algorithm=digest, subfilter=SigSeedSubFilter.PADES, reason="Ban hanh",
        certify=allows is not None, docmdp_permissions=allows or MDPPerm.FILL_FORMS,
    )  # fmt: skip
    out = sign(writer, meta, _signer(issued, digest), timestamper=stamper, new_field_spec=SigFieldSpec(field))
    return bytes(out.getbuffer())


def stamp_pdf(pdf: bytes, stamper: DummyTimeStamper) -> bytes:
    """A time stamp over the whole file (document time stamp)."""
    writer = IncrementalPdfFileWriter(io.BytesIO(pdf))
    return bytes(PdfTimeStamper(stamper).timestamp_pdf(writer, "sha256").getbuffer())


def add_page(pdf: bytes, text: str = "Phu luc chen them") -> bytes:
    """Somebody appends a page, which no signature allows."""
    writer = IncrementalPdfFileWriter(io.BytesIO(pdf))
    _add_page(writer, text)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def take_out(pdf: bytes) -> bytes:
    """Somebody appends a revision in which no form field is signed any more."""
    writer = IncrementalPdfFileWriter(io.BytesIO(pdf))
    form = writer.root["/AcroForm"]
    for field in form["/Fields"]:
        del field.get_object()["/V"]
        writer.mark_update(field)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def forge_pdf(pdf: bytes, old: bytes = b"UBND xa", new: bytes = b"UBND XA") -> bytes:
    """Bytes under the signature are exchanged for others of the same length."""
    assert pdf.count(old) == 1
    assert len(old) == len(new)
    return pdf.replace(old, new)


def encrypt_pdf(password: str) -> bytes:
    """One that opens with this password; with "" it opens for everybody, but forbids something."""
    writer = PdfFileWriter()
    _add_page(writer, "mat")
    writer.encrypt("chu-so-huu", password)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def bomb_pdf(mib: int = 2048) -> bytes:
    """An object stream of zeros that unpacks to so many MiB, in front of a signature field that stands in it."""
    packer = zlib.compressobj(9)
    zeros = b" " * (1 << 20)
    packed = b"".join(packer.compress(zeros) for _ in range(mib)) + packer.flush()
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R /AcroForm 4 0 R >>",
        2: b"<< /Type /Pages /Kids [] /Count 0 >>",
        3: b"<< /Type /ObjStm /N 1 /First 4 /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream"
        % (len(packed), packed),
    }
    return _with_stream_xref(objects, packed_object=4, holder=3)


def deep_pdf(depth: int = 200_000) -> bytes:
    """Arrays within arrays within arrays, where the form should be."""
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R /AcroForm 3 0 R >>",
        2: b"<< /Type /Pages /Kids [] /Count 0 >>",
        3: b"<< /Fields " + b"[" * depth + b"]" * depth + b" >>",
    }
    return _with_stream_xref(objects)


def crowded_pdf(fields: int) -> bytes:
    """So many signature fields, each with a value of a form that nobody knows."""
    numbers = range(4, 4 + fields)
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R /AcroForm 3 0 R >>",
        2: b"<< /Type /Pages /Kids [] /Count 0 >>",
        3: b"<< /Fields [" + b" ".join(b"%d 0 R" % number for number in numbers) + b"] >>",
    }
    value = b"<< /Type /Sig /SubFilter /Khac >>"
    objects |= {number: b"<< /FT /Sig /T (f%d) /V %s >>" % (number, value) for number in numbers}
    return _with_stream_xref(objects)


def slow_pdf(numbers: int = 2_000_000) -> bytes:
    """A form of so many numbers: nothing is wrong with any of them, but reading takes its time."""
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R /AcroForm 3 0 R >>",
        2: b"<< /Type /Pages /Kids [] /Count 0 >>",
        3: b"<< /DR [" + b"1 " * numbers + b"] /Fields [] >>",
    }
    return _with_stream_xref(objects)


def _with_stream_xref(objects: dict[int, bytes], *, packed_object: int = 0, holder: int = 0) -> bytes:
    out = io.BytesIO(b"%PDF-1.7\n%/Sig (so that it is looked at closely)\n")
    out.seek(0, io.SEEK_END)
    rows = {0: (0, 0, 65535)}
    for number, body in objects.items():
        rows[number] = (1, out.tell(), 0)
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    if packed_object:
        rows[packed_object] = (2, holder, 0)
    own, start = max(rows) + 1, out.tell()
    rows[own] = (1, start, 0)
    table = b"".join(
        kind.to_bytes(1, "big") + place.to_bytes(8, "big") + index.to_bytes(2, "big")
        for _, (kind, place, index) in sorted(rows.items())
    )
    head = b"<< /Type /XRef /Size %d /W [1 8 2] /Root 1 0 R /Length %d >>" % (own + 1, len(table))
    out.write(b"%d 0 obj\n%s\nstream\n%s\nendstream\nendobj\n" % (own, head, table))
    out.write(b"startxref\n%d\n%%%%EOF\n" % start)
    return out.getvalue()
