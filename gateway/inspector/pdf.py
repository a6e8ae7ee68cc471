"""One PDF: which signatures it holds, whether each fits the file as it is, and what was added after it.

pyHanko reads the file, computes digests and compares revisions; who the signer is and whether he is believed is judged
by `edxml.sign`, as for packets.  Nothing that the bytes are raises, but MemoryError, which says something of us.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, BinaryIO, Final

from pyhanko.pdf_utils.crypt import AuthStatus, StandardSecurityHandler
from pyhanko.pdf_utils.misc import PdfDecodeLimitError, PdfReadError
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import enumerate_sig_fields
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko.sign.validation.errors import NoDSSFoundError
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature

from edxml.sign.policy import Policy
from gateway.inspector.revisions import look_at_revisions, removed_signature
from gateway.inspector.signers import Embedded, judge_signature, judge_stamp
from gateway.model.inspection import FileInspection, PdfSignature, PdfVerdict, worst

__all__ = ["inspect_pdf"]

_MOST: Final = 50  # signatures of one file
_WORDS: Final = 100  # characters of a name that the file gives
_SIGNATURES: Final = ("/adbe.pkcs7.detached", "/ETSI.CAdES.detached")
_STAMP: Final = "/ETSI.RFC3161"


def inspect_pdf(file: BinaryIO, policy: Policy, came_at: int) -> FileInspection:
    """What the signatures of one PDF are worth; `came_at` (microseconds) is when it is known to have existed.

    A file that breaks the standard's rules is read again as viewers read it, so that it is not passed over.
    """
    for strict in (True, False):
        try:
            return _inspect(PdfFileReader(file, strict=strict), policy, came_at)
        except PdfDecodeLimitError:
            return FileInspection(verdict=PdfVerdict.MEMORY, policy=policy.name)
        except MemoryError:
            raise
        except Exception as why:  # noqa: BLE001 - bytes of anybody, read by a library that was not made for them
            if not strict:
                return FileInspection(verdict=PdfVerdict.UNREADABLE, detail=type(why).__name__, policy=policy.name)
    raise AssertionError("the second reading answers")


def _inspect(reader: PdfFileReader, policy: Policy, came_at: int) -> FileInspection:
    if reader.encrypted and not _opens(reader):
        return FileInspection(verdict=PdfVerdict.ENCRYPTED, policy=policy.name)
    found = list(islice(enumerate_sig_fields(reader, filled_status=True), _MOST + 1))
    found = sorted(found, key=lambda one: _revision(reader, one[1]))
    embedded = _embedded(reader) if found else Embedded()
    signatures = tuple(_signature(reader, one, policy, embedded, came_at) for one in found[:_MOST])
    removed = removed_signature(reader, [value for _, value, _ in found])
    more = [PdfVerdict.TOO_MANY] * (len(found) > _MOST) + [PdfVerdict.REMOVED] * (removed is not None)
    gravest = worst([one.verdict for one in signatures] + more)
    detail = next((one.detail for one in signatures if one.verdict is gravest), "")
    if gravest is PdfVerdict.REMOVED:
        detail = str(removed)[:_WORDS]
    return FileInspection(verdict=gravest, detail=detail, signatures=signatures, policy=policy.name)


def _opens(reader: PdfFileReader) -> bool:
    """Whether it opens without a password: many files are encrypted only to forbid printing."""
    if not isinstance(reader.security_handler, StandardSecurityHandler):
        return False
    return reader.decrypt(b"").status is not AuthStatus.FAILED


def _revision(reader: PdfFileReader, value: Any) -> int:
    """In which revision of the file the signature's value stands."""
    reference = getattr(value, "reference", None)
    return reader.xrefs.get_last_change(reference) if reference is not None else 0


def _signature(
    reader: PdfFileReader, one: tuple[str, Any, Any], policy: Policy, embedded: Embedded, came_at: int
) -> PdfSignature:
    """One of `enumerate_sig_fields`: name, value, field."""
    name, value, field = one
    title = str(name)[:_WORDS]
    try:
        form = str(value.get_object().get("/SubFilter", ""))
        if form not in (*_SIGNATURES, _STAMP):
            return PdfSignature(field=title, verdict=PdfVerdict.NOT_COMPUTED, detail=form[:_WORDS])
        found: Any = EmbeddedPdfSignature(reader, field.get_object(), name)
        found.compute_integrity_info()
        judge = judge_stamp if form == _STAMP else judge_signature
        return judge(found, look_at_revisions(found), policy, embedded, came_at, title)
    except (PdfDecodeLimitError, MemoryError):
        raise
    except Exception as why:  # noqa: BLE001 - as above; the file's other signatures are still looked at
        return PdfSignature(field=title, verdict=PdfVerdict.GARBLED, detail=type(why).__name__)


def _embedded(reader: PdfFileReader) -> Embedded:
    """Evidence of revocation that the file brings along (PAdES-LT): believed only as far as its issuers signed it."""
    try:
        store = DocumentSecurityStore.read_dss(reader)
        lists, answers = (
            tuple(bytes(one.get_object().data) for one in held[:_MOST]) for held in (store.crls, store.ocsps)
        )
    except (NoDSSFoundError, PdfReadError, ValueError, TypeError, AttributeError, KeyError):
        return Embedded()
    return Embedded(lists=lists, answers=answers)
