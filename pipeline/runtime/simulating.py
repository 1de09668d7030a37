"""Rules tried on mail: on one message that somebody describes, and on the tickets that were routed. Changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from models.queries import routing as queries
from pipeline.core.machines import VERDICTS
from pipeline.core.routing import Allowlist, Rule
from pipeline.core.routing_records import as_stored, differing, matched_rules
from pipeline.runtime import deciding
from pipeline.runtime.deciding import Policy

_ASKING_NOBODY = frozenset(kind.value for kind, verdict in VERDICTS.items() if kind and not verdict.may_open_ticket)


@dataclass(frozen=True, slots=True)
class Compared:
    """One ticket: what was decided when it came, and what would be now, as they are stored."""

    ticket_id: UUID
    code: str
    subject: str
    routed_at: datetime | None
    then: Mapping[str, Any]
    now: Mapping[str, Any]
    differs: Sequence[str]


@dataclass(frozen=True, slots=True)
class Simulation:
    """All tickets that were looked at, with counts: differences by field, and by rule how many it matched."""

    tickets: Sequence[Compared]
    by_field: Mapping[str, int]
    by_rule: Mapping[UUID, int]

    @property
    def different(self) -> int:
        """How many would be decided otherwise."""
        return sum(1 for one in self.tickets if one.differs)


def proposed(
    connection: Connection, org_id: UUID, *, rules: Sequence[Rule] | None, allowlist: Sequence[str] | None
) -> Policy:
    """Return the policy to try: what is given, else what is stored, with the rules in shadow as if they were armed."""
    policy = deciding.policy_of(connection, org_id)
    if rules is not None:
        policy = policy.with_rules(rules)
    elif policy.shadow is not None:
        policy = policy.with_rules(policy.shadow.rules)
    return policy if allowlist is None else replace(policy, allowlist=Allowlist(allowlist))


def on_past(connection: Connection, org_id: UUID, policy: Policy, *, limit: int) -> Simulation:
    """Decide the newest routed tickets again and compare; who of a queue would be free then nobody can know."""
    tickets = [
        _compared(policy, row) for row in queries.past(connection, org_id, asking_nobody=_ASKING_NOBODY, limit=limit)
    ]
    by_field = Counter(name for one in tickets for name in one.differs)
    by_rule = Counter(rule_id for one in tickets for rule_id in matched_rules(one.now))
    return Simulation(tickets, dict(sorted(by_field.items())), dict(by_rule.most_common()))


def _compared(policy: Policy, row: Any) -> Compared:
    now = as_stored(deciding.decide(policy, row))
    differs = differing(row.routing, now)
    return Compared(row.ticket_id, row.code, row.ticket_subject, row.routed_at, row.routing, now, differs)
