"""How a packet is given to `/v1`, for OpenAPI: its body, and the wishes beside it."""

from __future__ import annotations

from typing import Any

__all__ = ["IDEMPOTENCY_KEY", "PACKET_BODY", "WISHES"]

_SAMPLE = '<?xml version="1.0" encoding="utf-8"?>\n<edXML xmlns="http://www.mic.gov.vn/TBT/QCVN_102_2016">…</edXML>'

PACKET_BODY: dict[str, Any] = {
    "required": True,
    "description": "Gói tin edXML (QCVN 102:2016/BTTTT), nguyên byte / the edXML packet, byte for byte",
    "content": {
        kind: {"schema": {"type": "string", "format": "binary"}, "example": _SAMPLE}
        for kind in ("application/xml", "application/octet-stream", "multipart/related")
    },
}

WISHES: list[dict[str, Any]] = [
    {
        "name": "recipients",
        "in": "query",
        "description": "all: một nơi nhận sai thì từ chối cả gói; some: nơi đúng vẫn đi",
        "schema": {"type": "string", "enum": ["all", "some"], "default": "all"},
    },
    {
        "name": "to",
        "in": "query",
        "description": "Chỉ gửi cho các nơi nhận này của gói tin / only these of the packet's recipients",
        "schema": {"type": "array", "items": {"type": "string", "maxLength": 100}, "maxItems": 2000},
        "style": "form",
        "explode": True,
        "example": ["H99.215"],
    },
    {
        "name": "Truc-Recipients",
        "in": "header",
        "description": "Như recipients / like recipients",
        "schema": {"type": "string", "enum": ["all", "some"]},
    },
]

IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Gửi lại cùng khóa, cùng gói tin: nhận lại câu trả lời đầu; khác gói tin: 409",
    "schema": {"type": "string", "maxLength": 200},
    "example": "so-tai-chinh-2025-10-06-000123",
}
