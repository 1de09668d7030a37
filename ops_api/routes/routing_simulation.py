"""Routing tried and explained: on one message, on past mail, in shadow, and why a ticket was decided so."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from models.enums import TicketPriority, TicketStatus
from models.queries import routing as queries
from models.queries.summary import database_time
from ops_api import routing_traces
from ops_api.dependencies import OwnTicket, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.routing_answers import (
    AppliedActions,
    MatchedRule,
    SimulateAnswer,
    SimulateRequest,
    SimulationRequest,
    TriedRule,
)
from ops_api.routing_traces import ShadowSummary, SimulationAnswer, TraceAnswer
from pipeline.commands import routing_rules as commands
from pipeline.core.routing import Decision, Facts
from pipeline.runtime import deciding, simulating

router = APIRouter(route_class=GuardedRoute, tags=["routing"])

_SHADOW_DAYS = 7


@router.post("/tickets/routing/simulate")
def simulate(asked: SimulateRequest, session: SignedIn, connection: Transaction) -> SimulateAnswer:
    """Say what routing would do with a message; decided by the same code as real mail, and changes nothing."""
    policy = deciding.policy_of(connection, session.org_id)
    facts = Facts(asked.recipient, asked.sender_email, asked.direction, asked.subject)
    return _simulated(connection, session.org_id, deciding.decide_on(policy, facts))


@router.post("/tickets/routing/simulations")
def simulate_on_past(asked: SimulationRequest, session: SignedIn, connection: Transaction) -> SimulationAnswer:
    """Decide past tickets again by a rule set and say what would be otherwise; changes nothing."""
    given = asked.columns()
    policy = commands.proposed_policy(connection, session.org_id, rules=given, allowlist=asked.allowlist)
    found = simulating.on_past(connection, session.org_id, policy, limit=asked.limit)
    named = {rule["id"]: rule["name"] for rule in given or ()}
    return SimulationAnswer.of(connection, session.org_id, found, named=named, only_different=asked.only_different)


@router.get("/tickets/routing/shadow")
def shadow(
    session: SignedIn,
    connection: Transaction,
    since: Annotated[AwareDatetime | None, Query(description="A week ago unless given.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="The newest decisions that are counted.")] = 1000,
    samples: Annotated[int, Query(ge=0, le=100)] = 20,
) -> ShadowSummary:
    """Compare the rules in shadow with those in force. PATCH `is_shadow` false arms a rule."""
    begin = since or database_time(connection) - timedelta(days=_SHADOW_DAYS)
    rows = queries.shadowed(connection, session.org_id, since=begin, limit=limit)
    return ShadowSummary.of(connection, session.org_id, rows, samples=samples)


@router.get("/tickets/{ticket_id}/routing")
def explain(ticket: OwnTicket, connection: Transaction) -> TraceAnswer:
    """Say which rule decided on a ticket and why, which were tried, who was looked at, and what the shadow said."""
    return routing_traces.trace(connection, ticket.ticket_id)


def _simulated(connection: Transaction, org_id: UUID, decision: Decision) -> SimulateAnswer:
    tried_ids = [tried.rule_id for tried in decision.trace]
    rules = queries.names(connection, org_id, rule_ids=tried_ids).rules
    matched = queries.rules(connection, org_id, rule_id=decision.rule_id) if decision.rule_id else []
    is_spam = decision.rule_id is None and decision.set_status == TicketStatus.SPAM
    return SimulateAnswer(
        allowlisted=not is_spam,
        would_mark_spam=decision.status is TicketStatus.SPAM,
        matched_rule=MatchedRule(id=matched[0].id, name=matched[0].name, priority=matched[0].priority)
        if matched
        else None,
        applied_actions=_actions(decision),
        explanation=decision.reason,
        allowed_by=decision.allowed_by,
        tried=[
            TriedRule(rule_id=tried.rule_id, name=rules.get(tried.rule_id), missed=tried.missed)
            for tried in decision.trace
        ],
    )


def _actions(decision: Decision) -> AppliedActions:
    return AppliedActions(
        assign_queue_id=decision.assign_queue_id,
        assign_user_id=decision.assign_user_id,
        strategy=decision.strategy,
        set_status=decision.status,
        set_priority=TicketPriority(decision.set_priority) if decision.set_priority else None,
        add_tags=list(decision.add_tags),
        drop=decision.drop,
        auto_close=decision.auto_close,
    )
