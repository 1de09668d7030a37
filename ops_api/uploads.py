"""What a route with an uploaded file is given.

Such a route's row of access has `body_limit=BODY_LIMIT`, and its function takes no body of its own. `Uploaded` stands
in its signature behind whatever says that the target may be reached, and before what opens a transaction: while a body
comes, none is open.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from ops_api.commands import Caller, IdempotencyKey
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.upload_bodies import BODY_LIMIT, Received, receive
from ops_api.upload_door import CHECKS
from ops_api.versions import Seen
from pipeline.core.canonical_json import canonical
from pipeline.runtime.uploads import Kept

__all__ = ["BODY_LIMIT", "Upload", "UploadCalling", "Uploaded"]

#: Bodies that come at once to one process: the room that they may take on its disk is bounded by it.
RECEIVES = 50


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was taken and is stored; `label` is what its sender called it, for people to read."""

    kept: Kept
    label: str
    #: Stands for the body where a key of idempotency is bound to it.
    fingerprint: bytes
    fields: Mapping[str, str] = field(default_factory=dict)


async def received(request: Request) -> AsyncIterator[Received]:
    """Receive the body; what it was spooled to is gone when the route's function has ended."""
    async with receive(request) as found:
        yield found


def uploaded(
    found: Annotated[Received, Depends(received, scope="function", max_concurrency=RECEIVES)],
    session: SignedIn,
    services: Provided,
) -> Upload:
    """Judge and store what came. Whoever waits for its turn holds no thread."""
    kept = services.uploads.keep(found, session.org_id, services.begin(session))
    # A form has another boundary each time it is sent: what counts is what it said.
    said = {"file": kept.received_sha256, "label": found.label, "fields": dict(found.fields)}
    return Upload(kept, found.label, canonical(said), found.fields)


Uploaded = Annotated[Upload, Depends(uploaded, scope="function", max_concurrency=CHECKS)]


def upload_caller(
    *,
    request: Request,
    upload: Uploaded,
    connection: Transaction,
    session: SignedIn,
    version: Seen,
    key: IdempotencyKey = None,
) -> Caller:
    """Return the request for a command that a file belongs to; its transaction begins when the file is stored."""
    return Caller(request, connection, session, upload.fingerprint, key, version)


UploadCalling = Annotated[Caller, Depends(upload_caller, scope="function")]
