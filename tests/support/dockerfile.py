"""A Dockerfile, read: stages of instructions, for checks and for carrying the steps out where no Docker engine is."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["Instruction", "Stage", "complaints", "read_stages"]

_KNOWN: Final = frozenset(
    ["ARG", "FROM", "RUN", "COPY", "ENV", "WORKDIR", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"]
)  # what the runner can carry out: anything else would be skipped unseen


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction, its line in the file, and its text after the word, continuation lines joined."""

    word: str
    text: str
    line: int

    def exec_form(self) -> list[str] | None:
        """The words of a JSON array; None where it is a shell's sentence."""
        options, bracket, rest = self.text.partition("[")
        if not bracket or not re.fullmatch(r"(--\S+\s+)*(CMD\s+)?", options):
            return None
        try:
            return list(json.loads(bracket + rest))
        except ValueError:
            return None


@dataclass(slots=True, kw_only=True)
class Stage:
    """From one FROM to the next. `base` has the arguments put in."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def last(self, word: str) -> Instruction | None:
        """The instruction that counts where the last one does (USER, CMD, …)."""
        return next((each for each in reversed(self.instructions) if each.word == word), None)

    def environment(self) -> dict[str, str]:
        """Everything that ENV sets."""
        pairs = [pair for each in self.instructions if each.word == "ENV" for pair in shlex.split(each.text)]
        return dict(pair.split("=", 1) for pair in pairs)


def _instructions(path: Path) -> list[Instruction]:
    found: list[Instruction] = []
    parts: list[str] = []
    begun = 0
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        begun = begun if parts else number
        parts.append(line.strip().removesuffix("\\").strip())
        if not line.rstrip().endswith("\\"):
            word, _, text = " ".join(parts).partition(" ")
            found.append(Instruction(word=word.upper(), text=text, line=begun))
            parts = []
    return found


def read_stages(path: Path) -> list[Stage]:
    """The stages of a Dockerfile. Raises AssertionError for an instruction that is not known here."""
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for each in _instructions(path):
        assert each.word in _KNOWN, f"line {each.line}: {each.word} is not known here"
        if each.word == "ARG" and not stages:
            name, _, value = each.text.partition("=")
            arguments[name] = value
        elif each.word == "FROM":
            base, _, name = each.text.partition(" AS ")
            stages.append(Stage(base=re.sub(r"\$\{(\w+)\}", lambda m: arguments[m[1]], base), name=name))
        else:
            stages[-1].instructions.append(each)
    return stages


def complaints(stages: list[Stage]) -> list[str]:
    """What is wrong with the file, by the rules that linters of Dockerfiles share and the house's own."""
    found: list[str] = []
    for stage in stages:
        tag = stage.base.rpartition("/")[2].partition(":")[2]
        if tag in ("", "latest") and "@sha256:" not in stage.base:
            found.append(f"{stage.base}: no fixed tag")
        for each in stage.instructions:
            found += [f"line {each.line}: {fault}" for fault in _faults(each)]
    return found + _faults_of_the_last(stages[-1])


def _faults(each: Instruction) -> list[str]:
    text = each.text
    if each.word == "RUN":
        tests = {
            "apt-get install without --no-install-recommends": "apt-get install" in text
            and "--no-install-recommends" not in text,
            "package lists are left behind": "apt-get update" in text and "rm -rf /var/lib/apt/lists/*" not in text,
            "apt-get install without update in the same step": "apt-get install" in text
            and "apt-get update" not in text,
            "sudo": "sudo " in text,
            "fetches by itself": bool(re.search(r"\b(curl|wget|git clone)\b", text)),
            "a failed step is passed over": " ; " in text or "|| true" in text,
            "pip without hashes or without its index closed": any(map(_fetches_unpinned, text.split("&&"))),
        }
        return [fault for fault, is_so in tests.items() if is_so]
    if each.word == "COPY" and text.split()[-2:-1] == ["."]:
        return ["copies the whole tree"]
    if each.word in ("CMD", "ENTRYPOINT", "HEALTHCHECK") and each.exec_form() is None:
        return [f"{each.word} as a shell's sentence: the shell would be process 1 and keep the signals"]
    if each.word == "ENV" and re.search(r"(PASSWORD|TOKEN|SECRET|KEY)=", text):
        return ["a secret in the image"]
    if each.word == "WORKDIR" and not text.startswith("/"):
        return ["WORKDIR is not absolute"]
    return []


def _fetches_unpinned(command: str) -> bool:
    """Whether pip may take what no hash names: our own tree is built from what is there."""
    closed = ("--require-hashes", "--no-index", "--no-build-isolation")
    return bool(re.search(r"\bpip .*\b(install|wheel) ", command)) and not any(word in command for word in closed)


def _faults_of_the_last(stage: Stage) -> list[str]:
    found = [f"the image has no {word}" for word in ("USER", "HEALTHCHECK", "ENTRYPOINT") if stage.last(word) is None]
    user = stage.last("USER")
    if user is not None and not re.fullmatch(r"[1-9]\d*:[1-9]\d*", user.text):
        found.append(f"USER {user.text}: not a number above 0, so that nobody can check that it is not root")
    if any(each.word == "RUN" and "pip" in each.text for each in stage.instructions):
        found.append("the image itself is built with pip: what built it stays in it")
    return found
