"""edxml is usable alone: in an interpreter that finds nothing but what it imports."""

from __future__ import annotations

import subprocess
import sys
from ast import literal_eval
from importlib import metadata
from pathlib import Path

import pytest

import edxml
from tests.support.packets import build_packet

NEEDED = ("lxml", "cryptography", "signxml", "xmlschema")
"""What edxml imports; what these need themselves comes along. Keys on tokens want python-pkcs11 beside them."""

SCRIPT = """
import io
import sys
from datetime import date
from importlib.util import find_spec

for absent in ("gateway", "routing", "adapters", "monitoring", "fastapi", "sqlalchemy", "pydantic", "pkcs11", "pip"):
    assert find_spec(absent) is None, absent

from edxml import Language, read, validate, write
from edxml.schema import check_stream

with open(sys.argv[1], "rb") as stream:
    result = read(stream, check_schema=True)
assert not result.is_refused, result.findings
assert validate(result.packet, today=date(2026, 1, 1)) == ()
out = io.BytesIO()
from edxml import open_decoded
with open(sys.argv[1], "rb") as stream:
    write(result.packet, out, open_attachment=lambda one: open_decoded(stream, one))
assert read(io.BytesIO(out.getvalue())).packet == result.packet
with open(sys.argv[1], "rb") as stream:
    assert check_stream(io.BytesIO(stream.read().replace(b"edXML:Subject>", b"edXML:Foo>")))
(finding,) = read(io.BytesIO(b"<a/>")).findings
assert finding.text(Language.VI) != finding.text(Language.EN)

from edxml.rules import DOCUMENT_RULES
from edxml.seal import generate_seal_key, make_seal
from edxml.sign import Policy, verify_packet

with open(sys.argv[1], "rb") as stream:
    assert verify_packet(stream, policy=Policy.trusting([])).verdict == "absent"
print(sorted({name.partition(".")[0] for name in sys.modules if not name.startswith("_")} - sys.stdlib_module_names))
"""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages as pip would make it, with edxml beside them."""
    shelf = tmp_path_factory.mktemp("shelf")
    wanted, seen = list(NEEDED), set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        distribution = metadata.distribution(name)
        wanted += [
            line.split(";")[0].split("[")[0].rstrip("<>=!~0123456789., ")
            for line in distribution.requires or ()
            if "extra ==" not in line
        ]
        for file in distribution.files or ():
            top = Path(file.parts[0])
            source = Path(str(distribution.locate_file(top)))
            if file.parts[0] != ".." and not (shelf / top).exists() and source.exists():
                (shelf / top).symlink_to(source)
    (shelf / "edxml").symlink_to(Path(edxml.__file__).parent)
    return shelf


def test_read_write_validate_need_nothing_of_the_house(shelf: Path, tmp_path: Path) -> None:
    packet = tmp_path / "goi-tin.edxml"
    packet.write_bytes(build_packet())
    script = f"import sys\nsys.path.append({str(shelf)!r})  # -S left the standard library alone\n{SCRIPT}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(packet)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(literal_eval(done.stdout)) - {"cffi", "pycparser", "cython_runtime", "certifi", "elementpath"} == {
        "edxml",
        *NEEDED,
    }
