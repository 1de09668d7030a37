"""Day plans: a draft is kept, and applied as a whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from models.enums import DispatchState, PlanState
from models.permissions import Permission
from pipeline import executor
from pipeline.command import Ask, Command, Effect, Locked, Refused, Target
from pipeline.commands.field import TICKET, changed, lifecycle, not_merged
from pipeline.commands.planning_arguments import Apply, Booking, Draft, PlanWish
from pipeline.core.duty import zone
from pipeline.core.field_work import FieldTicket, Window
from pipeline.core.plan_days import DayProblem, Frame, Wanted
from pipeline.core.plans import Weights, violations
from pipeline.core.principals import Principal
from pipeline.core.refusing import Because, Refusal
from pipeline.core.schedule import Proposed
from pipeline.core.written import plain
from pipeline.runtime import plan_rows, planning, schedule_rows, visit_rows
from pipeline.runtime.plan_rows import Plan, Unplannable
from pipeline.runtime.planning import Outcome
from pipeline.runtime.visit_rows import Taken

_S = DispatchState
_MISSING = Refusal("PLAN_NOT_FOUND", "your organization has no such plan", Because.MISSING)
#: Wherever on earth a day is, it lies so near to its noon in UTC; and nobody plans further ahead.
_NEAR, _FURTHEST = timedelta(days=1, hours=3), timedelta(days=366)
_STALE = "things have changed since this plan was made ({}); nothing was booked: plan the day again"


@dataclass(frozen=True, slots=True)
class Asked:
    """A day to plan, read for somebody's wish, and the time zone that it is a day of."""

    day: DayProblem
    timezone: str
    limit: timedelta


def read_day(connection: Connection, principal: Principal, wish: PlanWish) -> Asked:
    """Return what a wish is about. Raises `Refused` for a day that is over, and for what cannot be planned."""
    org_id, now = principal.org_id, plan_rows.database_now(connection)
    if not timedelta(-2) <= wish.day - now.date() <= _FURTHEST:
        raise Refused(_not_plannable(wish.day, is_over=wish.day < now.date()))
    noon = datetime.combine(wish.day, time(12), UTC)
    only = None if wish.technician_ids is None else set(wish.technician_ids)
    people = plan_rows.technicians(connection, org_id, Window(noon - _NEAR, noon + _NEAR), only)
    if only is not None and (missing := sorted(only - {one.person_id for one in people})):
        said = "your organization has no such members"
        raise Refused(Refusal("TECHNICIAN_NOT_FOUND", said, Because.MISSING, {"technician_ids": missing}))
    name = wish.timezone or plan_rows.usual_timezone(people)
    frame = Frame(wish.day, zone(name), now)
    if frame.ends_at <= now:
        raise Refused(_not_plannable(wish.day, is_over=True))
    wanted = _wanted(connection, org_id, frame, wish)
    weights = wish.weights.weights
    day = plan_rows.problem(connection, org_id, frame, wanted=wanted, people=people, weights=weights)
    return Asked(day, name, timedelta(seconds=wish.time_limit_seconds))


def _not_plannable(day: date, *, is_over: bool) -> Refusal:
    said = f"{day} is over" if is_over else f"{day} is more than a year ahead"
    return Refusal("DAY_NOT_PLANNABLE", f"{said}; plan today or a later day", Because.INVALID)


def _wanted(connection: Connection, org_id: UUID, frame: Frame, wish: PlanWish) -> list[Wanted]:
    if wish.ticket_ids is None:
        return plan_rows.wanted_of_day(connection, org_id, frame)
    try:
        return plan_rows.wanted_named(connection, org_id, set(wish.ticket_ids))
    except Unplannable as found:
        details = {"tickets": _named(found)}
        if found.missing:
            said = "your organization has no field work of some of these tickets"
            raise Refused(Refusal("TICKET_NOT_FOUND", said, Because.MISSING, details)) from None
        said = "some of these tickets are not to be scheduled, or have a technician already; leave them out"
        raise Refused(Refusal("TICKETS_NOT_PLANNABLE", said, details=details)) from None


def draft_of(wish: PlanWish, asked: Asked, outcome: Outcome) -> Draft:
    """Return what is kept of a plan that was made."""
    kept = planning.as_asked(asked.day, asked.limit, asked.timezone)
    return Draft(day=wish.day, asked=kept, result=planning.as_result(asked.day, outcome))


def head(plan: Plan) -> dict[str, Any]:
    """Return a plan without its routes."""
    return {
        "id": str(plan.plan_id),
        "day": plan.day.isoformat(),
        "state": plan.state.value,
        "created_by": plan.created_by,
        "created_at": plain(plan.created_at),
        "applied_by": plan.applied_by,
        "applied_at": plain(plan.applied_at),
        "asked": {name: plan.asked[name] for name in ("timezone", "time_limit_seconds", "weights")},
        "summary": plan.result["summary"],
    }


def described(connection: Connection, plan: Plan) -> dict[str, Any]:
    """Return a plan as it is answered, technicians by name."""
    routes = plan.result["routes"]
    names = plan_rows.names(connection, [UUID(route["technician_id"]) for route in routes])
    named = [{**route, "name": names.get(UUID(route["technician_id"]), "")} for route in routes]
    return {**head(plan), **plan.result, "routes": named}


def _nothing_yet(_connection: Connection, _ask: Ask[Any]) -> Locked[None]:
    return Locked("new", None, 0, is_reached=True)


def _lock(connection: Connection, ask: Ask[Any]) -> Locked[Plan] | None:
    """Lock a plan; only who reaches the whole organization reaches it."""
    plan = plan_rows.lock(connection, ask.principal.org_id, UUID(ask.target or ""))
    if plan is None:
        return None
    return Locked(str(plan.plan_id), plan, 0, ask.principal.scope.is_whole, plan.state.value)


def _keep(connection: Connection, ask: Ask[Draft], _: None) -> Effect:
    given, who = ask.arguments, ask.principal
    plan = plan_rows.keep(connection, who.org_id, given.day, asked=given.asked, result=given.result, by=who.actor_id)
    summary = given.result["summary"]
    details = {"plan_id": plan.plan_id, "on_day": given.day, **{one: summary[one] for one in ("tickets", "planned")}}
    return Effect(described(connection, plan), status=201, details=details)


def _apply(connection: Connection, ask: Ask[Apply], plan: Plan) -> Effect:
    """Book every visit of a plan, each by its own command, after all tickets and calendars are locked."""
    if plan.state is PlanState.APPLIED:
        return Effect(described(connection, plan), details={"plan_id": plan.plan_id, "booked": 0})
    versions = {UUID(ticket_id): version for ticket_id, version in plan.asked["tickets"].items()}
    bookings = _bookings(plan)
    _check_versions(connection, ask, bookings, versions)
    visit_rows.lock_calendars(connection, [one.technician_id for one in bookings.values()])
    _check_day(connection, ask, plan, bookings)
    asks = [
        Ask(
            principal=ask.principal,
            arguments=bookings[ticket_id],
            target=str(ticket_id),
            version=versions[ticket_id],
            request_id=ask.request_id,
            correlation_id=ask.correlation_id,
            trace_id=ask.trace_id,
        )
        for ticket_id in sorted(bookings)
    ]
    executor.execute_all(connection, BOOK, asks)
    applied = plan_rows.applied(connection, plan.plan_id, ask.principal.actor_id)
    details = {"plan_id": plan.plan_id, "on_day": plan.day, "booked": len(bookings)}
    return Effect(described(connection, applied), details=details)


def _bookings(plan: Plan) -> dict[UUID, Booking]:
    return {
        UUID(stop["ticket_id"]): Booking(
            plan_id=plan.plan_id,
            technician_id=UUID(route["technician_id"]),
            starts_at=datetime.fromisoformat(stop["starts_at"]),
            ends_at=datetime.fromisoformat(stop["ends_at"]),
        )
        for route in plan.result["routes"]
        for stop in route["stops"]
    }


def _check_versions(
    connection: Connection, ask: Ask[Any], bookings: Mapping[UUID, Booking], versions: Mapping[UUID, int]
) -> None:
    """Lock the tickets in the order of their ids. Raises `Refused` when any was changed since it was planned."""
    now = plan_rows.lock_tickets(connection, ask.principal.org_id, bookings)
    changed_since = [
        {"ticket_id": str(one), "code": now[one][0] if one in now else None}
        for one in sorted(bookings)
        if one not in now or now[one][1] != versions[one]
    ]
    if changed_since:
        raise Refused(_stale(f"{len(changed_since)} tickets were changed", tickets=changed_since))


def _check_day(connection: Connection, ask: Ask[Any], plan: Plan, bookings: Mapping[UUID, Booking]) -> None:
    """Read the day again and check the whole plan against it: leave, shifts, other visits, the time of day."""
    org_id = ask.principal.org_id
    frame = Frame(plan.day, zone(plan.asked["timezone"]), plan_rows.database_now(connection))
    try:
        wanted = plan_rows.wanted_named(connection, org_id, bookings)
    except Unplannable as found:
        raise Refused(_stale("tickets have a technician by now", tickets=_named(found))) from None
    only = {one.technician_id for one in bookings.values()}
    people = plan_rows.technicians(connection, org_id, frame.window, only)
    day = plan_rows.problem(connection, org_id, frame, wanted=wanted, people=people, weights=Weights())
    routes = planning.routes_again(day, plan.result)
    broken = ["a technician is gone"] if routes is None else violations(day.problem, routes)
    if broken:
        raise Refused(_stale("a technician's day is another one by now", broken=broken[:20]))


def _named(found: Unplannable) -> list[dict[str, Any]]:
    named = [{"ticket_id": str(one), "code": code} for one, code in found.unfit]
    return named + [{"ticket_id": str(one), "code": None} for one in found.missing]


def _stale(said: str, **details: Any) -> Refusal:
    return Refusal("PLAN_STALE", _STALE.format(said), details=details)


def _book(connection: Connection, ask: Ask[Booking], ticket: FieldTicket) -> Effect:
    """Book the visit with its technician: offered and agreed to in one, or more exactly within what was agreed to."""
    given = ask.arguments
    window = Window(given.starts_at, given.ends_at)
    schedule_rows.offer(connection, ticket, [Proposed(window, given.technician_id)])
    try:
        visit = visit_rows.book(connection, ticket, window, given.technician_id)
    except Taken:
        raise Refused(_stale(f"the technician of {ticket.code} has another visit then")) from None
    path = {
        _S.READY_TO_SCHEDULE: [_S.SCHEDULE_PROPOSED, _S.SCHEDULED],
        _S.SCHEDULE_PROPOSED: [_S.SCHEDULED],
    }.get(ticket.state, [])
    details = {
        "plan_id": given.plan_id,
        "visit_id": visit.visit_id,
        "visit_number": visit.number,
        "technician_id": given.technician_id,
        "starts_at": window.starts_at,
        "ends_at": window.ends_at,
    }
    jobs = [visit_rows.invitation(visit, ask.trace_id or ticket.trace_id)]
    changes = visit_rows.changes_of(visit)
    return changed(connection, ask, ticket, BOOK.name, changes, path=path, details=details, jobs=jobs)


NEW_PLAN: Target[Any, None] = Target("plan", _nothing_yet, _MISSING)
PLAN: Target[Any, Plan] = Target("plan", _lock, _MISSING)

MAKE = Command(
    name="plan.make",
    about="Plans a day for many technicians and keeps the draft.",
    arguments=Draft,
    permission=Permission.PLANS_CHANGE,
    target=NEW_PLAN,
    effect=_keep,
)
APPLY = Command(
    name="plan.apply",
    about="Books every visit of a draft, or none; once applied it stays so.",
    arguments=Apply,
    permission=Permission.PLANS_CHANGE,
    target=PLAN,
    effect=_apply,
)
#: Done within `plan.apply`, under its key.
BOOK = Command(
    **(lifecycle("plan.book") | {"needs_key": False}),
    about="Books a ticket's visit as a plan says; a part of `plan.apply`.",
    arguments=Booking,
    permission=Permission.PLANS_CHANGE,
    target=TICKET,
    effect=_book,
    gates=(not_merged,),
)
#: What `pipeline.table` finds here.
COMMANDS = (MAKE, APPLY, BOOK)
