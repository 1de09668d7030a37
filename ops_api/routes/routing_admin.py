"""Routing administered: the recipients that are allowed, and the rules (contract 001)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from models.queries import routing as queries
from ops_api.answers import Refusal
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.routes.dead_letters import Limit
from ops_api.routing_answers import (
    PatternAnswer,
    PatternAnswers,
    PatternChange,
    PatternRequest,
    RuleAnswer,
    RuleAnswers,
    RuleChange,
    RuleRequest,
)
from ops_api.versions import Seen, etag
from pipeline.commands import routing_rules as commands

router = APIRouter(route_class=GuardedRoute, tags=["routing"])

Cursor = Annotated[str | None, Query(max_length=1024)]
_CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"description": "It is there already, there are too many, or somebody changed it meanwhile."}
}


@contextmanager
def conflicts() -> Iterator[None]:
    """Answer 409 where something that is there stands against it; what is wrong in itself is 422."""
    try:
        yield
    except commands.Conflict as error:
        raise Refusal(409, str(error)) from error


@router.get("/tickets/routing/allowlist")
def list_allowlist(
    session: SignedIn, connection: Transaction, services: Provided, limit: Limit = 50, cursor: Cursor = None
) -> PatternAnswers:
    """Return the patterns of recipients that mail is accepted for."""
    bound: dict[str, object] = {"list": "allowlist", "org_id": session.org_id}
    place = services.cursors.read_place(cursor, bound)
    after = UUID(place["id"]) if place else None
    found = queries.patterns(connection, session.org_id, after=after, limit=limit + 1)
    page = found[:limit]
    is_more = len(found) > limit
    return PatternAnswers(
        items=[PatternAnswer.model_validate(one) for one in page],
        next_cursor=services.cursors.make_place({"id": str(page[-1].id)}, bound) if is_more else None,
    )


@router.post("/tickets/routing/allowlist", status_code=201, responses=_CONFLICT)
def add_pattern(asked: PatternRequest, session: SignedIn, connection: Transaction) -> PatternAnswer:
    """Allow recipients; 409 for a pattern that is there, 422 for one that cannot be compiled."""
    with conflicts():
        made = commands.add_pattern(connection, session.org_id, asked.pattern, is_enabled=asked.is_enabled)
    return _pattern(connection, session.org_id, made)


@router.patch("/tickets/routing/allowlist/{allowlist_id}", responses=_CONFLICT)
def change_pattern(
    allowlist_id: UUID, asked: PatternChange, session: SignedIn, connection: Transaction
) -> PatternAnswer:
    """Change a pattern, or switch it on or off."""
    with conflicts():
        commands.change_pattern(
            connection, session.org_id, allowlist_id, pattern=asked.pattern, is_enabled=asked.is_enabled
        )
    return _pattern(connection, session.org_id, allowlist_id)


@router.delete("/tickets/routing/allowlist/{allowlist_id}", status_code=204)
def delete_pattern(allowlist_id: UUID, session: SignedIn, connection: Transaction) -> None:
    """Take a pattern away; without any, every known recipient is allowed again."""
    if not commands.delete_pattern(connection, session.org_id, allowlist_id):
        raise _no_pattern()


@router.get("/tickets/routing/rules")
def list_rules(
    session: SignedIn, connection: Transaction, services: Provided, limit: Limit = 50, cursor: Cursor = None
) -> RuleAnswers:
    """Return the rules, also those that are off or in shadow, in the order they are tried."""
    bound: dict[str, object] = {"list": "routing_rules", "org_id": session.org_id}
    place = services.cursors.read_place(cursor, bound)
    after = (int(place["priority"]), UUID(place["id"])) if place else None
    found = queries.rules(connection, session.org_id, after=after, limit=limit + 1)
    page = found[:limit]
    last = {"priority": page[-1].priority, "id": str(page[-1].id)} if len(found) > limit else None
    return RuleAnswers(
        items=[RuleAnswer.of(one) for one in page],
        next_cursor=services.cursors.make_place(last, bound) if last else None,
    )


@router.post("/tickets/routing/rules", status_code=201, responses=_CONFLICT)
def add_rule(asked: RuleRequest, session: SignedIn, connection: Transaction, response: Response) -> RuleAnswer:
    """Add a rule; 422 says which pattern does not compile and where, or what else is wrong."""
    with conflicts():
        made = commands.add_rule(connection, session.org_id, asked.columns())
    return _rule(connection, session.org_id, made, response)


@router.patch("/tickets/routing/rules/{rule_id}", responses=_CONFLICT)
def change_rule(
    *, rule_id: UUID, asked: RuleChange, session: SignedIn, connection: Transaction, seen: Seen, response: Response
) -> RuleAnswer:
    """Change what is named of a rule; `is_shadow` false arms it. 409 when it is not at the version of If-Match."""
    with conflicts():
        commands.change_rule(connection, session.org_id, rule_id, asked.columns(), version=seen)
    return _rule(connection, session.org_id, rule_id, response)


@router.delete("/tickets/routing/rules/{rule_id}", status_code=204)
def delete_rule(rule_id: UUID, session: SignedIn, connection: Transaction, seen: Seen) -> None:
    """Delete a rule; what it decided stays. 409 when it is not at the version of If-Match."""
    with conflicts():
        is_deleted = commands.delete_rule(connection, session.org_id, rule_id, version=seen)
    if not is_deleted:
        raise _no_rule()


def _pattern(connection: Transaction, org_id: UUID, allowlist_id: UUID) -> PatternAnswer:
    found = queries.patterns(connection, org_id, pattern_id=allowlist_id)
    if not found:
        raise _no_pattern()
    return PatternAnswer.model_validate(found[0])


def _rule(connection: Transaction, org_id: UUID, rule_id: UUID, response: Response) -> RuleAnswer:
    found = queries.rules(connection, org_id, rule_id=rule_id)
    if not found:
        raise _no_rule()
    response.headers["ETag"] = etag(found[0].version)
    return RuleAnswer.of(found[0])


def _no_pattern() -> Refusal:
    return Refusal(404, "your organization has no such allowlist entry")


def _no_rule() -> Refusal:
    return Refusal(404, "your organization has no such routing rule")
