"""What the bodies of scheduling commands say, and the gates that look at it (contract 000)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from models.enums import DispatchState, HoldReason
from pipeline.command import Ask
from pipeline.commands.field_arguments import GivenReason, Reason, in_words
from pipeline.core import schedule
from pipeline.core.field_work import FieldTicket, Window
from pipeline.core.refusing import Because, Refusal
from pipeline.core.schedule import Hold
from pipeline.core.written import plain


def _plannable(at: datetime) -> datetime:
    if at.year not in schedule.YEARS:
        raise ValueError("no visit is planned for such a year")
    return at


#: RFC 3339 text with a time zone; never a number, and far from where calendars end.
Moment = Annotated[AwareDatetime, BeforeValidator(in_words), AfterValidator(_plannable)]


class WindowBody(BaseModel):
    """A stretch of time that somebody comes in."""

    model_config = ConfigDict(extra="forbid")

    start: Moment
    end: Moment

    @model_validator(mode="after")
    def _is_in_order(self) -> WindowBody:
        if self.end <= self.start:
            raise ValueError("end must be after start")
        return self

    @property
    def window(self) -> Window:
        """Return it as a value."""
        return Window(self.start, self.end)


class Option(WindowBody):
    """A window that is offered; with a technician it is their free time."""

    technician_id: UUID | None = None


class Proposal(BaseModel):
    """The windows that the customer may choose among; the first one stands on the ticket until then."""

    model_config = ConfigDict(extra="forbid")

    options: list[Option] = Field(min_length=1, max_length=schedule.MOST_WINDOWS)


class Confirmation(WindowBody):
    """One of the windows that were offered."""


class Move(WindowBody):
    """Another time, at which somebody is free."""

    technician_id: UUID | None = Field(default=None, description="Who is to come; left out, whoever has least to do.")


class Withdrawal(GivenReason):
    """Why nothing is offered or booked any more."""


class HoldBody(BaseModel):
    """Why the schedule waits for the customer, and by when they must have confirmed."""

    model_config = ConfigDict(extra="forbid")

    hold_reason: HoldReason
    confirmation_window: WindowBody


class Release(BaseModel):
    """The customer has confirmed."""

    model_config = ConfigDict(extra="forbid")

    customer_confirmation_log: str = Field(
        min_length=1, max_length=200, description="What proves it: the id of the hold that was confirmed."
    )


class Rollback(BaseModel):
    """The hold is given up."""

    model_config = ConfigDict(extra="forbid")

    confirmation_id: UUID | None = Field(default=None, description="The hold's id; left out, the open one.")
    reason: Reason


class NewLink(BaseModel):
    """A link for the customer. What it is found by is made by who serves it; only its hash comes here."""

    link_id: UUID
    token_hash: bytes = Field(min_length=32, max_length=32)


def windows_fit(ask: Ask[Proposal], ticket: FieldTicket) -> Refusal | None:
    """Refuse windows that are over, too long, too far ahead or twice there, and technicians who are none."""
    problem = schedule.why_not([one.window for one in ask.arguments.options], ticket.now)
    if problem is not None:
        return Refusal("INVALID_REQUEST", problem, Because.INVALID)
    wanted = {one.technician_id for one in ask.arguments.options if one.technician_id}
    strangers = sorted(map(str, wanted - ticket.known["technicians"]))
    if strangers:
        said = f"options: {', '.join(strangers)} works in the field for nobody here"
        return Refusal("INVALID_REQUEST", said, Because.INVALID)
    return None


def is_offered(ask: Ask[Confirmation], ticket: FieldTicket) -> Refusal | None:
    """Refuse a window that was not offered, or has begun."""
    windows = [schedule.proposed_as_json(one) for one in ticket.known["offered"]]
    if schedule.chosen(ticket.known["offered"], ask.arguments.window) is None:
        said = "this window was not proposed; confirm one of those that were"
        return Refusal("WINDOW_NOT_PROPOSED", said, details={"windows": windows})
    return _has_begun(ask.arguments.start, ticket)


def may_be_moved_to(ask: Ask[Move], ticket: FieldTicket) -> Refusal | None:
    """Refuse a window that is over or too far ahead, and one of another length than the visit has."""
    window, length = ask.arguments.window, ticket.known["length"]
    if (gone := _has_begun(window.starts_at, ticket)) is not None:
        return gone
    problem = schedule.why_not_window(window, ticket.now)
    is_offered_then = schedule.chosen(ticket.known["offered"], window) is not None
    if problem is None and not is_offered_then and window.ends_at - window.starts_at != length:
        problem = f"the visit takes {int(length.total_seconds() // 60)} minutes"
    return None if problem is None else Refusal("INVALID_REQUEST", problem, Because.INVALID)


def _has_begun(start: datetime, ticket: FieldTicket) -> Refusal | None:
    if start > ticket.now:
        return None
    return Refusal("WINDOW_PASSED", "this window has begun already; choose a later one")


def is_ahead(ask: Ask[HoldBody], ticket: FieldTicket) -> Refusal | None:
    """Refuse a time to confirm in that is over already, or that ends after more than a year."""
    window = ask.arguments.confirmation_window.window
    if ticket.now < window.ends_at <= ticket.now + schedule.FURTHEST:
        return None
    said = "confirmation_window must end in the future, within a year"
    return Refusal("INVALID_REQUEST", said, Because.INVALID)


def is_confirmed(ask: Ask[Release], ticket: FieldTicket) -> Refusal | None:
    """Refuse a release without the hold's proof, and one that comes too late (seed-behaviours, 1.8)."""
    hold: Hold | None = ticket.known["hold"]
    if hold is None:
        said = "nothing is known of what was before this hold; roll it back"
        return Refusal("HOLD_SNAPSHOT_MISSING", said)
    if ask.arguments.customer_confirmation_log.strip().lower() != str(hold.hold_id):
        said = "customer_confirmation_log must be the id of the open hold"
        return Refusal("HOLD_CONFIRMATION_MISSING", said)
    return is_in_time(ask, ticket)


def is_in_time(_: Ask[Any], ticket: FieldTicket) -> Refusal | None:
    """Refuse what comes after the time to confirm."""
    hold: Hold | None = ticket.known["hold"]
    if hold is None or not hold.is_stale(ticket.now):
        return None
    said = "the time to confirm is over; roll the hold back"
    return Refusal("CUSTOMER_CONFIRMATION_STALE", said, details={"ends_at": plain(hold.window.ends_at)})


def is_the_open_hold(ask: Ask[Rollback], ticket: FieldTicket) -> Refusal | None:
    """Refuse to roll back another hold than the open one; who names none means that."""
    hold: Hold | None = ticket.known["hold"]
    named = ask.arguments.confirmation_id
    if named is None or (hold is not None and hold.hold_id == named):
        return None
    details = {"hold_id": str(hold.hold_id) if hold else None}
    return Refusal("SCHEDULE_HOLD_STATE_CONFLICT", "another hold is open by now, or none", details=details)


#: Somebody may still come at another time.
MOVABLE = frozenset(
    {DispatchState.SCHEDULE_PROPOSED, DispatchState.SCHEDULED, DispatchState.PENDING_CUSTOMER_CONFIRMATION}
)
