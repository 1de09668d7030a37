"""Commands that are executed at the machine, by whoever sits there."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ValidationError

from models.enums import ActorKind
from models.permissions import Permission
from ops_api.cli.person import actor
from pipeline import executor
from pipeline.command import Ask, Command, Refused
from pipeline.core.principals import Principal, Scope, Way
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError


def operator_of(org_id: UUID) -> Principal:
    """Return who sits at the machine: they may do all, and reach the whole organization."""
    who = actor()
    return Principal(org_id, who, ActorKind.HUMAN, None, who, "operator", frozenset(Permission), Scope(), Way.HEADERS)


def execute(
    db: Database, operator: Principal, command: Command[Any, Any], asked: BaseModel, target: str | None = None
) -> dict[str, Any]:
    """Execute a command; return its answer. Raises `UserError` for a refusal, in its words."""
    try:
        return executor.run(db.begin, command, Ask(operator, asked, target)).body
    except Refused as refused:
        raise UserError(refused.refusal.said) from refused


def checked(form: type[BaseModel], said: dict[str, Any]) -> BaseModel:
    """Return what was said as a form. Raises `UserError` that names what does not fit it."""
    try:
        return form(**said)
    except ValidationError as error:
        first = error.errors()[0]
        named = ".".join(map(str, first["loc"]))
        problem = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{named}: {problem[:1].lower()}{problem[1:]}") from error
