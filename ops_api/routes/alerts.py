"""Alerts of dispatch (contract 000): what has come to its threshold within the last time, and what to do about it."""

from __future__ import annotations

from datetime import datetime, timedelta

from fastapi import APIRouter
from pydantic import BaseModel, Field

from models.queries import dispatch_queue
from ops_api.dependencies import SignedIn, Transaction
from ops_api.guard import GuardedRoute
from pipeline.core.alerting import RUNBOOKS, Alert, Raised, Signal
from pipeline.runtime import alert_reading
from pipeline.runtime.alert_reading import Watch

router = APIRouter(route_class=GuardedRoute, tags=["field work"])

_MINUTE = timedelta(minutes=1)


class AlertAnswer(BaseModel):
    """One alert that stands now."""

    code: Alert
    severity: str
    count: int
    threshold: int
    window_minutes: int = Field(description="Of refusals: how far back is counted. Of work: how long it may wait.")
    since: datetime | None = Field(description="The first of those that are counted.")
    ticket_ids: list[str] = Field(description="Up to five of them.")
    request_ids: list[str] = Field(description="The latest, up to five: they stand in the log.")
    runbook: str


class Signals(BaseModel):
    """How many there were, whether or not that is an alert."""

    stuck_scheduling_count: int
    completion_rejection_count: int
    idempotency_conflict_count: int
    auth_policy_rejection_count: int


class Thresholds(Signals):
    """From how many on each is an alert."""

    window_minutes: int
    stuck_scheduling_minutes: int


class AlertsAnswer(BaseModel):
    """Every alert that stands now, and what they are made of."""

    generated_at: datetime
    alerts: list[AlertAnswer]
    signals: Signals
    thresholds: Thresholds
    runbooks: dict[Alert, str]


@router.get("/ops/alerts")
def show_alerts(session: SignedIn, connection: Transaction) -> AlertsAnswer:
    """Return the alerts of who asks's organization, counted in its window and not in anybody's lifetime."""
    watch = alert_reading.watch(connection, session.org_id)[session.org_id]
    policy = watch.policy
    return AlertsAnswer(
        generated_at=dispatch_queue.now(connection),
        alerts=[_answer(one, watch) for one in watch.raised],
        signals=Signals(**_counts({one: watch.signals.get(one, Signal()).count for one in Alert})),
        thresholds=Thresholds(
            **_counts(dict(policy.thresholds)),
            window_minutes=policy.window // _MINUTE,
            stuck_scheduling_minutes=policy.stuck_after // _MINUTE,
        ),
        runbooks=dict(RUNBOOKS),
    )


def _counts(by_alert: dict[Alert, int]) -> dict[str, int]:
    names = ("stuck_scheduling", "completion_rejection", "idempotency_conflict", "auth_policy_rejection")
    return {f"{name}_count": by_alert[one] for name, one in zip(names, Alert, strict=True)}


def _answer(one: Raised, watch: Watch) -> AlertAnswer:
    is_work = one.alert is Alert.STUCK_SCHEDULING
    window = watch.policy.stuck_after if is_work else watch.policy.window
    return AlertAnswer(
        code=one.alert,
        severity=one.severity,
        count=one.signal.count,
        threshold=one.threshold,
        window_minutes=window // _MINUTE,
        since=one.signal.since,
        ticket_ids=list(one.signal.ticket_ids),
        request_ids=list(one.signal.request_ids),
        runbook=one.runbook,
    )
