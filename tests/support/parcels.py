"""Parcels without the sockets that they go over."""

from __future__ import annotations

import io

from gateway.exchange.parcels import pack_parcel

__all__ = ["packed"]


def packed(content: object) -> bytes:
    """`content` as one parcel."""
    written = io.BytesIO()
    pack_parcel(content, written)
    return written.getvalue()
