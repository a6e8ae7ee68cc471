"""Tokens for tests: real PKCS#11 by SoftHSM, in a folder of the process's own, made with the tools that people use.

SoftHSM reads its configuration when the library is first loaded, so a test process has one folder for all its tokens.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pkcs11

from edxml.sign.certificates import der_of
from tests.support.certificates import Issued
from tests.support.leaving import folder_of_this_process
from tests.support.processes import need_program

__all__ = ["SoftToken", "moody_driver", "soft_driver"]

_SOURCE = Path(__file__).with_name("moody_token.c")


@cache
def soft_driver() -> Path:
    """The library of SoftHSM, with a folder for this process's tokens."""
    need_program("softhsm2-util", "softhsm2")
    need_program("pkcs11-tool", "opensc")
    folder = folder_of_this_process("tokens")
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    return next(Path("/usr/lib").glob("**/softhsm/libsofthsm2.so"))


@cache
def moody_driver() -> Path:
    """A driver in front of SoftHSM that locks PINs and can be unplugged (moody_token.c); built once a process."""
    need_program("gcc", "gcc")
    folder = folder_of_this_process("driver")
    os.environ["MOODY_BEHIND"] = shutil.copy(soft_driver(), folder)  # a second one: a library is initialised once
    os.environ["MOODY_AWAY"] = str(folder / "away")
    library = folder / "moody.so"
    run("gcc", "-shared", "-fPIC", "-w", "-o", library, _SOURCE)
    return library


def run(*command: str | Path) -> str:
    """What a program writes; the test fails where the program does."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftToken:
    """One token with the PIN 1234, its PIN file, and what may be done to it."""

    label: str
    pin_file: Path
    driver: Path

    @classmethod
    def make(cls, label: str, folder: Path, *, driver: Path | None = None) -> SoftToken:
        """An empty token. Labels are unique within a test process."""
        soft_driver()
        run("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", "1234", "--so-pin", "123456")
        pin_file = folder / f"{label}.pin"
        pin_file.write_text("1234\n")
        pin_file.chmod(0o600)
        token = cls(label=label, pin_file=pin_file, driver=driver or soft_driver())
        token.notice()
        return token

    def notice(self) -> None:
        """Have the library of this process look at the tokens anew: every session in it is lost by that."""
        pkcs11.lib(str(self.driver)).reinitialize()

    def uri(self, key: str) -> str:
        """Where the key of that label lies."""
        return f"pkcs11:token={self.label};object={key}?module-path={self.driver}&pin-source=file:{self.pin_file}"

    def put(self, key: str, who: Issued, *, number: str = "01", has_certificate: bool = True) -> None:
        """Import a private key, and its certificate beside it."""
        pem, der = self.pin_file.with_suffix(".key"), self.pin_file.with_suffix(".der")
        pem.write_bytes(who.key_pem)
        run(
            "softhsm2-util", "--import", pem, "--token", self.label, "--label", key, "--id", number, "--pin", "1234",
        )  # fmt: skip
        if has_certificate:
            der.write_bytes(der_of(who.certificate))
            self.tool("--write-object", der, "--type", "cert", "--id", number, "--label", key)

    def tool(self, *arguments: str | Path) -> str:
        """`pkcs11-tool`, logged in to this token."""
        return run(
            "pkcs11-tool", "--module", soft_driver(), "--token-label", self.label, "--login", "--pin", "1234",
            *arguments,
        )  # fmt: skip
