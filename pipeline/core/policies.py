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
        )
