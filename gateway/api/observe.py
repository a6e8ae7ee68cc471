"""/health/live, /health/ready, /metrics."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from gateway.api.faults import Choice, one_of
from gateway.api.health import Purpose
from gateway.api.v1.doors import TheEdge
from gateway.api.v1.examples import EXAMPLES, answer, refusal, refusals
from gateway.api.v1.shapes import LiveShape
from gateway.api.watchers import admit_watcher, is_watcher
from monitoring.metrics import CONTENT_TYPE

__all__ = ["router"]

router = APIRouter(tags=["observe"])


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


@router.head("/health/live", include_in_schema=False)
@router.get(
    "/health/live",
    response_model=LiveShape,
    responses={200: answer("LiveShape", "The process runs")},
    summary="Tiến trình đang chạy / the process runs",
)
async def live() -> Any:
    """Answers as long as the process can answer anything: restart it when this fails, never for less."""
    return {"status": "live"}


Wanted = Annotated[
    Literal["submit", "fetch"],
    one_of([Choice(str(purpose)) for purpose in Purpose]),
    Query(alias="for", description="submit / fetch: what is to be ready"),
]

_NOT_READY = answer("HealthShape", "Something that accepting needs is missing; each check says what")
_NOT_READY["content"]["application/json"]["example"] = EXAMPLES["HealthShape"] | {
    "status": "not_ready",
    "checks": [{"name": "disk", "is_ok": False, "code": "store.disk_reserve", "vi": "…", "en": "…"}],
}


@router.head("/health/ready", include_in_schema=False)
@router.get(
    "/health/ready",
    responses={**refusals(400), 200: answer("HealthShape", "Documents can be taken in"), 503: _NOT_READY},
    summary="Sẵn sàng tiếp nhận / ready to take documents in",
)
async def ready(edge: TheEdge, request: Request, response: Response, wanted: Wanted = "submit") -> dict[str, Any]:
    """Store writable, transport open, disk above its reserve, keys valid, directory readable; known within 2 s.

    `for=fetch` asks for what those need who poll: store, transport and directory. A full disk or a key that is away
    keeps documents from being taken in, and nobody from fetching his. Machines that watch over the node are told all
    of why, others which part."""
    checks = await edge.readiness.look(Purpose(wanted))
    if not is_watcher(edge.settings, _peer(request), request.headers):
        checks = tuple(check.for_strangers() for check in checks)
    is_ready = all(check.is_ok for check in checks)
    if not is_ready:
        response.status_code = 503
    words = [{name: getattr(check, name) for name in ("name", "is_ok", "code", "vi", "en")} for check in checks]
    return {"status": "ready" if is_ready else "not_ready", "checks": words}


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        403: refusal(403, "api.watchers_only"),
        200: {"description": "Prometheus", "content": {"text/plain": {"example": "# HELP …"}}},
    },
    summary="Số đo cho Prometheus / metrics",
)
async def metrics(edge: TheEdge, request: Request) -> Response:
    """The counters of this process, in Prometheus's text format, for the machines that watch over the node."""
    admit_watcher(edge.settings, _peer(request), request.headers)
    return Response(await edge.minding.run(edge.node.metrics.render), media_type=CONTENT_TYPE)
