"""How an organization routes: its allowlist and rules, compiled; the decision on a ticket by one of its messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Direction, MachineKind
from pipeline.core.machines import VERDICTS
from pipeline.core.policies import OrganizationPolicy
from pipeline.core.routing import Allowlist, Decision, Facts, Rule, RuleBook, route, set_aside

_ALLOWLIST = text("SELECT pattern FROM recipient_allowlist WHERE org_id = :org AND is_enabled")
_RULES = text("""
    SELECT id, priority, match_recipient_pattern, match_sender_domain_pattern, match_sender_email_pattern,
           match_subject_pattern, match_direction, queue_id, set_status, set_priority, add_tags, auto_close
      FROM routing_rules WHERE org_id = :org AND is_enabled
""")
_POLICY = text("SELECT policy FROM organizations WHERE id = :org")

Stored = TypeVar("Stored")
Compiled = TypeVar("Compiled")


@dataclass(frozen=True, slots=True)
class Policy:
    """An organization's allowlist and rules, compiled; and whether it tells people that their mail has come."""

    allowlist: Allowlist
    book: RuleBook
    #: Rules and patterns that do not compile: passed over, and named on each ticket they did not decide.
    broken: tuple[str, ...] = ()
    acknowledges: bool = False


def policy_of(connection: Connection, org_id: UUID) -> Policy:
    """Return how an organization routes now."""
    patterns, bad_patterns = _usable(connection.execute(_ALLOWLIST, {"org": org_id}).scalars(), _checked_pattern)
    rules, bad_rules = _usable(connection.execute(_RULES, {"org": org_id}), _rule)
    stored = connection.execute(_POLICY, {"org": org_id}).scalars()
    said, bad_policy = _usable(stored, OrganizationPolicy.read)
    acknowledges = any(one.acknowledge for one in said)
    return Policy(Allowlist(patterns), RuleBook(rules), (*bad_patterns, *bad_rules, *bad_policy), acknowledges)


def may_open_ticket(row: Any) -> bool:
    """Return whether a message (`direction`, `machine`) may ask for somebody's time; what we wrote ourselves does."""
    return row.direction == Direction.OUTBOUND or VERDICTS[_machine(row)].may_open_ticket


def decide(policy: Policy, row: Any) -> Decision:
    """Return the decision on a ticket by one message: its recipient, sender, subject, direction and machine."""
    machine = _machine(row)
    if machine is not None and not may_open_ticket(row):
        return set_aside(machine)
    facts = Facts(row.recipient, row.from_address, Direction(row.direction), row.subject)
    if facts.direction is Direction.OUTBOUND:
        # Our own mail names the customer as recipient: the allowlist speaks of what reaches us.
        return route(Allowlist(["*"]), policy.book, facts, default_allowed=True)
    # Without any pattern no allowlist is in force; an unknown recipient is spam all the same (contract 001).
    return route(policy.allowlist, policy.book, facts, default_allowed=True)


def _machine(row: Any) -> MachineKind | None:
    return MachineKind(row.machine) if row.machine else None


def _usable(rows: Iterable[Stored], compiled: Callable[[Stored], Compiled]) -> tuple[list[Compiled], list[str]]:
    """Compile each row; one that does not compile must not stop the mail."""
    good, bad = [], []
    for row in rows:
        try:
            good.append(compiled(row))
        except ValueError as error:
            bad.append(str(error)[:200])
    return good, bad


def _checked_pattern(pattern: str) -> str:
    Allowlist([pattern])
    return pattern


def _rule(row: Any) -> Rule:
    return Rule(
        rule_id=row.id,
        priority=row.priority,
        match_recipient_pattern=row.match_recipient_pattern or "",
        match_sender_domain_pattern=row.match_sender_domain_pattern or "",
        match_sender_email_pattern=row.match_sender_email_pattern or "",
        match_subject_pattern=row.match_subject_pattern or "",
        match_direction=Direction(row.match_direction) if row.match_direction else None,
        assign_queue_id=row.queue_id,
        set_status=row.set_status,
        set_priority=row.set_priority,
        add_tags=tuple(row.add_tags),
        auto_close=row.auto_close,
    )
