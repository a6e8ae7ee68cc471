"""How strictly a packet is read, as data: which named repairs are forbidden (hồ sơ kiểm tra)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LENIENT", "REPAIRS", "STRICT", "Profile"]

REPAIRS = frozenset(
    (
        "attachment_id_doubled",
        "attachment_id_missing",
        "attachment_name_missing",
        "base64_padding",
        "bom",
        "business_before_trace",
        "business_kind_missing",
        "business_missing",
        "business_spelling",
        "cid_prefix_mismatch",
        "content_cdata",
        "content_type_mismatch",
        "date_form",
        "date_impossible",
        "empty_response_for",
        "encoded_unprefixed",
        "encoding_misdeclared",
        "junk_before_prolog",
        "namespace_missing",
        "root_case",
        "status_code_14",
        "status_code_short",
        "trace_missing",
        "trace_organ_missing",
        "trace_organ_null",
        "trace_organ_unreadable",
        "wrapper_missing",
        "zip_unwrapped",
    )
)
"""Every repair that reading may make; each has a text `repair.<name>` in both languages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A named strictness. A forbidden repair becomes an error `edxml.repair_forbidden` at its place."""

    name: str
    forbidden: frozenset[str]


STRICT = Profile(name="strict", forbidden=REPAIRS)
LENIENT = Profile(name="lenient", forbidden=frozenset())
