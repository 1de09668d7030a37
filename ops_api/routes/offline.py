"""What a technician did without a network (contract 004's actions, queued)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from ops_api.batches import Batching
from ops_api.guard import GuardedRoute
from ops_api.offline_answers import BatchAnswer, Queue

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["technician"])


@router.post("/me/actions", response_model=BatchAnswer)
def play(queue: Queue, batch: Batching) -> Response:
    """Do queued actions in order; each has the answer that it would have alone.

    A conflict is the answer of its action and stops no other, but for those that come `after` it (424). Sent again,
    the queue is answered as before: what was done is not done twice, and what was refused is judged anew.
    """
    return batch.play(queue.read())
