"""Who is sent to a ticket: recommended with reasons, dispatched, exchanged and taken off (contract 000)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from models.enums import AssignmentMode, DispatchState
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect, Refused
from pipeline.commands import assignment_arguments as gates
from pipeline.commands.assignment_arguments import (
    BYPASSED,
    Choice,
    Dispatch,
    Reassignment,
    Recommendation,
    Sending,
    Unassignment,
    choice_of,
)
from pipeline.commands.field import changed, lifecycle, not_merged, ticket_target
from pipeline.core.field_work import FieldTicket, Window, body
from pipeline.core.matching import Filter
from pipeline.core.refusing import Refusal
from pipeline.core.technicians import Job
from pipeline.core.written import plain
from pipeline.runtime import assignment_rows, field_endings, field_rows, time_rows, visit_rows, weighing
from pipeline.runtime.visit_rows import Taken, Visit

_S = DispatchState
#: Before somebody was sent.
_RECOMMENDED_IN = frozenset({_S.TRIAGED, _S.READY_TO_SCHEDULE, _S.SCHEDULE_PROPOSED, _S.SCHEDULED})
#: While somebody has it.
_REASSIGNED_IN = frozenset({_S.DISPATCHED, _S.ON_HOLD, _S.IN_PROGRESS})
_DISPATCHED_FROM = frozenset({_S.TRIAGED, _S.SCHEDULED})


def _recommend(connection: Connection, ask: Ask[Recommendation], ticket: FieldTicket) -> Effect:
    asked = ask.arguments
    job = weighing.job_of(connection, ticket, asked.window.window if asked.window else None)
    if asked.service_type is not None and asked.service_type != job.incident_type:
        job = replace(job, incident_type=asked.service_type, skills=frozenset())
    candidates = weighing.table(connection, ticket, job, weights=asked.weights, ignored=asked.ignore)
    fit = sum(one.is_fit for one in candidates)
    answer: dict[str, Any] = {
        "ticket_id": str(ticket.ticket_id),
        "service_type": job.incident_type,
        "what_if": asked.is_what_if,
        "recommendations": [one.as_told() for one in candidates[: asked.limit]],
        "fit": fit,
        "candidates": len(candidates),
        "ticket": body(ticket),
    }
    details: dict[str, Any] = {"fit": fit, "candidates": len(candidates), "what_if": asked.is_what_if}
    if asked.is_what_if:
        return Effect(answer, version=ticket.version, details=details)
    kept = asked.model_dump(mode="json", exclude_unset=True)
    found = assignment_rows.recommend(connection, ticket, kept, candidates, ask.principal.actor_id)
    details["recommendation_snapshot_id"] = str(found)
    who = ask.principal.email
    field_rows.tell(connection, ticket, "assignment.recommend", details, actor=who, trace_id=ask.trace_id)
    answer["recommendation_snapshot_id"] = str(found)
    return Effect(answer, status=201, version=ticket.version, details=details)


def _look_at_dispatch(connection: Connection, ask: Ask[Dispatch], ticket: FieldTicket) -> Mapping[str, Any]:
    if ticket.state not in _DISPATCHED_FROM:
        return {}
    asked = ask.arguments
    job = weighing.job_of(connection, ticket)
    if asked.is_bypass or job.window is None:
        job = replace(job, window=Window(ticket.now, ticket.now + job.visit))
    return {"choice": _choice(connection, ask, ticket, job, BYPASSED if asked.is_bypass else ())}


def _look_at_reassignment(connection: Connection, ask: Ask[Reassignment], ticket: FieldTicket) -> Mapping[str, Any]:
    if ticket.state not in _REASSIGNED_IN:
        return {}
    visit = visit_rows.current(connection, ticket.ticket_id)
    window = visit.window if visit else ticket.window
    # What is over of it is nobody's any more.
    is_ahead = window is not None and window.ends_at > ticket.now
    left = Window(max(window.starts_at, ticket.now), window.ends_at) if window and is_ahead else None
    return {
        "choice": _choice(connection, ask, ticket, replace(weighing.job_of(connection, ticket), window=left), ()),
        "visit": visit,
    }


def _choice(
    connection: Connection, ask: Ask[Any], ticket: FieldTicket, job: Job, ignored: Collection[Filter]
) -> Choice:
    """Find out what speaks for and against; from here on nobody else books for the technician."""
    asked: Sending = ask.arguments
    visit_rows.lock_calendars(connection, [asked.tech_id])
    candidates = weighing.table(connection, ticket, job, ignored=ignored, also=asked.tech_id)
    chosen = next((one for one in candidates if one.person_id == asked.tech_id), None)
    snapshot_id = asked.recommendation_snapshot_id
    return Choice(
        job=job,
        candidates=candidates,
        chosen=chosen,
        is_snapshot_theirs=snapshot_id is None or assignment_rows.fits(connection, ticket, snapshot_id, asked.tech_id),
        is_approval_pending=assignment_rows.is_approval_pending(connection, ticket.ticket_id),
        overruled=tuple(one.filter.value for one in chosen.against) if chosen else (),
    )


def _dispatch(connection: Connection, ask: Ask[Dispatch], ticket: FieldTicket) -> Effect:
    asked, choice = ask.arguments, choice_of(ticket)
    may_overlap = asked.is_bypass or Filter.OVERLAP in choice.overruled
    assert choice.job.window is not None
    visit = _book(connection, ticket, choice.job.window, asked, may_overlap=may_overlap)
    is_told = (visit.window, visit.number) != (ticket.window, ticket.visit_number)
    sent = _sent(connection, ask, ticket, asked.dispatch_mode)
    return changed(
        connection,
        ask,
        ticket,
        "assignment.dispatch",
        _assigned(asked) | visit_rows.changes_of(visit),
        path=[_S.DISPATCHED],
        details=sent | ({"rationale": asked.why} if asked.is_bypass else {}),
        more={"assignment": sent},
        jobs=[visit_rows.invitation(visit, ask.trace_id or ticket.trace_id)] if is_told else [],
    )


def _reassign(connection: Connection, ask: Ask[Reassignment], ticket: FieldTicket) -> Effect:
    """Exchange who was sent; the visit, and time that is going, are the other's from now on."""
    asked, choice = ask.arguments, choice_of(ticket)
    visit: Visit | None = ticket.known["visit"]
    if visit is not None:
        may_overlap = visit.may_overlap or Filter.OVERLAP in choice.overruled
        _book(connection, ticket, visit.window, asked, may_overlap=may_overlap)
    if time_rows.end(connection, ticket, ticket.now):
        time_rows.begin(connection, replace(ticket, assigned_tech_id=asked.tech_id), ticket.now, ask.principal.actor_id)
    sent = _sent(connection, ask, ticket, AssignmentMode.STANDARD, because=asked.reason)
    facts = {**sent, "before": plain(ticket.assigned_tech_id), "reason": asked.reason}
    return changed(
        connection,
        ask,
        ticket,
        "assignment.reassign",
        _assigned(asked),
        details=facts,
        more={"assignment": sent},
    )


def _unassign(connection: Connection, ask: Ask[Unassignment], ticket: FieldTicket) -> Effect:
    """Take the technician off: a visit that lies ahead stays for another one, else it must be scheduled anew."""
    reason = ask.arguments.reason
    technician_id = assignment_rows.end(connection, ticket.ticket_id, reason) or ticket.assigned_tech_id
    changes: dict[str, Any] = {"assigned_tech_id": None, "assigned_provider_id": None}
    jobs = []
    if ticket.window is not None and ticket.window.starts_at > ticket.now:
        path = [_S.SCHEDULED]
        visit = visit_rows.book(connection, ticket, ticket.window)
        changes |= visit_rows.changes_of(visit)
    else:
        path = [_S.READY_TO_SCHEDULE]
        changes |= {"scheduled_start": None, "scheduled_end": None}
        jobs = field_endings.call_back(connection, ticket, because=reason)
    details = {"tech_id": plain(technician_id), "reason": reason}
    return changed(connection, ask, ticket, "assignment.unassign", changes, path=path, details=details, jobs=jobs)


def _book(connection: Connection, ticket: FieldTicket, window: Window, asked: Sending, *, may_overlap: bool) -> Visit:
    """Give the visit to who is sent. Whoever overrules sends them into other work, too; else the database decides."""
    try:
        return visit_rows.book(connection, ticket, window, asked.tech_id, may_overlap=may_overlap)
    except Taken as taken:
        if asked.override_reason is not None:
            return visit_rows.book(connection, ticket, window, asked.tech_id, may_overlap=True)
        said = "this technician has another visit at that time; look at who else is free"
        raise Refused(Refusal("ASSIGNMENT_OVERLAP", said, details={"tech_id": str(asked.tech_id)})) from taken


def _sent(
    connection: Connection,
    ask: Ask[Any],
    ticket: FieldTicket,
    mode: AssignmentMode,
    because: str = "somebody else was sent",
) -> dict[str, Any]:
    """Note the assignment with the table behind it; return the facts of it."""
    asked: Sending = ask.arguments
    choice = choice_of(ticket)
    assignment_id = assignment_rows.assign(
        connection,
        ticket,
        asked.tech_id,
        choice.candidates,
        by=ask.principal.actor_id,
        mode=mode,
        provider_id=asked.provider_id,
        recommendation_id=asked.recommendation_snapshot_id,
        overruled=asked.override_reason if choice.overruled else None,
        because=because,
    )
    return {
        "assignment_id": str(assignment_id),
        "tech_id": str(asked.tech_id),
        "provider_id": plain(asked.provider_id),
        "mode": mode.value,
        "recommendation_snapshot_id": plain(asked.recommendation_snapshot_id),
        "has_snapshot": asked.recommendation_snapshot_id is not None,
        "place": choice.chosen.place if choice.chosen else None,
        "overruled": list(choice.overruled),
    }


def _assigned(asked: Sending) -> dict[str, Any]:
    return {"assigned_tech_id": asked.tech_id, "assigned_provider_id": asked.provider_id}


RECOMMEND = Command(
    name="assignment.recommend",
    about="Weighs every technician for the ticket and keeps the table; what-if keeps nothing.",
    arguments=Recommendation,
    permission=Permission.ASSIGNMENT_RECOMMEND,
    target=ticket_target(),
    gates=(not_merged,),
    effect=_recommend,
    from_states=_RECOMMENDED_IN,
    needs_key=True,
)
DISPATCH = Command(
    **lifecycle("assignment.dispatch"),
    about="Sends a technician to the scheduled visit, or at once to an emergency.",
    arguments=Dispatch,
    permission=Permission.ASSIGNMENT_DISPATCH,
    target=ticket_target(_look_at_dispatch),
    gates=(
        gates.is_scheduled_or_bypass,
        not_merged,
        gates.may_bypass,
        gates.is_technician,
        gates.is_available,
        gates.fits_recommendation,
        gates.is_fit,
    ),
    effect=_dispatch,
)
REASSIGN = Command(
    name="assignment.reassign",
    about="Sends another technician instead.",
    arguments=Reassignment,
    permission=Permission.ASSIGNMENT_DISPATCH,
    target=ticket_target(_look_at_reassignment),
    gates=(
        not_merged,
        gates.is_somebody_else,
        gates.is_technician,
        gates.is_available,
        gates.fits_recommendation,
        gates.is_fit,
    ),
    effect=_reassign,
    from_states=_REASSIGNED_IN,
    needs_key=True,
)
UNASSIGN = Command(
    **lifecycle("assignment.unassign"),
    about="Takes the technician off before they begin.",
    arguments=Unassignment,
    permission=Permission.ASSIGNMENT_DISPATCH,
    target=ticket_target(),
    gates=(not_merged,),
    effect=_unassign,
)
#: What `pipeline.table` finds here.
COMMANDS = (RECOMMEND, DISPATCH, REASSIGN, UNASSIGN)
