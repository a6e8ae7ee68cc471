"""The application: FastAPI with every route that is not hot, and the front before it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from edxml.errors import TrucError
from gateway.api.asked import Asked
from gateway.api.edge import open_edge
from gateway.api.front import Front
from gateway.api.observe import router as observe
from gateway.api.openapi import describe
from gateway.api.problems import PROBLEM_JSON, NotAllowed, problem_of
from gateway.api.v1.documents import router as documents
from gateway.model.errors import BadRequest, NotFound
from gateway.node import Node
from gateway.settings import Settings

__all__ = ["create_app"]

_ROUTERS = (documents, observe)


def create_app(node: Node, settings: Settings) -> Front:
    """The ASGI application of one API process. Its threads end with its lifespan; the node stays open."""
    edge = open_edge(node, settings)

    @asynccontextmanager
    async def live(_app: FastAPI) -> AsyncIterator[None]:
        yield
        edge.bell.send_everybody_home()
        await asyncio.get_running_loop().run_in_executor(None, edge.close)

    app = FastAPI(
        title="Trục", version="1", docs_url=None, redoc_url=None, openapi_url="/v1/openapi.json", lifespan=live,
        redirect_slashes=False,
    )  # fmt: skip
    app.state.edge = edge
    for router in _ROUTERS:
        app.include_router(router)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    app.add_exception_handler(TrucError, _refused)
    app.add_exception_handler(RequestValidationError, _refused)
    app.add_exception_handler(HTTPException, _refused)
    return Front(edge, app)


async def _refused(request: Request, why: Exception) -> Response:
    """FastAPI's own errors, and ours raised in its routes, as problems."""
    asked: Asked = request.scope["truc"]
    said = _said(why)
    await request.app.state.edge.gate.note(said, asked.caller)
    problem = problem_of(said, asked.request_id)
    headers = {name.decode(): value.decode() for name, value in problem.headers}
    body = problem.body(asked.language, asked.request_id)
    return Response(body, status_code=problem.status, headers=headers, media_type=PROBLEM_JSON)


def _said(why: Exception) -> Exception:
    if isinstance(why, RequestValidationError):
        where = [".".join(map(str, error["loc"])) for error in why.errors()]
        return BadRequest("api.bad_parameter", where=", ".join(where)[:200])
    if isinstance(why, HTTPException) and why.status_code == 404:
        return NotFound("api.no_route")
    if isinstance(why, HTTPException) and why.status_code == 405:
        return NotAllowed("api.no_method", allow=(why.headers or {}).get("Allow", ""))
    if isinstance(why, HTTPException):
        return BadRequest("api.bad_request")
    return why
