"""Commands over HTTP: the headers that go with them, the executor, and its answers and refusals as responses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Request
from pydantic import BaseModel
from sqlalchemy import Connection
from starlette.responses import Response

from ops_api import request_keys
from ops_api.audited import CommandRefused, Trail
from ops_api.dependencies import SignedIn, Transaction
from ops_api.origins import origin_of
from ops_api.request_facts import note_command
from ops_api.versions import Seen, etag
from pipeline import executor
from pipeline.command import Ask, Command, Refused
from pipeline.core.canonical_json import canonical, sha256_of_body
from pipeline.core.principals import Principal
from pipeline.core.refusing import Because
from pipeline.executor import Answer
from pipeline.runtime.idempotency import Key

Arguments = TypeVar("Arguments", bound=BaseModel)

#: Contract 000 answers 400 where this says 422 (`ops_api.shapes`).
_STATUS = {
    Because.MALFORMED: 422,
    Because.FORBIDDEN: 403,
    Because.MISSING: 404,
    Because.CONFLICT: 409,
    Because.INVALID: 422,
}

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="The caller's own name for this request, best a UUID: sent again within 48 hours with the same "
        "body, it has the same answer and no second effect.",
    ),
]


async def body_of(request: Request) -> bytes:
    """Return the body as it came."""
    return await request.body()


@dataclass(frozen=True, slots=True)
class Caller:
    """One request for a command."""

    request: Request
    connection: Connection
    principal: Principal
    body: bytes
    key: str | None
    version: int | None

    def run(self, command: Command[Arguments, Any], target: str | None, arguments: Arguments) -> Response:
        """Execute a command in the request's transaction. Raises `CommandRefused`, which rolls it back."""
        trail: Trail = self.request.state.trail
        try:
            ask = Ask(
                principal=self.principal,
                arguments=arguments,
                target=target,
                version=self.version,
                key=self._key(needs_uuid=command.needs_key),
                **origin_of(self.request),
            )
            answer = executor.execute(self.connection, command, ask)
        except Refused as refused:
            raise refusal_of(refused) from refused
        trail.is_written = True
        note_command(self.request, command, answer)
        return _response(answer)

    def _key(self, *, needs_uuid: bool) -> Key | None:
        if (wrong := request_keys.problem(self.key, needs_uuid=needs_uuid)) is not None:
            raise Refused(wrong)
        if self.key is None:
            return None
        digest = sha256_of_body(self.body)
        who, method, path = self.principal, self.request.method, self.request.url.path
        return Key(who.org_id, who.actor_id, method, path, request_keys.spelled(self.key), digest)


def caller(
    *,
    request: Request,
    body: Annotated[bytes, Depends(body_of)],
    connection: Transaction,
    session: SignedIn,
    version: Seen,
    key: IdempotencyKey = None,
) -> Caller:
    """Return the request for a command. Its body comes first: no transaction waits for a slow sender."""
    return Caller(request, connection, session, body, key, version)


Calling = Annotated[Caller, Depends(caller, scope="function")]


def refusal_of(refused: Refused) -> CommandRefused:
    """Return what a command's refusal is answered with."""
    refusal = refused.refusal
    fields = refusal.details.get("fields")
    found = CommandRefused(
        _STATUS[refusal.because],
        refusal.said,
        code=refusal.code,
        fields=fields if isinstance(fields, Mapping) else None,
        details=refusal.details,
    )
    found.recorded_as = refusal.recorded_as
    return found


def _response(answer: Answer) -> Response:
    """Return the answer in its canonical form: a replay has the same bytes."""
    headers = {} if answer.version is None else {"ETag": etag(answer.version)}
    if answer.is_replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(canonical(answer.body), answer.status, headers, media_type="application/json")
