"""XML signatures of accepted packets: what each is worth, found out behind the hops, kept once, shown everywhere."""

# ruff: noqa: F811 - fixtures are taken from tests.support.trusted

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from edxml.crashpoints import ENVIRONMENT
from edxml.messages import Language
from edxml.sign import Verdict
from edxml.sign.looking import may_bear_signature
from edxml.sign.policies import Policies, PoliciesInvalid, read_policies
from edxml.sign.policy import Coverage, RevocationMode
from gateway.exchange.submission import Answer
from gateway.store import followers, views
from gateway.workers.signatures import FOLLOWER, TrustWatch, check_once
from tests.support.certificates import Authority
from tests.support.edge import running_api
from tests.support.nodes import TODAY, House, organ
from tests.support.stores import tell
from tests.support.terminal import Terminal
from tests.support.trusted import check_all, house, root, send, send_signed, signed, trust, verdicts  # noqa: F401

DECORATION = b"<Signature><SignatureValue>AAAA</SignatureValue></Signature>"


def events(house: House) -> list[dict[str, str]]:
    return house.rows("SELECT packet_id, reason FROM events WHERE kind = 'signature.checked' ORDER BY rowid")


def test_a_right_signature_is_told_with_its_signer_and_policy(house: House, root: Authority, trust: TrustWatch) -> None:
    issued = root.issue()
    packet_id = send_signed(house, issued)
    check_all(house, trust)
    with house.node.store.read() as connection:
        (line,) = views.verdicts(connection, [packet_id])
    assert (line.verdict, line.standing, line.about, line.position) == ("valid", "valid", "packet", 0)
    assert line.policy.startswith("trust:")
    assert line.certificate == hashlib.sha256(issued.certificate.public_bytes(Encoding.DER)).hexdigest()
    assert "UBND xã Thử Nghiệm" in line.signer
    assert line.covers_whole
    assert events(house) == [{"packet_id": packet_id, "reason": "valid"}]
    assert 'truc_signatures_total{signature="valid"} 1.0' in house.node.metrics.render().decode()
    house.assert_books_close()


def test_without_a_signature_there_is_no_row_and_no_event(house: House, trust: TrustWatch) -> None:
    for number in ("1", "2"):
        house.send(["inbox-a"], number)
    house.send(["inbox-a"], "3", subject="Về việc Signature trong gói tin")
    house.tell("inbox-a", "03")
    check_all(house, trust)
    assert verdicts(house) == {}
    assert events(house) == []
    assert not check_once(house.node, trust)


def test_a_decoration_has_its_own_verdict_and_is_no_forgery(house: House, trust: TrustWatch) -> None:
    body = house.packet(["inbox-a"], "1").replace(b"</edXML:edXMLHeader>", DECORATION + b"</edXML:edXMLHeader>")
    packet_id = send(house, body)
    check_all(house, trust)
    with house.node.store.read() as connection:
        (line,) = views.verdicts(connection, [packet_id])
    assert (line.verdict, line.standing) == ("not_xmldsig", "decorative")


def test_whom_nobody_trusts_is_told_so(house: House, root: Authority, tmp_path: Path) -> None:
    packet_id = send_signed(house, root.issue())
    check_all(house, TrustWatch(tmp_path / "no such folder"))
    assert verdicts(house)[packet_id] in ("not_trusted", "chain_broken")


def test_nothing_known_of_revocation_is_an_open_verdict(house: House, root: Authority, trust: TrustWatch) -> None:
    packet_id = send_signed(house, root.issue())
    (trust.folder / "revocations" / "root.crl").unlink()
    check_all(house, trust)
    assert verdicts(house)[packet_id] == "revocation_unknown"


def test_each_sender_has_its_policy(house: House, root: Authority, trust: TrustWatch) -> None:
    (trust.folder / "policies.toml").write_text(
        f'[[policy]]\nname = "chat"\nsenders = ["{organ("sender")}"]\nsignatures = ["rsa-sha256"]\n'
    )
    issued = root.issue()
    own = send_signed(house, issued, "1")
    other = signed(house.packet(["inbox-a"], "1", "sender-2"), issued)
    answer = house.submit(other, "sender-2")
    assert isinstance(answer, Answer)
    check_all(house, trust)
    assert verdicts(house) == {own: "algorithm_not_allowed", answer.packet_id: "valid"}
    (row,) = house.rows("SELECT policy FROM signature_verdicts WHERE packet_id = ?", own)
    assert row["policy"].startswith("chat trust:")


def test_a_changed_folder_is_read_again(house: House, root: Authority, trust: TrustWatch) -> None:
    before = trust.policies()
    assert trust.policies() is before
    (trust.folder / "policies.toml").write_text('[[policy]]\nname = "moi"\nrevocation = "off"\n')
    assert trust.policies().default.revocation is RevocationMode.OFF


def test_a_broken_folder_keeps_everything_due(house: House, root: Authority, trust: TrustWatch) -> None:
    packet_id = send_signed(house, root.issue())
    file = trust.folder / "policies.toml"
    file.write_text("[[policy]]\n")
    with pytest.raises(PoliciesInvalid):
        check_once(house.node, trust)
    assert verdicts(house) == {}
    file.unlink()
    check_all(house, trust)
    assert verdicts(house) == {packet_id: "valid"}


def test_two_at_once_and_a_repeat_keep_one_verdict(house: House, root: Authority, trust: TrustWatch) -> None:
    packet_id = send_signed(house, root.issue())
    check_all(house, trust)
    house.pass_time(3_600_000_000)
    with house.node.store.write() as connection:  # as another process that saw the same beginning
        tell(connection, "UPDATE followers SET position = 0 WHERE name = ?", FOLLOWER)
    check_all(house.worker("other"), trust)
    assert len(verdicts(house)) == len(events(house)) == 1
    with house.node.store.read() as connection:
        assert followers.follow(connection, FOLLOWER).is_done
        assert views.verdicts(connection, [packet_id])


class Overtaken(TrustWatch):
    """Another process, whose turn has come since, checks everything while this one still reads its policies."""

    house: House

    def policies(self) -> Policies:
        self.house.pass_time(3_600_000_000)
        check_all(self.house.worker("other"), TrustWatch(self.folder))
        return TrustWatch.policies(self)


def test_overtaken_by_another_process_there_is_one_verdict_and_one_event(
    house: House, root: Authority, trust: TrustWatch
) -> None:
    ids = [send_signed(house, root.issue(), number) for number in ("1", "2")]
    slow = Overtaken(trust.folder)
    slow.house = house
    assert check_once(house.node, slow)
    assert verdicts(house) == dict.fromkeys(ids, "valid")
    assert [event["packet_id"] for event in events(house)] == ids
    assert {row["actor"] for row in house.rows("SELECT actor FROM events WHERE kind = 'signature.checked'")} == {
        "thu/other/1"
    }
    assert house.rows("SELECT * FROM intake_faults") == []


def test_a_check_that_keeps_ending_the_process_is_given_up(house: House, root: Authority, trust: TrustWatch) -> None:
    packet_id = send_signed(house, root.issue())
    with house.node.store.write() as connection:
        tell(connection, "INSERT INTO intake_faults VALUES (?, 3)", f"signature|{packet_id}")
    check_all(house, trust)
    assert verdicts(house) == {packet_id: "not_checked"}
    assert house.rows("SELECT * FROM intake_faults") == []


def test_delivery_never_waits_for_it(house: House, root: Authority, trust: TrustWatch) -> None:
    sent = house.submit(signed(house.packet(["idem"], "1"), root.issue()))
    assert isinstance(sent, Answer)
    house.run()
    assert house.state(sent, "idem") == "delivered"
    assert verdicts(house) == {}


KILLED = """
import sys
from pathlib import Path
from gateway.compose import build_node
from gateway.settings import read_settings
from gateway.workers.signatures import TrustWatch, check_once
from tests.support.stores import HandClock
from tests.support.recipients import memory_kind
from gateway.channels import KINDS
node = build_node(read_settings(), clock=HandClock(int(sys.argv[1])), kinds={**KINDS, "memory": memory_kind({})})
while check_once(node, TrustWatch(Path(sys.argv[2]))):
    pass
"""


@pytest.mark.fault
@pytest.mark.parametrize("point", ["signatures.checked", "signatures.kept"])
def test_killed_there_each_packet_gets_one_verdict(
    house: House, root: Authority, trust: TrustWatch, point: str
) -> None:
    issued = root.issue()
    ids = [send_signed(house, issued, number) for number in ("1", "2", "3")]
    settings = {"TRUC_DATA": str(trust.folder.parent), "TRUC_NODE": "thu", "TRUC_TODAY": TODAY}
    settings["TRUC_DATABASE"] = house.database
    environment = {**os.environ, **settings, "TRUC_DISK_RESERVE_MIB": "1", ENVIRONMENT: point}
    command = [sys.executable, "-c", KILLED, str(house.now()), str(trust.folder)]
    died = subprocess.run(
        command, env=environment, timeout=240, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    house.pass_time(60_000_000)
    check_all(house, trust)
    assert verdicts(house) == dict.fromkeys(ids, "valid")
    assert [event["packet_id"] for event in events(house)] == ids
    assert house.rows("SELECT * FROM intake_faults") == []
    house.assert_books_close()


# --- as people see it ----------------------------------------------------------------------------------------


def test_the_command_line_shows_it(
    truc: Terminal,
    house: House,
    root: Authority,
    trust: TrustWatch,
) -> None:
    packet_id = send_signed(house, root.issue())
    check_all(house, trust)
    said = truc("document", "show", packet_id)
    for part in ("Chữ ký số", "UBND xã Thử Nghiệm", "hợp lệ", "Đã kiểm tra chữ ký số"):
        assert part in said
    (told,) = truc.json("document", "show", packet_id)["verdicts"]
    assert (told["verdict"], told["checked_at"].endswith("+07:00")) == ("valid", True)


def test_the_doctor_looks_at_the_folder_of_trust(truc: Terminal, trust: TrustWatch) -> None:
    def told() -> tuple[str, str]:
        return next((one["level"], one["code"]) for one in truc.json("doctor", code=1) if one["name"] == "trust")

    assert told() == ("ok", "doctor.trust")
    (trust.folder / "policies.toml").write_text("[[policy]]")
    assert told() == ("warn", "edxml.policies_invalid")
    (trust.folder / "policies.toml").unlink()
    (trust.folder / "anchors" / "root.pem").write_text("none")
    assert told() == ("warn", "edxml.trust_unreadable")
    (trust.folder / "anchors" / "root.pem").unlink()
    assert told() == ("ok", "doctor.trust_nobody")


def test_sender_and_recipient_see_it_over_http(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        body = api.packet().replace(b"</edXML:edXMLHeader>", DECORATION + b"</edXML:edXMLHeader>")
        packet_id = api.sender.post("/v1/packets", content=body).json()["packet_id"]
        while check_once(api.node, TrustWatch(tmp_path / "trust")):
            pass
        for client in (api.sender, api.recipient):
            told = client.get(f"/v1/packets/{packet_id}").json()
            (one,) = told["verdicts"]
            assert (one["standing"], one["code"], one["certificate"]) == ("decorative", "signature.not_xmldsig", "")
            assert "{detail}" not in one["vi"] + one["en"]
            assert [line["reason"] for line in told["timeline"] if line["kind"] == "signature.checked"] == [
                "not_xmldsig"
            ]
        assert api.foreign.get(f"/v1/packets/{packet_id}").status_code == 404


# --- the parts -----------------------------------------------------------------------------------------------

WRONG = {
    "no name": ('[[policy]]\nsenders = ["H99"]', "needs a name"),
    "unknown word": ('[[policy]]\nname = "x"\nanchor = 1', "unknown: anchor"),
    "nobody": ('[[policy]]\nname = "x"\nsenders = []', "leave it out"),
    "no code": ('[[policy]]\nname = "x"\nsenders = ["Sở"]', "no organ code"),
    "no algorithm": ('[[policy]]\nname = "x"\nsignatures = ["rsa-sha1"]', "no such algorithm: rsa-sha1"),
    "no folder": ('[[policy]]\nname = "x"\ntrust = "../x"', "no such folder"),
    "no coverage": ('[[policy]]\nname = "x"\ncoverage = "some"', "some"),
    "no flag": ('[[policy]]\nname = "x"\nrequires_xades = 1', "true or false"),
    "twice": ('[[policy]]\nname = "x"\nsenders = ["H99"]\n[[policy]]\nname = "y"\nsenders = ["H99"]', "twice: H99"),
    "no TOML": ("[[policy", "Expected"),
    "no tables": ("policy = 3", "tables"),
}


@pytest.mark.parametrize(("wrong", "why"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_file_of_policies_is_told_why(tmp_path: Path, wrong: str, why: str) -> None:
    (tmp_path / "policies.toml").write_text(wrong)
    with pytest.raises(PoliciesInvalid) as caught:
        read_policies(tmp_path)
    assert why in caught.value.params["why"]
    assert "{" not in caught.value.text(Language.VI)


def test_policies_differ_from_everyones_where_they_say_so(tmp_path: Path) -> None:
    (tmp_path / "khac").mkdir()
    (tmp_path / "policies.toml").write_text(
        '[[policy]]\nname = "khac"\nsenders = ["H98.01"]\ntrust = "khac"\ncoverage = "header"\nrequires_xades = true\n'
        'digests = ["SHA512"]\n'
    )
    policies = read_policies(tmp_path)
    (own,) = policies.of_senders.values()
    assert (own.coverage, own.requires_xades, [one.name for one in own.digest_algorithms]) == (
        Coverage.HEADER,
        True,
        ["SHA512"],
    )
    assert policies.default.coverage is Coverage.WHOLE
    assert policies.of(None) is policies.default


def test_the_look_sees_every_form_and_across_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edxml.sign.looking.PIECE", 7)
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        for blanks in range(20):
            assert may_bear_signature(io.BytesIO((" " * blanks + "<ds:Signature>").encode(encoding))), encoding
    assert not may_bear_signature(io.BytesIO(b"<edXML>" + b"Signatur e" * 50))


def test_a_mime_message_is_not_looked_into() -> None:
    head = b"MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=x\r\n\r\n--x\r\n"
    assert not may_bear_signature(io.BytesIO(head + b"<ds:Signature/>"))


def test_every_verdict_has_a_standing_and_a_text(house: House) -> None:
    for verdict in Verdict:
        with house.node.store.write() as connection:
            row = "INSERT INTO signature_verdicts VALUES (?, ?, '', '', '', '', '', ?, NULL, 1)"
            tell(connection, row, verdict, verdict, False)
    with house.node.store.read() as connection:
        lines = views.verdicts(connection, list(Verdict))
    assert {line.standing for line in lines} >= {"valid", "bad", "open", "decorative"}
    assert len(lines) == len(Verdict)
