"""Seal certificates (chứng thư niêm phong): with what the seals of this node are verified, by anybody who may call."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import APIRouter, Response

from edxml.sign.names import name_text
from gateway.api.edge import Edge
from gateway.api.v1.doors import Calling, TheEdge
from gateway.api.v1.examples import answer, refusals
from gateway.api.v1.shapes import SealCertificateList
from gateway.model.instants import as_datetime, as_instant, local_iso

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["files"])

_PEM = "application/x-pem-file"
_BUNDLE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "All certificates, PEM",
        "content": {_PEM: {"schema": {"type": "string"}, "example": "-----BEGIN CERTIFICATE-----\n…"}},
    }
}


@router.get(
    "/seal-certificates",
    response_model=SealCertificateList,
    responses={200: answer("SealCertificateList", "In the order of their use"), **refusals(401)},
    summary="Chứng thư niêm phong của nút / the node's seal certificates",
)
async def seal_certificates(edge: TheEdge, _caller: Calling) -> Any:
    """Every certificate that this node seals, sealed or will seal with. A new one is announced here before it is used;
    former ones stay, since seals are verified with the certificate of their own day."""
    return await edge.looking.run(_list, edge)


@router.head("/seal-certificates.pem", include_in_schema=False)
@router.get(
    "/seal-certificates.pem",
    response_class=Response,
    responses={**_BUNDLE, **refusals(401)},
    summary="Các chứng thư niêm phong trong một tệp PEM / all of them in one PEM file",
)
async def seal_certificates_pem(edge: TheEdge, _caller: Calling) -> Response:
    """The same certificates as one file, as `truc seal verify --certificate` and other verifiers take it."""
    ring = await edge.looking.run(edge.node.keyring.ring)
    return Response(b"".join(pair.certificate.public_bytes(Encoding.PEM) for pair in ring.pairs), media_type=_PEM)


def _list(edge: Edge) -> dict[str, Any]:
    now = as_datetime(edge.node.now())
    ring = edge.node.keyring.ring()
    return {
        "items": [
            {
                "state": str(ring.state(pair, now)),
                "begins": local_iso(as_instant(pair.begins)),
                "valid_from": local_iso(as_instant(pair.certificate.not_valid_before_utc)),
                "valid_until": local_iso(as_instant(pair.certificate.not_valid_after_utc)),
                "subject": name_text(pair.certificate.subject),
                "fingerprint": pair.fingerprint,
                "pem": pair.certificate.public_bytes(Encoding.PEM).decode(),
            }
            for pair in ring.pairs
        ]
    }
