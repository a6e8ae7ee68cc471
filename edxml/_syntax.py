"""What libxml2's commonest complaints mean, so that both languages can say it; of others its own words are told."""

from __future__ import annotations

from typing import Final

from lxml import etree

from edxml.messages import Term

__all__ = ["say_why"]

_MEANINGS: Final = {
    int(code): Term(f"xml.{reason}")
    for code, reason in (
        (etree.ErrorTypes.ERR_ATTRIBUTE_NOT_STARTED, "attribute_unquoted"),
        (etree.ErrorTypes.ERR_ATTRIBUTE_REDEFINED, "attribute_repeated"),
        (etree.ErrorTypes.ERR_ATTRIBUTE_WITHOUT_VALUE, "attribute_unquoted"),
        (etree.ErrorTypes.ERR_DOCUMENT_EMPTY, "no_root"),
        (etree.ErrorTypes.ERR_DOCUMENT_END, "after_root"),
        (etree.ErrorTypes.ERR_HYPHEN_IN_COMMENT, "comment"),
        (etree.ErrorTypes.ERR_INVALID_CHAR, "character"),
        (etree.ErrorTypes.ERR_LT_IN_ATTRIBUTE, "less_than"),
        (etree.ErrorTypes.ERR_MISPLACED_CDATA_END, "section_end"),
        (etree.ErrorTypes.ERR_NAME_TOO_LONG, "name_long"),
        (etree.ErrorTypes.ERR_RESERVED_XML_NAME, "declaration_late"),
        (etree.ErrorTypes.ERR_TAG_NAME_MISMATCH, "tag_mismatch"),
    )
}
_BY_WORDS: Final = (
    ("xmlParseEntityRef: no name", Term("xml.ampersand")),
    ("StartTag: invalid element name", Term("xml.less_than")),
)
"""Codes that stand for several faults."""


def say_why(error: etree.XMLSyntaxError) -> str:
    """Why a text is not well-formed, as the parameter of a message."""
    words = (error.msg or "").split(", line ")[0]
    meant = next((term for begin, term in _BY_WORDS if words.startswith(begin)), None)
    return meant or _MEANINGS.get(error.code) or words
