"""Past decisions as answers: why one ticket was routed so, what other rules would do, and what the shadow said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field
from sqlalchemy import Connection

from models.enums import AssignmentStrategy, TicketPriority, TicketStatus
from models.queries import routing as queries
from models.queries.routing import Names
from ops_api.routing_answers import TriedRule
from pipeline.core import assigning
from pipeline.core.assigning import Unfit
from pipeline.core.routing_records import tried_rules
from pipeline.runtime.simulating import Compared, Simulation


class DecisionAnswer(BaseModel):
    """What a decision sets."""

    rule_id: UUID | None
    rule_name: str | None = Field(description="Null without a rule, and for one that is gone.")
    reason: str
    status: TicketStatus | None
    priority: TicketPriority | None
    queue_id: UUID | None
    user_id: UUID | None
    strategy: AssignmentStrategy | None
    tags: list[str]
    drop: bool

    @classmethod
    def of(cls, stored: Mapping[str, Any], names: Mapping[UUID, str]) -> DecisionAnswer:
        """Return a stored decision as an answer; what an older version did not keep is not set."""
        rule_id = stored.get("rule_id")
        plain = ("rule_id", "status", "priority", "queue_id", "user_id", "strategy")
        return cls(
            **{name: stored.get(name) for name in plain},
            rule_name=names.get(UUID(rule_id)) if rule_id else None,
            reason=stored.get("reason") or "",
            tags=stored.get("tags") or [],
            drop=bool(stored.get("drop")),
        )


class CandidateAnswer(BaseModel):
    """Somebody of the queue, and why they got the ticket or did not."""

    person_id: UUID
    name: str | None
    place: int | None = Field(description="Their place among those who could have had it; 1 got it.")
    unfit: Unfit | None
    open_tickets: int
    capacity: int | None
    why: str


class AssignmentAnswer(BaseModel):
    """How it was found whose the ticket is."""

    queue_id: UUID | None
    queue_name: str | None
    strategy: AssignmentStrategy | None = Field(description="Null where the rule named the person.")
    person_id: UUID | None = Field(description="Null: nobody was free, it stayed in the queue.")
    person_name: str | None
    reason: str
    candidates: list[CandidateAnswer]
    more: dict[str, int] = Field(description="Further candidates by why not, where the queue is large.")


class ShadowAnswer(BaseModel):
    """What the rules in shadow said when the ticket came."""

    decided_at: AwareDatetime
    differs: list[str]
    live: DecisionAnswer
    would: DecisionAnswer


class TraceAnswer(BaseModel):
    """Why a ticket was routed as it was: which rule, what was tried, who was looked at."""

    ticket_id: UUID
    code: str
    routed_at: AwareDatetime | None = Field(description="Null: routing has not come to it yet.")
    decided_at: AwareDatetime | None = Field(description="When a person first decided on it.")
    decision: DecisionAnswer | None = Field(description="Null for tickets of versions that did not keep it.")
    machine: str | None = Field(description="The kind of automatic mail that it was set aside for.")
    allowed_by: str | None = Field(description="The allowlist's pattern that accepted the recipient.")
    kept: list[str] = Field(description="What the rules would have set and a person had set before.")
    rules_tried: int
    tried: list[TriedRule] = Field(description="In order; of a long list its beginning, and what matched.")
    assignment: AssignmentAnswer | None
    shadow: ShadowAnswer | None


class ComparedAnswer(BaseModel):
    """One past ticket: what was decided then, and what would be now."""

    ticket_id: UUID
    code: str
    subject: str
    routed_at: AwareDatetime | None
    differs: list[str]
    then: DecisionAnswer
    now: DecisionAnswer


class MatchCount(BaseModel):
    """How many tickets a rule matched."""

    rule_id: UUID
    name: str | None
    tickets: int


class SimulationAnswer(BaseModel):
    """A rule set tried on past mail. Who of a queue would have been free cannot be known, so the queue is compared."""

    tickets: int
    same: int
    different: int
    by_field: dict[str, int]
    by_rule: list[MatchCount]
    items: list[ComparedAnswer]

    @classmethod
    def of(
        cls, connection: Connection, org_id: UUID, found: Simulation, *, named: Mapping[UUID, str], only_different: bool
    ) -> SimulationAnswer:
        """Return a simulation; `named` are the rules that were given and not stored."""
        ids = _ids(one.then for one in found.tickets) | _ids(one.now for one in found.tickets)
        names = {**queries.names(connection, org_id, rule_ids=ids | found.by_rule.keys()).rules, **named}
        shown = [one for one in found.tickets if one.differs or not only_different]
        return cls(
            tickets=len(found.tickets),
            same=len(found.tickets) - found.different,
            different=found.different,
            by_field=dict(found.by_field),
            by_rule=_counts(found.by_rule, names),
            items=[_compared(one, names) for one in shown],
        )


class ShadowSample(BaseModel):
    """One ticket that the rules in shadow would have decided otherwise."""

    ticket_id: UUID
    code: str
    subject: str
    shadow: ShadowAnswer


class ShadowSummary(BaseModel):
    """How the rules in shadow compare with those in force, over the newest tickets."""

    tickets: int
    same: int
    different: int
    by_field: dict[str, int]
    by_rule: list[MatchCount] = Field(description="Rules that matched with the shadow's; also those in force.")
    samples: list[ShadowSample]

    @classmethod
    def of(cls, connection: Connection, org_id: UUID, rows: Sequence[Any], *, samples: int) -> ShadowSummary:
        """Return the summary of decisions, newest first, with the first that differ."""
        differing = [row for row in rows if row.decision["differs"]]
        by_rule = Counter(UUID(rule_id) for row in rows for rule_id in row.decision["matched"])
        ids = by_rule.keys() | _ids(row.decision[side] for row in differing for side in ("live", "would"))
        names = queries.names(connection, org_id, rule_ids=ids).rules
        return cls(
            tickets=len(rows),
            same=len(rows) - len(differing),
            different=len(differing),
            by_field=dict(Counter(name for row in differing for name in row.decision["differs"])),
            by_rule=_counts(dict(by_rule.most_common()), names),
            samples=[
                ShadowSample(
                    ticket_id=row.ticket_id,
                    code=row.code,
                    subject=row.subject,
                    shadow=_shadow(row.decision, row.decided_at, names),
                )
                for row in differing[:samples]
            ],
        )


def trace(connection: Connection, ticket_id: UUID) -> TraceAnswer:
    """Return why a ticket was routed as it was."""
    row = queries.ticket(connection, ticket_id)
    stored: Mapping[str, Any] = row.routing or {}
    names = _names(connection, row)
    return TraceAnswer(
        ticket_id=row.ticket_id,
        code=row.code,
        routed_at=row.routed_at,
        decided_at=row.decided_at,
        decision=DecisionAnswer.of(stored, names.rules) if stored else None,
        machine=stored.get("machine"),
        allowed_by=stored.get("allowed_by"),
        kept=stored.get("kept") or [],
        rules_tried=stored.get("tried") or 0,
        tried=[
            TriedRule(rule_id=rule_id, name=names.rules.get(rule_id), missed=missed)
            for rule_id, missed in tried_rules(stored)
        ],
        assignment=_assignment(stored.get("assignment"), names),
        shadow=_shadow(row.shadow, row.shadow_at, names.rules) if row.shadow else None,
    )


def _names(connection: Connection, row: Any) -> Names:
    stored: Mapping[str, Any] = row.routing or {}
    assignment = stored.get("assignment") or {}
    people = [assignment.get("person_id"), *(one["person_id"] for one in assignment.get("candidates") or ())]
    rules = _ids([stored]) | {rule_id for rule_id, _ in tried_rules(stored)}
    if row.shadow:
        rules |= _ids([row.shadow["live"], row.shadow["would"]])
    return queries.names(
        connection,
        row.org_id,
        rule_ids=rules,
        queue_ids=_uuids([assignment.get("queue_id")]),
        person_ids=_uuids(people),
    )


def _assignment(stored: Mapping[str, Any] | None, names: Names) -> AssignmentAnswer | None:
    if stored is None:
        return None
    queue_id = UUID(stored["queue_id"]) if stored.get("queue_id") else None
    person_id = UUID(stored["person_id"]) if stored.get("person_id") else None
    return AssignmentAnswer(
        queue_id=queue_id,
        queue_name=names.queues.get(queue_id) if queue_id else None,
        strategy=stored.get("strategy"),
        person_id=person_id,
        person_name=names.people.get(person_id) if person_id else None,
        reason=_reason(stored),
        candidates=[_candidate(line, names) for line in stored.get("candidates") or ()],
        more=stored.get("more") or {},
    )


def _reason(stored: Mapping[str, Any]) -> str:
    if stored.get("strategy") is None:
        return "the rule's person has left the organization" if stored.get("unfit") else "the rule names the person"
    if stored.get("person_id") is None:
        return "nobody of the queue was free" if stored.get("candidates") else "nobody works the queue"
    is_round = stored["strategy"] == AssignmentStrategy.ROUND_ROBIN
    return "whose last turn was longest ago" if is_round else "who had the fewest open tickets"


def _candidate(line: Mapping[str, Any], names: Names) -> CandidateAnswer:
    person_id = UUID(line["person_id"])
    return CandidateAnswer(
        person_id=person_id,
        name=names.people.get(person_id),
        place=line["place"],
        unfit=line["unfit"],
        open_tickets=line["open"],
        capacity=line["capacity"],
        why=assigning.why(line),
    )


def _shadow(decision: Mapping[str, Any], decided_at: datetime, names: Mapping[UUID, str]) -> ShadowAnswer:
    return ShadowAnswer(
        decided_at=decided_at,
        differs=decision["differs"],
        live=DecisionAnswer.of(decision["live"], names),
        would=DecisionAnswer.of(decision["would"], names),
    )


def _compared(one: Compared, names: Mapping[UUID, str]) -> ComparedAnswer:
    return ComparedAnswer(
        ticket_id=one.ticket_id,
        code=one.code,
        subject=one.subject,
        routed_at=one.routed_at,
        differs=list(one.differs),
        then=DecisionAnswer.of(one.then, names),
        now=DecisionAnswer.of(one.now, names),
    )


def _counts(by_rule: Mapping[UUID, int], names: Mapping[UUID, str]) -> list[MatchCount]:
    return [MatchCount(rule_id=one, name=names.get(one), tickets=count) for one, count in by_rule.items()]


def _ids(decisions: Iterable[Mapping[str, Any]]) -> set[UUID]:
    return _uuids(stored.get("rule_id") for stored in decisions)


def _uuids(said: Iterable[str | None]) -> set[UUID]:
    return {UUID(one) for one in said if one}
