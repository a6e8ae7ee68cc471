"""Pages of docs/reference that repeat what edxml knows: schema, rules, repairs. Part of scripts/make_reference."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from edxml.findings import Severity
from edxml.messages import Language, text
from edxml.packet import Packet, Reference, StatusPacket
from edxml.profiles import LENIENT, REPAIR_KINDS, STRICT, Profile
from edxml.rules import DOCUMENT_RULES, READING_RULES, STATUS_RULES, ReadingRule, Rule, content
from edxml.rules.examples import TODAY, file
from edxml.rules.reading import example_bytes
from edxml.rules.rule import UNCHECKED
from scripts.packet_schema import DOCUMENT, STATUS, Part, Particle, load_part

__all__ = ["packet_repairs", "packet_rules", "packet_schema"]

_END = "</edXML:edXMLEnvelope>"
_WIDEST = 118
_SEVERITIES = {Severity.ERROR: "error: the packet is refused", Severity.WARNING: "warning"}


def packet_schema() -> str:
    """The page of the schema: each element with how often it stands, its values, and what it means."""
    page = (
        "# Lược đồ gói tin · Packet schema\n\n"
        "Our own XSD of QCVN 102:2016/BTTTT packets, `edxml/schema/document.xsd` and `status.xsd` (with `common.xsd`), "
        "namespace `http://www.mic.gov.vn/TBT/QCVN_102_2016`. It describes the strict form, as our writer writes it in "
        "dialects A (VNPT) and B (.NET). The standard's own tables are not public and it has no XSD: what stands here "
        "is what SDKs, official samples and implementers agree on. What a value must be beyond its form: "
        "[packet rules](packet-rules.md). A program asks `edxml.schema.check_stream(stream)` or "
        "`edxml.read(stream, check_schema=True)`.\n"
    )
    titles = {DOCUMENT: "Gói tin văn bản · Document packet", STATUS: "Gói tin trạng thái · Status packet"}
    head = "| element | times | value | tiếng Việt | English |\n| --- | --- | --- | --- | --- |"
    for kind, title in titles.items():
        root = load_part(kind)
        rows = "\n".join(_elements(root, 0, "1"))
        page += f"\n## {title}\n\n{head}\n{rows}\n"
        page += _orders(root)
    return page + _values()


def _elements(part: Part, depth: int, times: str) -> Iterator[str]:
    """The rows of one element and all below it."""
    value = "" if part.facets is None else f"[{part.facets.name}](#{part.facets.name.lower()})"
    if part.is_open:
        value = "anything"
    name = f"`{part.name}`" + "".join(f" `@{attribute}`" for attribute in sorted(part.attributes))
    indent = "· " * depth
    vi, en = part.about.get(Language.VI, ""), part.about.get(Language.EN, "")
    yield f"| {indent}{name} | {times} | {value} | {_plain(vi)} | {_plain(en)} |"
    children: dict[str, Particle] = {p.part.name: p for order in part.orders for p in order}
    for particle in children.values():
        always = all(any(p.part.name == particle.part.name for p in order) for order in part.orders)
        most = "n" if particle.most is None else str(particle.most)
        least = particle.least if always else 0
        yield from _elements(particle.part, depth + 1, most if str(least) == most else f"{least}..{most}")


def _orders(root: Part) -> str:
    """Where the order of children is fixed, and how."""
    lines = [
        f"- `{part.name}`: " + " or ".join(", ".join(f"`{p.part.name}`" for p in order) for order in part.orders)
        for part in _parts(root)
        if part.is_ordered and max(map(len, part.orders)) > 1
    ]
    return "\nOrder, where it is not free:\n\n" + "\n".join(dict.fromkeys(lines)) + "\n"


def _parts(part: Part) -> Iterator[Part]:
    yield part
    for particle in {p.part.name: p for order in part.orders for p in order}.values():
        yield from _parts(particle.part)


def _values() -> str:
    """The simple types of both schemas."""
    page = "\n## Values\n"
    found = {p.facets.name: p.facets for kind in (DOCUMENT, STATUS) for p in _parts(load_part(kind)) if p.facets}
    for name, facets in sorted(found.items()):
        page += f"\n### {name}\n\n- {_plain(facets.about[Language.VI])}\n- {_plain(facets.about[Language.EN])}\n"
        if facets.pattern is not None:
            page += f"- `{facets.pattern.pattern}`\n"
        if facets.longest is not None:
            page += f"- {facets.shortest} to {facets.longest} characters\n"
        for value, about in facets.values:
            page += f"- `{value}`" + (f": {about[Language.VI]} {about[Language.EN]}\n" if about else "\n")
    return page


def packet_rules() -> str:
    """The page of rules: per rule its severity, source, text in both languages, and what breaks it."""
    text = (
        "# Quy tắc kiểm tra gói tin · Packet rules\n\n"
        "Every rule beyond the [schema](packet-schema.md). *Error* refuses the packet; *warning* lets it go on and is "
        "told to its sender. The id is stable; a finding's code is `edxml.<id>`. In each example the line with `-` is "
        f"wrong and the one with `+` right (looked at on {TODAY:%Y-%m-%d}; codes H99.* belong to nobody). Rule book: "
        "`edxml.rules`; a program asks `edxml.validate(packet, today=…)`.\n\n"
        f"Sources: one marked *{UNCHECKED[1:-1]}* is cited from custom and memory, and a reader should look it up "
        "before leaning on it. Luật 80/2015/QH13 is cited for the form of acts' numbers; what later laws on normative "
        "acts say of it was not compared.\n"
    )
    for title, rules in _PARTS:
        text += f"\n## {title}\n"
        for rule in rules:
            text += _rule(rule)
    return text + _lengths()


_PARTS: tuple[tuple[str, tuple[Rule[Any] | ReadingRule, ...]], ...] = (
    ("Judged while reading", READING_RULES),
    ("Documents", DOCUMENT_RULES),
    ("Statuses", STATUS_RULES),
)


def _rule(rule: Rule[Any] | ReadingRule) -> str:
    return (
        f"\n### `{rule.id}`\n\n"
        f"*{_SEVERITIES[rule.severity]}* · {rule.source}\n\n"
        f"- {_plain(rule.text(Language.VI))}\n- {_plain(rule.text(Language.EN))}\n\n"
        "```diff\n" + "\n".join(_difference(rule)) + "\n```\n"
    )


def _plain(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*")


def _difference(rule: Rule[Any] | ReadingRule) -> Iterator[str]:
    """The lines that differ between the bad example and the good one."""
    bad = rule.bad.decode() if isinstance(rule, ReadingRule) else _shown(rule.bad)
    for row in difflib.unified_diff(bad.splitlines(), _shown(rule.good).splitlines(), n=0, lineterm=""):
        if not row.startswith(("---", "+++", "@@")) and row[1:].strip():
            text = row[0] + " " + row[1:].strip()
            yield text if len(text) <= _WIDEST else f"{text[: _WIDEST - 40]} … {text[-36:]}"


def _shown(packet: Packet | StatusPacket) -> str:
    """An example as XML, its manifest as the example has it (the writer would make a right one)."""
    text = example_bytes(packet).decode()
    if isinstance(packet, StatusPacket):
        return text
    listed = tuple(_listed(position, line) for position, line in enumerate(packet.references, 1))
    head = example_bytes(replace(packet, attachments=listed)).decode()
    return head.partition(_END)[0] + _END + text.partition(_END)[2]


def _listed(position: int, line: Reference) -> Any:
    return replace(file(position, line.name), content_id=line.content_id.removeprefix("cid:"))


def _lengths() -> str:
    """The table of lengths."""
    tables = (
        ("MessageHeader", content.LENGTHS),
        ("From, To", content.ORGANIZATION_LENGTHS),
        ("Bussiness", content.BUSINESS_LENGTHS),
        ("MessageHeader", {"place": content.PLACE_LENGTH}),
        ("MessageHeader (status)", content.STATUS_LENGTHS),
    )
    rows = [
        f"| {parent} | `{length.element}` | {length.limit} | {length.source} |"
        for parent, fields in tables
        for length in fields.values()
    ]
    head = "| in | element | characters | source |\n| --- | --- | --- | --- |\n"
    return (
        "\n## Lengths\n\nWhat `value_too_long` and `status_value_too_long` compare with.\n\n"
        + head
        + "\n".join(rows)
        + "\n"
    )


def packet_repairs() -> str:
    """The page of repairs and of the profiles that allow them."""
    page = (
        "# Sửa chữa khi đọc · Packet repairs\n\n"
        "What senders do wrong in known ways and reading puts right: the packet's bytes stay as they came, its values "
        "are read as its sender meant them, and the repair is recorded by name, with its place. A repair that the "
        "profile does not allow refuses the packet (`edxml.repair_forbidden`, or `edxml.repair_ended` after its last "
        "day). Registry: `edxml/data/profiles.toml`.\n"
    )
    for name, kind in REPAIR_KINDS.items():
        vi, en = (_plain(text(f"repair.{name}", language, {})) for language in (Language.VI, Language.EN))
        remedies = (_plain(text(f"remedy.{name}", language, {})) for language in (Language.VI, Language.EN))
        page += f"\n### `{name}`\n\n- {vi}\n- {en}\n- To do: {' · '.join(remedies)}\n"
        page += f"- Breaks: {kind.breaks}. Met: {_plain(kind.seen)}.\n"
    return page + _profiles()


def _profiles() -> str:
    page = (
        "\n## Profiles\n\nA profile is data: `[[profile.<name>]]` tables with `repairs` (names, or `*` for all "
        "`but` some), `senders` (absent: every sender), `until` (the last day; absent: no end) and `why`. With "
        "`schema = true` packets are held to our XSD as well, as `strict` does; such a profile allows no repair, since "
        "the XSD knows no exceptions. `Profile.allows(repair, sender, day)` decides; "
        "`load_profile(text, name)` reads an operator's own. A condition is met only where the sender could be read "
        "and the day is given (`read(…, profile=…, today=…)`).\n"
    )
    for profile in (STRICT, LENIENT):
        schema = "Holds packets to the XSD.\n\n" if profile.checks_schema else ""
        page += f"\n### Profile `{profile.name}`\n\n{schema}"
        page += "| repairs | senders | until | why |\n| --- | --- | --- | --- |\n"
        page += "\n".join(_allowances(profile)) + "\n"
    return page


def _allowances(profile: Profile) -> Iterator[str]:
    for one in profile.allowances:
        names = ", ".join(f"`{name}`" for name in sorted(one.repairs)) or "none"
        organs = ", ".join(sorted(organ.text for organ in one.senders)) or "every sender"
        yield f"| {names} | {organs} | {one.until or 'no end'} | {one.why} |"
