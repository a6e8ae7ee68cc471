"""OpenAPI: what FastAPI knows of its routes, the hot routes beside them, and no word that is not true.

`describe` is what /v1/openapi.json answers and what the reference in docs is generated from.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

__all__ = ["describe"]


def describe(app: FastAPI) -> dict[str, Any]:
    """The description of all routes, made once."""
    if app.openapi_schema is None:
        app.openapi_schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
    return app.openapi_schema
