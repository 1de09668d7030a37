"""How complete a mailbox is: its status, the proof, comparisons with the provider, and gaps."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import sqlalchemy
from fastapi import APIRouter
from pydantic import Field

from models.enums import ReconcileScope
from models.queries import comparisons, summary
from ops_api import standing
from ops_api.dependencies import OwnMailbox, Provided, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.routes.mailboxes import SyncAnswer, sync_fields
from ops_api.sync_answers import (
    AskedAnswer,
    AuditAnswer,
    BackfillAnswer,
    Completeness,
    FillingAnswer,
    GapAnswer,
    GapAnswers,
    ReconcileAnswer,
)
from pipeline.commands import reconcile

router = APIRouter(route_class=GuardedRoute, tags=["sync"])


class StatusAnswer(SyncAnswer):
    """How a mailbox's synchronisation stands, in full."""

    failures_in_row: int = Field(description="Failed readings in a row; five pause it for a while.")
    backfill: BackfillAnswer | None
    to_fetch: int = Field(description="Messages to be fetched yet, those not listed yet by the estimate.")
    unsynced_seconds: int | None = Field(
        description="Since it was read, when it should have been read meanwhile; null while all is well."
    )
    eta_seconds: int | None = Field(description="Null when nothing is left, nothing goes on, or nobody knows.")
    completeness: Completeness
    open_gaps: int = Field(description="Gaps that are not filled.")
    last_reconcile: ReconcileAnswer | None
    why_slow: list[str]


@router.get("/mailboxes/{mailbox_id}/sync/status")
def status(mailbox_id: OwnMailbox, services: Provided, session: SignedIn, connection: Transaction) -> StatusAnswer:
    """Return how the mailbox's synchronisation stands, how complete it is, and in words what holds it up."""
    pace = timedelta(seconds=services.settings.history_interval_seconds)
    found = standing.read(connection, [mailbox_id], session.org_id, pace=pace)
    (mailbox,) = found.mailboxes
    eta, gaps = found.eta(mailbox), found.gaps.get(mailbox_id)
    listing, compared = found.listings.get(mailbox_id), found.compared.get(mailbox_id)
    return StatusAnswer(
        **sync_fields(mailbox),
        failures_in_row=mailbox.failures_in_row,
        backfill=None if listing is None else BackfillAnswer.model_validate(listing),
        to_fetch=found.to_fetch(mailbox_id),
        unsynced_seconds=found.unsynced_seconds(mailbox_id),
        eta_seconds=None if eta is None else round(eta.total_seconds()),
        completeness=_completeness(connection, mailbox_id),
        open_gaps=0 if gaps is None else gaps.open + gaps.filling,
        last_reconcile=None if compared is None else ReconcileAnswer.model_validate(compared),
        why_slow=found.why(mailbox),
    )


@router.get("/mailboxes/{mailbox_id}/sync/audit")
def audit(mailbox_id: OwnMailbox, connection: Transaction) -> AuditAnswer:
    """Return the completeness proof, and what the last comparison of every id found. Asks nobody, changes nothing."""
    last, completeness = comparisons.last_whole(connection, mailbox_id), _completeness(connection, mailbox_id)
    return AuditAnswer(
        mailbox_id=mailbox_id,
        completeness=completeness,
        provider_ids=None if last is None else last.listed,
        missing=None if last is None else last.missing,
        vanished=None if last is None else last.vanished,
        compared_at=None if last is None else last.finished_at,
        scope=None if last is None else last.scope,
        is_proved=last is not None and not completeness.unaccounted,
        recent=[ReconcileAnswer.model_validate(found) for found in comparisons.recent(connection, mailbox_id)],
    )


@router.post("/mailboxes/{mailbox_id}/sync/audit")
def ask_for_audit(mailbox_id: OwnMailbox, session: SignedIn, connection: Transaction) -> AskedAnswer:
    """Compare every id with the provider and change nothing: what is missing becomes a gap. 409 for files."""
    return _ask(connection, mailbox_id, ReconcileScope.AUDIT, session.email)


@router.post("/mailboxes/{mailbox_id}/sync/reconcile")
def ask_for_reconcile(mailbox_id: OwnMailbox, session: SignedIn, connection: Transaction) -> AskedAnswer:
    """Compare every id and label with the provider: fetch what is missing, mark what is gone. 409 for files."""
    return _ask(connection, mailbox_id, ReconcileScope.FULL, session.email)


@router.get("/mailboxes/{mailbox_id}/sync/gaps")
def gaps(mailbox_id: OwnMailbox, connection: Transaction) -> GapAnswers:
    """Return the newest hundred gaps, filled ones too."""
    return GapAnswers(items=[GapAnswer.model_validate(gap) for gap in comparisons.gaps(connection, mailbox_id)])


@router.post("/mailboxes/{mailbox_id}/sync/gaps/fill")
def fill_gaps(mailbox_id: OwnMailbox, session: SignedIn, connection: Transaction) -> FillingAnswer:
    """Fetch what is missing in every open gap, and nothing twice; safe to ask for again. 409 for files."""
    return FillingAnswer(gaps_filling=reconcile.fill_gaps(connection, mailbox_id, session.email))


def _ask(connection: sqlalchemy.Connection, mailbox_id: UUID, scope: ReconcileScope, actor: str) -> AskedAnswer:
    reconcile_id = reconcile.request_reconcile(connection, mailbox_id, scope, actor)
    return AskedAnswer(mailbox_id=mailbox_id, reconcile_id=reconcile_id)


def _completeness(connection: sqlalchemy.Connection, mailbox_id: UUID) -> Completeness:
    unfilled = comparisons.unfilled(connection, [mailbox_id]).get(mailbox_id)
    return Completeness.of(
        summary.by_state(connection, mailbox_id),
        summary.stranded(connection, mailbox_id),
        0 if unfilled is None else unfilled.missing,
    )
