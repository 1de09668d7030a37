"""Alerts of dispatch: counts of a stretch of time against thresholds, never of a lifetime (seed-behaviours, 1.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType


class Alert(StrEnum):
    """What a dispatcher or an operator is told of."""

    STUCK_SCHEDULING = "STUCK_SCHEDULING"
    COMPLETION_REJECTION_SPIKE = "COMPLETION_REJECTION_SPIKE"
    IDEMPOTENCY_CONFLICT_SPIKE = "IDEMPOTENCY_CONFLICT_SPIKE"
    AUTH_POLICY_FAILURE_SPIKE = "AUTH_POLICY_FAILURE_SPIKE"


#: By the code that a refusal is recorded with, the alert that counts it. `forbidden` and `csrf` are those of requests
#: that contract 000 does not name; who is not known (401) has no organization, and is counted by the process alone.
COUNTED_CODES: Mapping[str, Alert] = MappingProxyType(
    {
        "CLOSEOUT_REQUIREMENTS_INCOMPLETE": Alert.COMPLETION_REJECTION_SPIKE,
        "MANUAL_REVIEW_REQUIRED": Alert.COMPLETION_REJECTION_SPIKE,
        "IDEMPOTENCY_PAYLOAD_MISMATCH": Alert.IDEMPOTENCY_CONFLICT_SPIKE,
        **dict.fromkeys(
            ("FORBIDDEN", "FORBIDDEN_SCOPE", "TOOL_NOT_ALLOWED", "forbidden", "csrf"), Alert.AUTH_POLICY_FAILURE_SPIKE
        ),
    }
)
#: What to do, by alert.
RUNBOOKS: Mapping[Alert, str] = MappingProxyType(
    {
        Alert.STUCK_SCHEDULING: "docs/runbooks/stuck-scheduling.md",
        Alert.COMPLETION_REJECTION_SPIKE: "docs/runbooks/completion-rejections.md",
        Alert.IDEMPOTENCY_CONFLICT_SPIKE: "docs/runbooks/idempotency-conflicts.md",
        Alert.AUTH_POLICY_FAILURE_SPIKE: "docs/runbooks/auth-failures.md",
    }
)


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """From how many on, within which time, an organization is alerted."""

    window: timedelta = timedelta(minutes=60)
    #: A ticket that waits this long to be planned is stuck.
    stuck_after: timedelta = timedelta(minutes=60)
    stuck_scheduling: int = 5
    completion_rejections: int = 3
    idempotency_conflicts: int = 2
    auth_failures: int = 5

    @property
    def thresholds(self) -> Mapping[Alert, int]:
        """The counts from which on each is raised."""
        return {
            Alert.STUCK_SCHEDULING: self.stuck_scheduling,
            Alert.COMPLETION_REJECTION_SPIKE: self.completion_rejections,
            Alert.IDEMPOTENCY_CONFLICT_SPIKE: self.idempotency_conflicts,
            Alert.AUTH_POLICY_FAILURE_SPIKE: self.auth_failures,
        }


@dataclass(frozen=True, slots=True)
class Signal:
    """How many of one kind there were, since when, and a few of them."""

    count: int = 0
    #: The first of them.
    since: datetime | None = None
    ticket_ids: Sequence[str] = ()
    request_ids: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Raised:
    """An alert that stands now."""

    alert: Alert
    threshold: int
    signal: Signal
    severity: str = field(default="warning")

    @property
    def runbook(self) -> str:
        """The page that says what to do."""
        return RUNBOOKS[self.alert]


def raised(signals: Mapping[Alert, Signal], policy: AlertPolicy) -> list[Raised]:
    """Return the alerts whose counts have come to their thresholds, in the order of `Alert`."""
    thresholds = policy.thresholds
    found = [Raised(one, thresholds[one], signals.get(one, Signal())) for one in Alert]
    return [one for one in found if one.signal.count >= one.threshold]
