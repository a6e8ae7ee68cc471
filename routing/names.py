"""Names as people type them: one folding for what is heard, one for what is written.

Official data itself writes Thuỷ and Thủy, Hoà and Hòa for the same place; clerks type without accents.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["fold_accents", "fold_tones"]

_TONES = frozenset("\u0300\u0301\u0303\u0309\u0323")  # huyền, sắc, ngã, hỏi, nặng
_WORD = re.compile(r"[^\W_]+(?:[\u0300-\u036f]+[^\W_]*)*")
_COMMITTEE = "ủy ban nhân dân"


def fold_tones(text: str) -> str:
    """`text` in small letters with each word's tone mark at the word's end, so that Thuỷ equals Thủy.

    Words are kept apart by single blanks, punctuation is dropped, "Ủy ban nhân dân" becomes "ubnd".
    """
    words = (_tone_last(word) for word in _WORD.findall(unicodedata.normalize("NFD", text.lower())))
    folded = " ".join(words)
    return f" {folded} ".replace(f" {_COMMITTEE_FOLDED} ", " ubnd ").strip()


def fold_accents(text: str) -> str:
    """`text` in small letters without any mark, đ as d: what is left when somebody types on a bare keyboard."""
    bare = "".join(c for c in unicodedata.normalize("NFD", fold_tones(text)) if not unicodedata.combining(c))
    return bare.replace("đ", "d").replace("uy ban nhan dan", "ubnd")


def _tone_last(word: str) -> str:
    letters = "".join(c for c in word if c not in _TONES)
    tones = "".join(c for c in word if c in _TONES)
    return unicodedata.normalize("NFC", letters) + tones


_COMMITTEE_FOLDED = " ".join(_tone_last(word) for word in unicodedata.normalize("NFD", _COMMITTEE).split())
