"""`truc packet …` in hands that nobody guides: closed streams, pipes, narrow encodings, odd names, no packets."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edxml import Language, Packet, read
from edxml.messages import text
from gateway.cli.app import main
from tests.support.packets import build_packet, build_status

PDF = b"%PDF-1.7\nxin chao\n%%EOF\n"
HTML = b"<html><body>404</body></html>"
TRUC = (sys.executable, "-m", "gateway", "packet")


def run(*arguments: str, capture: pytest.CaptureFixture[str], language: str = "vi") -> tuple[int, str, str]:
    """Exit code, answer and what stands beside it."""
    capture.readouterr()
    code = main(["packet", *arguments, "--lang", language])
    return code, *capture.readouterr()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def outside(
    *arguments: str, redirect: str = "", shell: str = "exec ", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """A process of its own, its streams redirected by a shell."""
    line = f"{shell}{sys.executable} -m gateway packet {' '.join(arguments)} {redirect}"
    house = str(Path(__file__).parents[4])
    surroundings = {**os.environ, "PYTHONPATH": house, "TRUC_LANGUAGE": "vi", **environment}
    return subprocess.run(["bash", "-c", line], capture_output=True, env=surroundings, timeout=240, check=False)


def test_ctrl_c_in_a_command_is_answered_with_a_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _room: object) -> int:
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(Terminal())))
    code, out, err = run("check", "-", capture=capsys, language="en")
    assert (code, out) == (130, "")
    assert err == "Stopped as asked.\n"


@pytest.mark.parametrize("command", ["show", "extract", "repair", "diff"])
def test_json_of_what_is_no_packet_says_why(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.edxml").write_bytes(HTML)
    more = {"repair": ("--out", "b.edxml"), "extract": ("--into", "tep"), "diff": ("a.edxml",)}.get(command, ())
    code, out, _ = run(command, "a.edxml", *more, "--json", capture=capsys)
    assert code == 1
    assert [finding["code"] for finding in json.loads(out)["findings"]] == ["edxml.root_unknown"]
    assert sorted(os.listdir(folder)) == ["a.edxml"]


def test_json_of_a_repair_that_cannot_be(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = build_packet().replace(b"<edXML:BussinessDocType>0", b"<edXML:BussinessDocType>7")
    (folder / "a.edxml").write_bytes(wrong)
    code, out, _ = run("repair", "a.edxml", "--out", "b.edxml", "--json", capture=capsys)
    told = json.loads(out)
    assert (code, told["after"], (folder / "b.edxml").exists()) == (1, None, False)
    assert told["before"]["findings"]


def test_json_of_check_lists_what_cannot_be_opened(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.edxml").write_bytes(build_packet())
    code, out, err = run("check", "a.edxml", "b.edxml", "--json", capture=capsys)
    first, second = json.loads(out)
    assert code == 2
    assert (first["is_complete"], second["is_complete"]) == (True, False)
    assert first.keys() == second.keys()
    (finding,) = second["findings"]
    assert finding["code"] == "cli.io"
    assert "không có tệp" in finding["vi"]
    assert "no such file" in finding["en"]
    assert "không có tệp" in err


def test_an_empty_folder_is_called_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "rong").mkdir()
    code, _, err = run("check", "rong", capture=capsys)
    assert code == 2
    assert "rong" in err
    assert "[cli.no_packets]" in err


def test_a_folder_that_is_shut_is_not_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    """A build server must not be told that all is well by files that nobody looked at."""
    with tempfile.TemporaryDirectory() as name:
        folder, shut = Path(name), Path(name, "dong")
        folder.chmod(0o755)
        shut.mkdir(mode=0o700)
        for each in (folder, shut):
            (each / "a.edxml").write_bytes(build_packet())
            (each / "a.edxml").chmod(0o644)
        (folder / "vong").symlink_to(folder)
        assert run("check", name, capture=capsys)[0] == 0
        shut.chmod(0)
        user = os.geteuid()
        try:
            if not user:
                os.seteuid(65534)  # root may look into anything
            code, out, _ = run("check", name, "--json", capture=capsys)
        finally:
            os.seteuid(user)
        told = json.loads(out)
        assert code == 2
        assert [(each["file"], each["is_complete"]) for each in told] == [(f"{name}/a.edxml", True), (str(shut), False)]
        shut.chmod(0o700)


def test_hops_without_a_code_do_not_hinder_a_repair(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the national axis has added since 2025."""
    hop = b"<edXML:TraceHeader><edXML:Timestamp>2025/09/01 09:00:00</edXML:Timestamp></edXML:TraceHeader>"
    data = build_packet().replace(b"<edXML:Bussiness>", hop + b"<edXML:Bussiness>")
    assert data.count(hop) == 1
    (folder / "a.edxml").write_bytes(data)
    code, _, err = run("repair", "a.edxml", "--out", "b.edxml", capture=capsys)
    assert code == 0, err
    assert "1 chặng" in err
    before, after = (read(io.BytesIO((folder / name).read_bytes())) for name in ("a.edxml", "b.edxml"))
    assert isinstance(before.packet, Packet)
    assert after.packet == replace(before.packet, trace=before.packet.trace[:-1])
    assert not after.repairs


def test_extract_makes_no_folder_for_what_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("extract", "a.edxml", "--into", "tep", capture=capsys)[0] == 2
    assert os.listdir(folder) == []


def test_what_steers_a_terminal_does_not_reach_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steering = "\x9b31m\u202e\u2066"
    data = build_packet().replace(b"V/v", f"V/v {steering}".encode())
    assert steering.encode() in data
    for name in ("a.edxml", "\x1b[31mb.edxml"):
        (folder / name).write_bytes(data)
        for command in ("show", "check", "verify"):
            _, out, err = run(command, name, capture=capsys)
            assert not set(out + err) & set("\x1b\x9b\u202e\u2066")


def test_names_that_turn_letters_round_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packet = build_packet(files=[("công văn \u202efdp.exe", PDF)])
    (folder / "a.edxml").write_bytes(packet)
    _, out, _ = run("check", "a.edxml", capture=capsys)
    assert "“công văn \\u202efdp.exe”" in out
    assert "edxml.attachment_name_unsafe" in out


def test_people_read_words_and_times_of_their_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.edxml").write_bytes(build_packet())
    (folder / "b.edxml").write_bytes(build_status())
    _, out, _ = run("show", "a.edxml", capture=capsys)
    assert "văn bản mới" in out
    _, out, _ = run("diff", "a.edxml", "b.edxml", capture=capsys)
    assert "trạng thái" in out.lower()
    assert "Packet" not in out


@pytest.mark.parametrize(
    ("redirect", "code"), [("<&-", 2), (">&-", 0), (">/dev/full", 2), ("2>&-", 0)], ids=["in", "out", "full", "err"]
)
def test_closed_streams_end_no_command_with_a_traceback(redirect: str, code: int, folder: Path) -> None:
    (folder / "a.edxml").write_bytes(build_packet())
    done = outside("check", "-" if redirect == "<&-" else "a.edxml", redirect=redirect)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    assert b"cli.defect" not in done.stderr


@pytest.mark.parametrize("arguments", [("show", "a.edxml"), ("check", "a.edxml", "--json"), ("--help",)])
def test_a_reader_that_leaves_the_pipe_is_no_fault(folder: Path, arguments: tuple[str, ...]) -> None:
    (folder / "a.edxml").write_bytes(build_packet())
    done = outside(*arguments, redirect="| true; exit ${PIPESTATUS[0]}", shell="")
    assert (done.returncode, done.stderr) == (0, b"")


def test_standard_error_that_takes_nothing_changes_no_answer(folder: Path) -> None:
    assert outside("check", "khong-co", redirect="2>/dev/full").returncode == 2
    assert (
        outside("check", "khong-co", redirect="2>&1 >/dev/null | true; exit ${PIPESTATUS[0]}", shell="").returncode == 2
    )


def test_a_line_end_in_a_name_breaks_no_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a\nb.edxml: OK").write_bytes(build_packet())
    for command in ("check", "verify"):
        _, out, err = run(command, "a\nb.edxml: OK", capture=capsys)
        assert not any(line.startswith("b.edxml") for line in (out + err).splitlines())
    _, out, err = run("check", "khong\nco", capture=capsys)
    assert len(err.splitlines()) == 1


def test_an_empty_name_is_not_this_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.edxml").write_bytes(build_packet())
    code, out, err = run("check", "", capture=capsys)
    assert (code, out) == (2, "")
    assert "cli.empty_argument" in err
    assert run("check", ".", capture=capsys)[0] == 0


def test_one_is_not_many_in_english(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.edxml").write_bytes(b"\xef\xbb\xbf" + build_packet())
    _, out, _ = run("check", "a.edxml", capture=capsys, language="en")
    assert "(0 warnings, 1 repair)" in out
    assert text("edxml.refused", Language.EN, {"count": 1}).startswith(
        "The packet is refused for 1 error. The first: {"
    )
    assert "{count}" in text("edxml.refused", Language.EN, {})


def test_a_pipe_is_read_as_a_file_is(folder: Path) -> None:
    (folder / "a.edxml").write_bytes(build_packet())
    done = outside("show", "<(cat a.edxml)")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1258"])
def test_a_narrow_encoding_is_no_defect(encoding: str, folder: Path) -> None:
    (folder / "a.edxml").write_bytes(build_packet(files=[("công văn \U0001f600.pdf", PDF)]))
    done = outside("show", "a.edxml", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    done = outside("show", "a.edxml", "--json", PYTHONIOENCODING=encoding)
    told: dict[str, Any] = json.loads(done.stdout.decode(encoding))
    assert told["packet"]["attachments"][0]["name"] == "công văn \U0001f600.pdf"


def test_a_name_that_is_no_text_stands_in_json(folder: Path) -> None:
    (folder / os.fsdecode(b"c\xf4ng v\xe3n.edxml")).write_bytes(build_packet())
    for locale in ("C.UTF-8", "C"):
        done = outside("check", ".", "--json", LC_ALL=locale)
        assert done.returncode == 0, done.stderr
        (told,) = json.loads(done.stdout.decode("utf-8"))
        assert os.fsencode(told["file"]) == b"c\xf4ng v\xe3n.edxml"


def form() -> str:
    """The guide's own form."""
    guide = (Path(__file__).parents[4] / "docs/guides/vendor.md").read_text("utf-8")
    return guide.partition("```toml\n")[2].partition("```")[0]


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('number = "123"', "number = 123", "number: phải là chữ"),
        ('number = "123"', "", "number: thiếu"),
        ('number = "123"', 'number = "123"\nso = 1', "so: không có mục này"),
        ("2025-09-01", '"01/09/2025"', "date: phải là một ngày"),
        ("2025-09-01", "2025-09-01T10:00:00", "date: phải là một ngày"),
        ('type = "2"', 'type = "2"\npriority = 9', "priority: không có trong danh mục"),
        ("[signer]", "[signer", "dòng"),
        ('name = "UBND xã Thử nghiệm"', "", "to.1.name: thiếu"),
        ('code = "H99.02"', 'code = ""', "Mã định danh cơ quan"),
        ("V/v kết nối", "V/v \\u0001", "ký tự mà XML không ghi được"),
    ],
)
def test_a_form_that_is_wrong_is_told_in_the_clerks_language(
    right: str, wrong: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert right in form()
    (folder / "cong-van.pdf").write_bytes(PDF)
    (folder / "a.toml").write_text(form().replace(right, wrong), "utf-8")
    code, _, err = run("build", "a.toml", "--out", "a.edxml", capture=capsys)
    assert code in (1, 2)
    assert said in err
    assert "Input" not in err
    assert not (folder / "a.edxml").exists()


def test_a_form_from_a_notepad_is_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "cong-van.pdf").write_bytes(PDF)
    (folder / "a.toml").write_bytes(b"\xef\xbb\xbf" + form().replace("\n", "\r\n").encode())
    assert run("build", "a.toml", "--out", "a.edxml", capture=capsys)[0] == 0
    (folder / "b.toml").write_bytes(form().encode("cp1258", "replace"))
    code, _, err = run("build", "b.toml", "--out", "b.edxml", capture=capsys)
    assert code == 2
    assert "không phải UTF-8" in err
