"""A desk for tests: an organization with people, places and tickets, and wishes of its people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import text

from models.enums import ActorKind
from models.permissions import BUILT_IN, Permission
from pipeline import executor
from pipeline.command import Ask, Command
from pipeline.core.principals import Principal, Scope, Way
from pipeline.executor import Answer
from pipeline.runtime.db import Database
from pipeline.runtime.idempotency import Key
from tests import factories
from tests.factories import rows, value
from tests.ops_api import people

HELD = {role.code: role.permissions for role in BUILT_IN}


def principal(
    org_id: UUID, person_id: UUID | None = None, role: str = "agent", scope: Scope | None = None
) -> Principal:
    """Return somebody in a built-in role."""
    return Principal(
        org_id=org_id,
        actor_id=str(person_id or UUID(int=1)),
        actor_kind=ActorKind.HUMAN,
        person_id=person_id,
        email=f"{role}@example.org",
        role=role,
        permissions=HELD.get(role, frozenset[Permission]()),
        scope=scope or Scope(),
        way=Way.SESSION,
    )


@dataclass
class Desk:
    """One organization's desk."""

    db: Database
    org_id: UUID
    person_id: UUID
    ticket_id: UUID

    @classmethod
    def of(cls, db: Database) -> Desk:
        """Build one with an agent and a new ticket."""
        with db.begin() as connection:
            org_id = factories.organization(connection)
            person_id = people.member(connection, org_id, "agent", f"agent-{org_id}@example.org")
            return cls(db, org_id, person_id, factories.ticket(connection, org_id))

    def ask(self, arguments: BaseModel, **more: Any) -> Ask[Any]:
        """Return a wish of the agent on the ticket."""
        values = {"principal": principal(self.org_id, self.person_id), "target": str(self.ticket_id), **more}
        return Ask(arguments=arguments, **values)

    def run(self, command: Command[Any, Any], arguments: BaseModel, **more: Any) -> Answer:
        """Execute a command."""
        return executor.run(self.db.begin, command, self.ask(arguments, **more))

    def key(self, key: str = "k", body: bytes = b"body", path: str = "/tickets/1", method: str = "POST") -> Key:
        """Return a key of the agent."""
        return Key(self.org_id, str(self.person_id), method, path, key, body)

    def queue(self, name: str = "Support") -> UUID:
        """Insert a queue."""
        statement = "INSERT INTO queues (org_id, name, slug) VALUES (:org, :name, lower(:name)) RETURNING id"
        found: UUID = value(self.db, statement, org=self.org_id, name=name)
        return found

    def account(self, name: str = "Acme") -> UUID:
        """Insert an account."""
        statement = "INSERT INTO accounts (org_id, name) VALUES (:org, :name) RETURNING id"
        found: UUID = value(self.db, statement, org=self.org_id, name=name)
        return found

    def site(self, account_id: UUID, name: str = "North") -> UUID:
        """Insert a site."""
        statement = "INSERT INTO sites (org_id, account_id, name) VALUES (:org, :account, :name) RETURNING id"
        found: UUID = value(self.db, statement, org=self.org_id, account=account_id, name=name)
        return found

    def ticket(self) -> Any:
        """Return the ticket's row."""
        return rows(self.db, "SELECT * FROM tickets WHERE id = :id", id=self.ticket_id)[0]

    def trail(self) -> list[tuple[Any, ...]]:
        """Return what the audit trail says: action, outcome, code, target."""
        statement = "SELECT action, outcome, code, target_id FROM audit_events WHERE org_id = :org ORDER BY number"
        return [tuple(row) for row in rows(self.db, statement, org=self.org_id)]

    def change(self, statement: str, **values: Any) -> None:
        """Run a statement."""
        with self.db.begin() as connection:
            connection.execute(text(statement), values)
