"""What strangers wrote into a certificate or a packet tells the terminal of whoever looks at it nothing."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from edxml.messages import Language
from edxml.sign import Policy
from edxml.sign.names import name_text
from edxml.sign.verdicts import Verdict
from gateway.cli.output import Voice
from gateway.inspector.pdf import inspect_pdf
from gateway.model.instants import as_instant
from tests.support.certificates import NOW, Authority, name
from tests.support.pdfs import plain_pdf, sign_pdf
from tests.unit.edxml.sign.forge import check, signed

EVIL = "UBND\x1b]0;x\x1b[2J\x9b31m\u202egnurt\r\n✓ hợp lệ"
ESCAPED = "\\1B]0\\;x\\1B[2J\\C2\\9B31m\\E2\\80\\AEgnurt\\0D\\0A✓ hợp lệ"


def test_a_name_is_one_line_of_seen_characters_everywhere() -> None:
    root = Authority()
    who = root.issue(EVIL)
    assert name_text(name("UBND xã Đại Huệ")) == "CN=UBND xã Đại Huệ,C=VN"
    assert name_text(who.certificate.subject) == f"CN=UBND{ESCAPED},C=VN"
    verified = check(signed(who))
    assert verified.verdict is Verdict.CHAIN_BROKEN
    assert verified.signer == name_text(who.certificate.subject)
    pdf = inspect_pdf(io.BytesIO(sign_pdf(plain_pdf(), who)), Policy(), as_instant(NOW))
    assert pdf.signatures[0].signer == name_text(who.certificate.subject)


@pytest.mark.parametrize("way", ["write", "hint", "fault", "table"])
def test_no_command_reaches_the_terminal(way: str) -> None:
    out = io.StringIO()
    console = Console(file=out, width=200, highlight=False, markup=False)
    voice = Voice(language=Language.EN, out=console, err=console)
    text = f"a\tb\nc{EVIL}"
    if way == "write":
        voice.write(text)
    elif way == "hint":
        voice.hint("cli.io", what=text, why="")
    elif way == "fault":
        voice.fault(text, "cli.io")
    else:
        voice.table(("name",), [(text,)])
    told = out.getvalue()
    assert "gnurt" in told
    assert not set("\x1b\x9b\u202e\r") & set(told)
