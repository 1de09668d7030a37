"""Intake: what makes two of them the same, and what must be sure before a visit may be planned (contract 000, 1.8)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from models.enums import DispatchPriority, DispatchState
from pipeline.core.canonical_json import sha256_of
from pipeline.core.field_work import MINUTES
from pipeline.core.refusing import Refusal

_NOT_A_DIGIT = re.compile(r"[^0-9]")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_FEWEST_DIGITS, _MOST_DIGITS = 7, 16
_LONGEST_EMAIL = 320
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class IntakePolicy:
    """How sure an intake must be, in percent, and for how long the same again is the same matter."""

    identity_confidence: int = 85
    classification_confidence: int = 85
    duplicate_window: timedelta = timedelta(minutes=120)

    def __post_init__(self) -> None:
        for name in ("identity_confidence", "classification_confidence"):
            if not 0 <= getattr(self, name) <= 100:
                raise ValueError(f"min_{name} must be between 0 and 100, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Told:
    """What an intake says, as it is compared: case and space at the ends mean nothing."""

    account_id: UUID
    site_id: UUID
    summary: str
    incident_type: str
    customer_name: str
    phone: str | None
    email: str | None


@dataclass(frozen=True, slots=True)
class Sureness:
    """How sure it is who asks and what for; None for a ticket that did not come by intake."""

    identity: int | None
    classification: int | None
    is_sop_required: bool
    is_sop_acknowledged: bool


def phone_digits(said: str) -> str | None:
    """Return a phone number's digits; None unless there are 7 to 16."""
    digits = _NOT_A_DIGIT.sub("", said)
    return digits if _FEWEST_DIGITS <= len(digits) <= _MOST_DIGITS else None


def plain_email(said: str) -> str | None:
    """Return an address in lower case; None for what is none: an @ and no space."""
    found = said.strip().lower()
    return found if len(found) <= _LONGEST_EMAIL and _EMAIL.fullmatch(found) else None


def signature(told: Told) -> str:
    """Return SHA-256 as hex over what an intake says; equal for what differs in letter case and phone format alone."""
    said: Mapping[str, str | None] = {
        "account_id": str(told.account_id),
        "site_id": str(told.site_id),
        "summary": told.summary.strip().lower(),
        "incident_type": told.incident_type.strip().upper(),
        "customer_name": told.customer_name.strip().lower(),
        "contact_phone": told.phone,
        "contact_email": told.email,
    }
    return sha256_of(said).hex()


def unsure(sure: Sureness, policy: IntakePolicy) -> Refusal | None:
    """Return why a visit may not be planned yet, in contract 000's order; None when it may.

    Confidences that nobody stated hold nothing up: a ticket by mail or by hand has none.
    """
    known = (
        ("LOW_IDENTITY_CONFIDENCE", "who asks", "identity_confidence", sure.identity, policy.identity_confidence),
        (
            *("LOW_CLASSIFICATION_CONFIDENCE", "what it is about", "classification_confidence"),
            *(sure.classification, policy.classification_confidence),
        ),
    )
    for code, about, name, found, least in known:
        if found is not None and found < least:
            said = f"{about} is {found} % sure, and {least} % are needed: verify it and say so with {name} and a reason"
            return Refusal(code, said, details={name: found, "threshold": least})
    if sure.is_sop_required and not sure.is_sop_acknowledged:
        said = "the hand-over by the standard procedure is not acknowledged: send sop_handoff_acknowledged true"
        return Refusal("SOP_HANDOFF_REQUIRED", said)
    return None


def state_of(sure: Sureness, policy: IntakePolicy) -> DispatchState:
    """Return the state that an intake begins in."""
    return DispatchState.TRIAGED if unsure(sure, policy) else DispatchState.READY_TO_SCHEDULE


def priority_of(sla_hours: int) -> DispatchPriority:
    """Return the slowest priority that keeps a case's hours; the fastest one for what none keeps."""
    kept = [one for one, minutes in MINUTES.items() if minutes <= sla_hours * _HOUR]
    return max(kept, key=lambda one: MINUTES[one], default=DispatchPriority.EMERGENCY)
