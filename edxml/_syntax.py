"""What libxml2's complaints mean, said in both languages: its own words are English alone."""

from __future__ import annotations

import re
from typing import Final

from lxml import etree

from edxml.messages import Term

__all__ = ["find_prefix", "say_why"]

_UNDECLARED: Final = int(etree.ErrorTypes.NS_ERR_UNDEFINED_NAMESPACE)
_PREFIX: Final = re.compile(r"Namespace prefix (\S{1,80})")

_MEANINGS: Final = {
    int(code): Term(f"xml.{reason}")
    for code, reason in (
        (etree.ErrorTypes.ERR_ATTRIBUTE_NOT_STARTED, "attribute_unquoted"),
        (etree.ErrorTypes.ERR_ATTRIBUTE_REDEFINED, "attribute_repeated"),
        (etree.ErrorTypes.ERR_ATTRIBUTE_WITHOUT_VALUE, "attribute_unquoted"),
        (etree.ErrorTypes.DTD_XMLID_VALUE, "id"),
        (etree.ErrorTypes.ERR_ATTRIBUTE_NOT_FINISHED, "attribute_unquoted"),
        (etree.ErrorTypes.ERR_COMMENT_NOT_FINISHED, "comment"),
        (etree.ErrorTypes.ERR_DOCUMENT_EMPTY, "no_root"),
        (etree.ErrorTypes.ERR_DOCUMENT_END, "after_root"),
        (etree.ErrorTypes.ERR_ENCODING_NAME, "prolog"),
        (etree.ErrorTypes.ERR_ENTITYREF_SEMICOL_MISSING, "reference"),
        (etree.ErrorTypes.ERR_EQUAL_REQUIRED, "attribute_broken"),
        (etree.ErrorTypes.ERR_GT_REQUIRED, "tag_open"),
        (etree.ErrorTypes.ERR_HYPHEN_IN_COMMENT, "comment"),
        (etree.ErrorTypes.ERR_INVALID_CHAR, "character"),
        (etree.ErrorTypes.ERR_INVALID_CHARREF, "reference"),
        (etree.ErrorTypes.ERR_INVALID_DEC_CHARREF, "reference"),
        (etree.ErrorTypes.ERR_INVALID_HEX_CHARREF, "reference"),
        (etree.ErrorTypes.ERR_LITERAL_NOT_FINISHED, "prolog"),
        (etree.ErrorTypes.ERR_LITERAL_NOT_STARTED, "prolog"),
        (etree.ErrorTypes.ERR_LT_IN_ATTRIBUTE, "less_than"),
        (etree.ErrorTypes.ERR_MISPLACED_CDATA_END, "section_end"),
        (etree.ErrorTypes.ERR_NAME_REQUIRED, "attribute_broken"),
        (etree.ErrorTypes.ERR_NAME_TOO_LONG, "name_long"),
        (etree.ErrorTypes.ERR_NS_DECL_ERROR, "namespace"),
        (etree.ErrorTypes.ERR_PI_NOT_FINISHED, "instruction"),
        (etree.ErrorTypes.ERR_PI_NOT_STARTED, "instruction"),
        (etree.ErrorTypes.ERR_RESERVED_XML_NAME, "declaration_late"),
        (etree.ErrorTypes.ERR_SPACE_REQUIRED, "attribute_broken"),
        (etree.ErrorTypes.ERR_STANDALONE_VALUE, "prolog"),
        (etree.ErrorTypes.ERR_STRING_NOT_CLOSED, "prolog"),
        (etree.ErrorTypes.ERR_STRING_NOT_STARTED, "prolog"),
        (etree.ErrorTypes.ERR_TAG_NAME_MISMATCH, "tag_mismatch"),
        (etree.ErrorTypes.ERR_UNKNOWN_VERSION, "prolog"),
        (etree.ErrorTypes.ERR_VERSION_MISSING, "prolog"),
        (etree.ErrorTypes.ERR_XMLDECL_NOT_FINISHED, "prolog"),
        (etree.ErrorTypes.NS_ERR_ATTRIBUTE_REDEFINED, "attribute_repeated"),
        (etree.ErrorTypes.NS_ERR_COLON, "colon"),
        (etree.ErrorTypes.NS_ERR_EMPTY, "namespace"),
        (etree.ErrorTypes.NS_ERR_QNAME, "colon"),
        (etree.ErrorTypes.NS_ERR_XML_NAMESPACE, "namespace"),
        (etree.ErrorTypes.WAR_NS_URI, "namespace_name"),
        (etree.ErrorTypes.WAR_NS_URI_RELATIVE, "namespace_name"),
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
    return meant or _MEANINGS.get(error.code) or Term("xml.other")


def find_prefix(code: int, words: str) -> str | None:
    """The prefix that no declaration covers, where that is what libxml2 complains of."""
    if code != _UNDECLARED:
        return None
    found = _PREFIX.match(words)
    return found[1] if found else "edXML"
