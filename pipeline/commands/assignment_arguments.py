"""What may be asked when a technician is sent to a ticket, and why it may be refused (contract 000)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from models.enums import AssignmentMode, DispatchPriority, DispatchState
from pipeline.command import Ask
from pipeline.commands.field_arguments import GivenReason, IncidentType, Reason
from pipeline.commands.schedule_arguments import WindowBody
from pipeline.core.field_work import FieldTicket
from pipeline.core.matching import Candidate, Filter
from pipeline.core.objectives import MOST_WEIGHT, Objective
from pipeline.core.refusing import Refusal
from pipeline.core.technicians import Job

#: Shown of a table unless more are asked for, and at most; the whole of it is kept.
SHOWN, MOST_SHOWN = 5, 20
_LONGEST_WINDOW = timedelta(hours=24)
#: Somebody answers for it: a word is not enough.
Overruling = Annotated[str, StringConstraints(strip_whitespace=True, min_length=10, max_length=2_000)]
_Weight = Annotated[int, Field(strict=True, ge=0, le=MOST_WEIGHT)]

_ROOM: Mapping[Filter, str] = MappingProxyType(
    {Filter.AVAILABLE: "TECH_UNAVAILABLE", Filter.CAPACITY: "TECH_UNAVAILABLE"}
)
#: What each filter is refused with, in the order of contract 000 (1.8).
CODES: Mapping[Filter, str] = MappingProxyType(
    {
        **_ROOM,
        Filter.SKILL: "ASSIGNMENT_CAPABILITY_MISMATCH",
        Filter.ZONE: "ASSIGNMENT_ZONE_MISMATCH",
        Filter.CERTIFICATE: "ASSIGNMENT_CERTIFICATE_MISSING",
        Filter.SHIFT: "ASSIGNMENT_OFF_DUTY",
        Filter.LEAVE: "ASSIGNMENT_OFF_DUTY",
        Filter.OVERLAP: "ASSIGNMENT_OVERLAP",
    }
)
#: An emergency goes before other work.
BYPASSED = frozenset({Filter.CAPACITY, Filter.OVERLAP})


class PossibleWindow(WindowBody):
    """A time to come in, as it might be."""

    @model_validator(mode="after")
    def _is_no_longer_than_a_day(self) -> Self:
        if self.end > self.start + _LONGEST_WINDOW:
            raise ValueError("a window is no longer than 24 hours")
        return self


class Recommendation(BaseModel):
    """Who could be sent? With `window`, `weights` or `ignore` only what would be: nothing is kept."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(strict=True, ge=1, le=MOST_SHOWN)] = SHOWN
    service_type: IncidentType | None = Field(default=None, description="Instead of the ticket's incident type.")
    window: PossibleWindow | None = None
    weights: dict[Objective, _Weight] = Field(default_factory=dict)
    ignore: list[Filter] = Field(default_factory=list, max_length=len(Filter))

    @property
    def is_what_if(self) -> bool:
        """True when nothing is kept."""
        return self.window is not None or bool(self.weights) or bool(self.ignore)


class Sending(BaseModel):
    """Who is sent, and by what right."""

    model_config = ConfigDict(extra="forbid")

    tech_id: UUID
    provider_id: UUID | None = None
    recommendation_snapshot_id: UUID | None = None
    override_reason: Overruling | None = Field(default=None, description="Why what speaks against them does not count.")


class Dispatch(Sending):
    """Who is sent to a ticket that nobody has."""

    dispatch_mode: AssignmentMode = AssignmentMode.STANDARD
    rationale: Reason | None = Field(default=None, description="Why an emergency goes round the schedule.")

    @property
    def is_bypass(self) -> bool:
        """True for an emergency that goes round the schedule."""
        return self.dispatch_mode is AssignmentMode.EMERGENCY_BYPASS

    @property
    def why(self) -> str | None:
        """The words that stand for a bypass."""
        return self.rationale or self.override_reason


class Reassignment(Sending):
    """Who is sent instead."""

    reason: Reason


class Unassignment(GivenReason):
    """Why nobody is sent any more."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was found out under the lock: the job, the whole table, and who of it is asked for."""

    job: Job
    candidates: tuple[Candidate, ...] = ()
    chosen: Candidate | None = None
    #: The recommendation that is named is one of this ticket with this technician.
    is_snapshot_theirs: bool = True
    is_approval_pending: bool = False
    #: Filters that spoke against them and do not count, with the code of each.
    overruled: tuple[str, ...] = field(default=())


def choice_of(ticket: FieldTicket) -> Choice:
    """Return what was found out."""
    found: Choice = ticket.known["choice"]
    return found


def is_scheduled_or_bypass(ask: Ask[Dispatch], ticket: FieldTicket) -> Refusal | None:
    """Refuse to send somebody before a visit is scheduled, but for an emergency."""
    if ticket.state is not DispatchState.TRIAGED or ask.arguments.is_bypass:
        return None
    details = {"from_state": ticket.state.value, "to_state": DispatchState.DISPATCHED.value}
    said = "assignment.dispatch is possible from SCHEDULED; from TRIAGED only with dispatch_mode EMERGENCY_BYPASS"
    return Refusal("INVALID_STATE_TRANSITION", said, details=details)


def may_bypass(ask: Ask[Dispatch], ticket: FieldTicket) -> Refusal | None:
    """Refuse a bypass that is no emergency, not triaged, not reasoned, or not approved."""
    if not ask.arguments.is_bypass:
        return None
    lacking = [
        *(["the priority is not EMERGENCY"] if ticket.priority is not DispatchPriority.EMERGENCY else []),
        *(["it has no incident type"] if not ticket.incident_type else []),
        *(["the rationale is missing"] if not ask.arguments.why else []),
        *(["an approval is pending"] if choice_of(ticket).is_approval_pending else []),
    ]
    if not lacking:
        return None
    said = f"the schedule is not bypassed: {', '.join(lacking)}"
    return Refusal("ASSIGNMENT_BYPASS_DENIED", said, details={"reasons": lacking})


def is_somebody_else(ask: Ask[Reassignment], ticket: FieldTicket) -> Refusal | None:
    """Refuse to send the technician who was sent already."""
    if ask.arguments.tech_id != ticket.assigned_tech_id:
        return None
    return Refusal("ALREADY_ASSIGNED", "this technician has the ticket already; name another one")


def is_technician(ask: Ask[Sending], ticket: FieldTicket) -> Refusal | None:
    """Refuse who is none of ours, or does not work in the field; no reason overrules that."""
    chosen = choice_of(ticket).chosen
    against = "is no member of your organization" if chosen is None else chosen.failed(Filter.TECHNICIAN)
    if against is None:
        return None
    details = {"tech_id": str(ask.arguments.tech_id)}
    return Refusal("ASSIGNMENT_NOT_FOUND", f"there is no such technician: this person {against}", details=details)


def fits_recommendation(ask: Ask[Sending], ticket: FieldTicket) -> Refusal | None:
    """Refuse a recommendation that is another ticket's, or does not know the technician."""
    if choice_of(ticket).is_snapshot_theirs:
        return None
    said = "this recommendation is not one of this ticket with this technician; ask for a new one"
    details = {"recommendation_snapshot_id": str(ask.arguments.recommendation_snapshot_id)}
    return Refusal("ASSIGNMENT_RECOMMENDATION_MISMATCH", said, details=details)


def is_available(ask: Ask[Sending], ticket: FieldTicket) -> Refusal | None:
    """Refuse who is unavailable or has no room, unless somebody says why that does not count."""
    return _against(ask, ticket, _ROOM)


def is_fit(ask: Ask[Sending], ticket: FieldTicket) -> Refusal | None:
    """Refuse whom any filter speaks against, unless somebody says why that does not count."""
    return _against(ask, ticket, CODES)


def _against(ask: Ask[Sending], ticket: FieldTicket, codes: Mapping[Filter, str]) -> Refusal | None:
    chosen = choice_of(ticket).chosen
    if ask.arguments.override_reason is not None or chosen is None:
        return None
    found = next(((code, said) for one, code in codes.items() if (said := chosen.failed(one)) is not None), None)
    if found is None:
        return None
    words = f"this technician {found[1]}; an override_reason of at least 10 characters sends them all the same"
    against = [verdict.as_stored() for verdict in chosen.against]
    return Refusal(found[0], words, details={"tech_id": str(ask.arguments.tech_id), "against": against})
