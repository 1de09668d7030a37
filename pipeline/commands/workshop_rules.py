"""The rules of a workshop, changed and taken back: each time a new version that says what differs, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import Connection

from models.enums import RulesAction
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect, Locked, Refused, Target
from pipeline.commands.field_arguments import Reason, Words
from pipeline.core.refusing import Because, Refusal
from pipeline.core.repairs import enveloped
from pipeline.core.workshop_rules import Rules, difference
from pipeline.core.written import plain
from pipeline.runtime import rules, session_rows
from pipeline.runtime.jobs import Emit
from pipeline.runtime.rules import Version
from pipeline.runtime.workshop_people import PART_ONLY

_NO_CHANGE = Refusal("NO_CHANGE", "nothing differs from the rules in force", Because.INVALID)
_MEANWHILE = Refusal("RULES_CHANGED", "somebody changed the rules at the same moment: read them again and repeat")


class RulesChange(BaseModel):
    """New rules, each of the four parts with what changes of it; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    config: dict[str, Any] = Field(
        max_length=20, description="Of ticket_xp, attendance, work_session, progression: rules with their new values."
    )
    reason: Annotated[Words, StringConstraints(strip_whitespace=True, max_length=500)] = ""


class RulesRollback(BaseModel):
    """Which version holds again, and why."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(strict=True, ge=1, le=2**31 - 1)
    reason: Annotated[Reason, StringConstraints(max_length=500)]


@dataclass(frozen=True, slots=True)
class Proposal:
    """The rules in force and those that are wanted; None with what is wrong with them."""

    active: Version
    wanted: Rules | None
    problem: Refusal | None = None


def said(version: Version) -> Mapping[str, Any]:
    """Return a version as it is answered."""
    return {
        "version": version.number,
        "action": version.action.value,
        "config": version.rules.stored(),
        "checksum": version.checksum,
        "diff": dict(version.diff),
        "reason": version.reason,
        "source_version": version.source_version,
        "created_by": version.created_by,
        "created_at": plain(version.created_at),
    }


def _to_change(connection: Connection, ask: Ask[RulesChange]) -> Locked[Proposal]:
    active = rules.active(connection, ask.principal.org_id)
    try:
        found = Proposal(active, Rules.change(active.rules, ask.arguments.config))
    except ValueError as error:
        found = Proposal(active, None, Refusal("INVALID_RULES", str(error), Because.INVALID))
    return _locked(ask, found)


def _to_roll_back(connection: Connection, ask: Ask[RulesRollback]) -> Locked[Proposal]:
    org_id, number = ask.principal.org_id, ask.arguments.version
    active = rules.active(connection, org_id)
    target = rules.one(connection, org_id, number)
    problem = None
    if target is None:
        problem = Refusal("UNKNOWN_VERSION", f"there is no version {number} of the rules", Because.INVALID)
    elif number == active.number:
        problem = Refusal("ALREADY_ACTIVE", f"version {number} is in force already", Because.INVALID)
    return _locked(ask, Proposal(active, None if target is None else target.rules, problem))


def _locked(ask: Ask[Any], proposal: Proposal) -> Locked[Proposal]:
    """Return the organization's rules: nothing is locked, the number of the new version decides a race."""
    who = ask.principal
    return Locked(str(who.org_id), proposal, proposal.active.number, who.scope.is_whole)


def is_good(_ask: Ask[Any], proposal: Proposal) -> Refusal | None:
    """Refuse what cannot be a rule, and what changes nothing."""
    if proposal.problem is not None or proposal.wanted is None:
        return proposal.problem
    return None if difference(proposal.active.rules, proposal.wanted) else _NO_CHANGE


def _update(connection: Connection, ask: Ask[RulesChange], proposal: Proposal) -> Effect:
    return _put(connection, ask, proposal, RulesAction.UPDATE, None)


def _roll_back(connection: Connection, ask: Ask[RulesRollback], proposal: Proposal) -> Effect:
    return _put(connection, ask, proposal, RulesAction.ROLLBACK, ask.arguments.version)


def _put(connection: Connection, ask: Ask[Any], proposal: Proposal, action: RulesAction, source: int | None) -> Effect:
    assert proposal.wanted is not None
    before, who = proposal.active, ask.principal
    version = Version(
        number=before.number + 1,
        action=action,
        rules=proposal.wanted,
        diff=difference(before.rules, proposal.wanted),
        reason=ask.arguments.reason,
        source_version=source,
        created_by=who.actor_id,
    )
    kept = rules.keep(connection, who.org_id, version)
    if kept is None:
        raise Refused(_MEANWHILE)
    details = {"version": kept.number, "changes": kept.diff, "reason": kept.reason}
    jobs = _pauses(connection, ask, before.rules, kept.rules)
    return Effect(enveloped(said(kept)), version=kept.number, details=details, jobs=jobs)


def _pauses(connection: Connection, ask: Ask[Any], before: Rules, after: Rules) -> Sequence[Emit]:
    """Return the jobs that end open pauses at the time that the new rules have them end."""
    if before.work_session == after.work_session:
        return ()
    return session_rows.retime(connection, ask.principal.org_id)


UPDATE = Command(
    name="rules.update",
    about="Changes the rules of the workshop: a new version, with what differs.",
    arguments=RulesChange,
    permission=Permission.RULES_CHANGE,
    target=Target("organization", _to_change, PART_ONLY, unreached=PART_ONLY),
    gates=(is_good,),
    effect=_update,
)
ROLL_BACK = Command(
    name="rules.roll_back",
    about="Lets the rules of an older version hold again: a new version that copies it.",
    arguments=RulesRollback,
    permission=Permission.RULES_CHANGE,
    target=Target("organization", _to_roll_back, PART_ONLY, unreached=PART_ONLY),
    gates=(is_good,),
    effect=_roll_back,
)
#: What `pipeline.table` finds here.
COMMANDS = (UPDATE, ROLL_BACK)
