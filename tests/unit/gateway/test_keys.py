"""The seal ring on disk: made once, replaced with overlap, whole after a kill at every step."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edxml.crashpoints import ENVIRONMENT
from edxml.messages import Language
from edxml.seal import SealStatement, make_seal, open_seal, verify_seal
from edxml.sign import SigningKeyInvalid
from gateway.keys import (
    Keyring,
    KeysAway,
    KeysDamaged,
    KeysExposed,
    KeysMissing,
    KeyState,
    KeysUnfit,
    load_ring,
    make_keys,
    open_pair,
    rotate_keys,
)
from tests.support.certificates import Authority

DAY = timedelta(days=1)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def now() -> datetime:
    return datetime.now(UTC)


def statement(at: datetime) -> SealStatement:
    return SealStatement(
        packet_id="p", node="nut-thu", packet_digest="ab" * 32, size=1, attachments=(), sender="H99.01",
        recipients=("H99.02",), accepted_at=at,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "keys"
    make_keys(made, "nut-thu")
    return made


def test_keys_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    assert make_keys(folder, "nut-thu")
    first = contents(folder)
    assert set(first) == {"seal.key", "seal.crt"}
    assert not make_keys(folder, "nut-thu")
    assert contents(folder) == first
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert Keyring(folder).key_at(now())


@pytest.mark.fault
@pytest.mark.parametrize("point", ["keys.key_written", "keys.certificate_written"])
def test_killed_while_making_keys_the_next_start_has_a_whole_pair(tmp_path: Path, point: str) -> None:
    folder = tmp_path / "keys"
    kill_at(point, "make_keys(folder, 'nut-thu')", folder)
    is_whole = point == "keys.certificate_written"
    assert make_keys(folder, "nut-thu") is not is_whole
    assert Keyring(folder).key_at(now())


def kill_at(point: str, call: str, folder: Path) -> None:
    code = (
        "import sys; from datetime import *; from pathlib import Path; from gateway.keys import *;"
        f"folder = Path(sys.argv[1]); now = datetime.now(UTC); {call}"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, str(folder)], env={**os.environ, ENVIRONMENT: point}, check=False
    )
    assert killed.returncode == -signal.SIGKILL


def test_a_lost_key_is_never_replaced_in_silence(folder: Path) -> None:
    (folder / "seal.key").unlink()
    with pytest.raises(KeysMissing):
        make_keys(folder, "nut-thu")
    with pytest.raises(KeysMissing):
        Keyring(folder)
    with pytest.raises(KeysMissing):
        load_ring(folder.parent / "nowhere")


def test_a_key_that_others_can_read_is_not_used(folder: Path) -> None:
    (folder / "seal.key").chmod(0o640)
    with pytest.raises(KeysExposed) as why:
        Keyring(folder)
    assert why.value.params["mode"] == "0640"


def test_key_and_certificate_of_different_pairs_are_damaged(tmp_path: Path) -> None:
    make_keys(tmp_path / "a", "nut-thu")
    make_keys(tmp_path / "b", "nut-thu")
    (tmp_path / "a" / "seal.crt").write_bytes((tmp_path / "b" / "seal.crt").read_bytes())
    with pytest.raises(KeysDamaged):
        Keyring(tmp_path / "a")
    (tmp_path / "b" / "seal.crt").write_bytes(b"no certificate")
    with pytest.raises(KeysDamaged):
        load_ring(tmp_path / "b")


# ---- rotation -------------------------------------------------------------------------------------------------------


def test_a_new_key_is_announced_takes_over_by_itself_and_both_verify(folder: Path) -> None:
    start, ring = now(), Keyring(folder)
    old = ring.key_at(start)
    begins = start + 7 * DAY
    pair, is_new = rotate_keys(folder, "nut-thu", begins=begins, now=start)
    assert is_new
    assert pair.begins == begins.replace(microsecond=0)
    assert ring.ring().state(pair, start) is KeyState.ANNOUNCED
    assert ring.key_at(start) is old, "announced, not used"
    before, after = pair.begins - timedelta(microseconds=1), pair.begins
    assert ring.key_at(before) is old
    new = ring.key_at(after)
    assert new.certificate == pair.certificate != old.certificate
    assert [ring.ring().state(one, after) for one in ring.ring().pairs] == [KeyState.FORMER, KeyState.CURRENT]
    known = [one.certificate for one in ring.ring().pairs]
    for moment, key in ((before, old), (after, new)):
        opened = open_seal(make_seal(statement(moment), key), trusted=known)
        assert opened.certificate == key.certificate, "the seal says by which key"


def test_a_repeat_announces_no_second_key(folder: Path) -> None:
    start = now()
    first, _ = rotate_keys(folder, "nut-thu", begins=start + 7 * DAY, now=start)
    before = contents(folder)
    again, is_new = rotate_keys(folder, "nut-thu", begins=start + 9 * DAY, now=start)
    assert (again, is_new) == (first, False)
    assert contents(folder) == before


def test_a_stolen_key_does_not_wait_for_the_one_that_is_announced(folder: Path) -> None:
    start = now()
    announced, _ = rotate_keys(folder, "nut-thu", begins=start + 7 * DAY, now=start)
    pair, is_new = rotate_keys(folder, "nut-thu", begins=start, now=start)
    assert is_new
    ring = load_ring(folder)
    assert ring.current(start) == pair
    assert ring.announced(start) == (announced,)


def test_a_pair_that_seals_already_is_never_written_over(folder: Path) -> None:
    start = now()
    first, _ = rotate_keys(folder, "nut-thu", begins=start, now=start)
    before = contents(folder)
    again, is_new = rotate_keys(folder, "nut-thu", begins=start, now=start)
    assert (again, is_new) == (first, False), "what it sealed meanwhile could not be verified any more"
    assert contents(folder) == before


def test_a_former_key_is_erased_a_day_after_and_its_certificate_stays(folder: Path) -> None:
    start = now()
    first, _ = rotate_keys(folder, "nut-thu", begins=start + DAY, now=start)
    soon = first.begins + DAY / 2
    rotate_keys(folder, "nut-thu", begins=soon + 9 * DAY, now=soon)
    assert (folder / "seal.key").exists(), "packets may still be on their way through the hop"
    later = first.begins + DAY
    rotate_keys(folder, "nut-thu", begins=later + 9 * DAY, now=later)
    assert not (folder / "seal.key").exists()
    ring = load_ring(folder)
    assert [pair.key_text is None for pair in ring.pairs] == [True, False, False]
    assert len(ring.pairs) == 3
    with pytest.raises(KeysMissing):
        open_pair(ring.pairs[0])


ROTATE = "rotate_keys(folder, 'nut-thu', begins=now + timedelta(days=3), now=now)"


@pytest.mark.fault
@pytest.mark.parametrize("point", ["keys.key_written", "keys.certificate_written"])
def test_killed_while_rotating_the_ring_is_usable_and_a_repeat_ends_it(folder: Path, point: str) -> None:
    kill_at(point, ROTATE, folder)
    ring = Keyring(folder)
    assert verify_seal(make_seal(statement(now()), ring.key_at(now())), certificates=[ring.ring().pairs[0].certificate])
    is_whole = point == "keys.certificate_written"
    assert len(ring.ring().pairs) == (2 if is_whole else 1), "a key without a certificate does not count"
    start = now()
    pair, is_new = rotate_keys(folder, "nut-thu", begins=start + 3 * DAY, now=start)
    assert is_new is not is_whole
    assert len(load_ring(folder).pairs) == 2
    assert {path.suffix for path in folder.iterdir()} == {".key", ".crt"}
    assert len(list(folder.iterdir())) == 4, "what the crash left is gone"
    assert open_pair(pair)


@pytest.mark.fault
def test_killed_after_erasing_a_former_key_the_ring_is_usable(folder: Path) -> None:
    start = now()
    first, _ = rotate_keys(folder, "nut-thu", begins=start, now=start)
    kill_at("keys.former_erased", f"now += timedelta(days=2); {ROTATE}", folder)
    assert not (folder / "seal.key").exists()
    assert Keyring(folder).key_at(now()).certificate == first.certificate
    _, is_new = rotate_keys(folder, "nut-thu", begins=start + 9 * DAY, now=start + 2 * DAY)
    assert not is_new, "it was announced before the process died"


def test_a_running_process_sees_a_change_at_once_and_later(folder: Path) -> None:
    ring = Keyring(folder)
    start = now()
    pair, _ = rotate_keys(folder, "nut-thu", begins=start, now=start)
    assert ring.key_at(pair.begins).certificate == pair.certificate
    time.sleep(1.1)  # the folder's time of change is believed by now
    assert ring.ring() is ring.ring(), "an unchanged folder is not read again"
    later, _ = rotate_keys(folder, "nut-thu", begins=start + DAY, now=pair.begins)
    assert ring.key_at(start + 2 * DAY).certificate == later.certificate


def test_two_changes_within_one_tick_are_both_seen(folder: Path) -> None:
    """File systems count time in ticks of milliseconds: the folder may look unchanged though it is not."""
    tick = time.time_ns()
    os.utime(folder, ns=(tick, tick))
    ring = Keyring(folder)
    start = now()
    pair, _ = rotate_keys(folder, "nut-thu", begins=start, now=start)
    os.utime(folder, ns=(tick, tick))
    assert ring.key_at(start).certificate == pair.certificate


def test_a_slip_in_the_folder_does_not_stop_a_running_process(folder: Path) -> None:
    ring = Keyring(folder)
    key = ring.key_at(now())
    (folder / "seal-20200101T000000Z.crt").write_bytes(b"no certificate")
    assert ring.key_at(now()) is key
    with pytest.raises(KeysDamaged):
        Keyring(folder)
    (folder / "seal-20200101T000000Z.crt").unlink()
    assert ring.key_at(now()) is key


def test_until_when_there_is_a_certificate(folder: Path) -> None:
    start = now()
    ring = load_ring(folder)
    assert ring.covered_until(start) == ring.pairs[0].certificate.not_valid_after_utc
    rotate_keys(folder, "nut-thu", begins=start + DAY, now=start, days=30)
    ring = load_ring(folder)
    assert ring.covered_until(start) == ring.pairs[1].certificate.not_valid_after_utc, "the later one takes over"
    gap = ring.pairs[1].certificate.not_valid_after_utc + DAY
    rotate_keys(folder, "nut-thu", begins=gap, now=start + 2 * DAY)
    assert load_ring(folder).covered_until(start + 2 * DAY) == gap - DAY, "nobody seals in the gap"


def test_a_pair_of_an_authority_is_taken_where_it_fits(folder: Path) -> None:
    authority = Authority("Seal root")
    who = authority.issue("nut-thu", days=(3650, 400))
    given = (who.key_pem, who.certificate_pem)
    until = who.certificate.not_valid_after_utc
    with pytest.raises(KeysUnfit):
        rotate_keys(folder, "nut-thu", begins=until, now=now(), given=given)
    other = authority.issue("nut-thu")
    for bad, reason in (
        ((other.key_pem, who.certificate_pem), "signing.certificate_of_other_key"),
        ((b"x", who.certificate_pem), "signing.key_unreadable"),
        ((who.key_pem, b"x"), "signing.certificate_unreadable"),
        ((b"pkcs11:token=a", who.certificate_pem), "signing.uri"),
    ):
        with pytest.raises(SigningKeyInvalid) as why:
            rotate_keys(folder, "nut-thu", begins=until - DAY, now=now(), given=bad)
        assert why.value.reason == reason
    rsa = authority.issue("nut-thu", kind="rsa", days=(3650, 400))
    with pytest.raises(SigningKeyInvalid, match="P-256"):
        rotate_keys(folder, "nut-thu", begins=until - DAY, now=now(), given=(rsa.key_pem, rsa.certificate_pem))
    assert len(load_ring(folder).pairs) == 1, "nothing of what was refused stays"
    pair, _ = rotate_keys(folder, "nut-thu", begins=until - DAY, now=now(), given=given)
    seal = make_seal(statement(until - DAY / 2), open_pair(pair))
    assert open_seal(seal, trusted=[authority.certificate]).chain[-1] == authority.certificate


def test_a_token_that_is_away_is_told_with_its_reason() -> None:
    why = KeysAway(SigningKeyInvalid("token_missing", token="hsm", module="/m"))
    assert why.retryable
    assert "“hsm”" in why.text(Language.VI)
    assert "“hsm”" in why.text(Language.EN)
