"""An organization's policy: how it scores, and what it dispatches without a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from models.enums import TriageMode
from pipeline.core.dispatching import DispatchPolicy


@dataclass(frozen=True, slots=True)
class OrganizationPolicy:
    """The policy in force; every value has a default that a new organization can live with."""

    triage_mode: TriageMode
    dispatch: DispatchPolicy
    #: How far apart messages with the same subject and outside person may be and still join; None: they never do.
    subject_window: timedelta | None
    #: Domains whose people are ours, beside those of our mailboxes.
    own_domains: tuple[str, ...]

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> OrganizationPolicy:
        """Return the policy that a stored document says. Raises ValueError for a value out of range."""
        return cls(
            triage_mode=TriageMode(stored.get("triage_mode", TriageMode.CERTAINTY)),
            dispatch=DispatchPolicy(
                auto_dispatch=bool(stored.get("auto_dispatch", True)),
                min_confidence=float(stored.get("min_confidence", 0.65)),
                min_priority=int(stored.get("min_priority", 65)),
                reopen_after=timedelta(days=float(stored.get("reopen_after_days", 7))),
            ),
            subject_window=_days(stored.get("subject_window_days")),
            own_domains=tuple(str(domain).lower().lstrip("@") for domain in stored.get("own_domains", ())),
        )


def _days(stored: object) -> timedelta | None:
    days = float(str(stored)) if stored else 0.0
    if not 0 <= days <= 365:
        raise ValueError(f"subject_window_days must be between 0 and 365, not {days}")
    return timedelta(days=days) or None
