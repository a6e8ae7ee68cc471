"""Free texts out of JSON: what a person wrote must be able to travel in edXML; that is known before anything is done.

JSON can say characters that XML 1.0 cannot carry, NUL and other controls among them: a reason with one would be taken
here and refused when its status packet is written.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from edxml.characters import is_xml_text
from gateway.model.errors import BadRequest

__all__ = ["BAD_TEXT", "FreeText", "check_text"]

BAD_TEXT = "api.bad_text"
"""The refusal's code, which is also the type of pydantic's error."""


def check_text(where: str, text: str) -> str:
    """The text as it came. Raises BadRequest `api.bad_text`, naming the field `where`."""
    if not is_xml_text(text):
        raise BadRequest(BAD_TEXT, where=where)
    return text


def _validated(text: str) -> str:
    if not is_xml_text(text):
        raise PydanticCustomError(BAD_TEXT, "holds a character that XML 1.0 cannot carry")
    return text


FreeText = Annotated[str, AfterValidator(_validated)]
"""A text of a body or parameter that FastAPI reads; `BAD_TEXT` where it may not travel."""
