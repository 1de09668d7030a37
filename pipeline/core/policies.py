"""An organization's policy: how it stitches and answers, plans and alerts; how it triages is `triage_policy`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from pipeline.core.alerting import AlertPolicy
from pipeline.core.intakes import IntakePolicy
from pipeline.core.objectives import Objective, Weights

#: `{code}` becomes the ticket's code.
ACKNOWLEDGEMENT = (
    "We have received your message, and one of us will answer it.\n\n"
    "Its number is {code}. To add something, simply answer this mail.\n\n"
    "This is an automatic answer; no further one follows in this conversation."
)
_LONGEST = 5_000
_MOST_DAYS = 36_500
#: A week.
_MOST_MINUTES = 10_080


@dataclass(frozen=True, slots=True)
class Setting:
    """One name of the stored document: the shape of its value in words, its default, and what it decides."""

    shape: str
    default: object
    about: str

    def fits(self, value: object) -> bool:
        """Return whether a JSON value has the shape; ranges are checked by reading the whole policy."""
        if self.shape == "a list":
            return isinstance(value, list) and all(isinstance(one, str) for one in value)
        if self.shape == "a number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        return isinstance(value, {"true or false": bool, "a whole number": int, "text": str}[self.shape]) and (
            self.shape != "a whole number" or not isinstance(value, bool)
        )


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        "subject_window_days": Setting("a number", 0, "How far apart equal subjects of one person join; 0: never."),
        "own_domains": Setting("a list", [], "Domains whose people are ours, beside those of our mailboxes."),
        "acknowledge": Setting("true or false", False, "Whether people are told that their mail made a new ticket."),
        "acknowledgement": Setting("text", ACKNOWLEDGEMENT, "The words they are told; {code} is the ticket's code."),
        "automatic_answers_per_hour": Setting("a whole number", 5, "How many of those one sender gets at most."),
        "automatic_answers_per_day": Setting("a whole number", 20, "The same within a day."),
        "automatic_answers_in_all": Setting(
            "a whole number", 500, "How many leave within an hour at most, to anybody."
        ),
        "min_identity_confidence": Setting(
            "a whole number",
            85,
            "Intakes less sure of who asks, in percent, are planned once a person has verified it.",
        ),
        "min_classification_confidence": Setting("a whole number", 85, "The same for what it is about."),
        "duplicate_intake_minutes": Setting(
            "a whole number", 120, "For how long the same intake again is answered with the first ticket."
        ),
        "retention_days": Setting(
            "a whole number", 0, "How long mail of ended tickets is kept once nothing happens in them; 0: for ever."
        ),
        "visit_invitations": Setting(
            "true or false", True, "Whether customers are told by mail when somebody comes, where we may write at all."
        ),
        "four_eyes_qa": Setting(
            "true or false", True, "Whether finished work is checked by somebody else than who completed it."
        ),
        "alert_window_minutes": Setting("a whole number", 60, "How far back alerts count what was refused."),
        "alert_stuck_minutes": Setting("a whole number", 60, "Work that waits so long to be planned is stuck."),
        "alert_stuck_scheduling": Setting("a whole number", 5, "From how many stuck tickets on somebody is alerted."),
        "alert_completion_rejections": Setting("a whole number", 3, "The same for completions that were refused."),
        "alert_idempotency_conflicts": Setting("a whole number", 2, "The same for keys that came with another body."),
        "alert_auth_failures": Setting("a whole number", 5, "The same for what somebody was not permitted."),
        "match_distance": Setting("a whole number", 300, "What a short way counts when a technician is chosen."),
        "match_workload": Setting("a whole number", 250, "The same of having little else to do."),
        "match_sla": Setting("a whole number", 200, "The same of being there long before it is due."),
        "match_continuity": Setting("a whole number", 150, "The same of knowing the ticket, its asset or its site."),
        "match_quality": Setting("a whole number", 100, "The same of work that passed its checks."),
    }
)


@dataclass(frozen=True, slots=True)
class OrganizationPolicy:
    """The policy in force; every value has a default that a new organization can live with."""

    #: How far apart messages with the same subject and outside person may be and still join; None: they never do.
    subject_window: timedelta | None
    #: Domains whose people are ours, beside those of our mailboxes.
    own_domains: tuple[str, ...]
    #: Whether people are told that their mail has come, with which words, and how often at most per sender.
    acknowledge: bool
    acknowledgement: str
    automatic_answers_per_hour: int
    automatic_answers_per_day: int
    #: How often within an hour, whoever it is told.
    automatic_answers_in_all: int
    #: How many days the mail of ended tickets is kept; 0: for ever.
    retention_days: int = 0
    #: Whether customers get an invitation by mail to the visit that is booked.
    visit_invitations: bool = True
    #: How sure an intake must be before a visit is planned, and when a second one is the same matter.
    intake: IntakePolicy = field(default_factory=IntakePolicy)
    #: Whether who completed work may not check it.
    four_eyes_qa: bool = True
    #: From how much on somebody is alerted.
    alerts: AlertPolicy = field(default_factory=AlertPolicy)
    #: What counts how much when a technician is chosen.
    matching: Weights = field(default_factory=Weights)

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> OrganizationPolicy:
        """Return the policy that a stored document says. Raises ValueError for a value out of range."""
        return cls(
            subject_window=_days(stored.get("subject_window_days")),
            acknowledge=bool(stored.get("acknowledge", False)),
            acknowledgement=_words(stored.get("acknowledgement") or ACKNOWLEDGEMENT),
            automatic_answers_per_hour=_between(stored, "automatic_answers_per_hour", 5, 100),
            automatic_answers_per_day=_between(stored, "automatic_answers_per_day", 20, 1_000),
            automatic_answers_in_all=_between(stored, "automatic_answers_in_all", 500, 100_000),
            retention_days=_kept_days(stored),
            visit_invitations=bool(stored.get("visit_invitations", True)),
            intake=_intake(stored),
            alerts=_alerts(stored),
            matching=_weights(stored),
            four_eyes_qa=bool(stored.get("four_eyes_qa", True)),
            own_domains=tuple(str(domain).lower().lstrip("@") for domain in stored.get("own_domains", ())),
        )


def _weights(stored: Mapping[str, Any]) -> Weights:
    return Weights(**{one.value: int(stored[name]) for one in Objective if (name := f"match_{one.value}") in stored})


def _kept_days(stored: Mapping[str, Any]) -> int:
    days = int(stored.get("retention_days", 0))
    if not 0 <= days <= _MOST_DAYS:
        raise ValueError(f"retention_days must be between 0 and {_MOST_DAYS}, not {days}")
    return days


def _intake(stored: Mapping[str, Any]) -> IntakePolicy:
    minutes = int(stored.get("duplicate_intake_minutes", 120))
    if not 1 <= minutes <= _MOST_MINUTES:
        raise ValueError(f"duplicate_intake_minutes must be between 1 and {_MOST_MINUTES}, not {minutes}")
    return IntakePolicy(
        int(stored.get("min_identity_confidence", 85)),
        int(stored.get("min_classification_confidence", 85)),
        timedelta(minutes=minutes),
    )


def _alerts(stored: Mapping[str, Any]) -> AlertPolicy:
    return AlertPolicy(
        window=timedelta(minutes=_between(stored, "alert_window_minutes", 60, _MOST_MINUTES)),
        stuck_after=timedelta(minutes=_between(stored, "alert_stuck_minutes", 60, _MOST_MINUTES)),
        stuck_scheduling=_between(stored, "alert_stuck_scheduling", 5, 100_000),
        completion_rejections=_between(stored, "alert_completion_rejections", 3, 100_000),
        idempotency_conflicts=_between(stored, "alert_idempotency_conflicts", 2, 100_000),
        auth_failures=_between(stored, "alert_auth_failures", 5, 100_000),
    )


def _days(stored: object) -> timedelta | None:
    days = float(str(stored)) if stored else 0.0
    if not 0 <= days <= 365:
        raise ValueError(f"subject_window_days must be between 0 and 365, not {days}")
    return timedelta(days=days) or None


def _between(stored: Mapping[str, Any], name: str, default: int, most: int) -> int:
    found = int(stored.get(name, default))
    if not 1 <= found <= most:
        raise ValueError(f"{name} must be between 1 and {most}, not {found}")
    return found


def _words(said: object) -> str:
    words = str(said).strip()
    if not 1 <= len(words) <= _LONGEST:
        raise ValueError(f"acknowledgement must have 1 to {_LONGEST} characters, not {len(words)}")
    return words
