"""Where Google's Pub/Sub announces that a mailbox changed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Request

from ops_api.answers import ErrorAnswer
from ops_api.dependencies import Provided, Transaction
from ops_api.guard import GuardedRoute
from pipeline.commands.push import announce
from pipeline.core.announcements import in_envelope
from pipeline.runtime.logs import get_logger

router = APIRouter(route_class=GuardedRoute, tags=["push"])


async def announced_address(request: Request, services: Provided) -> str | None:
    """Return the address that an announcement names, None when it names none; its body is read after its token."""
    await services.push_door.check(request.headers.get("authorization", ""))
    return in_envelope(await request.body())


@router.post(
    "/push/gmail",
    status_code=204,
    responses={
        401: {"model": ErrorAnswer, "description": "No bearer token, or one that Google did not sign or that expired."},
        403: {"model": ErrorAnswer, "description": "A token of Google for another audience or service account."},
    },
)
def gmail(
    address: Annotated[str | None, Depends(announced_address)],
    services: Provided,
    connection: Transaction,
    after: BackgroundTasks,
) -> None:
    """Take one announcement: 204 once the mailbox's history job is committed.

    Whatever else is answered makes Pub/Sub deliver it again, so a good token with a message that names no mailbox of
    ours is answered 204, too: it would never become better.
    """
    if address is None:
        get_logger().warning("push.senseless")
        after.add_task(services.push_door.told, "nothing")
        return
    found = announce(connection, [address])
    after.add_task(services.push_door.told, "mailbox" if found.known else "unknown", found.lines)
