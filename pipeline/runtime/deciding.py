"""How an organization routes: its allowlist and rules, compiled; the decision on a ticket by one of its messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import AssignmentStrategy, Direction, MachineKind
from pipeline.core.machines import VERDICTS
from pipeline.core.policies import OrganizationPolicy
from pipeline.core.routing import Allowlist, Decision, Facts, Rule, RuleBook, route, set_aside

_ALLOWLIST = text("SELECT pattern FROM recipient_allowlist WHERE org_id = :org AND is_enabled")
#: Somebody who left the organization is given nothing: `is_absent`.
_RULES = text("""
    SELECT r.id, r.name, r.priority, r.match_recipient_pattern, r.match_sender_domain_pattern,
           r.match_sender_email_pattern, r.match_subject_pattern, r.match_direction, r.queue_id, r.assign_user_id,
           r.strategy, r.required_skills, r.set_status, r.set_priority, r.add_tags, r.auto_close, r.action_drop,
           r.stop, r.is_shadow,
           r.assign_user_id IS NOT NULL AND NOT EXISTS (
               SELECT FROM memberships m JOIN people p ON p.id = m.person_id AND p.is_active
                WHERE m.org_id = r.org_id AND m.person_id = r.assign_user_id AND m.is_active) AS is_absent
      FROM routing_rules r WHERE r.org_id = :org AND r.is_enabled
""")
_POLICY = text("SELECT policy FROM organizations WHERE id = :org")

Stored = TypeVar("Stored")
Compiled = TypeVar("Compiled")


@dataclass(frozen=True, slots=True)
class Policy:
    """An organization's allowlist and rules, compiled; and whether it tells people that their mail has come."""

    allowlist: Allowlist
    book: RuleBook
    #: The rules in force together with those in shadow; None where none is in shadow.
    shadow: RuleBook | None = None
    #: People that rules name and that may be given nothing any more.
    absent: frozenset[UUID] = frozenset()
    #: Rules and patterns that do not compile: passed over, and named on each ticket they did not decide.
    broken: tuple[str, ...] = ()
    acknowledges: bool = False

    def with_rules(self, rules: Iterable[Rule]) -> Policy:
        """Return the policy with other rules in force and none in shadow."""
        return replace(self, book=RuleBook(rules), shadow=None, absent=frozenset(), broken=())


def policy_of(connection: Connection, org_id: UUID) -> Policy:
    """Return how an organization routes now."""
    patterns, bad_patterns = _usable(connection.execute(_ALLOWLIST, {"org": org_id}).scalars(), _checked_pattern)
    rows = connection.execute(_RULES, {"org": org_id}).all()
    rules, bad_rules = _usable(rows, compiled_rule)
    stored = connection.execute(_POLICY, {"org": org_id}).scalars()
    said, bad_policy = _usable(stored, OrganizationPolicy.read)
    in_shadow = {row.id for row in rows if row.is_shadow}
    return Policy(
        allowlist=Allowlist(patterns),
        book=RuleBook(rule for rule in rules if rule.rule_id not in in_shadow),
        shadow=RuleBook(rules) if in_shadow else None,
        absent=frozenset(row.assign_user_id for row in rows if row.is_absent),
        broken=(*bad_patterns, *bad_rules, *bad_policy),
        acknowledges=any(one.acknowledge for one in said),
    )


def may_open_ticket(row: Any) -> bool:
    """Return whether a message (`direction`, `machine`) may ask for somebody's time; what we wrote ourselves does."""
    return row.direction == Direction.OUTBOUND or VERDICTS[_machine(row)].may_open_ticket


def decide(policy: Policy, row: Any) -> Decision:
    """Return the decision on a ticket by one message: its recipient, sender, subject, direction and machine."""
    return _decide(policy, policy.book, row)


def decide_in_shadow(policy: Policy, row: Any) -> Decision | None:
    """Return what would be decided if the rules in shadow were in force; None without any, and where rules are not
    asked at all.
    """
    if policy.shadow is None or (row.machine and not may_open_ticket(row)):
        return None
    return _decide(policy, policy.shadow, row)


def decide_on(policy: Policy, facts: Facts) -> Decision:
    """Return what is decided on a person's message with these facts."""
    return _routed(policy, policy.book, facts)


def deciding_message(rows: Sequence[Any]) -> Any:
    """Return the one of a ticket's messages, oldest first, that decides it: the first that may open a ticket."""
    return next((row for row in rows if may_open_ticket(row)), rows[0])


def compiled_rule(row: Any) -> Rule:
    """Return a row of the rules' table as a rule. Raises ValueError that names the rule whose pattern is none."""
    try:
        return _rule(row)
    except ValueError as error:
        raise ValueError(f"rule {row.name or row.id}: {error}") from error


def problem_of(row: Any) -> str | None:
    """Return why a stored rule cannot be used, None for one that can."""
    try:
        _rule(row)
    except ValueError as error:
        return str(error)
    return None


def _decide(policy: Policy, book: RuleBook, row: Any) -> Decision:
    machine = _machine(row)
    if machine is not None and not may_open_ticket(row):
        return set_aside(machine)
    return _routed(policy, book, Facts(row.recipient, row.from_address, Direction(row.direction), row.subject))


def _routed(policy: Policy, book: RuleBook, facts: Facts) -> Decision:
    if facts.direction is Direction.OUTBOUND:
        # Our own mail names the customer as recipient: the allowlist speaks of what reaches us.
        return route(Allowlist(["*"]), book, facts, default_allowed=True)
    # Without any pattern no allowlist is in force; an unknown recipient is spam all the same (contract 001).
    return route(policy.allowlist, book, facts, default_allowed=True)


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
        assign_user_id=row.assign_user_id,
        strategy=AssignmentStrategy(row.strategy) if row.strategy else None,
        required_skills=frozenset(row.required_skills),
        set_status=row.set_status,
        set_priority=row.set_priority,
        add_tags=tuple(row.add_tags),
        auto_close=row.auto_close,
        action_drop=row.action_drop,
        stop=row.stop,
    )
