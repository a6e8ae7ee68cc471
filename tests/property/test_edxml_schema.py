"""Whatever can be written keeps our XSD, but for the values that a rule calls an error when they are missing."""

from __future__ import annotations

import io

from hypothesis import given, settings
from hypothesis import strategies as st

from edxml import Dialect, Packet, Severity, read, write
from tests.property.test_edxml_roundtrip import packets

ASKED_FOR = {
    "Subject": lambda packet: packet.subject,
    "CodeNumber": lambda packet: packet.code_number,
    "CodeNotation": lambda packet: packet.code_notation,
    "PromulgationDate": lambda packet: packet.promulgation_date,
}


@settings(max_examples=150, deadline=None)
@given(made=packets(), dialect=st.sampled_from((Dialect.A, Dialect.B)))
def test_what_is_written_keeps_the_schema(made: tuple[Packet, list[bytes]], dialect: Dialect) -> None:
    packet, files = made
    out = io.BytesIO()
    write(packet, out, open_attachment=[io.BytesIO(data) for data in files], dialect=dialect)
    result = read(io.BytesIO(out.getvalue()), check_schema=True)
    told = [finding for finding in result.findings if finding.code.startswith("edxml.schema_")]
    assert {finding.severity for finding in told} <= {Severity.ERROR}
    assert {finding.code for finding in told} <= {"edxml.schema_element_missing"}
    missing = {name for name, value_of in ASKED_FOR.items() if not value_of(packet)}
    assert {finding.params["name"] for finding in told} == missing
