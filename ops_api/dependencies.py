"""What handlers are given: the process's services, one transaction, who asks, and which of their objects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Request
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection

from dlq import bulk_reading, reading
from dlq.bulk_reading import Bulk
from dlq.reading import Letter
from models.queries import conversations, overview
from models.queries.conversations import Head
from ops_api.answers import Refusal
from ops_api.audited import REFUSALS, Trail, Trails
from ops_api.barrier import Barrier
from ops_api.cursors import Cursors
from ops_api.downloads import Links
from ops_api.identifying import Identifier
from ops_api.jwt_bearer import JwtBearers
from ops_api.limits import Limits
from ops_api.openid_door import OpenIdDoor
from ops_api.password_door import PasswordDoor
from ops_api.plan_door import PlanDoor
from ops_api.probes import Readiness
from ops_api.providers import QUESTIONS, Providers
from ops_api.push_door import PushDoor
from ops_api.queue_door import QueueDoor
from ops_api.rate_limits import Limiter
from ops_api.raws import Raws
from ops_api.sessions import CsrfTokens
from ops_api.upload_door import UploadDoor
from pipeline.core.principals import Principal
from pipeline.ports import ReplyTokens
from pipeline.runtime import identity
from pipeline.runtime.db import Database
from pipeline.runtime.mailboxes import Mailbox, load_mailboxes
from pipeline.runtime.settings import Settings

#: Transactions at once. Whoever waits for one holds no thread, so those who have one can always go on; the pool is
#: larger by two, for probes, and by those who are being identified (`ops_api.identifying`).
TRANSACTIONS = 10
_LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Services:
    """Everything one API process is made of."""

    settings: Settings
    limits: Limits
    db: Database
    barrier: Barrier
    trails: Trails
    identifier: Identifier
    jwts: JwtBearers
    openid: OpenIdDoor
    csrf: CsrfTokens
    cursors: Cursors
    links: Links
    limiter: Limiter
    readiness: Readiness
    registry: CollectorRegistry
    push_door: PushDoor
    providers: Providers
    password_door: PasswordDoor
    reply_tokens: ReplyTokens
    raws: Raws
    uploads: UploadDoor
    plans: PlanDoor
    queues: QueueDoor

    @contextmanager
    def begin(self, principal: Principal | None) -> Iterator[Connection]:
        """Open a transaction for somebody: behind the barrier of their organization; for nobody without one."""
        with self.db.begin() as connection:
            if principal is not None:
                self.barrier.bind(connection, principal.org_id)
            yield connection


async def services_of(request: Request) -> Services:
    """Return the services of the app that answers."""
    found: Services = request.app.state.services
    return found


async def principal_of(request: Request) -> Principal:
    """Return who asks; the guard let nobody through without being somebody where that is needed."""
    found: Principal | None = request.state.principal
    if found is None:
        raise Refusal(401, "sign in first")
    return found


Provided = Annotated[Services, Depends(services_of)]
SignedIn = Annotated[Principal, Depends(principal_of)]


def transaction(request: Request, services: Provided) -> Iterator[Connection]:
    """Open the request's one transaction, behind the barrier unless the route is public.

    It ends before the answer is sent (`scope="function"`), so a commit that fails is an error and never a success.
    What it changed is told to the audit trail in it, and a refusal after it (`ops_api.audited`).
    """
    is_public = request.state.access.is_public
    begin = partial(services.begin, None if is_public else request.state.principal)
    trail: Trail = request.state.trail
    trail.has_transaction = True
    try:
        with begin() as connection:
            yield connection
            trail.done(connection)
    except REFUSALS as error:
        trail.refused(begin, error)
        raise


Transaction = Annotated[Connection, Depends(transaction, scope="function", max_concurrency=TRANSACTIONS)]
TicketName = Annotated[str, Path(max_length=64, description="The id or the code of a ticket.")]


def own_mailbox(mailbox_id: UUID, session: SignedIn, connection: Transaction) -> UUID:
    """Return the mailbox of the path when it belongs to the session's organization; 404 otherwise."""
    if not overview.is_own_mailbox(connection, session.org_id, mailbox_id):
        raise Refusal(404, "your organization has no such mailbox")
    return mailbox_id


def live_mailbox(mailbox_id: UUID, session: SignedIn, services: Provided) -> Iterator[Mailbox]:
    """Return the mailbox of the path for a question to its provider; no transaction is open meanwhile. 404 as above.

    Whoever waits for its turn to ask holds no thread.
    """
    with services.begin(session) as connection:
        own_mailbox(mailbox_id, session, connection)
        found = load_mailboxes(connection, [mailbox_id])[mailbox_id]
    yield found


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A dead job of the session's organization, with its open letter."""

    job_id: int
    letter_id: int


def dead_job(
    job_id: Annotated[str, Path(max_length=64, description="The id of a dead job, as listed.")],
    session: SignedIn,
    connection: Transaction,
) -> DeadJob:
    """Return the dead job of the path; 404 when there is none, when it is another's, or when it is resolved already."""
    number = _number(job_id)
    letter_id = None if number is None else overview.open_letter_id(connection, session.org_id, number)
    if number is None or letter_id is None:
        raise gone(job_id)
    return DeadJob(number, letter_id)


def own_letter(
    letter_id: Annotated[str, Path(max_length=64, description="The id of a letter, open or resolved.")],
    session: SignedIn,
    connection: Transaction,
) -> Letter:
    """Return the letter of the path when it belongs to the session's organization; 404 otherwise."""
    number = _number(letter_id)
    found = number and reading.find(connection, letter_id=number, org_id=session.org_id, is_open=None, limit=1)
    if not found:
        raise Refusal(404, f"your organization has no dead letter {letter_id}")
    return found[0]


def own_bulk(
    bulk_id: Annotated[str, Path(max_length=64, description="The id of a bulk replay or discard.")],
    session: SignedIn,
    connection: Transaction,
) -> Bulk:
    """Return the bulk of the path when it belongs to the session's organization; 404 otherwise."""
    number = _number(bulk_id)
    found = None if number is None else bulk_reading.bulk(connection, number, session.org_id)
    if found is None:
        raise Refusal(404, f"your organization has no bulk {bulk_id}")
    return found


def own_ticket(
    ticket_id: TicketName,
    session: SignedIn,
    connection: Transaction,
) -> Head:
    """Return the ticket of the path when it is within the reach of who asks; 404 otherwise."""
    found = conversations.find_head(connection, ticket_id, session.org_id, identity.ticket_reach(session))
    if found is None:
        raise Refusal(404, "your organization has no such ticket", code="TICKET_NOT_FOUND")
    return found


def gone(job_id: object) -> Refusal:
    """Return the refusal for a job that is not dead (any more)."""
    return Refusal(404, f"your organization has no dead job {job_id}; it may have been replayed or discarded already")


OwnMailbox = Annotated[UUID, Depends(own_mailbox, scope="function")]
LiveMailbox = Annotated[Mailbox, Depends(live_mailbox, scope="function", max_concurrency=QUESTIONS)]
OwnTicket = Annotated[Head, Depends(own_ticket, scope="function")]
OwnDeadJob = Annotated[DeadJob, Depends(dead_job, scope="function")]
OwnLetter = Annotated[Letter, Depends(own_letter, scope="function")]
OwnBulk = Annotated[Bulk, Depends(own_bulk, scope="function")]


def _number(said: str) -> int | None:
    """Return the id that a path names; None when it can be none."""
    number = int(said) if said.isascii() and said.isdecimal() else 0
    return number if 0 < number <= _LARGEST_ID else None
