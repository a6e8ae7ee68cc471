"""One Vietnamese word for each state: in the message catalogue, the glossary, the README and the reference.

The glossary's table of states is the list; whatever else names a state says the same word.
"""

from __future__ import annotations

import re
from string import Formatter

import pytest

from edxml.messages import Language, catalogue
from gateway.account import Fate
from gateway.model.states import DeliveryState
from tests.unit.house.sources import HOUSE

_TEXTS = catalogue("gateway", Language.VI)
_PARTS = ("accepted", *Fate)


def glossary() -> dict[str, str]:
    """State → its Vietnamese word, as the glossary has them."""
    table = (HOUSE / "docs/glossary.md").read_text("utf-8").split("\n## States")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", table, re.MULTILINE))


def test_the_glossary_has_every_state_once() -> None:
    words = glossary()
    assert set(words) == {"accepted", "open", *DeliveryState}
    assert len(set(words.values())) == len(words)


@pytest.mark.parametrize("part", _PARTS)
def test_the_account_says_the_word_of_the_glossary(part: str) -> None:
    assert _TEXTS[f"column.{part}"].lower() == glossary()[part]


@pytest.mark.parametrize("state", DeliveryState)
def test_a_document_says_the_word_of_the_glossary(state: DeliveryState) -> None:
    assert _TEXTS[f"state.{state}"] == glossary()[state]


def test_the_end_of_a_proof_says_the_words_of_the_glossary() -> None:
    words = glossary()
    said = {name: text for text, name, _, _ in Formatter().parse(_TEXTS["prove_told.last"]) if name in _PARTS}
    assert {name: text.strip(" ,:") for name, text in said.items()} == {part: words[part] for part in _PARTS}


def test_the_readme_says_the_words_of_the_glossary() -> None:
    words = glossary()
    account = " + ".join(words[fate] for fate in Fate)
    readme = " ".join((HOUSE / "README.vi.md").read_text("utf-8").split())
    assert f"{words['accepted']} = {account}" in readme


@pytest.mark.parametrize("state", DeliveryState)
def test_the_page_of_states_says_the_word_of_the_glossary(state: DeliveryState) -> None:
    page = (HOUSE / "docs/reference/states.md").read_text("utf-8")
    assert f"| `{state}` | {glossary()[state]} |" in page
