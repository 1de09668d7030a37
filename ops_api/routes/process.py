"""What machines ask of the process itself: health, readiness, metrics."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Header
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from ops_api.accepting import prefers_json
from ops_api.answers import Refusal
from ops_api.command_metrics import contract_snapshot
from ops_api.dependencies import Provided
from ops_api.guard import GuardedRoute
from ops_api.probes import snapshot

router = APIRouter(route_class=GuardedRoute, tags=["process"])


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """Requests can be served."""

    status: Literal["ready"] = "ready"


@router.get("/healthz")
async def healthz() -> Health:
    """Say that the process answers; asks nothing else."""
    return Health()


@router.get("/readyz")
async def readyz(services: Provided) -> Ready:
    """Say whether requests can be served: the database answers and is at this version's migration; 503 otherwise."""
    problem = await services.readiness.problem()
    if problem is not None:
        raise Refusal(503, problem)
    return Ready()


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "content": {
                "text/plain": {"schema": {"type": "string"}},
                "application/json": {"schema": {"type": "object"}},
            }
        }
    },
)
def metrics(services: Provided, accept: Annotated[str, Header()] = "") -> Response:
    """Return the metrics for Prometheus, or as JSON when `Accept` would rather have it (contract 000)."""
    if prefers_json(accept):
        samples = snapshot(services.registry)
        return JSONResponse({**contract_snapshot(samples), "metrics": samples})
    encode, content_type = choose_encoder(accept)
    return Response(encode(services.registry), media_type=content_type)
