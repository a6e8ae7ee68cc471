"""What FastAPI's routes take as parameters: the edge, the request as the front named it, and who calls."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import Depends, Path, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from gateway.api.asked import Asked
from gateway.api.edge import Edge
from gateway.api.json_body import read_json
from gateway.identity import Caller

__all__ = ["UUID", "After", "Calling", "DeliveryId", "Here", "Limit", "PacketId", "Position", "TheEdge", "json_of"]

UUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
_bearer = HTTPBearer(auto_error=False, scheme_name="token", description="`truc_…`, as `truc system add` gave it")


async def _edge(request: Request) -> Edge:
    edge: Edge = request.app.state.edge
    return edge


async def _asked(request: Request) -> Asked:
    asked: Asked = request.scope["truc"]
    return asked


TheEdge = Annotated[Edge, Depends(_edge)]
Here = Annotated[Asked, Depends(_asked)]


async def _caller(
    edge: TheEdge, asked: Here, _token: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    asked.caller = await edge.gate.admit(asked.header(b"authorization"))
    return asked.caller


Calling = Annotated[Caller, Depends(_caller)]
Kind = TypeVar("Kind", bound=BaseModel)


def json_of(kind: type[Kind]) -> Any:
    """The dependency that reads the body as an object of this shape; of a caller who may come in."""

    async def read(asked: Here, _caller: Calling) -> Kind:
        return read_json(kind, await asked.small_body(), **asked.content())

    return Depends(read)


DeliveryId = Annotated[str, Path(pattern=UUID, description="Mã lượt chuyển")]
PacketId = Annotated[str, Path(pattern=UUID, description="Mã gói tin")]
Position = Annotated[int, Path(ge=1, le=10_000, description="Vị trí của tệp trong gói tin, từ 1")]
Limit = Annotated[int, Query(ge=1, le=500, description="Số dòng nhiều nhất")]
After = Annotated[str, Query(pattern=r"^$|" + UUID, description="`next` của lần trước")]
