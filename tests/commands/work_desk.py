"""A place of work for tests: sites, a ride, technicians, leads and a workshop, and work orders in any state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import text

from models.enums import TicketPriority, WorkOrderState, WorkPolicy
from pipeline.core.orders import Order
from pipeline.runtime import order_rows
from pipeline.runtime.db import Database
from tests import factories
from tests.commands.staffed import Staffed, staff
from tests.factories import rows

#: Everybody who works there, by name, with their role.
STAFF = {
    "tech": "technician",
    "other_tech": "technician",
    "lead": "maintenance_lead",
    "ops_lead": "operations_lead",
    "store": "store_manager",
    "master": "master",
    "ops_manager": "ops_manager",
    "inspector": "qa",
    "other_inspector": "qa",
    "admin": "admin",
    "viewer": "viewer",
}
_SITE = text("INSERT INTO sites (org_id, account_id, name) VALUES (:org, :account, :name) RETURNING id")


@dataclass
class WorkDesk(Staffed):
    """One organization."""

    speaker: ClassVar[str] = "tech"

    account_id: UUID
    site_id: UUID
    other_site_id: UUID
    ride_id: UUID

    @classmethod
    def of(cls, db: Database) -> WorkDesk:
        """Build one."""
        with db.begin() as connection:
            org_id = factories.organization(connection)
            account_id = connection.execute(
                text("INSERT INTO accounts (org_id, name) VALUES (:org, 'Acme') RETURNING id"), {"org": org_id}
            ).scalar_one()
            north, south = (
                connection.execute(_SITE, {"org": org_id, "account": account_id, "name": name}).scalar_one()
                for name in ("North", "South")
            )
            ride_id = factories.asset(connection, org_id, f"RIDE-{org_id.hex[:8]}", kind="ride")
            return cls(db, org_id, staff(connection, org_id, STAFF), account_id, north, south, ride_id)

    def person_id(self, name: str) -> UUID:
        """Return the id of somebody by name."""
        found = self.people[name].person_id
        assert found is not None
        return found

    def order(self, state: WorkOrderState = WorkOrderState.CREATED, to: str | None = None, **more: Any) -> Order:
        """Make an order of the field in a state, given to somebody where one is named; no step of it is kept."""
        values: dict[str, Any] = {
            "org_id": self.org_id,
            "policy": WorkPolicy.FIELD,
            "title": "The brake squeals",
            "priority": TicketPriority.NORMAL,
            "state": state,
            "site_id": self.site_id,
            "asset_id": self.ride_id,
            **more,
        }
        if to is not None:
            values |= {"assigned_to_id": self.person_id(to), "attempt": 1}
        with self.db.begin() as connection:
            now = connection.execute(text("SELECT now()")).scalar_one()
            return order_rows.make(connection, {"due_at": now + timedelta(days=1), **values})

    def read(self, order_id: UUID) -> Order:
        """Return an order as it is now."""
        with self.db.begin() as connection:
            return order_rows.read(connection, order_id)

    def steps(self, order_id: UUID) -> list[tuple[str, str | None, str]]:
        """Return the steps that were kept of an order: command, state before and after."""
        statement = "SELECT command, from_state, to_state FROM work_order_events WHERE order_id = :id ORDER BY id"
        return [tuple(row) for row in rows(self.db, statement, id=order_id)]
