"""Examples for OpenAPI: every answer and every problem has one; a test holds each against its shape."""

from __future__ import annotations

from typing import Any

from edxml.messages import Language, text
from gateway.api.faults import FieldFault
from gateway.api.problems import PROBLEM_JSON, title_of

__all__ = ["EXAMPLES", "answer", "refusal", "refusals"]

_ID = "0199b3f0-7c1e-7a52-9d0b-3f6a1c2d4e5f"
_KEY = "0199b3f0-7c1f-7b11-8a2c-51d0c0de0001"
_AT = "2025-10-06T08:15:30.123+07:00"
_DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_DOCUMENT = "H99.01,2025/10/06,123/STC-VP"

_RECIPIENT = {
    "delivery_id": _ID, "agency_id": "na-xa-16690-2025", "organ_id": "H99.215", "state": "available",
    "reason": "planned", "leg": "direct", "readdressed_from": "",
}  # fmt: skip
_FILE = {
    "position": 1, "name": "123-STC-VP.signed.pdf", "content_type": "application/pdf", "digest": _DIGEST,
    "length": 15_021,
}  # fmt: skip
_ITEM = {
    "delivery_id": _ID, "key": _KEY, "packet_id": _ID, "document_id": _DOCUMENT, "kind": "new", "book": "documents",
    "status_code": "", "sender": "H99.01", "notation": "123/STC-VP", "subject": "V/v rà soát dự toán năm 2026",
    "is_urgent": False, "size": 20_480, "digest": _DIGEST, "accepted_at": _AT, "state": "available",
    "readdressed_from": "", "attachments": [_FILE],
}  # fmt: skip
_PACKET = {
    "packet_id": _ID, "kind": "new", "book": "documents", "document_id": _DOCUMENT, "sender_id": "na-so-stc",
    "sender": "H99.01", "notation": "123/STC-VP", "subject": "V/v rà soát dự toán năm 2026", "status_code": "",
    "is_urgent": False, "digest": _DIGEST, "size": 20_480, "accepted_at": _AT, "states": {"delivered": 1},
}  # fmt: skip
_SENT = {name: value for name, value in _PACKET.items() if name not in ("sender", "digest")}
_LINE = {
    "delivery_id": _ID, "agency_id": "na-xa-16690-2025", "agency_name": "UBND xã Trường Vinh", "organ_id": "H99.215",
    "state": "delivered", "was": "fetched", "reason": "confirmed",
    "reason_vi": text("delivery.confirmed", Language.VI, {}), "reason_en": text("delivery.confirmed", Language.EN, {}),
    "detail": "", "holder": "nobody", "since": _AT, "may_have_arrived": True, "status_code": "01", "leg": "direct",
    "readdressed_from": "", "tries": 0, "key": _KEY, "waits_for": "", "waits_until": None,
}  # fmt: skip
_AGENCY = {
    "agency_id": "na-so-stc", "kind": "department", "name": "Sở Tài chính", "within": "UBND tỉnh Nghệ An",
    "organ_id": "H99.01", "assumed": True, "note": "mã giả định", "is_in_force": True, "is_reachable": True,
    "valid_from": "2025-03-01", "valid_to": "2030-12-31", "successors": [],
    "codes": [
        {
            "scheme": "qd2020", "code": "H99.01", "valid_from": "2025-03-01", "valid_to": "2030-12-31", "assumed": True,
            "note": "mã giả định",
        }
    ],
}  # fmt: skip
_FINDING = {
    "code": "route.unknown_recipient", "severity": "error", "line": 21, "path": "edXML/…/MessageHeader/To[1]/OrganId",
    "vi": "Không có cơ quan nào mang mã định danh “H99.999”.", "en": "No agency has the organ code “H99.999”.",
}  # fmt: skip
_REPAIR = {
    "name": "bom", "line": 1, "path": "", "vi": text("repair.bom", Language.VI, {}),
    "en": text("repair.bom", Language.EN, {}),
}  # fmt: skip
_COUNTED = {
    "name": "bom", "packets": 12, "count": 12, "first_at": _AT, "last_at": _AT, "packet_id": _ID,
    "document_id": _DOCUMENT, "is_tolerated": True, "tolerated_until": "2026-12-31",
    "breaks": "practice: no packet of the national axis has one", "vi": text("repair.bom", Language.VI, {}),
    "en": text("repair.bom", Language.EN, {}), "remedy_vi": text("remedy.bom", Language.VI, {}),
    "remedy_en": text("remedy.bom", Language.EN, {}),
}  # fmt: skip
_CHECKED = {"name": "store", "is_ok": True, "code": "", "vi": "", "en": ""}
_STATUS_LINE = {
    "packet_id": _ID, "reporter_id": "na-xa-16690-2025", "code": "01", "description": "Văn bản đã đến",
    "reported_at": _AT, "recorded_at": _AT, "by_node": False,
}  # fmt: skip
_VERDICT = {
    "packet_id": _ID, "about": "packet", "position": 0, "verdict": "not_trusted", "standing": "bad",
    "code": "signature.not_trusted", "vi": text("signature.not_trusted", Language.VI, {"detail": "CN=CA thử"}),
    "en": text("signature.not_trusted", Language.EN, {"detail": "CN=CA thử"}), "detail": "CN=CA thử",
    "policy": "default", "signer": "CN=Sở Tài chính", "certificate": _DIGEST, "covers_whole": True,
    "signed_at": _AT, "checked_at": _AT, "evidence": None,
}  # fmt: skip
_PDF_VERDICT = _VERDICT | {
    "about": "file", "position": 1, "verdict": "valid", "standing": "valid", "code": "inspection.valid",
    "vi": text("inspection.valid", Language.VI, {"signer": "CN=Sở Tài chính"}),
    "en": text("inspection.valid", Language.EN, {"signer": "CN=Sở Tài chính"}),
    "detail": "", "policy": "trust:9f86d081884c",
    "evidence": {
        "field": "Signature1", "is_stamp": False, "serial": "5402a1", "issuer": "CN=CA thử", "valid_from": _AT,
        "valid_to": _AT, "state": "good", "judged_at": _AT, "claimed_at": _AT, "stamp": "good", "stamped_at": _AT,
        "coverage": "whole", "changes": "none", "weaknesses": [],
    },
}  # fmt: skip
_TIMELINE = {
    "at": _AT, "kind": "delivery.delivered", "packet_id": _ID, "delivery_id": _ID, "agency_id": "na-xa-16690-2025",
    "state": "delivered", "holder": "nobody", "reason": "confirmed", "actor": "xa-truong-vinh",
}  # fmt: skip
_LEG = {
    "agency_id": "na-xa-16690-2025", "agency_name": "UBND xã Trường Vinh", "organ_ids": ["H99.215"],
    "channel_kind": "inbox", "reason": "direct", "vi": "", "en": "",
}  # fmt: skip
_NOTICE = {
    "notice_id": _ID, "agency_id": "na-so-stc", "packet_id": _ID, "delivery_id": _KEY,
    "code": "delivery.refused_by_recipient", "vi": text("delivery.refused_by_recipient", Language.VI, {}),
    "en": text("delivery.refused_by_recipient", Language.EN, {}), "at": _AT,
}  # fmt: skip

_CERTIFICATE = {
    "state": "current", "begins": _AT, "valid_from": _AT, "valid_until": _AT, "subject": "CN=nghe-an",
    "fingerprint": _DIGEST, "pem": "-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n",
}  # fmt: skip

EXAMPLES: dict[str, Any] = {
    "AcceptedShape": {
        "packet_id": _ID, "document_id": _DOCUMENT, "is_repeat": False, "accepted_at": _AT,
        "recipients": [_RECIPIENT], "all_undeliverable": False, "findings": [], "repairs": [],
    },
    "InboxShape": {"items": [_ITEM], "next": ""},
    "ConfirmBody": {"arrived": True},
    "ConfirmedShape": {"state": "delivered"},
    "RefuseBody": {"reason": "Văn bản thiếu phụ lục 02, đề nghị gửi lại."},
    "StatusBody": {"code": "03", "description": "Đã vào sổ văn bản đến số 456", "delivery_id": _ID},
    "DocumentShape": {
        "packet": _PACKET, "recipients": [_LINE], "statuses": [_STATUS_LINE], "verdicts": [_VERDICT, _PDF_VERDICT],
        "timeline": [_TIMELINE], "family": [_PACKET],
    },
    "RepairsShape": {
        "since": "2025-09-06", "until": "2025-10-06", "profile": "lenient", "packets": 340, "repaired": 12,
        "items": [_COUNTED],
    },
    "SentList": {"items": [_SENT], "next": ""},
    "NoticeList": {"items": [_NOTICE], "next": ""},
    "CheckShape": {
        "would_be_accepted": False, "findings": [_FINDING], "repairs": [_REPAIR], "route": [_LEG],
        "document_id": _DOCUMENT, "sender_id": "na-so-stc", "size": 20_480,
    },
    "SealCertificateList": {"items": [_CERTIFICATE]},
    "AgencyShape": _AGENCY,
    "AgencyList": {"items": [_AGENCY]},
    "MeShape": {"system_id": _ID, "name": "so-tai-chinh", "is_operator": False, "agencies": [_AGENCY]},
    "LiveShape": {"status": "live"},
    "HealthShape": {"status": "ready", "checks": [_CHECKED]},
}  # fmt: skip
"""One example for each shape that is a whole body or answer."""


def answer(shape: str, description: str) -> dict[str, Any]:
    """An answer of this shape, for OpenAPI."""
    return {
        "description": description,
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{shape}"},
                "example": EXAMPLES[shape],
            }
        },
    }


def json_body(shape: str, *, required: bool = True) -> dict[str, Any]:
    """A JSON body of this shape, for OpenAPI."""
    schema = {"$ref": f"#/components/schemas/{shape}"}
    return {"required": required, "content": {"application/json": {"schema": schema, "example": EXAMPLES[shape]}}}


_CODES = {
    400: "api.bad_field", 401: "identity.no_token", 403: "identity.foreign_agency", 404: "inbox.unknown_item",
    408: "api.too_slow", 409: "inbox.not_fetched", 410: "inbox.gone", 413: "submission.too_large",
    415: "api.bad_kind", 416: "api.bad_range", 422: "packet.refused", 429: "api.share_held",
    500: "api.internal", 503: "store.busy", 507: "store.disk_reserve",
}  # fmt: skip
_PARAMS = {
    "limit": 1 << 30, "state": "withdrawn", "count": 1, "kind": "text/html", "seconds": 20, "free": 100, "why": "…",
    "reserve": 256, "size": 20_480, "id": _ID, "most": 64,
}  # fmt: skip

_FAULT = FieldFault(code="too_large", part="query", steps=("limit",), value="900", params={"most": 500})


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer with; 500 and 503 are always among them."""
    return {status: refusal(status, _CODES[status]) for status in (*statuses, 500, 503)}


def refusal(status: int, code: str) -> dict[str, Any]:
    """One problem, with this code as its example."""
    told = "health.store" if code == "store.busy" else code
    vi, en = (text(told, each, {**_PARAMS, "faults": _FAULT.text(each)}) for each in (Language.VI, Language.EN))
    title = title_of(status, Language.VI)
    example = {
        "type": f"urn:truc:problem:{code}", "title": title, "status": status, "code": code, "detail": vi, "vi": vi,
        "en": en, "findings": [_FINDING] if status == 422 else [], "findings_total": int(status == 422),
        "errors": [_FAULT.as_dict()] if status == 400 else [],
        "instance": f"urn:truc:request:{_ID}",
    }  # fmt: skip
    schema = {"$ref": "#/components/schemas/ProblemShape"}
    return {"description": title, "content": {PROBLEM_JSON: {"schema": schema, "example": example}}}
