"""Names of repairs only grow: profiles and sums in kept databases hold them, and no node reads one that is gone."""

from __future__ import annotations

from edxml.profiles import REPAIRS

KEPT = frozenset(
    {
        "attachment_id_doubled", "attachment_id_missing", "attachment_name_missing", "base64_padding", "bom",
        "business_before_trace", "business_kind_missing", "business_missing", "business_spelling",
        "cid_prefix_mismatch", "content_cdata", "content_type_mismatch", "date_form", "date_impossible",
        "document_id_derived", "empty_response_for", "encoded_unprefixed", "encoding_misdeclared",
        "junk_before_prolog", "mime_bare_lf", "mime_boundary_undeclared", "mime_encoding_undeclared",
        "mime_text_outside", "namespace_missing", "priority_words", "root_case", "soap_envelope",
        "soap_old_names", "status_code_14", "status_code_short", "trace_missing", "trace_organ_missing",
        "trace_organ_null", "trace_organ_unreadable", "utf16", "wrapper_missing", "zip_unwrapped",
    }
)  # fmt: skip
"""Every name that was ever given. A repair that is made no more keeps its entry and its texts."""


def test_no_name_of_a_repair_has_gone() -> None:
    assert REPAIRS >= KEPT
