"""Points, sessions and weeks for tests of the workshop, written at once where a command would take its time."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from models.enums import WorkOrderState
from pipeline.commands.workshop_rules import UPDATE, RulesChange
from pipeline.core import levels
from pipeline.core.orders import Order
from pipeline.core.pause_budget import first_moment
from pipeline.executor import Answer
from pipeline.runtime import rules
from tests.commands.workshop_desk import WorkshopDesk

_SESSION = text("""
    WITH begun AS (
        INSERT INTO work_sessions (org_id, order_id, technician_id, state, started_at, ended_at)
        VALUES (:org, :order, :person, 'stopped', now() - CAST(:lasted AS interval), now()) RETURNING id
    )
    INSERT INTO work_session_events (org_id, session_id, order_id, technician_id, action, event_at, actor_id)
    SELECT :org, begun.id, :order, :person, action, now() - ago, CAST(:person AS text)
      FROM begun, (VALUES ('started', CAST(:lasted AS interval)), ('stopped', interval '0')) AS e(action, ago)
     ORDER BY ago DESC
""")
_POINTS = """
    INSERT INTO xp_transactions (org_id, person_id, kind, amount, reference, created_by, created_at)
    VALUES (:org, :person, 'manual_adjustment', :amount, :reference, 'a test', :at)
"""
LEDGER = """
    SELECT kind, person_id, amount, reference FROM xp_transactions WHERE org_id = :org ORDER BY kind, reference
"""


def worked(desk: WorkshopDesk, order: Order, by: str = "tech", seconds: float = 600) -> None:
    """Let somebody have worked on an order, in one session that is over."""
    values = {
        "org": desk.org_id,
        "order": order.order_id,
        "person": desk.person_id(by),
        "lasted": timedelta(seconds=seconds),
    }
    with desk.db.begin() as connection:
        connection.execute(_SESSION, values)


def waiting(desk: WorkshopDesk, minutes: int = 20, seconds: float = 600, **more: Any) -> Order:
    """Return a repair of `tech` that waits for its check."""
    order = desk.repair(WorkOrderState.WAITING_QC, "tech", minutes=(minutes,), **more)
    worked(desk, order, seconds=seconds)
    return order


def give(desk: WorkshopDesk, name: str, amount: int, at: datetime) -> None:
    """Write points into the ledger at a time."""
    person_id = desk.person_id(name)
    desk.change(_POINTS, person=person_id, amount=amount, reference=f"test:{uuid4()}", at=at)


def long_here(desk: WorkshopDesk) -> None:
    """Let everybody have been a member for a year."""
    desk.change("UPDATE memberships SET created_at = now() - interval '1 year' WHERE org_id = :org")


def last_monday(desk: WorkshopDesk) -> date:
    """Return the Monday of the newest week that is over, by the workshop's clock."""
    with desk.db.begin() as connection:
        now = connection.execute(text("SELECT now()")).scalar_one()
        return levels.last_week(now, rules.current(connection, desk.org_id).work_session.zone)


def within(monday: date, days: float = 1) -> datetime:
    """Return a time in a week, in UTC."""
    return first_moment(monday, rules.BUILT_IN.rules.work_session.zone) + timedelta(days=days)


def change_rules(desk: WorkshopDesk, **config: Any) -> Answer:
    """Change the rules."""
    return desk.run(UPDATE, RulesChange(config=config, reason="a test"), by="admin")


def level(desk: WorkshopDesk, name: str) -> tuple[int, bool]:
    """Return where somebody stands; at the beginning where there is no row."""
    found = desk.rows(
        "SELECT level, is_warned FROM levels WHERE org_id = :org AND person_id = :person", person=desk.person_id(name)
    )
    return found[0] if found else (1, False)


def sum_of(desk: WorkshopDesk, person_id: UUID) -> int:
    """Return all points of somebody."""
    statement = "SELECT coalesce(sum(amount), 0) FROM xp_transactions WHERE org_id = :org AND person_id = :person"
    return int(desk.rows(statement, person=person_id)[0][0])
