"""What stages move by themselves of field work: an audit row by SYSTEM and a transition row for each, set-wise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import ActorKind
from pipeline.runtime import auditing
from pipeline.runtime.auditing import Entry

_ACTOR = "system"
_MOVED = text("""
    INSERT INTO transitions (org_id, ticket_id, kind, from_state, to_state, command, audit_number)
    SELECT org, ticket, 'dispatch', before, after, :command, number
      FROM unnest(CAST(:orgs AS uuid[]), CAST(:tickets AS uuid[]), CAST(:befores AS text[]), CAST(:afters AS text[]),
                  CAST(:numbers AS bigint[])) WITH ORDINALITY AS m(org, ticket, before, after, number, position)
     ORDER BY position
""")


@dataclass(frozen=True, slots=True)
class Moved:
    """One ticket whose state a stage changed."""

    org_id: UUID
    ticket_id: UUID
    before: str
    after: str
    trace_id: str | None
    #: For the audit trail, beside both states.
    details: Mapping[str, Any] = field(default_factory=dict)


def record(connection: Connection, moved: Sequence[Moved], command: str) -> None:
    """Record changes that were made in this transaction, `command` being a name of `models.lifecycle`.

    The organizations' audit trails stay locked until the transaction ends: call it last.
    """
    if not moved:
        return
    ordered = sorted(moved, key=lambda one: (one.org_id, one.ticket_id))
    numbers = [
        number
        for org_id in sorted({one.org_id for one in ordered})
        for number in auditing.append_all(
            connection, org_id, [_entry(one, command) for one in ordered if one.org_id == org_id]
        )
    ]
    values = {
        "command": command,
        "orgs": [one.org_id for one in ordered],
        "tickets": [one.ticket_id for one in ordered],
        "befores": [one.before for one in ordered],
        "afters": [one.after for one in ordered],
        "numbers": numbers,
    }
    connection.execute(_MOVED, values)


def _entry(one: Moved, command: str) -> Entry:
    return Entry(
        one.org_id,
        command,
        _ACTOR,
        ActorKind.SYSTEM,
        target_kind="ticket",
        target_id=str(one.ticket_id),
        trace_id=one.trace_id,
        details={"from_state": one.before, "to_state": one.after, **one.details},
    )
