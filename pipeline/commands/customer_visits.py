"""A visit as its customer sees it by a link: when it is and what may be chosen; acted on by the ordinary commands."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection

from models.enums import DispatchState
from pipeline import executor
from pipeline.command import Ask, Command, Refused
from pipeline.commands import scheduling
from pipeline.commands.schedule_arguments import MOVABLE, Confirmation, Move
from pipeline.core import schedule
from pipeline.core.canonical_json import sha256_of
from pipeline.core.field_work import FieldTicket, Window
from pipeline.core.free_slots import Slot
from pipeline.core.invitations import local_zone
from pipeline.core.refusing import Refusal
from pipeline.core.schedule import Hold, Proposed
from pipeline.runtime import field_rows, free_time, schedule_rows, visit_links, visit_rows
from pipeline.runtime.idempotency import Key
from pipeline.runtime.visit_links import Link
from pipeline.runtime.visit_rows import Visit

_S = DispatchState
#: Free windows are shown for so many days at once, and no further ahead than this.
DAYS, FURTHEST = 3, timedelta(days=60)
#: All half hours of so many days.
_MOST_SLOTS = 48 * DAYS + 8
#: Somebody is on the way, or there.
_COMING = frozenset({_S.DISPATCHED, _S.ON_SITE, _S.IN_PROGRESS, _S.ON_HOLD, _S.APPROVAL_REQUIRED})


class Standing(StrEnum):
    """How a visit stands, in the customer's words."""

    PROPOSED = "proposed"  #: windows are offered
    HELD = "held"  #: it waits for the customer
    BOOKED = "booked"
    COMING = "coming"  #: somebody is sent: no more changes by the link
    NONE = "none"  #: nothing is scheduled


@dataclass(frozen=True, slots=True)
class View:
    """What a link shows."""

    link: Link
    standing: Standing
    #: When somebody comes; of a held one, what is kept for the customer.
    window: Window | None
    #: Windows to choose among, those that have not begun.
    options: Sequence[Proposed]
    #: Until when a held one must be confirmed.
    confirm_by: datetime | None
    #: The first day whose free windows are shown, and these.
    day: date
    slots: Sequence[Slot]
    visit: Visit | None

    @property
    def may_confirm(self) -> bool:
        """Whether there is something to say yes to."""
        return bool(self.options) or (self.standing is Standing.HELD and self.window is not None)

    @property
    def may_move(self) -> bool:
        """Whether another time may be chosen."""
        return self.link.state in MOVABLE


@dataclass(frozen=True, slots=True)
class Wish:
    """What a customer asks for by a link; `key` is their own name for it."""

    window: Window
    key: str | None = None


def view(connection: Connection, link: Link, day: date | None = None) -> View:
    """Return what a link shows, with the free windows of a few days from `day` on."""
    ticket = field_rows.read(connection, link.ticket_id)
    hold = schedule_rows.open_hold(connection, link.ticket_id)
    visit = visit_rows.current(connection, link.ticket_id)
    standing = _standing(ticket.state, visit)
    offered = schedule_rows.offered(connection, link.ticket_id) if _chooses(standing, hold) else []
    first = _bounded(day, link)
    return View(
        link=link,
        standing=standing,
        window=None if standing in {Standing.PROPOSED, Standing.NONE} else _window(visit, hold),
        options=[one for one in offered if one.window.starts_at > ticket.now],
        confirm_by=hold.window.ends_at if hold and standing is Standing.HELD else None,
        day=first,
        slots=_slots(connection, link, ticket, first) if ticket.state in MOVABLE else (),
        visit=visit,
    )


def view_again(connection: Connection, token: str, link: Link) -> View:
    """Return what a link shows after something was done by it."""
    return view(connection, visit_links.find(connection, token) or link)


def _standing(state: DispatchState, visit: Visit | None) -> Standing:
    found = {
        _S.SCHEDULE_PROPOSED: Standing.PROPOSED,
        _S.PENDING_CUSTOMER_CONFIRMATION: Standing.HELD,
        _S.SCHEDULED: Standing.BOOKED,
    }
    if state in _COMING and visit is not None:
        return Standing.COMING
    return found.get(state, Standing.NONE)


def _chooses(standing: Standing, hold: Hold | None) -> bool:
    return standing is Standing.PROPOSED or (hold is not None and hold.from_state is _S.SCHEDULE_PROPOSED)


def _window(visit: Visit | None, hold: Hold | None) -> Window | None:
    if visit is not None:
        return visit.window
    return hold.kept if hold is not None and hold.from_state is _S.SCHEDULED else None


def _bounded(day: date | None, link: Link) -> date:
    today = link.now.astimezone(local_zone(link.timezone)).date()
    return min(max(day or today, today), today + FURTHEST)


def _slots(connection: Connection, link: Link, ticket: FieldTicket, first: date) -> list[Slot]:
    there = local_zone(link.timezone)
    begins, ends = (datetime.combine(day, time(0), there) for day in (first, first + timedelta(days=DAYS)))
    job = free_time.job_of(connection, ticket)
    length = free_time.length_of(ticket, job)
    within = Window(begins, ends)
    return free_time.slots(connection, link.org_id, job, length=length, within=within, most=_MOST_SLOTS)


def confirm(connection: Connection, link: Link, wish: Wish) -> Refusal | None:
    """Say yes to a window: to one that was offered, or to the one that is held. Return why not, None when it is done.

    What was refused changed nothing and stands in the audit trail; the transaction goes on.
    """
    if link.state is _S.PENDING_CUSTOMER_CONFIRMATION:
        return move(connection, link, wish)
    arguments = Confirmation(start=wish.window.starts_at, end=wish.window.ends_at)
    return _run(connection, link, wish, scheduling.CONFIRM, arguments)


def move(connection: Connection, link: Link, wish: Wish) -> Refusal | None:
    """Choose another window, in which somebody is free. Return as `confirm` does."""
    arguments = Move(start=wish.window.starts_at, end=wish.window.ends_at)
    return _run(connection, link, wish, scheduling.MOVE, arguments)


def _run(
    connection: Connection, link: Link, wish: Wish, command: Command[Any, Any], arguments: Confirmation | Move
) -> Refusal | None:
    ask: Ask[Any] = Ask(
        principal=visit_links.principal_of(connection, link),
        arguments=arguments,
        target=str(link.ticket_id),
        key=_key(link, wish, command),
    )
    try:
        with connection.begin_nested():
            executor.execute(connection, command, ask)
    except Refused as refused:
        executor.record_refusal(connection, command, ask, refused.refusal)
        return refused.refusal
    visit_links.note_used(connection, link)
    return None


def _key(link: Link, wish: Wish, command: Command[Any, Any]) -> Key:
    """Return the request's key. Its path names the link and not its token, which nothing keeps."""
    path = f"/visit/{link.link_id}/{command.name}"
    name = wish.key or secrets.token_hex(16)
    return Key(link.org_id, f"link:{link.link_id}", "POST", path, name, sha256_of(schedule.as_json(wish.window)))
