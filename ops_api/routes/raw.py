"""The raw bytes of an occurrence, for download only: also of mail that could not be read, or was set aside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from models.queries import raw as queries
from ops_api.answers import Refusal
from ops_api.dependencies import Provided, SignedIn
from ops_api.downloads import SAFE_HEADERS
from ops_api.guard import GuardedRoute
from ops_api.raws import READS
from pipeline.runtime.logs import get_logger

router = APIRouter(route_class=GuardedRoute, tags=["ops"])

_CHUNK = 65_536
_LARGEST_ID = 2**63 - 1
#: How long a client may take to begin, and then for each chunk on average: who is slower holds up everybody else.
_PATIENCE, _PER_CHUNK = timedelta(seconds=30), timedelta(seconds=1)

OccurrenceId = Annotated[int, Path(ge=1, le=_LARGEST_ID, description="The id of an occurrence.")]


def own_raw(occurrence_id: OccurrenceId, session: SignedIn, services: Provided) -> Iterator[bytes]:
    """Return the raw bytes of an occurrence of the session's organization; no transaction is open meanwhile.

    Its turn lasts until the answer has ended, so that no more mails than turns are ever held, however slow the clients.
    404 when it has no such occurrence, or one whose bytes were not fetched.
    """
    with services.begin(session) as connection:
        found = queries.of_occurrence(connection, occurrence_id, session.org_id)
    if found is None:
        raise Refusal(404, "your organization has no such occurrence")
    if found.sha256 is None:
        raise Refusal(404, f"this occurrence is {found.state.value}: its bytes were not fetched")
    yield services.raws.read(found.sha256)


OwnRaw = Annotated[bytes, Depends(own_raw, scope="request", max_concurrency=READS)]


class Download(StreamingResponse):
    """Bytes for a client that keeps up (64 KB a second); one that does not loses the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the bytes, as long as the client takes them in time."""
        try:
            async with asyncio.timeout(_PATIENCE.total_seconds()) as limit:

                async def passed_on(message: Message) -> None:
                    await send(message)
                    limit.reschedule((limit.when() or 0.0) + _PER_CHUNK.total_seconds())

                await super().__call__(scope, receive, passed_on)
        except TimeoutError:
            get_logger().warning("download.too_slow")  # the server ends the connection, since bytes are missing


@router.get(
    "/ops/occurrences/{occurrence_id}/raw",
    response_class=StreamingResponse,
    responses={200: {"description": "The bytes, unchanged.", "content": {"application/octet-stream": {}}}},
)
async def occurrence_raw(occurrence_id: OccurrenceId, content: OwnRaw) -> Download:
    """Return the raw bytes of an occurrence as a file to keep, exactly as its mailbox holds them."""
    headers = SAFE_HEADERS | {
        "Content-Disposition": f'attachment; filename="occurrence-{occurrence_id}.eml"',
        "Content-Length": str(len(content)),
    }
    return Download(chunks(content), media_type="application/octet-stream", headers=headers)


async def chunks(content: bytes) -> AsyncIterator[memoryview]:
    """Yield some bytes piece by piece."""
    view = memoryview(content)
    for start in range(0, len(view), _CHUNK):
        yield view[start : start + _CHUNK]
