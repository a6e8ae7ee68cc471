"""The inspector's loop: a line in, a file out of a stored packet, a line out; until standard input ends."""

from __future__ import annotations

import errno
import hashlib
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from edxml.attachments import AttachmentDamaged, open_decoded
from edxml.packet import Attachment
from edxml.sign.policy import Policy
from edxml.sign.trust import TrustUnreadable, read_trust
from gateway.inspector import cage
from gateway.inspector.jobs import NO_ROOM, NOT_CAGED, READY, Answer, Job, Orders, read_job, read_orders, write_line
from gateway.inspector.mangled import Mangling, is_displaced
from gateway.model.inspection import FileInspection, PdfVerdict

__all__ = ["serve"]

_Inspect = Callable[[BinaryIO, Policy, int], FileInspection]
_MANGLED: Final = "U+FFFD"
_ERRORS: Final = frozenset((PdfVerdict.UNREADABLE, PdfVerdict.GARBLED))  #: what an error of a library comes to


def serve(orders: bytes, jobs: BinaryIO, answers: BinaryIO) -> None:
    """Say READY or why not, then answer jobs until there are no more.

    Ends after a file that came near the limit of memory: nobody knows what state that left behind; with the code
    NO_ROOM where the disk has no place for a file.
    """
    told = read_orders(orders)
    logging.disable()  # pyHanko logs what it reads
    cage.limit(memory=told.memory, file=told.file)
    from gateway.inspector.pdf import inspect_pdf  # pyHanko is loaded within the limits, before the lock

    try:
        policy = read_trust(Path(told.trust))
        cage.lock()
    except (TrustUnreadable, cage.CageFailed, OSError) as why:
        fault = NOT_CAGED if isinstance(why, cage.CageFailed) else TrustUnreadable.code
        answers.write(fault.encode() + b"\n")
        return
    answers.write(READY + b"\n")
    answers.flush()
    for line in jobs:
        cage.allow_seconds(cpu=told.cpu, wall=told.wall)
        answer = _answer(read_job(line), told, policy, inspect_pdf)
        cage.allow_seconds(cpu=told.cpu, wall=0)
        answers.write(write_line(answer))
        answers.flush()
        if answer.is_last:
            return


def _answer(job: Job, told: Orders, policy: Policy, inspect_pdf: _Inspect) -> Answer:
    """Near the limit of memory every error is one of memory, whatever a library called it."""
    try:
        found = _inspect(job, told, policy, inspect_pdf)
    except Exception as why:
        if not isinstance(why, MemoryError) and not cage.is_near_limit():
            raise
        found = FileInspection(verdict=PdfVerdict.MEMORY)
    is_near = cage.is_near_limit()
    if is_near and not _ERRORS.isdisjoint((found.verdict, *(one.verdict for one in found.signatures))):
        found = FileInspection(verdict=PdfVerdict.MEMORY, policy=found.policy)
    return Answer(found=found, is_last=is_near or found.verdict is PdfVerdict.MEMORY)


def _inspect(job: Job, told: Orders, policy: Policy, inspect_pdf: _Inspect) -> FileInspection:
    with tempfile.TemporaryFile(dir=told.scratch) as file:
        try:
            is_mangled = _take_out(job, file)
        except (AttachmentDamaged, OSError) as why:
            if isinstance(why, OSError) and why.errno in (errno.ENOSPC, errno.EDQUOT):
                raise SystemExit(NO_ROOM) from None
            return FileInspection(verdict=PdfVerdict.DAMAGED)
        file.seek(0)
        if is_mangled and is_displaced(file):
            return FileInspection(verdict=PdfVerdict.DAMAGED, detail=_MANGLED)
        file.seek(0)
        return inspect_pdf(file, policy, job.came_at)


def _take_out(job: Job, file: BinaryIO) -> bool:
    """Stream the attachment out of its packet: whether its bytes may have gone through a text encoding before it came.

    Raises AttachmentDamaged where it is not what was accepted.
    """
    mangling = Mangling()
    attachment = Attachment(
        position=1, name="", content_id="", encoding=job.encoding, transfer=job.transfer, span=job.span
    )
    hasher = hashlib.sha256()
    with open(job.blob, "rb") as packet:
        for piece in open_decoded(packet, attachment):
            hasher.update(piece)
            mangling.feed(piece)
            file.write(piece)
    if hasher.hexdigest() != job.digest:
        raise AttachmentDamaged(name="")
    return mangling.is_found
