"""The application: FastAPI with every route that is not hot, and the front before it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from edxml.errors import TrucError
from gateway.api import pages
from gateway.api.asked import Asked, ClientGone
from gateway.api.edge import Patience, open_edge
from gateway.api.faults import BadFields, faults_of
from gateway.api.front import Front, template_of
from gateway.api.openapi import ROUTERS, VERSION, describe
from gateway.api.problems import PROBLEM_JSON, NotAllowed, TooSlow, full_disk, problem_of
from gateway.api.v1.files import Sent
from gateway.api.v1.submit import Accounted
from gateway.model.errors import BadRequest, NotFound
from gateway.node import Node
from gateway.settings import Settings
from monitoring import log

__all__ = ["create_app"]

_log = log.get("api.app")


def create_app(node: Node, settings: Settings, *, patience: Patience = Patience()) -> Front:
    """The ASGI application of one API process. Its threads end with its lifespan; the node stays open."""
    edge = open_edge(node, settings, patience)

    @asynccontextmanager
    async def live(_app: FastAPI) -> AsyncIterator[None]:
        yield
        edge.bell.send_everybody_home()
        await asyncio.get_running_loop().run_in_executor(None, edge.close)

    app = FastAPI(
        title="Trục", version=VERSION, docs_url=None, redoc_url=None, openapi_url="/v1/openapi.json", lifespan=live,
        redirect_slashes=False,
    )  # fmt: skip
    app.state.edge = edge
    for router in ROUTERS:
        app.include_router(router)
    app.include_router(pages.router)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    for kind in (TrucError, RequestValidationError, HTTPException, TimeoutError, ClientGone, Accounted):
        app.add_exception_handler(kind, _refused)
    app.add_exception_handler(Exception, _failed)
    return Front(edge, app)


async def _refused(request: Request, why: Exception) -> Response:
    """FastAPI's own errors, and ours raised in its routes, as problems. After the first byte there is nothing to say:
    the front breaks the connection off."""
    asked: Asked = request.scope["truc"]
    if asked.status:
        raise why
    why = _told_of(why)
    if isinstance(why, ClientGone):
        return Response(status_code=400)
    said = _said(full_disk(why, request.app.state.edge.node.store.blobs), template_of(request.scope))
    if not isinstance(why, Accounted):
        await request.app.state.edge.gate.note(said, asked.caller)
    problem = problem_of(said, asked.request_id)
    return Sent(lambda: asked.refuse(problem))


async def _failed(request: Request, why: Exception) -> Response:
    """What nobody foresaw: the caller gets an id, the log the class and the place. A full disk is foreseen."""
    if full_disk(why, request.app.state.edge.node.store.blobs) is not why:
        return await _refused(request, why)
    asked: Asked = request.scope["truc"]
    if asked.status:
        raise why
    asked.is_told = True
    _log.exception("request.failed", exc_info=why)
    body = problem_of(why, asked.request_id).body(asked.language, asked.request_id)
    return Response(body, status_code=500, media_type=PROBLEM_JSON)


def _allowed(template: str) -> str:
    """Methods of a path of ours. FastAPI's table tells those of the first route alone that has it."""
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    return ", ".join(sorted(method for route in routes if route.path == template for method in route.methods or ()))


def _told_of(why: Exception) -> Exception:
    """What was raised while FastAPI read a body: it tells all of that as one error of its own."""
    within = why.__cause__ if isinstance(why, HTTPException) else None
    return within if isinstance(within, TrucError | TimeoutError | ClientGone) else why


def _said(why: BaseException, template: str) -> BaseException:
    if isinstance(why, Accounted):
        return why.why
    if isinstance(why, RequestValidationError):
        return BadFields(faults_of(why.errors()))
    if isinstance(why, TimeoutError):
        return TooSlow("api.too_slow")
    if isinstance(why, HTTPException) and why.status_code == 404:
        return NotFound("api.no_route")
    if isinstance(why, HTTPException) and why.status_code == 405:
        told = sorted((why.headers or {}).get("Allow", "").split(", "))  # in any order
        return NotAllowed("api.no_method", allow=_allowed(template) or ", ".join(told))
    if isinstance(why, HTTPException):
        return BadRequest("api.bad_request")
    return why
