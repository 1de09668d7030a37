"""The organization seen from above: all mailboxes, collision groups, figures (contract 001, ops endpoints)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from actors.schedules import declared
from models.enums import Provider, SlotOutcome
from models.queries import overview
from models.queries.collisions import collision_groups
from models.queries.sync import sync_status
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.routes.mailboxes import SyncAnswer, sync_fields
from ops_api.slots import standings
from pipeline.core.slots import CatchUp

router = APIRouter(route_class=GuardedRoute, tags=["ops"])


class MailboxSync(SyncAnswer):
    """One mailbox in the summary."""

    email: str
    purpose: Literal["journal"] = "journal"
    provider: Provider
    failed_jobs_last_24h: int


class MailboxSyncs(BaseModel):
    """Every mailbox of the organization, by address."""

    items: list[MailboxSync]


class CollisionGroup(BaseModel):
    """Messages that share a fingerprint and were therefore kept apart for a person to look at."""

    model_config = ConfigDict(from_attributes=True)

    collision_group_id: UUID
    message_count: int
    first_seen_at: datetime
    last_seen_at: datetime
    sample_message_ids: list[int]


class CollisionGroups(BaseModel):
    """Collision groups, the one that grew last first."""

    items: list[CollisionGroup]


class OverviewAnswer(BaseModel):
    """The organization's figures."""

    model_config = ConfigDict(from_attributes=True)

    queued_jobs: int
    running_jobs: int
    failed_jobs_24h: int
    open_dead_letters: int
    mailbox_count: int
    paused_mailbox_count: int
    avg_sync_lag_seconds: float | None


class ScheduleStanding(BaseModel):
    """One schedule: its cron expression in UTC, its newest slot, the next one, and what was missed lately."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    about: str
    cron: str
    catch_up: CatchUp
    last_slot_at: datetime | None
    last_outcome: SlotOutcome | None
    last_jobs: int | None
    last_taken_at: datetime | None
    next_slot_at: datetime
    is_overdue: bool
    missed_last_7_days: int


class ScheduleStandings(BaseModel):
    """Every schedule of the installation."""

    items: list[ScheduleStanding]


@router.get("/ops/mailboxes/sync")
def mailboxes_sync(session: SignedIn, connection: Transaction) -> MailboxSyncs:
    """Return how the synchronisation of every mailbox stands."""
    return MailboxSyncs(
        items=[
            MailboxSync(
                **sync_fields(found),
                email=found.email,
                provider=found.provider,
                failed_jobs_last_24h=found.failed_jobs_last_24h,
            )
            for found in sync_status(connection, None, session.org_id)
        ]
    )


@router.get("/ops/messages/collisions")
def collisions(
    session: SignedIn, connection: Transaction, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> CollisionGroups:
    """Return the collision groups."""
    found = collision_groups(connection, session.org_id, limit)
    return CollisionGroups(items=[CollisionGroup.model_validate(group) for group in found])


@router.get("/ops/metrics/overview")
def metrics_overview(session: SignedIn, connection: Transaction) -> OverviewAnswer:
    """Return the organization's figures."""
    return OverviewAnswer.model_validate(overview.overview(connection, session.org_id))


@router.get("/ops/schedule")
def schedule(services: Provided, _: SignedIn, connection: Transaction) -> ScheduleStandings:
    """Return how the schedules stand: last slot, next slot, and slots missed within the last 7 days."""
    found = standings(connection, declared(services.settings))
    return ScheduleStandings(items=[ScheduleStanding.model_validate(one) for one in found])
