"""What the routing routes take and answer: patterns, rules, one simulated message (the names of contract 001)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from models.enums import AssignmentStrategy, Direction, TicketPriority, TicketStatus
from pipeline.commands import routing_rules as commands
from pipeline.commands.desk_arguments import Status
from pipeline.runtime import deciding

Words = Annotated[list[Annotated[str, Field(min_length=1, max_length=50)]], Field(max_length=20)]
_COLUMNS: Mapping[str, str] = {
    "action_assign_queue_id": "queue_id",
    "action_assign_user_id": "assign_user_id",
    "action_strategy": "strategy",
    "action_set_status": "set_status",
    "action_set_priority": "set_priority",
    "action_add_tags": "add_tags",
    "action_auto_close": "auto_close",
}


class PatternRequest(BaseModel):
    """Recipients to allow: an address or a wildcard (`*`, `?`, `[..]`; `*` crosses @ and dots)."""

    model_config = ConfigDict(extra="forbid")

    pattern: str = Field(min_length=1, max_length=320)
    is_enabled: bool = True


class PatternChange(BaseModel):
    """What to change of an entry."""

    model_config = ConfigDict(extra="forbid")

    pattern: str | None = Field(default=None, min_length=1, max_length=320)
    is_enabled: bool | None = None


class PatternAnswer(BaseModel):
    """One entry of the allowlist."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    pattern: str
    is_enabled: bool
    created_at: datetime


class PatternAnswers(BaseModel):
    """One page, the oldest first. Without any enabled entry every known recipient is allowed."""

    items: list[PatternAnswer]
    next_cursor: str | None = Field(description="Null on the last page.")


class RuleChange(BaseModel):
    """What to change of a rule; null takes a pattern, a target or a value away."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(default="", max_length=200)
    is_enabled: bool = True
    priority: int = Field(default=100, ge=0, le=10_000, description="Smaller is tried earlier, then by id.")
    match_recipient_pattern: str | None = Field(default=None, max_length=320, description="A wildcard.")
    match_sender_domain_pattern: str | None = Field(default=None, max_length=255, description="A wildcard.")
    match_sender_email_pattern: str | None = Field(default=None, max_length=320, description="A wildcard.")
    match_subject_pattern: str | None = Field(default=None, max_length=1000, description="An RE2 expression.")
    match_direction: Direction | None = None
    action_assign_queue_id: UUID | None = None
    action_assign_user_id: UUID | None = None
    action_strategy: AssignmentStrategy | None = Field(
        default=None, description="Finds somebody of the queue; null leaves the ticket in the queue."
    )
    required_skills: Words = []
    action_set_status: Status | None = None
    action_set_priority: TicketPriority | None = None
    action_add_tags: Words = []
    action_auto_close: bool = False
    action_drop: bool = Field(default=False, description="Closed from the start; asks for nobody's work.")
    stop: bool = Field(default=True, description="No later rule is tried where this one matches.")
    is_shadow: bool = Field(default=False, description="Only says what it would do.")

    def columns(self) -> dict[str, Any]:
        """Return what was said, by the columns of the table."""
        return {_COLUMNS.get(name, name): value for name, value in self.model_dump(exclude_unset=True).items()}


class RuleRequest(RuleChange):
    """A rule: all patterns that it has must match; it needs an action."""


class RuleAnswer(BaseModel):
    """One rule as it is kept; what a request may say is bounded, what is there is shown as it is."""

    id: UUID
    name: str
    is_enabled: bool
    priority: int
    match_recipient_pattern: str | None
    match_sender_domain_pattern: str | None
    match_sender_email_pattern: str | None
    match_subject_pattern: str | None
    match_direction: Direction | None
    action_assign_queue_id: UUID | None
    action_assign_user_id: UUID | None
    action_strategy: AssignmentStrategy | None
    required_skills: list[str]
    action_set_status: TicketStatus | None
    action_set_priority: TicketPriority | None
    action_add_tags: list[str]
    action_auto_close: bool
    action_drop: bool
    stop: bool
    is_shadow: bool
    version: int
    created_at: datetime
    problem: str | None = Field(description="Why its pattern no longer compiles; such a rule is passed over.")

    @classmethod
    def of(cls, row: Any) -> RuleAnswer:
        """Return a row of the rules' table as an answer."""
        names = {column: name for name, column in _COLUMNS.items()}
        values = {names.get(name, name): value for name, value in row._asdict().items()}
        return cls.model_validate(values | {"problem": deciding.problem_of(row)})


class RuleAnswers(BaseModel):
    """One page, in the order the rules are tried."""

    items: list[RuleAnswer]
    next_cursor: str | None = Field(description="Null on the last page.")


class SimulateRequest(BaseModel):
    """A message as the rules see it."""

    recipient: str = Field(max_length=320, description="Empty for an unknown one.")
    sender_email: str = Field(max_length=320)
    direction: Direction
    subject: str = Field(default="", max_length=998)


class ProposedRule(RuleRequest):
    """A rule to try: with the id of a stored one it stands for that one."""

    id: UUID | None = None


class RuleSet(BaseModel):
    """What to try; what is left out is as it is stored, with the rules in shadow as if they were armed."""

    model_config = ConfigDict(extra="forbid")

    rules: list[ProposedRule] | None = Field(default=None, max_length=commands.MOST_RULES)
    allowlist: list[Annotated[str, Field(min_length=1, max_length=320)]] | None = Field(
        default=None, max_length=commands.MOST_PATTERNS
    )

    def columns(self) -> list[dict[str, Any]] | None:
        """Return the rules by the columns of the table, each with an id and a name."""
        if self.rules is None:
            return None
        return [
            {**rule.columns(), "id": rule.id or UUID(int=at), "name": rule.name or f"rule {at} of the set"}
            for at, rule in enumerate(self.rules, 1)
        ]


class SimulationRequest(RuleSet):
    """A rule set, and the mail to try it on."""

    limit: int = Field(default=100, ge=1, le=1000, description="The tickets with the newest activity.")
    only_different: bool = Field(default=False, description="Leave out those that would be decided the same.")


class MatchedRule(BaseModel):
    """The first rule that matched."""

    id: UUID
    name: str
    priority: int


class AppliedActions(BaseModel):
    """What would be done with the ticket."""

    assign_queue_id: UUID | None
    assign_user_id: UUID | None
    strategy: AssignmentStrategy | None
    set_status: TicketStatus | None
    set_priority: TicketPriority | None
    add_tags: list[str]
    drop: bool
    auto_close: bool


class TriedRule(BaseModel):
    """One rule that was tried."""

    rule_id: UUID
    name: str | None = Field(description="Null for one that is gone.")
    missed: str | None = Field(description="The first field that did not match; null: the rule matched.")


class SimulateAnswer(BaseModel):
    """What routing would decide; the same as it decides on real mail."""

    allowlisted: bool
    would_mark_spam: bool
    matched_rule: MatchedRule | None
    applied_actions: AppliedActions
    explanation: str
    allowed_by: str | None = Field(description="The allowlist's pattern; null without an allowlist.")
    tried: list[TriedRule]
