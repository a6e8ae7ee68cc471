"""Free texts out of JSON: what a person wrote must be able to travel in edXML; that is known before anything is done.

JSON can say characters that XML 1.0 cannot carry, NUL and other controls among them: a reason with one would be taken
here and refused when its status packet is written.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from edxml.characters import is_xml_text

__all__ = ["FreeText", "Reason", "check_reason"]


def _validated(text: str) -> str:
    if not is_xml_text(text):
        raise PydanticCustomError("bad_text", "holds a character that XML 1.0 cannot carry")
    return text


FreeText = Annotated[str, AfterValidator(_validated)]
"""A text of a body or parameter; the fault `bad_text` where it may not travel."""


def check_reason(text: str) -> str:
    """The text as it came; the fault `no_reason` where it says nothing."""
    if not text.strip():
        raise PydanticCustomError("no_reason", "says nothing")
    return text


Reason = Annotated[FreeText, AfterValidator(check_reason)]
"""Why somebody refuses: never empty."""
