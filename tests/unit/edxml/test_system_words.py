"""What the operating system says in its English, said to people in theirs; stored and logged as it was."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from adapters.folder_layout import FolderFault, FolderLayout
from edxml.errors import TrucError
from edxml.messages import Language, SystemWords, catalogue, system_words, text

EN, VI = Language.EN, Language.VI


@pytest.mark.parametrize("code", sorted(code for code in catalogue("edxml", VI) if code.startswith("os_error.e")))
def test_every_text_is_of_an_error_that_this_system_knows(code: str) -> None:
    number = getattr(errno, code.removeprefix("os_error.").upper())
    words = system_words(OSError(number, os.strerror(number)))
    assert words == os.strerror(number), "stored and logged as the system says it"
    assert words.said(VI) == text(code, VI, {}) != words
    assert words.said(EN) == text(code, EN, {}) != code


def test_a_fault_quotes_the_system_in_the_readers_language(tmp_path: Path) -> None:
    with pytest.raises(FolderFault) as caught, FolderLayout(root=tmp_path, channel_id="k").faults():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    fault: TrucError = caught.value
    assert fault.params["why"] == os.strerror(errno.ENOSPC)
    assert "đĩa đã đầy" in text(fault.code, VI, fault.params)
    assert "the disk is full" in str(fault)


def test_sockets_and_the_resolver_are_understood_without_a_number() -> None:
    assert system_words(TimeoutError("timed out")).said(VI) == "quá thời gian chờ"
    assert system_words(socket.gaierror(socket.EAI_NONAME, "Name or service not known")).said(VI) != ""
    assert "DNS" in system_words(socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")).said(VI)


def test_other_words_stay_what_they_are() -> None:
    assert (
        system_words(OSError(errno.ESTALE, "changed while it was being read")).said(VI)
        == "changed while it was being read"
    )
    assert system_words(ValueError()) == "ValueError"
    assert SystemWords("/srv/xa").said(VI) == "/srv/xa"


@pytest.mark.parametrize(("encoding", "vi"), [("utf-8", "UTF-8"), ("ascii", "ASCII")])
def test_nothing_of_a_file_that_is_no_text_is_told(encoding: str, vi: str) -> None:
    """It may be the password."""
    with pytest.raises(UnicodeDecodeError) as caught:
        b"m\xe1t".decode(encoding)
    words = system_words(caught.value)
    assert "e1" not in words + words.said(VI) + words.said(EN)
    assert vi in words.said(VI) != words
    assert vi in words.said(EN) != words
