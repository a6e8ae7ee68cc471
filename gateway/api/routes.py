"""The routes of the edge, as templates: what metrics and log lines call a request, never its path."""

from __future__ import annotations

__all__ = [
    "CONFIRM",
    "HOT",
    "INBOX",
    "INBOX_PACKET",
    "PACKETS",
    "ROUTES",
]

PACKETS = "/v1/packets"
INBOX = "/v1/inbox"
INBOX_PACKET = "/v1/inbox/{delivery_id}/packet"
CONFIRM = "/v1/inbox/{delivery_id}/confirm"

HOT = (("POST", PACKETS), ("GET", INBOX), ("GET", INBOX_PACKET), ("HEAD", INBOX_PACKET), ("POST", CONFIRM))
"""What every document goes through once: answered before FastAPI, documented in the same OpenAPI."""

ROUTES = frozenset(
    {
        PACKETS,
        INBOX,
        INBOX_PACKET,
        CONFIRM,
        "/v1/packets/check",
        "/v1/packets/{packet_id}",
        "/v1/packets/{packet_id}/packet",
        "/v1/packets/{packet_id}/seal",
        "/v1/packets/{packet_id}/attachments/{position}",
        "/v1/documents",
        "/v1/inbox/{delivery_id}/attachments/{position}",
        "/v1/inbox/{delivery_id}/seal",
        "/v1/inbox/{delivery_id}/refuse",
        "/v1/seal-certificates",
        "/v1/seal-certificates.pem",
        "/v1/statuses",
        "/v1/notices",
        "/v1/repairs",
        "/v1/agencies",
        "/v1/agencies/{agency}",
        "/v1/me",
        "/v1/openapi.json",
        "/",
        "/docs",
        "/docs/{asset}",
        "/health/live",
        "/health/ready",
        "/metrics",
    }
)
"""Every route; a test holds it against what the application really has."""
