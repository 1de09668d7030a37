"""A field desk for tests: an organization with a site, an asset and people in every role, and tickets led to any state.

`FieldDesk.lead` knows the way to a state as `STEPS`: whoever adds a command adds its step there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from models.enums import DispatchPriority, DispatchState
from pipeline.commands import assigning_work, billing, intake, rates, triaging
from pipeline.commands.assignment_arguments import Dispatch
from pipeline.commands.billing_arguments import InvoiceWish, RateWish
from pipeline.executor import Answer
from pipeline.runtime.db import Database
from tests import factories
from tests.commands import schedules, site_steps
from tests.commands.staffed import Staffed, staff

#: Everybody who works there, by name, with their role.
STAFF = {
    "dispatcher": "dispatcher",
    "other_dispatcher": "dispatcher",
    "agent": "agent",
    "tech": "technician",
    "other_tech": "technician",
    "qa": "qa",
    "approver": "approver",
    "finance": "finance",
    "customer": "customer",
    "admin": "admin",
}
INCIDENT = "DOOR_WONT_LATCH"


@dataclass
class FieldDesk(Staffed):
    """One organization."""

    account_id: UUID
    site_id: UUID
    asset_id: UUID

    @classmethod
    def of(cls, db: Database, triage: dict[str, Any] | None = None, policy: dict[str, Any] | None = None) -> FieldDesk:
        """Build one; its policies, of triage and its own, may say otherwise than the built-in ones."""
        with db.begin() as connection:
            org_id = factories.organization(connection, policy=policy)
            if triage:
                factories.triage_policy(connection, org_id, **triage)
            values = {"org": org_id}
            account_id = connection.execute(
                text("INSERT INTO accounts (org_id, name) VALUES (:org, 'Acme') RETURNING id"), values
            ).scalar_one()
            site_id = connection.execute(
                text("INSERT INTO sites (org_id, account_id, name) VALUES (:org, :account, 'North') RETURNING id"),
                values | {"account": account_id},
            ).scalar_one()
            asset_id = factories.asset(connection, org_id, f"DOOR-{org_id.hex[:8]}", kind="door")
            return cls(db, org_id, staff(connection, org_id, STAFF), account_id, site_id, asset_id)

    def make(self, **said: Any) -> UUID:
        """Make a ticket in NEW."""
        asked = intake.NewTicket(
            **{"account_id": self.account_id, "site_id": self.site_id, "summary": "the door does not latch", **said}
        )
        return UUID(self.run(intake.CREATE, asked).body["id"])

    def lead(self, ticket_id: UUID, state: str) -> UUID:
        """Lead a ticket from NEW to a state, by the commands; return it. KeyError for a state without a step."""
        if state != DispatchState.NEW:
            step = STEPS[state]
            self.lead(ticket_id, step.before)
            step.go(self, ticket_id)
            assert self.state(ticket_id) == state
        return ticket_id

    def at(self, state: str, **said: Any) -> UUID:
        """Make a ticket and lead it to a state."""
        return self.lead(self.make(**said), state)

    def state(self, ticket_id: UUID) -> str:
        """Return where its field work stands."""
        return str(self.row(ticket_id).dispatch_state)

    def row(self, ticket_id: UUID) -> Any:
        """Return the ticket's row."""
        return self.one("SELECT * FROM tickets WHERE id = :id", id=ticket_id)

    def work(self, ticket_id: UUID) -> Any:
        """Return the row of its field work."""
        return self.one("SELECT * FROM dispatches WHERE ticket_id = :id", id=ticket_id)

    def moves(self, ticket_id: UUID) -> list[tuple[str | None, str]]:
        """Return the ticket's transitions in order."""
        statement = (
            "SELECT from_state, to_state FROM transitions WHERE ticket_id = :id AND kind = 'dispatch' ORDER BY id"
        )
        return self.rows(statement, id=ticket_id)

    def events(self, ticket_id: UUID) -> list[tuple[str, Any]]:
        """Return the ticket's history: kind and data."""
        return self.rows("SELECT kind, data FROM events WHERE ticket_id = :id ORDER BY id", id=ticket_id)


@dataclass(frozen=True)
class Step:
    """How a state is reached from the one before it."""

    before: str
    go: Callable[[FieldDesk, UUID], object]


def triage(desk: FieldDesk, ticket_id: UUID, outcome: str = "TRIAGED", **said: Any) -> Answer:
    """Triage a ticket as the agent."""
    values = {"priority": DispatchPriority.URGENT, "incident_type": INCIDENT, "workflow_outcome": outcome, **said}
    return desk.run(triaging.TRIAGE, triaging.Triage(**values), ticket_id, by="agent")


def send(desk: FieldDesk, ticket_id: UUID, name: str = "tech", **said: Any) -> Answer:
    """Send a technician to a scheduled ticket, whatever else they have to do."""
    tech_id = desk.people[name].person_id
    assert tech_id is not None
    asked = Dispatch(**{"tech_id": tech_id, "override_reason": "several visits at once, for a test", **said})
    return desk.run(assigning_work.DISPATCH, asked, ticket_id)


def told(ours: FieldDesk, **said: Any) -> intake.Intake:
    """Return an intake that is sure of everything."""
    values = {
        "account_id": ours.account_id,
        "site_id": ours.site_id,
        "summary": "The door does not latch",
        "incident_type": INCIDENT,
        "customer_name": "Ann Lee",
        "priority": "URGENT",
        "identity_confidence": 90,
        "classification_confidence": 90,
        "contact_phone": "+1 (555) 123-4567",
    }
    return intake.Intake(**{**values, **said})


def take_in(ours: FieldDesk, **said: Any) -> Answer:
    """Take an intake in, as the agent."""
    return ours.run(intake.BLIND_INTAKE, told(ours, **said), by="agent")


def issue(desk: FieldDesk, ticket_id: UUID) -> Answer:
    """Issue a verified ticket's invoice, whatever it costs."""
    desk.run(rates.PUT_RATE, RateWish(currency="USD", labor_hour_cents=8_000), by="finance")
    wish = InvoiceWish(write_off=True, reason="for a test")
    return desk.run(billing.GENERATE_INVOICE, wish, ticket_id, by="finance")


#: State -> the state before it, and what leads on. Whoever writes the command of a step adds it here.
STEPS: dict[str, Step] = {
    "NEEDS_INFO": Step(
        "NEW", lambda desk, ticket: desk.run(triaging.REQUEST_INFO, triaging.Question(question="which door?"), ticket)
    ),
    "TRIAGED": Step("NEW", triage),
    "READY_TO_SCHEDULE": Step("TRIAGED", lambda desk, ticket: triage(desk, ticket, "READY_TO_SCHEDULE")),
    "APPROVAL_REQUIRED": Step(
        "TRIAGED",
        lambda desk, ticket: triage(desk, ticket, "APPROVAL_REQUIRED", approval_amount_delta_cents=5_000),
    ),
    "SCHEDULE_PROPOSED": Step("READY_TO_SCHEDULE", schedules.propose),
    "SCHEDULED": Step("SCHEDULE_PROPOSED", schedules.confirm),
    "PENDING_CUSTOMER_CONFIRMATION": Step("SCHEDULED", schedules.hold),
    "DISPATCHED": Step("SCHEDULED", send),
    "IN_PROGRESS": Step("DISPATCHED", site_steps.check_in),
    "ON_HOLD": Step("IN_PROGRESS", site_steps.hold),
    "COMPLETED_PENDING_VERIFICATION": Step("IN_PROGRESS", site_steps.finish),
    "VERIFIED": Step("COMPLETED_PENDING_VERIFICATION", site_steps.verify),
    "INVOICED": Step("VERIFIED", issue),
}
