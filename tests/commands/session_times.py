"""Work sessions in the past, for tests: their rows are put back as a whole, so that all lies as far apart as it did."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text

from models.enums import WorkSessionAction
from pipeline.core.pause_budget import Pause, Terms
from pipeline.core.work_sessions import SessionEvent
from pipeline.core.workshop_rules import Rules, WorkSession
from tests.commands.workshop_desk import WorkshopDesk

#: The trigger is the owner's, as the test is: no request could do this.
_PUT_BACK = (
    "ALTER TABLE work_session_events DISABLE TRIGGER append_only",
    "UPDATE work_session_events SET event_at = event_at - :by WHERE org_id = :org",
    "ALTER TABLE work_session_events ENABLE TRIGGER append_only",
    "UPDATE work_sessions SET started_at = started_at - :by, ended_at = ended_at - :by WHERE org_id = :org",
    "UPDATE work_orders SET started_at = started_at - :by WHERE org_id = :org",
    "UPDATE rules_versions SET created_at = created_at - :by WHERE org_id = :org",
    "UPDATE jobs SET run_at = run_at - :by WHERE org_id = :org AND stage = 'resume'",
)
_RULES = """
    INSERT INTO rules_versions (org_id, version, action, rules, checksum, created_by, created_at)
    SELECT :org, coalesce(max(version), 0) + 1, 'update', CAST(:rules AS jsonb), 'none', 'test',
           now() - make_interval(secs => :ago)
      FROM rules_versions WHERE org_id = :org
"""
_EVENTS = """
    SELECT session_id, action, event_at, actor_id, data FROM work_session_events
     WHERE order_id = :order ORDER BY id
"""
_YEAR = timedelta(days=365)


def put_back(desk: WorkshopDesk, by: timedelta) -> None:
    """Let it all have happened so much earlier."""
    with desk.db.begin() as connection:
        for statement in _PUT_BACK:
            connection.execute(text(statement), {"by": by, "org": desk.org_id} if ":by" in statement else {})


def let_it_be(desk: WorkshopDesk, order_id: UUID, at: datetime) -> None:
    """Put all back so that the last event of an order was at a moment."""
    put_back(desk, events(desk, order_id)[-1].at - at)


def now(desk: WorkshopDesk) -> datetime:
    """Return the database's time."""
    (found,) = desk.one("SELECT clock_timestamp()")
    return found.astimezone(UTC)  # type: ignore[no-any-return]


def zone_where_it_is(desk: WorkshopDesk, hour: int) -> str:
    """Return a zone whose clock never changes, in which it is that hour now."""
    offset = (hour - now(desk).hour + 12) % 24 - 12
    return f"Etc/GMT{-offset:+d}" if offset else "Etc/GMT"


def rule(desk: WorkshopDesk, limit: int, zone: str, ago: timedelta = _YEAR) -> Terms:
    """Let other rules of pauses be in force since a while ago; nobody is told. Return them."""
    said = Rules(work_session=WorkSession(daily_pause_limit_minutes=limit, timezone=zone))
    rules = orjson.dumps(said.model_dump(mode="json")).decode()
    desk.change(_RULES, rules=rules, ago=ago.total_seconds())
    return Terms(now(desk) - ago, timedelta(minutes=limit), said.work_session.zone)


def rows(desk: WorkshopDesk, order_id: UUID) -> list[tuple[str, datetime, str, dict[str, Any]]]:
    """Return the events of an order's sessions in order: action, time, actor, data."""
    return [(row[1], row[2].astimezone(UTC), row[3], row[4]) for row in desk.rows(_EVENTS, order=order_id)]


def events(desk: WorkshopDesk, order_id: UUID) -> list[SessionEvent]:
    """Return the same as values."""
    return [
        SessionEvent(row[0], WorkSessionAction(row[1]), row[2].astimezone(UTC))
        for row in desk.rows(_EVENTS, order=order_id)
    ]


def actions(desk: WorkshopDesk, order_id: UUID) -> list[str]:
    """Return what was done in an order's sessions."""
    return [event.action.value for event in events(desk, order_id)]


def pauses(listed: list[SessionEvent]) -> list[Pause]:
    """Return the pauses that events tell of: from each to whatever comes next."""
    found = []
    for number, event in enumerate(listed):
        if event.action is WorkSessionAction.PAUSED:
            after = listed[number + 1 :]
            found.append(Pause(event.at, after[0].at if after else None))
    return found
