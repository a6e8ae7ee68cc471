"""`build`: a document packet from a short TOML file and its attachments, without writing any code."""

from __future__ import annotations

import re
import tomllib
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from edxml import (
    STRICT,
    BusinessKind,
    DocumentId,
    EdxmlError,
    OrganId,
    Organization,
    Packet,
    Priority,
    Severity,
    StaffInfo,
    TraceHeader,
    plan_attachment,
    write,
)
from edxml.commands.exits import ExitCode, InputWrong
from edxml.commands.files import read_whole, show_findings, write_new
from edxml.commands.terminal import Voice, voice_of

__all__ = ["register"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Agency(_Part):
    code: str
    name: str


class _Signer(_Part):
    name: str
    competence: str = ""
    position: str = ""


class _Staff(_Part):
    department: str = ""
    name: str = ""
    email: str = ""
    mobile: str = ""


class _Form(_Part):
    """What the TOML file may say; names are the commands' own, short ones (docs/guides/vendor.md)."""

    sender: _Agency = Field(alias="from")
    recipients: tuple[_Agency, ...] = Field(alias="to", min_length=1)
    number: str
    notation: str
    place: str = ""
    promulgated: date = Field(alias="date")
    type: str
    type_detail: str = ""
    type_name: str
    subject: str
    content: str = ""
    signer: _Signer
    staff: _Staff = _Staff()
    priority: Priority = Priority.NORMAL
    due_date: date | None = None
    to_places: tuple[str, ...] = ()
    reason: str = ""
    document_id: str = ""
    files: tuple[str, ...] = ()


def register(group: typer.Typer) -> None:
    """Add the command of this module."""
    group.command("build", help="help.packet_build")(build)


def build(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="help.packet_form", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="help.packet_out", show_default=False)],
) -> None:
    """Write the packet that a TOML file describes, then say what the strict check finds in it (1: errors)."""
    voice = voice_of(ctx)
    form = _read_form(voice, file)
    with ExitStack() as files:
        streams = [files.enter_context((file.parent / name).open("rb")) for name in form.files]
        try:
            packet = _packet(form, streams)
        except EdxmlError as why:
            raise InputWrong("cli.bad_form", file=str(file), what=why.text(voice.language).rstrip(".")) from why
        for stream in streams:
            stream.seek(0)
        with write_new(out) as written:
            write(packet, written, open_attachment=streams)
    with out.open("rb") as stream:
        result = read_whole(stream, profile=STRICT, check_schema=True)
    errors = sum(finding.severity is Severity.ERROR for finding in result.findings)
    voice.tell("packet_told.built", file=str(out), size=result.size, document=str(packet.document_id))
    show_findings(voice, [finding.as_dict() for finding in result.findings])
    if errors:
        raise typer.Exit(ExitCode.FINDINGS)


def _read_form(voice: Voice, path: Path) -> _Form:
    """Raises InputWrong `cli.bad_form`, naming every place that is wrong. A byte order mark is passed over."""
    try:
        return _Form.model_validate(tomllib.loads(path.read_text("utf-8-sig")))
    except ValidationError as why:
        what = "; ".join(f"{_place(each['loc'])}: {_fault(voice, each)}" for each in why.errors())
    except UnicodeDecodeError:
        what = voice.say("form.encoding")
    except tomllib.TOMLDecodeError as why:
        found = _AT.search(str(why))
        what = voice.say("form.toml", line=found[1], column=found[2]) if found else str(why)
    raise InputWrong("cli.bad_form", file=str(path), what=what)


_AT = re.compile(r"\(at line (\d+), column (\d+)\)")


def _place(steps: tuple[int | str, ...]) -> str:
    """Where in the form: entries of a list by their number, from 1."""
    return ".".join(str(step + 1) if isinstance(step, int) else step for step in steps)


def _fault(voice: Voice, each: ErrorDetails) -> str:
    """What is wrong with one value; the library's own words where it is nothing common."""
    kind = each["type"]
    if kind.startswith("date"):
        kind = "date"
    elif kind in ("enum", "int_type", "int_parsing"):
        kind = "choice"
    elif kind in ("model_type", "model_attributes_type", "tuple_type", "dict_type"):
        kind = "table"
    code = f"form.{kind}"
    said = voice.say(code)
    return each["msg"] if said == code else said


def _packet(form: _Form, streams: list[Any]) -> Packet:
    """Raises EdxmlError where a code or an id is none."""
    issuer = OrganId.parse(form.sender.code)
    own_id = form.document_id or f"{issuer},{form.promulgated:%Y/%m/%d},{form.number}/{form.notation}"
    named = zip(form.files, streams, strict=True)
    return Packet(
        sender=_organization(form.sender),
        recipients=tuple(map(_organization, form.recipients)),
        document_id=DocumentId(own_id),
        code_number=form.number,
        code_notation=form.notation,
        promulgation_place=form.place,
        promulgation_date=form.promulgated,
        type=form.type,
        type_detail=form.type_detail,
        type_name=form.type_name,
        subject=form.subject,
        content=form.content or form.subject,
        signer_competence=form.signer.competence,
        signer_position=form.signer.position,
        signer_name=form.signer.name,
        due_date=form.due_date,
        priority=form.priority,
        to_places=form.to_places,
        trace=(TraceHeader(organ_id=issuer, timestamp=datetime.now(UTC)),),
        business_kind=BusinessKind.NEW,
        business_reason=form.reason,
        staff=StaffInfo(
            department=form.staff.department, staff=form.staff.name, email=form.staff.email, mobile=form.staff.mobile
        ),
        attachments=tuple(
            plan_attachment(Path(name).name, stream, position=at) for at, (name, stream) in enumerate(named, 1)
        ),
    )


def _organization(agency: _Agency) -> Organization:
    return Organization(organ_id=OrganId.parse(agency.code), name=agency.name)
