"""What who did the work found: a fault that is repaired, or none; and what is taken to be so where nobody said."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: Stands in the note of a finding that nobody said.
ASSUMED = "assumed"


class Finding(StrEnum):
    """What somebody found where they were sent."""

    FAULT_FIXED = "fault_fixed"
    NO_FAULT_FOUND = "no_fault_found"


@dataclass(frozen=True, slots=True)
class Found:
    """Whether something was wrong, and what is noted of it."""

    is_real: bool
    note: str = ""


def of_completion(said: Finding | None, *, has_evidence: bool) -> Found | None:
    """Return what a completion tells of the fault; None: nothing.

    Who completes work with evidence and says no more has repaired something, as nearly all do; its note says that this
    was assumed. Without evidence nothing is assumed.
    """
    if said is not None:
        return Found(said is Finding.FAULT_FIXED)
    return (
        Found(is_real=True, note=f"{ASSUMED}: completed with evidence, and nothing was said") if has_evidence else None
    )


def of_check(said: Finding | None, completed: Found | None) -> Found | None:
    """Return what a check that work passed tells of the fault: what the check says, else what the completion said."""
    if said is not None:
        return Found(said is Finding.FAULT_FIXED)
    return None if completed is None else Found(completed.is_real, f"{ASSUMED}: passed as it was completed")


#: A repair that passed its check was one.
REPAIRED = Found(is_real=True, note=f"{ASSUMED}: the repair passed its check")
