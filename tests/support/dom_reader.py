"""A second reader for tests: a whole tree, plain look-ups, none of the library's code. Says what ours must say of it.

It knows the header of dialects A and B as far as `CODES` go: values as texts, findings as (code, path, line).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lxml import etree

__all__ = ["CODES", "DomReader"]

NS = "{http://www.mic.gov.vn/TBT/QCVN_102_2016}"
ORGAN = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:\-]{0,74}")
_PERSON = {"Department", "Staff", "Email", "Mobile", "DepartmentId", "StaffId"}
_AGENCY = {"OrganId", "OrganName", "OrganizationInCharge", "OrganAdd", "Email", "Telephone", "Fax", "Website"}
GROUPS = {
    "From": _AGENCY,
    "To": _AGENCY,
    "Code": {"CodeNumber", "CodeNotation"},
    "PromulgationInfo": {"Place", "PromulgationDate"},
    "DocumentType": {"Type", "TypeDetail", "TypeName"},
    "SignerInfo": {"Competence", "Position", "FullName"},
    "ResponseFor": {"OrganId", "Code", "PromulgationDate", "DocumentId"},
    "StaffInfo": _PERSON,
    "OtherInfo": {
        "Priority", "SphereOfPromulgation", "TyperNotation", "PromulgationAmount", "PageAmount", "Direction",
        "Appendixes", "ReplyFors", "ReferenceCodes", "Secret",
    },
}  # fmt: skip
LEAVES = {"DocumentId", "Subject", "Content", "DueDate", "SteeringType", "ApplicationType", "ToPlaces"}
ONCE = (GROUPS.keys() | LEAVES | {"StatusCode", "Description", "Timestamp"}) - {"To", "ResponseFor"}
MANY = {"To", "ResponseFor", "ResponseForTask"}
STATUS_CODES = {"01", "02", "03", "04", "05", "06", "13", "15", "16"}
CODES = frozenset(
    f"edxml.{code}"
    for code in (
        "element_unknown", "element_repeated", "organ_id_missing", "organ_id_malformed", "document_id_missing",
        "document_id_malformed", "sender_missing", "recipient_missing", "response_for_missing", "priority_unknown",
        "steering_type_unknown", "number_unreadable", "status_code_unknown",
    )
)  # fmt: skip
"""What this reader knows of."""
Said = tuple[str, str, int]


def name_of(element: Any) -> str:
    return str(element.tag).removeprefix(NS)


class DomReader:
    """One packet whose MessageHeader stands where it should."""

    def __init__(self, data: bytes) -> None:
        parser = etree.XMLParser(resolve_entities=False, remove_comments=True, remove_pis=True, huge_tree=True)
        self.header: Any = etree.fromstring(data, parser).find(f"{NS}edXMLEnvelope/{NS}edXMLHeader/{NS}MessageHeader")
        self.is_status = self.header.find(f"{NS}StatusCode") is not None

    def text(self, path: str) -> str:
        """The trimmed text at a path below the header, of the first that stands there; empty where nothing does."""
        return (self.header.findtext("/".join(NS + step for step in path.split("/"))) or "").strip()

    def texts(self, path: str) -> list[str]:
        """The same of all that stand there, empty ones left out."""
        found = self.header.iterfind("/".join(step if step == "*" else NS + step for step in path.split("/")))
        return [text for element in found if (text := (element.text or "").strip())]

    def findings(self) -> set[Said]:
        """What is wrong, as far as this reader knows."""
        header = set(self._children(self.header, ONCE | MANY, MANY))
        return header | set(self._status() if self.is_status else self._document())

    def _first(self, name: str) -> Any:
        return self.header.find(NS + name)

    def _document(self) -> Iterator[Said]:
        for name in ("From", "Code", "PromulgationInfo", "DocumentType", "SignerInfo", "OtherInfo"):
            if (group := self._first(name)) is not None:
                yield from self._children(group, GROUPS[name])
        yield from self._agency("From", "sender_missing")
        recipients = self.header.findall(f"{NS}To")
        for recipient in recipients:
            yield from self._children(recipient, _AGENCY)
            yield from self._organ(recipient, is_required=True)
        if not recipients:
            yield self._say("recipient_missing", self.header, "To")
        own = self.text("DocumentId")
        if not own:
            yield self._say("document_id_missing", self.header, "DocumentId")
        elif len(own) > 75:
            yield self._say("document_id_malformed", self._first("DocumentId"))
        for response in self.header.findall(f"{NS}ResponseFor"):
            yield from self._response(response)
        yield from self._codes()

    def _codes(self) -> Iterator[Said]:
        other = self._first("OtherInfo")
        if self.text("OtherInfo/Priority") not in {"", *"01234"}:
            yield self._say("priority_unknown", other)
        for name in ("PromulgationAmount", "PageAmount"):
            if not re.fullmatch("[0-9]{0,9}", self.text(f"OtherInfo/{name}")):
                yield self._say("number_unreadable", other)
        if self.text("SteeringType") not in {"", *"012"}:
            yield self._say("steering_type_unknown", self._first("SteeringType"))

    def _status(self) -> Iterator[Said]:
        responses = self.header.findall(f"{NS}ResponseFor")
        if len(responses) > 1:
            yield self._say("element_repeated", responses[1])
        is_empty = not responses or not any((child.text or "").strip() for child in responses[0])
        if is_empty:
            yield self._say("response_for_missing", self.header, "ResponseFor")
        if responses:
            yield from self._response(responses[0])
        if not is_empty and not (responses[0].findtext(f"{NS}OrganId") or "").strip():
            yield self._say("organ_id_missing", responses[0])
        is_known = self.text("StatusCode").rjust(2, "0").replace("14", "15") in STATUS_CODES
        if not is_known:
            yield self._say("status_code_unknown", self._first("StatusCode"))
        yield from self._agency("From", "sender_missing")
        if (sender := self._first("From")) is not None:
            yield from self._children(sender, _AGENCY)
            if is_known and not is_empty and (staff := self._first("StaffInfo")) is not None:
                yield from self._children(staff, _PERSON)  # looked at only where a status can be made

    def _agency(self, name: str, missing: str) -> Iterator[Said]:
        agency = self._first(name)
        if agency is None:
            yield self._say(missing, self.header, name)
        else:
            yield from self._organ(agency, is_required=True)

    def _response(self, response: Any) -> Iterator[Said]:
        yield from self._children(response, GROUPS["ResponseFor"])
        yield from self._organ(response, is_required=False)
        if len((response.findtext(f"{NS}DocumentId") or "").strip()) > 75:
            yield self._say("document_id_malformed", response)

    def _organ(self, holder: Any, *, is_required: bool) -> Iterator[Said]:
        text = (holder.findtext(f"{NS}OrganId") or "").strip()
        if text and (not ORGAN.fullmatch(text) or text.upper() == "NULL"):
            yield self._say("organ_id_malformed", holder)
        elif not text and is_required:
            yield self._say("organ_id_missing", holder)

    def _children(self, parent: Any, known: set[str], many: set[str] = frozenset()) -> Iterator[Said]:  # type: ignore[assignment]
        seen: set[str] = set()
        for child in parent:
            name = name_of(child)
            if name not in known:
                yield self._say("element_unknown", child)
            elif name in seen and name not in many:
                yield self._say("element_repeated", child)
            seen.add(name)

    def _say(self, code: str, element: Any, child: str = "") -> Said:
        steps = [child] if child else []
        line = element.sourceline
        while element is not None:
            parent = element.getparent()
            alike = [] if parent is None else [one for one in parent if one.tag == element.tag]
            steps.append(name_of(element) + (f"[{alike.index(element) + 1}]" if len(alike) > 1 else ""))
            element = parent
        return f"edxml.{code}", "/".join(reversed(steps)), line
