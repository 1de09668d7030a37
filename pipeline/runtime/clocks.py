"""The clocks of tickets: started by routing, moved by whatever changes a ticket, and told of when they run out.

Whoever changes tickets calls `note_status` afterwards, in the same transaction and with their rows locked: what a row
says now is compared with its ledger, and the difference is written. It may be called too often, and never too early.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import IntervalState, TicketPriority, TicketStatus
from pipeline.core import clocks as ledger
from pipeline.core.clocks import OVER, Clock, Interval, Moved, Ticket
from pipeline.core.service_levels import Facts, Policy, choose
from pipeline.runtime import clock_rows
from pipeline.runtime.clock_rows import Change, Dues, Made, Standing
from pipeline.runtime.levels import levels_of
from pipeline.runtime.ticket_locks import lock_tickets

#: Warnings and breaches that one sweep tells of; the next one goes on.
SWEEP = 500
#: Tickets that are computed anew in one transaction.
BATCH = 500
_FIRST = "00000000-0000-0000-0000-000000000000"
_ANCIENT = datetime(1970, 1, 1, tzinfo=UTC)

#: Those whose clocks go on, and those that have none though they should: from before there were any.
_NEXT = text("""
    SELECT t.id FROM tickets t
     WHERE t.org_id = :org AND t.id > CAST(:after AS uuid) AND t.status IN ('new', 'open', 'pending')
       AND t.routed_at IS NOT NULL
     ORDER BY t.id LIMIT :limit
""")
#: Both kinds are locked with their tickets, skipping what somebody has at hand: no sweep waits, and none tells twice.
_TELL = """
    WITH due AS (
        SELECT c.ticket_id, c.kind, c.due_at, c.{at} AS fell_at
          FROM ticket_clocks c JOIN tickets t ON t.id = c.ticket_id
         WHERE c.state = 'running' AND c.{mark} IS NULL AND c.{at} < now(){unless}
         ORDER BY c.{at} LIMIT :limit FOR UPDATE OF c SKIP LOCKED FOR KEY SHARE OF t SKIP LOCKED
    ), marked AS (
        UPDATE ticket_clocks c SET {sets} FROM due
         WHERE c.ticket_id = due.ticket_id AND c.kind = due.kind
        RETURNING c.org_id, c.ticket_id, c.kind, due.due_at, due.fell_at
    ), told AS (
        INSERT INTO events (org_id, ticket_id, kind, data)
        SELECT org_id, ticket_id, :notice,
               jsonb_build_object('clock', kind, 'due_at', due_at, 'noticed_by', 'sweep') FROM marked
    )
    SELECT count(*) AS told, CAST(extract(epoch FROM now() - min(fell_at)) AS float8) AS lag FROM marked
"""
_BREACHES = text(
    _TELL.format(
        at="due_at",
        mark="breached_at",
        sets="breached_at = now(), warned_at = coalesce(c.warned_at, now())",
        unless="",
    )
)
#: Nobody is warned of what is late already.
_WARNINGS = text(
    _TELL.format(at="warn_at", mark="warned_at", sets="warned_at = now()", unless=" AND c.due_at >= now()")
)
#: What is not routed yet has no clocks, and no ledger to keep.
_ARE_TIMED = text("""
    SELECT EXISTS (SELECT FROM tickets WHERE id = ANY(CAST(:ids AS uuid[])) AND routed_at IS NOT NULL)
        OR EXISTS (SELECT FROM clock_intervals WHERE ticket_id = ANY(CAST(:ids AS uuid[])))
""")
_COPY = text("""
    INSERT INTO clock_intervals (org_id, ticket_id, state, because, began_at, ended_at)
    SELECT org_id, :new, state, because, began_at, ended_at FROM clock_intervals
     WHERE ticket_id = :ticket ORDER BY began_at, id
""")
_COPY_CLOCKS = text("""
    INSERT INTO ticket_clocks (org_id, ticket_id, kind, state, policy_id, policy_version, target, started_at, warn_at,
                               due_at, warned_at, breached_at, ended_at)
    SELECT org_id, :new, kind, state, policy_id, policy_version, target, started_at, warn_at, due_at, warned_at,
           breached_at, ended_at FROM ticket_clocks WHERE ticket_id = :ticket
""")
_TAKE_BACK = text("""
    DELETE FROM clock_intervals WHERE ticket_id = ANY(CAST(:ids AS uuid[])) AND because = :because
""")


@dataclass(frozen=True, slots=True)
class Start:
    """A ticket that routing has decided, as it will stand; `at` is when its first message came."""

    org_id: UUID
    ticket_id: UUID
    status: TicketStatus
    facts: Facts
    at: datetime
    #: It comes out of an archive: what was late before we knew it is told to nobody.
    is_history: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    """What the ticket's own row repeats of its clocks."""

    dues: Dues
    responded_at: datetime | None


@dataclass(frozen=True, slots=True)
class Announced:
    """What a sweep told of, and by how much the latest of each was late, in seconds."""

    warnings: int = 0
    breaches: int = 0
    warning_lag: float = 0.0
    breach_lag: float = 0.0


def start(connection: Connection, starts: Sequence[Start]) -> dict[UUID, Started]:
    """Start the clocks of new tickets that ask for work; return by ticket what their rows say. Two COPYs a batch.

    One that is spam or closed from the start, or has a ledger already, is left out. It runs since its first message,
    by the first policy that it meets. What we wrote first ourselves is answered already.
    """
    wanted = {one.ticket_id: one for one in starts if one.status not in OVER}
    if not wanted:
        return {}
    known = clock_rows.fresh(connection, wanted)
    levels = levels_of(connection, {one.org_id for one in wanted.values()})
    made, started = [], {}
    for ticket_id, row in known.items():
        one = wanted[ticket_id]
        policy = choose(levels[one.org_id], one.facts)
        began = ledger.begin(one.status, policy, _bounded(one.at, row.at), one.status.value)
        ticket = Ticket(one.status, one.facts.priority, policy, row.at, row.responded_at, is_history=one.is_history)
        clocks, told = ledger.stand(began, ticket, {})
        made.append(Made(one.org_id, ticket_id, began, clocks, told))
        started[ticket_id] = Started(clock_rows.dues(clocks), row.responded_at)
    clock_rows.insert(connection, made)
    return started


def note_status(
    connection: Connection,
    ticket_ids: Iterable[UUID],
    *,
    because: str | None = None,
    drops: bool = False,
    rest: IntervalState = IntervalState.PAUSED,
) -> None:
    """Bring the clocks of tickets to what their rows say now: status, priority, queue, tags, answers.

    `because` is kept with an interval that begins, else the status. With `drops` what is closed never was a matter: its
    clocks are cancelled. `rest` is what the time was since the end of what is open again. A ticket from before there
    were clocks gets them by this.
    """
    ids = sorted(set(ticket_ids))
    if not ids:
        return
    standings = clock_rows.read(connection, ids)
    levels = levels_of(connection, {one.row.org_id for one in standings})
    changes = [_change(one, levels[one.row.org_id], because, drops=drops, rest=rest) for one in standings]
    clock_rows.write(connection, [one for one in changes if one is not None])


def note_answer(connection: Connection, ticket_ids: Iterable[UUID]) -> None:
    """Let the clocks of tickets know that an answer of ours has left; locks their rows, which the caller need not."""
    ids = sorted(set(ticket_ids))
    if ids:
        lock_tickets(connection, ids)
        note_status(connection, ids, because="answered")


def recompute(connection: Connection, org_id: UUID, after: UUID | None, limit: int = BATCH) -> UUID | None:
    """Bring the clocks of an organization's next open tickets to its policies of today; return where to go on.

    None when there are no more. Their ledgers say what ran and stood still, so nothing of that is lost.
    """
    values = {"org": org_id, "after": after or _FIRST, "limit": limit}
    ids = connection.execute(_NEXT, values).scalars().all()
    lock_tickets(connection, ids)
    note_status(connection, ids)
    return ids[-1] if len(ids) == limit else None


def announce(connection: Connection, limit: int = SWEEP) -> Announced:
    """Tell, as events, of clocks that ran out and of those that are about to; each once, however many do this."""
    late = connection.execute(_BREACHES, {"limit": limit, "notice": ledger.Notice.BREACH.value}).one()
    soon = connection.execute(_WARNINGS, {"limit": limit, "notice": ledger.Notice.WARNING.value}).one()
    return Announced(soon.told, late.told, soon.lag or 0.0, late.lag or 0.0)


def merge(connection: Connection, winner: UUID, losers: Sequence[UUID], regrouping_id: int) -> None:
    """Let the kept ticket's clocks stand where the furthest of the merged ones stood; theirs are cancelled.

    What one of them had used up more is put before the kept ticket's ledger: so it keeps the earlier due. Call it when
    the tickets' rows say that they are merged.
    """
    if not connection.execute(_ARE_TIMED, {"ids": [winner, *losers]}).scalar_one():
        return
    note_status(connection, [winner], because="merged")
    standings = {one.row.id: one for one in clock_rows.read(connection, [winner, *losers])}
    kept, merged = standings[winner], [standings[loser] for loser in losers if _goes_on(standings[loser])]
    if kept.ledger and merged:
        policy = choose(levels_of(connection, [kept.row.org_id])[kept.row.org_id], kept.facts)
        used = max(ledger.elapsed(policy.calendar, one.ledger, one.row.at) for one in merged)
        more = used - ledger.elapsed(policy.calendar, kept.ledger, kept.row.at)
        if more > timedelta(0):
            front = ledger.credit(policy.calendar, kept.ledger, more, _merged(regrouping_id))
            clock_rows.prepend(connection, kept.row.org_id, winner, front)
    note_status(connection, [winner, *losers], because="merged")


def split(connection: Connection, ticket_id: UUID, new_id: UUID) -> None:
    """Let a ticket that was split off stand where the old one stood."""
    for statement in (_COPY, _COPY_CLOCKS):
        connection.execute(statement, {"ticket": ticket_id, "new": new_id})
    note_status(connection, [ticket_id, new_id], because="split")


def undo(connection: Connection, ticket_ids: Sequence[UUID], regrouping_id: int) -> None:
    """Take back what a merge put before a ledger, and let each ticket's clocks follow its row again.

    What was merged by mistake waited all the while: that time counts.
    """
    connection.execute(_TAKE_BACK, {"ids": list(ticket_ids), "because": _merged(regrouping_id)})
    note_status(connection, ticket_ids, because="undone", rest=IntervalState.RUNNING)


def _change(
    one: Standing, levels: Sequence[Policy], because: str | None, *, drops: bool, rest: IntervalState
) -> Change | None:
    row = one.row
    status, policy = TicketStatus(row.status), choose(levels, one.facts)
    if not one.ledger and (row.routed_at is None or status in OVER):
        return None
    is_old = not one.clocks
    ticket = Ticket(
        status,
        TicketPriority(row.priority),
        policy,
        row.at,
        row.responded_at,
        is_dropped=drops,
        is_history=is_old,
        rest=rest,
    )
    moved = ledger.move(one.ledger, ticket, because or status.value) if one.ledger else _adopted(one, policy)
    clocks, told = ledger.stand(moved.on(one.ledger), ticket, one.clocks)
    changed = [clock for clock in clocks if one.clocks.get(clock.kind) != clock]
    columns = _columns(one, clocks, status)
    if not changed and columns is None and moved == Moved():
        return None
    return Change(row.org_id, row.id, moved, changed, told, columns)


def _adopted(one: Standing, policy: Policy) -> Moved:
    """Return the ledger of a routed ticket that has none.

    From before there were clocks it ran since its first message, and stands still, if so, since something last
    happened to it. One that was spam or closed from the start begins when it is opened.
    """
    row, status = one.row, TicketStatus(one.row.status)
    if row.response_due_at is None:
        return Moved(None, ledger.begin(status, policy, row.at, "opened"))
    began = _bounded(row.first_message_at, row.at)
    if status not in policy.pauses:
        return Moved(None, ledger.begin(status, policy, began, "adopted"))
    rested = min(max(row.last_activity_at, began), row.at)
    ran = Interval(IntervalState.RUNNING, "adopted", began, rested)
    return Moved(None, (ran, Interval(IntervalState.PAUSED, status.value, rested)))


def _columns(
    one: Standing, clocks: Sequence[Clock], status: TicketStatus
) -> tuple[Dues, datetime | None, datetime | None] | None:
    row, dues = one.row, clock_rows.dues(clocks)
    is_resolved = status in (TicketStatus.RESOLVED, TicketStatus.CLOSED)
    resolved_at = (row.resolved_at or row.at) if is_resolved else None
    before = (row.response_due_at, row.resolution_due_at, row.sla_due_at, row.stored_responded_at, row.resolved_at)
    after = (dues.response_at, dues.resolution_at, dues.sla_at, row.responded_at, resolved_at)
    return (dues, row.responded_at, resolved_at) if before != after else None


def _goes_on(one: Standing) -> bool:
    return any(clock.ended_at is None for clock in one.clocks.values())


def _merged(regrouping_id: int) -> str:
    return f"merge {regrouping_id}"


def _bounded(at: datetime, now: datetime) -> datetime:
    """Return a mail's time as one to reckon with: not in the future, and not before time was kept."""
    return max(min(at, now), _ANCIENT)
