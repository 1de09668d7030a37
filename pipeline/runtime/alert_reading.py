"""The alerts of dispatch as they stand now, of one organization or of all, by each one's own policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from models.queries import alerts
from models.queries.alerts import Stretch
from pipeline.core.alerting import COUNTED_CODES, Alert, AlertPolicy, Raised, Signal, raised
from pipeline.core.policies import OrganizationPolicy

_KINDS = {code: alert.value for code, alert in COUNTED_CODES.items()}


@dataclass(frozen=True, slots=True)
class Watch:
    """What was counted in an organization, by which policy, and what is raised by it."""

    policy: AlertPolicy
    signals: Mapping[Alert, Signal]
    raised: list[Raised]


def watch(connection: Connection, org_id: UUID | None = None) -> dict[UUID, Watch]:
    """Return the watch of one organization, or of all, in three statements however many there are."""
    policies = {one: _policy(stored) for one, stored in alerts.policies(connection, org_id).items()}
    signals: dict[UUID, dict[Alert, Signal]] = {one: {} for one in policies}
    windows = [Stretch(one, policy.window) for one, policy in policies.items()]
    for row in alerts.refusals(connection, windows, _KINDS):
        signals[row.org_id][Alert(row.kind)] = _signal(row, row.request_ids)
    waits = [Stretch(one, policy.stuck_after) for one, policy in policies.items()]
    for row in alerts.stuck(connection, waits):
        signals[row.org_id][Alert.STUCK_SCHEDULING] = _signal(row, None)
    return {one: Watch(policy, signals[one], raised(signals[one], policy)) for one, policy in policies.items()}


def _signal(row: Row[Any], request_ids: list[str] | None) -> Signal:
    # The same ticket may be refused several times.
    tickets = tuple(dict.fromkeys(row.ticket_ids or ()))
    return Signal(row.many, row.since, tickets, tuple(request_ids or ()))


def _policy(stored: Mapping[str, Any]) -> AlertPolicy:
    """Return an organization's policy; the defaults where it cannot be read, as after an update."""
    try:
        return OrganizationPolicy.read(stored).alerts
    except ValueError:
        return AlertPolicy()
