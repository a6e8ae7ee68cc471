"""/ and /docs: what a person or a program finds who knows the address alone. They name neither node nor release."""

from __future__ import annotations

from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from edxml.messages import Language, text
from gateway.api.v1.doors import TheEdge
from gateway.model.errors import NotFound

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_OURS = Path(__file__).parent / "data"
_SHIPPED = Path(str(files("fastapi_swagger"))) / "resources"
"""swagger-ui as its makers released it; of the package around it nothing else is used."""

_STYLE, _PROGRAM = "text/css", "text/javascript"
_ASSETS = {
    "page.css": (_OURS, _STYLE),
    "start.js": (_OURS, _PROGRAM),
    "swagger-ui.css": (_SHIPPED, _STYLE),
    "swagger-ui-bundle.js": (_SHIPPED, _PROGRAM),
}
_LINKS = (("/docs", "page.docs"), ("/v1/openapi.json", "page.openapi"), ("/health/ready", "page.health"))
_SAFE = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_CHOSEN = _SAFE | {"Vary": "Accept"}
_HEAD = (
    '<!doctype html>\n<html lang="vi">\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
)
_READING = ["GET", "HEAD"]


def _vi(code: str) -> str:
    return escape(text(code, Language.VI, {}))


def _en(code: str) -> str:
    return escape(text(code, Language.EN, {}))


def _home() -> str:
    links = (f'<li><a href="{href}">{_vi(code)}</a> <span lang="en">{_en(code)}</span></li>\n' for href, code in _LINKS)
    return (
        f'{_HEAD}<title>{_vi("page.title")}</title>\n<link rel="stylesheet" href="/docs/page.css">\n'
        f'<main class="home">\n<h1>{_vi("page.title")}</h1>\n<p lang="en">{_en("page.title")}</p>\n'
        f'<p>{_vi("page.about")} {_vi("page.people")}</p>\n<p lang="en">{_en("page.about")} {_en("page.people")}</p>\n'
        f"<ul>\n{''.join(links)}</ul>\n</main>\n</html>\n"
    )


def _docs() -> str:
    where = '<a href="/v1/openapi.json">/v1/openapi.json</a>'
    return (
        f"{_HEAD}<title>{_vi('page.docs_title')} / {_en('page.docs_title')}</title>\n"
        '<link rel="stylesheet" href="/docs/page.css">\n<link rel="stylesheet" href="/docs/swagger-ui.css">\n'
        f"<noscript>{_vi('page.no_script')} {where}. "
        f'<span lang="en">{_en("page.no_script")} {where}.</span></noscript>\n'
        '<div id="api"></div>\n<script src="/docs/swagger-ui-bundle.js"></script>\n'
        '<script src="/docs/start.js"></script>\n</html>\n'
    )


@router.api_route("/", methods=_READING)
async def home(request: Request) -> Response:
    """What this is and where to go: a page for browsers, JSON for others."""
    if "text/html" in request.headers.get("accept", "").lower():
        return HTMLResponse(_home(), headers=_CHOSEN)
    links = [
        {"href": href, "vi": text(code, Language.VI, {}), "en": text(code, Language.EN, {})} for href, code in _LINKS
    ]
    about = {"vi": text("page.about", Language.VI, {}), "en": text("page.about", Language.EN, {})}
    return JSONResponse(about | {"links": links}, headers=_CHOSEN)


@router.api_route("/docs", methods=_READING)
async def docs() -> Response:
    """The description of the API, to be read and tried in a browser."""
    return HTMLResponse(_docs(), headers=_SAFE)


@router.api_route("/docs/{asset}", methods=_READING)
async def asset(edge: TheEdge, asset: str) -> Response:
    """Style and program of both pages. Raises NotFound."""
    if asset not in _ASSETS:
        raise NotFound("api.no_route")
    folder, kind = _ASSETS[asset]
    body = await edge.serving.run(_read, folder / asset)
    return Response(body, media_type=kind, headers={"Cache-Control": "max-age=86400", **_SAFE})


@cache
def _read(path: Path) -> bytes:
    """Read once: however many are slow to take it, all are sent the same bytes."""
    return path.read_bytes()
