"""Each page that people wrote is in one language, and Vietnamese pages lead to Vietnamese ones.

A page is Vietnamese where its name ends in .vi.md, else it is in the language of most of its words.
Code, quotations, names of links and what stands in brackets may be in the other one. The glossary is of both.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.house.sources import HOUSE

_LETTER = re.compile("[ăâđêôơưàảãáạằẳẵắặầẩẫấậèẻẽéẹềểễếệìỉĩíịòỏõóọồổỗốộờởỡớợùủũúụừửữứựỳỷỹýỵ]", re.IGNORECASE)
_GENERATED = re.compile(r"<!-- generated: .*?<!-- end of generated -->", re.DOTALL)
_FENCED = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
_ASIDE = re.compile(
    r"^ {4}.*$|`[^`]*`|\[[^\]]*\]\([^)]*\)|\([^()]*\)|“[^”]*”|\"[^\"]*\"|\*[^*\n]+\*|<[^>]*>", re.MULTILINE
)
_END = re.compile(r"[.:;!?…]\s|\s/\s|\s·\s|\||\n *(?:[-*]|\d+\.) |\n#+ |\n\n")
_TITLE = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LEAST = 5
"""Words of a piece that is judged: a name or a term is in whatever language it has."""


def _pages() -> list[Path]:
    found = [path for path in (HOUSE / "docs").rglob("*.md") if path.name != "glossary.md"]
    top = [HOUSE / name for name in ("README.md", "README.vi.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [path for path in (*found, *top) if "<!-- Written by " not in path.read_text("utf-8")[:400]]


def _share(text: str) -> tuple[int, float]:
    """How many words, and which part of them has a letter that only Vietnamese has."""
    words = re.findall(r"[^\W\d_]{2,}", text)
    return len(words), sum(_LETTER.search(word) is not None for word in words) / max(len(words), 1)


def _in_the_other_language(text: str, *, is_vietnamese: bool | None = None) -> list[str]:
    """Pieces that are; None: the page is in the language of most of its words."""
    bare = _ASIDE.sub("", _FENCED.sub("", _GENERATED.sub("", text)))
    judged = [(" ".join(piece.split()), *_share(piece)) for piece in _END.split(bare)]
    judged = [one for one in judged if one[1] >= _LEAST]
    if is_vietnamese is None:
        is_vietnamese = sum(words * (1 if share > 0.3 else -1) for _, words, share in judged) > 0
    odd = [piece for piece, _, share in judged if (share < 0.1 if is_vietnamese else share > 0.5)]
    return odd + [line for line in _TITLE.findall(text) if _is_of_both(line)]


def _is_of_both(title: str) -> bool:
    """Whether a title is said twice, `Chạy / Run`, however short it is."""
    shares = [_share(part)[1] for part in re.split(r"\s[/·]\s", title)]
    return min(shares) < 0.1 and max(shares) > 0.5


@pytest.mark.parametrize("path", _pages(), ids=lambda path: str(path.relative_to(HOUSE)))
def test_a_page_is_in_one_language(path: Path) -> None:
    is_vietnamese = True if path.name.endswith(".vi.md") else None
    assert _in_the_other_language(path.read_text("utf-8"), is_vietnamese=is_vietnamese) == []


@pytest.mark.parametrize(
    ("text", "is_vietnamese", "odd"),
    [
        ("# Kênh tạm nghỉ / Channels that rest\n\nPausing and draining of channels.", False, 1),
        ("It rests. Hệ thống không mất văn bản nào cả. It goes on.", False, 1),
        ("Văn bản đã đến nơi nhận. The document has come to its recipient.", True, 1),
        ("| setting | means |\n| a | hệ thống không mất văn bản nào |", False, 1),
        ("It says “hệ thống không mất văn bản nào”, and the state (đã tiếp nhận tại nơi nhận) is `x`.", False, 0),
        ("```\n# hệ thống không mất văn bản nào\n```\nThe system loses no document at all.", False, 0),
    ],
)
def test_what_is_found(text: str, is_vietnamese: bool, odd: int) -> None:
    assert len(_in_the_other_language(text, is_vietnamese=is_vietnamese)) == odd


@pytest.mark.parametrize(
    "path", [path for path in _pages() if path.name.endswith(".vi.md")], ids=lambda path: str(path.relative_to(HOUSE))
)
def test_a_vietnamese_page_leads_to_vietnamese_ones(path: Path) -> None:
    """But for its own other half."""
    told = re.findall(r"\]\(([^)#:]+)\.md[)#]", path.read_text("utf-8"))
    names = [
        name for name in told if not name.endswith(".vi") and f"{path.parent / name}.vi" != str(path.with_suffix(""))
    ]
    assert [name for name in names if (path.parent / f"{name}.vi.md").exists()] == []
