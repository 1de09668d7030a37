"""An organization with people in every role, for tests: their wishes, and what the database says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel
from sqlalchemy import Connection, text

from pipeline import executor
from pipeline.command import Ask, Command, Refused
from pipeline.core.principals import Principal
from pipeline.core.refusing import Refusal
from pipeline.executor import Answer
from pipeline.runtime.db import Database
from pipeline.runtime.idempotency import Key
from tests.commands.desks import principal
from tests.factories import rows
from tests.ops_api import people


def staff(connection: Connection, org_id: UUID, roles: Mapping[str, str]) -> dict[str, Principal]:
    """Return members of an organization by name, each in the role of that name."""
    found = {}
    for name, role in roles.items():
        email = f"{name}-{org_id.hex[:12]}@example.org"
        person_id = people.member(connection, org_id, role, email)
        found[name] = replace(principal(org_id, person_id, role), email=email)
    return found


@dataclass
class Staffed:
    """One organization and its people by name."""

    #: Who asks where nobody is named.
    speaker: ClassVar[str] = "dispatcher"

    db: Database
    org_id: UUID
    people: dict[str, Principal]

    def ask(self, arguments: BaseModel, *, by: str | Principal | None = None, **more: Any) -> Ask[Any]:
        """Return somebody's wish, with a key of its own."""
        by = by or self.speaker
        who = self.people[by] if isinstance(by, str) else by
        key = Key(who.org_id, who.actor_id, "POST", "/tests", str(uuid4()), uuid4().bytes)
        return Ask(**{"principal": who, "arguments": arguments, "key": key, **more})

    def run(
        self,
        command: Command[Any, Any],
        arguments: BaseModel,
        target_id: UUID | str | None = None,
        *,
        by: str | Principal | None = None,
        **more: Any,
    ) -> Answer:
        """Execute a command on a thing."""
        target = None if target_id is None else str(target_id)
        return executor.run(self.db.begin, command, self.ask(arguments, by=by, target=target, **more))

    def refused(self, command: Command[Any, Any], arguments: BaseModel, *args: Any, **more: Any) -> Refusal:
        """Execute a command that must be refused; return why."""
        with pytest.raises(Refused) as caught:
            self.run(command, arguments, *args, **more)
        return caught.value.refusal

    def one(self, statement: str, **values: Any) -> Any:
        """Return the one row of a statement."""
        (found,) = rows(self.db, statement, **values)
        return found

    def rows(self, statement: str, **values: Any) -> list[Any]:
        """Return the rows of a statement, as tuples; `:org` is known."""
        known = {"org": self.org_id} if ":org" in statement else {}
        return [tuple(row) for row in rows(self.db, statement, **known, **values)]

    def change(self, statement: str, **values: Any) -> None:
        """Run a statement; `:org` is known."""
        with self.db.begin() as connection:
            connection.execute(text(statement), {"org": self.org_id, **values})

    def trail(self, target_id: UUID | None = None) -> list[tuple[str, str, str | None]]:
        """Return what the audit trail says, of one thing or in all: action, outcome, code."""
        statement = "SELECT action, outcome, code FROM audit_events WHERE org_id = :org AND {} ORDER BY number"
        if target_id is None:
            return self.rows(statement.format("true"))
        return self.rows(statement.format("target_id = :id"), id=str(target_id))
