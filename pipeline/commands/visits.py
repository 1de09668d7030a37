"""The technician's commands on site: arriving, waiting, going on, coming again; each starts or stops the clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import Connection

from models.enums import DispatchState, VisitState
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect
from pipeline.commands.field import TICKET, by_assignee, changed, lifecycle, not_merged, ticket_target
from pipeline.commands.field_arguments import GivenReason, Moment
from pipeline.core.evidence import facts_problem
from pipeline.core.field_work import FieldTicket
from pipeline.core.refusing import Because, Refusal
from pipeline.runtime import assignment_rows, time_rows, visit_rows

#: A telephone's clock may be so far ahead of ours.
SKEW = timedelta(minutes=5)
_RUNS = "time_runs"
_S = DispatchState


class CheckIn(BaseModel):
    """When the technician arrived, by their own clock, and where."""

    model_config = ConfigDict(extra="forbid")

    timestamp: Moment
    location: dict[str, Any] | None = Field(default=None, description="Like {lat, lon}; kept in the ticket's history.")

    @field_validator("location")
    @classmethod
    def _is_small(cls, said: dict[str, Any] | None) -> dict[str, Any] | None:
        if problem := facts_problem(said or {}, most=20, most_characters=2_000):
            raise ValueError(problem)
        return said


class Nothing(BaseModel):
    """Nothing but the wish."""

    model_config = ConfigDict(extra="forbid")


def not_ahead(ask: Ask[Any], ticket: FieldTicket) -> Refusal | None:
    """Refuse a time that is still to come, by more than clocks differ."""
    if ask.arguments.timestamp <= ticket.now + SKEW:
        return None
    said = f"timestamp lies more than {SKEW.seconds // 60} minutes ahead of our clock; set yours"
    return Refusal("INVALID_REQUEST", said, Because.MALFORMED, details={"fields": {"timestamp": "it is still to come"}})


def _check_in(connection: Connection, ask: Ask[CheckIn], ticket: FieldTicket) -> Effect:
    asked = ask.arguments
    at = _believable(asked.timestamp, ticket, time_rows.sent_at(connection, ticket.ticket_id))
    visit = visit_rows.current(connection, ticket.ticket_id)
    if visit is not None:
        visit_rows.set_state(connection, visit, VisitState.UNDER_WAY)
    time_rows.begin(connection, ticket, at, ask.principal.actor_id)
    said = {"arrived_at": at, "told_at": asked.timestamp, "visit_number": ticket.visit_number}
    return changed(
        connection,
        ask,
        ticket,
        CHECK_IN.name,
        {"arrived_at": ticket.arrived_at or at},
        path=[_S.ON_SITE, _S.IN_PROGRESS],
        details=said,
        told={**said, "location": asked.location},
    )


def _hold(connection: Connection, ask: Ask[GivenReason], ticket: FieldTicket) -> Effect:
    time_rows.end(connection, ticket, ticket.now)
    details = {"reason": ask.arguments.reason}
    return changed(connection, ask, ticket, HOLD.name, path=[_S.ON_HOLD], details=details)


def _resume(connection: Connection, ask: Ask[Nothing], ticket: FieldTicket) -> Effect:
    time_rows.begin(connection, ticket, ticket.now, ask.principal.actor_id)
    return changed(connection, ask, ticket, RESUME.name, path=[_S.IN_PROGRESS])


def _start_rework(connection: Connection, ask: Ask[Nothing], ticket: FieldTicket) -> Effect:
    time_rows.begin(connection, ticket, ticket.now, ask.principal.actor_id)
    return changed(connection, ask, ticket, START_REWORK.name)


def _return(connection: Connection, ask: Ask[GivenReason], ticket: FieldTicket) -> Effect:
    """End this visit; whoever came is known to the next choice by the assignment that ends here."""
    time_rows.end(connection, ticket, ticket.now)
    visit = visit_rows.current(connection, ticket.ticket_id)
    if visit is not None:
        visit_rows.set_state(connection, visit, VisitState.DONE)
    reason = ask.arguments.reason
    assignment_rows.end(connection, ticket.ticket_id, f"somebody comes again: {reason}")
    details = {"reason": reason, "technician_id": ticket.assigned_tech_id, "visit_number": ticket.visit_number}
    cleared = dict.fromkeys(("scheduled_start", "scheduled_end", "assigned_tech_id", "assigned_provider_id"))
    return changed(connection, ask, ticket, RETURN.name, cleared, path=[_S.READY_TO_SCHEDULE], details=details)


def _believable(said: datetime, ticket: FieldTicket, sent_at: datetime | None) -> datetime:
    """Return when somebody arrived: not before they were sent, and not in the future."""
    return min(ticket.now, max(said, sent_at or ticket.created_at))


def _look_at_time(connection: Connection, _ask: Ask[Any], ticket: FieldTicket) -> Mapping[str, Any]:
    return {_RUNS: time_rows.runs(connection, ticket)}


def _stands_still(_ask: Ask[Any], ticket: FieldTicket) -> Refusal | None:
    if not ticket.known[_RUNS]:
        return None
    return Refusal("WORK_UNDER_WAY", "the time of this work is running already")


CHECK_IN = Command(
    **lifecycle("tech.check_in"),
    about="Says that the technician is on site: the work and its time begin.",
    arguments=CheckIn,
    permission=Permission.TECH_CHECK_IN,
    target=TICKET,
    gates=(not_merged, by_assignee, not_ahead),
    effect=_check_in,
)
HOLD = Command(
    **lifecycle("tech.hold"),
    about="Lets the work wait, for parts or for somebody; its time stops.",
    arguments=GivenReason,
    permission=Permission.TECH_CHECK_IN,
    target=TICKET,
    gates=(not_merged, by_assignee),
    effect=_hold,
)
RESUME = Command(
    **lifecycle("tech.resume"),
    about="Goes on with work that waited; its time runs again.",
    arguments=Nothing,
    permission=Permission.TECH_CHECK_IN,
    target=TICKET,
    gates=(not_merged, by_assignee),
    effect=_resume,
)
#: A failed check, a reopening and a decided approval lead back to IN_PROGRESS from a desk: nobody works just then.
START_REWORK = Command(
    name="tech.start_rework",
    about="Takes work up again that was sent back: its time runs again.",
    arguments=Nothing,
    permission=Permission.TECH_CHECK_IN,
    target=ticket_target(_look_at_time),
    gates=(not_merged, by_assignee, _stands_still),
    effect=_start_rework,
    from_states=frozenset({_S.IN_PROGRESS.value}),
    needs_key=True,
)
RETURN = Command(
    **lifecycle("visit.return"),
    about="Ends this visit undone: somebody must come again, at a time that is still to be found.",
    arguments=GivenReason,
    permission=Permission.TECH_CHECK_IN,
    target=TICKET,
    gates=(not_merged, by_assignee),
    effect=_return,
)
COMMANDS = (CHECK_IN, HOLD, RESUME, START_REWORK, RETURN)
