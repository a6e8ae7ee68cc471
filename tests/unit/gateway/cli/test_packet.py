"""`truc packet …`: each command on files, folders and standard input, with its exit codes; never a traceback."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12

from edxml import STRICT, Packet, read
from gateway.cli.app import main
from tests.support.certificates import Authority, Issued
from tests.support.packets import build_packet, build_status
from tests.support.soap import build_soap

PDF = b"%PDF-1.7\nxin chao\n%%EOF\n"
GUIDE = Path(__file__).parents[4] / "docs/guides/vendor.md"


class Terminal:
    """Runs commands in a folder; keeps what the last one said."""

    def __init__(self, capture: pytest.CaptureFixture[str], folder: Path) -> None:
        self._capture = capture
        self.folder = folder
        self.out = self.err = ""

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run `truc packet …`, expecting its exit code; gives what it answered."""
        self._capture.readouterr()
        found = main(["packet", *arguments, "--lang", "en"])
        self.out, self.err = self._capture.readouterr()
        assert found == code, f"{arguments} ended with {found}:\n{self.out}\n{self.err}"
        assert "Traceback" not in self.out + self.err
        assert not re.search(r"\b(packet_told|packet_show|help|column)\.", self.out + self.err)
        return self.out

    def json(self, *arguments: str, code: int = 0) -> Any:
        """The same with --json."""
        return json.loads(self(*arguments, "--json", code=code))

    def put(self, name: str, data: bytes) -> str:
        """A file in the folder; gives its name."""
        (self.folder / name).write_bytes(data)
        return name


@pytest.fixture
def truc(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.chdir(tmp_path)
    return Terminal(capsys, tmp_path)


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def deviating() -> bytes:
    """A packet that reading puts right: a byte order mark and a short day."""
    return b"\xef\xbb\xbf" + build_packet().replace(b"PromulgationDate>2025/09/01", b"PromulgationDate>01/09/2025")


# --- check -----------------------------------------------------------------------------------------------------------


def test_check_tells_clean_found_and_unreadable_apart(truc: Terminal) -> None:
    good, foreign = truc.put("a.edxml", build_packet()), truc.put("b.edxml", b"<?xml version='1.0'?><x/>")
    cut = truc.put("c.edxml", build_packet()[:700])
    truc("check", good)
    truc("check", good, foreign, code=1)
    truc("check", good, foreign, cut, code=2)
    truc("check", "khong-co.edxml", good, code=2)
    assert "khong-co.edxml" in truc.err
    assert "a.edxml: " in truc.out, "the others are still checked"


def test_check_looks_through_folders(truc: Terminal) -> None:
    (truc.folder / "in/deep").mkdir(parents=True)
    truc.put("in/deep/b.edxml", build_packet())
    truc.put("in/a.XML", build_packet())
    truc.put("in/note.txt", b"no packet")
    assert [row["file"] for row in truc.json("check", "in")] == ["in/a.XML", "in/deep/b.edxml"]
    (truc.folder / "none").mkdir()
    truc("check", "none", code=2)
    assert "none" in truc.err


def test_check_reads_standard_input(truc: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, build_packet())
    assert truc.json("check", "-")[0]["size"] == len(build_packet())
    feed(monkeypatch, b"")
    truc("check", "-", code=2)


def test_strict_allows_no_repair_and_schema_finds_more(truc: Terminal) -> None:
    name = truc.put("a.edxml", deviating())
    assert truc.json("check", name)[0]["repairs"] != []
    found = truc.json("check", name, "--strict", code=1)[0]["findings"]
    assert "edxml.repair_forbidden" in {finding["code"] for finding in found}
    loose = truc.json("check", name)[0]["findings"]
    assert len(truc.json("check", name, "--schema", code=1)[0]["findings"]) > len(loose)


def test_strict_counts_a_warning(truc: Terminal) -> None:
    name = truc.put("a.edxml", build_packet(number="7"))
    assert {finding["severity"] for finding in truc.json("check", name)[0]["findings"]} == {"warning"}
    truc("check", name, "--strict", code=1)


def test_sarif_points_at_lines(truc: Terminal) -> None:
    name = truc.put("a b.edxml", deviating())
    run = json.loads(truc("check", name, "khong-co", "--strict", "--sarif", code=2))["runs"][0]
    errors = [result for result in run["results"] if result["level"] == "error"]
    assert "edxml.repair_forbidden" in {error["ruleId"] for error in errors}
    place = errors[-1]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "a%20b.edxml"
    assert place["region"]["startLine"] > 1
    assert {result["level"] for result in run["results"]} == {"error", "note"}
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == {result["ruleId"] for result in run["results"]}
    assert run["invocations"][0]["executionSuccessful"] is False


# --- show, extract ---------------------------------------------------------------------------------------------------


def test_show_tells_values_files_and_signature(truc: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    name = truc.put("a.edxml", build_packet())
    said = truc("show", name)
    for wanted in ("123/UBND-VX", "van-ban.pdf", "application/pdf", "no electronic signature", "V/v kết nối"):
        assert wanted in said
    shown = truc.json("show", name)
    assert shown["packet"]["attachments"][0]["length"] == len(PDF)
    assert isinstance(shown["packet"]["sender"]["organ_id"], str)
    feed(monkeypatch, build_status())
    assert truc.json("show", "-")["kind"] == "status"
    assert "Status" in truc("show", truc.put("s.edxml", build_status()))
    truc("show", truc.put("bad.edxml", b"<x"), code=2)


def test_extract_uses_safe_names_and_writes_over_nothing(truc: Terminal) -> None:
    files = (("../../thoat.pdf", PDF), ("VAN.pdf", PDF + b"2"), ("van.pdf", PDF + b"3"))
    name = truc.put("a.edxml", build_packet(files=files))
    (truc.folder / "out").mkdir()
    truc.put("out/van (2).pdf", b"mine")
    told = truc.json("extract", name, "--into", "out")
    saved = {Path(row["saved_as"]) for row in told}
    assert len(saved) == 3
    assert {path.parent for path in saved} == {Path("out")}
    assert {path.read_bytes() for path in saved} == {data for _, data in files}
    assert (truc.folder / "out/van (2).pdf").read_bytes() == b"mine"
    assert "Nothing" in truc("extract", truc.put("s.edxml", build_status()), "--into", "out")


# --- sign, verify ----------------------------------------------------------------------------------------------------


@pytest.fixture
def issued(truc: Terminal) -> Issued:
    authority = Authority()
    found = authority.issue("UBND tỉnh", days=(3600, 3600))  # signing takes the time of the machine
    truc.put("a.edxml", build_packet())
    truc.put("key.pem", found.key_pem)
    truc.put("cert.pem", found.chain_pem)
    truc.put("root.pem", authority.certificate.public_bytes(Encoding.PEM))
    return found


def test_what_is_signed_verifies_under_the_trusted_root_alone(truc: Terminal, issued: Issued) -> None:
    truc("sign", "a.edxml", "--key", "key.pem", "--cert", "cert.pem", "--out", "b.edxml")
    (found,) = truc.json("verify", "b.edxml", "--trust", "root.pem")
    assert (found["verdict"], found["covers_whole"]) == ("valid", True)
    assert "UBND tỉnh" in truc("verify", "b.edxml", "--trust", "root.pem")
    truc("verify", "b.edxml", code=1)
    assert truc.json("verify", "a.edxml", "--trust", "root.pem", code=1)[0]["verdict"] == "absent"
    truc.put("c.edxml", (truc.folder / "b.edxml").read_bytes().replace(b"UBND-VX", b"UBND-VY"))
    assert truc.json("verify", "c.edxml", "--trust", "root.pem", code=1)[0]["verdict"] == "invalid_digest"
    early = truc.json("verify", "b.edxml", "--trust", "root.pem", "--at", "2020-01-01", code=1)
    assert early[0]["verdict"] == "signed_in_future"
    truc("verify", "a.edxml", "--trust", "a.edxml", code=2)
    truc("verify", "khong-co", code=2)


def test_signing_takes_pkcs12_and_never_writes_over(truc: Terminal, issued: Issued) -> None:
    lock = BestAvailableEncryption(b"bi mat")
    truc.put("co-quan.p12", pkcs12.serialize_key_and_certificates(b"x", issued.key, issued.certificate, None, lock))
    truc.put("mat-khau.txt", b"bi mat\n")
    words = ("sign", "a.edxml", "--p12", "co-quan.p12", "--out", "b.edxml")
    truc(*words, code=4)
    assert not (truc.folder / "b.edxml").exists()
    truc(*words, "--password-file", "mat-khau.txt")
    before = (truc.folder / "b.edxml").read_bytes()
    truc(*words, "--password-file", "mat-khau.txt", code=2)
    assert (truc.folder / "b.edxml").read_bytes() == before
    truc("sign", "a.edxml", "--key", "key.pem", "--out", "c.edxml", code=2)
    truc("sign", "b.edxml", "--key", "key.pem", "--cert", "cert.pem", "--out", "c.edxml", code=1)
    assert not (truc.folder / "c.edxml").exists(), "what is signed already is refused, and no half file stays"


# --- repair, diff, build ---------------------------------------------------------------------------------------------


def test_repair_writes_the_strict_form_with_the_same_values(truc: Terminal) -> None:
    name = truc.put("a.edxml", deviating())
    told = truc.json("repair", name, "--out", "b.edxml")
    assert "bom" in {each["name"] for each in told["before"]["repairs"]}
    assert told["after"]["repairs"] == []
    truc("check", "b.edxml", "--strict", "--schema")
    assert "say the same" in truc("diff", name, "b.edxml")
    truc("repair", truc.put("s.edxml", build_status()), "--out", "t.edxml")
    truc("repair", truc.put("x.edxml", b"<x/>"), "--out", "y.edxml", code=1)
    assert not (truc.folder / "y.edxml").exists()


@pytest.mark.parametrize("transfer", ["base64", "binary", "quoted-printable"])
def test_a_soap_packet_is_checked_shown_extracted_and_repaired_into_dialect_a(truc: Terminal, transfer: str) -> None:
    files = (("van-ban.pdf", PDF), ("a.bin", bytes(range(256))))
    name = truc.put("d.edxml", build_soap(files=files, transfer=transfer))
    assert truc.json("check", name)[0]["dialect"] == "D"
    truc("check", name, "--strict", code=1)
    shown = truc.json("show", name)
    assert (shown["dialect"], shown["packet"]["attachments"][1]["transfer"]) == ("D", transfer)
    truc("extract", name, "--into", "files")
    assert (truc.folder / "files" / "a.bin").read_bytes() == bytes(range(256))
    told = truc.json("repair", name, "--out", "a.edxml")
    assert "signature" not in truc.err
    assert [each["name"] for each in told["before"]["repairs"]] == ["soap_envelope"]
    assert told["after"]["repairs"] == told["after"]["findings"] == []
    assert truc.json("check", "a.edxml", "--strict", "--schema")[0]["dialect"] == "A"
    assert "say the same" in truc("diff", name, "a.edxml")


def test_repair_says_that_a_signature_is_lost(truc: Terminal, issued: Issued) -> None:
    truc("sign", "a.edxml", "--key", "key.pem", "--cert", "cert.pem", "--out", "b.edxml")
    truc("repair", "b.edxml", "--out", "c.edxml")
    assert "signature" in truc.err


def test_diff_names_the_fields(truc: Terminal) -> None:
    one = truc.put("a.edxml", build_packet())
    other = truc.put("b.edxml", build_packet(subject="Khác", files=(("van-ban.pdf", PDF + b"!"),)))
    rows = truc.json("diff", one, other, code=1)
    fields = {row["field"]: (row["first"], row["second"]) for row in rows}
    assert fields["subject"][1] == "Khác"
    assert fields["attachments[1].length"] == (str(len(PDF)), str(len(PDF) + 1))
    assert "subject" in truc("diff", one, other, code=1)
    assert truc.json("diff", one, truc.put("s.edxml", build_status()), code=1)[0]["field"] == "kind"
    truc("diff", one, "khong-co", code=2)


def form() -> str:
    (found,) = re.findall(r"^```toml\n(.*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_guides_form_builds_a_packet_without_a_finding(truc: Terminal) -> None:
    truc.put("cong-van.pdf", PDF)
    name = truc.put("van-ban.toml", form().encode())
    truc("build", name, "--out", "b.edxml")
    truc("check", "b.edxml", "--strict", "--schema")
    with (truc.folder / "b.edxml").open("rb") as stream:
        packet = read(stream, profile=STRICT).packet
    assert isinstance(packet, Packet)
    assert packet.document_id.text == "000.00.00.H99,2025/09/01,123/UBND-VX"


def test_the_guides_certificate_for_a_try_signs_and_is_trusted(truc: Terminal) -> None:
    (made,) = re.findall(r"^```bash\n(.*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    subprocess.run(["bash", "-ec", made], cwd=truc.folder, capture_output=True, check=True, timeout=60)
    name = truc.put("van-ban.edxml", build_packet())
    truc("sign", name, "--p12", "co-quan.p12", "--password-file", "mat-khau.txt", "--out", "da-ky.edxml")
    assert "[valid]" in truc("verify", "da-ky.edxml", "--trust", "goc.pem")


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("number =", "nubmer =", "nubmer"),
        ("date = 2025-09-01", 'date = "hôm qua"', "date"),
        ("[signer]", "[signer", "van-ban.toml"),
        ('code = "H99.02"', 'code = "?"', "?"),
        ("cong-van.pdf", "khong-co.pdf", "khong-co.pdf"),
    ],
)
def test_a_form_that_is_wrong_is_named_and_nothing_is_written(
    truc: Terminal, right: str, wrong: str, said: str
) -> None:
    truc.put("cong-van.pdf", PDF)
    assert right in form()
    truc("build", truc.put("van-ban.toml", form().replace(right, wrong, 1).encode()), "--out", "b.edxml", code=2)
    assert said in truc.err
    assert not (truc.folder / "b.edxml").exists()


def test_the_packet_library_has_the_same_commands_without_the_gateway(tmp_path: Path) -> None:
    (tmp_path / "a.edxml").write_bytes(build_packet())
    program = (
        "import sys\nsys.argv = ['edxml', 'show', 'a.edxml', '--json']\nfrom edxml.__main__ import main\n"
        "assert main() == 0\nprint(sorted(n for n in sys.modules if n.startswith('gateway.')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert json.loads(done.stdout)["kind"] == "document"
    assert done.stderr.splitlines()[-1] == "[]"
