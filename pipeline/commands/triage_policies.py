"""Policies of triage: drafted, tried in the shadow, put into force, and taken back; each change says why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from models.enums import PolicyState
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect, Locked, Target
from pipeline.commands.triage_policy_arguments import LARGEST, PolicyActivation, PolicyDraft, PolicyNote, PolicyRollback
from pipeline.core.refusing import Because, Refusal
from pipeline.core.triage_policy import TriagePolicy, difference
from pipeline.core.written import plain
from pipeline.runtime import retriaging, triage_policies
from pipeline.runtime.triage_policies import Kept, Version

#: A version is never deleted; nobody reads through more.
MOST_VERSIONS = 10_000

_PART_ONLY = Refusal("FORBIDDEN", "this is for people who reach the whole organization", Because.FORBIDDEN)
_MISSING = Refusal("UNKNOWN_VERSION", "your organization has no such version of its policy", Because.MISSING)
_NO_CHANGE = Refusal("NO_CHANGE", "nothing differs from the policy in force", Because.INVALID)
_FULL = Refusal("TOO_MANY_VERSIONS", f"an organization has at most {MOST_VERSIONS} versions of its policy")


@dataclass(frozen=True, slots=True)
class Proposal:
    """The policy in force and the one that is wanted; None with what is wrong with it."""

    active: Version
    wanted: TriagePolicy | None
    problem: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The policy in force, and the version that something is done with."""

    active: Version
    chosen: Kept


def body_of(kept: Kept) -> dict[str, Any]:
    """Return a version as it is answered."""
    return {
        "version": kept.number,
        "state": kept.state.value,
        "policy": kept.policy.stored(),
        "checksum": kept.checksum,
        "diff": dict(kept.diff),
        "reason": kept.reason,
        "source_version": kept.source_version,
        "created_by": kept.created_by,
        "created_at": plain(kept.created_at),
        "shadowed_at": plain(kept.shadowed_at),
        "activated_at": plain(kept.activated_at),
        "activated_by": kept.activated_by,
        "retired_at": plain(kept.retired_at),
    }


def number_of(said: str | None) -> int | None:
    """Return the number that a path names; None for what is no version's."""
    is_number = said is not None and said.isascii() and said.isdigit() and len(said) <= 10
    number = int(said) if said is not None and is_number else LARGEST + 1
    return number if number <= LARGEST else None


def _to_draft(connection: Connection, ask: Ask[PolicyDraft]) -> Locked[Proposal]:
    who, wish = ask.principal, ask.arguments
    triage_policies.hold(connection, who.org_id)
    active = triage_policies.active(connection, who.org_id)
    begins = active.number if wish.from_version is None else wish.from_version
    base = triage_policies.one(connection, who.org_id, begins)
    newest = triage_policies.page(connection, who.org_id, before=None, limit=1)[0].number
    return Locked(str(who.org_id), _proposal(active, base, wish.policy, newest), active.number, who.scope.is_whole)


def _proposal(active: Version, base: Kept | None, said: Mapping[str, Any], newest: int) -> Proposal:
    if base is None:
        problem = Refusal("UNKNOWN_VERSION", "from_version: there is no such version", Because.INVALID)
        return Proposal(active, None, problem)
    if newest >= MOST_VERSIONS:
        return Proposal(active, None, _FULL)
    try:
        wanted = TriagePolicy.change(base.policy, said)
    except ValueError as error:
        return Proposal(active, None, Refusal("INVALID_POLICY", str(error), Because.INVALID))
    return Proposal(active, wanted, None if difference(active.policy, wanted) else _NO_CHANGE)


def _chosen(connection: Connection, ask: Ask[Any]) -> Locked[Choice] | None:
    """Return the version that the path names; nobody else changes any until the end."""
    who, number = ask.principal, number_of(ask.target)
    triage_policies.hold(connection, who.org_id)
    chosen = None if number is None else triage_policies.one(connection, who.org_id, number)
    if chosen is None:
        return None
    active = triage_policies.active(connection, who.org_id)
    return Locked(str(chosen.number), Choice(active, chosen), active.number, who.scope.is_whole)


def is_good(_ask: Ask[PolicyDraft], proposal: Proposal) -> Refusal | None:
    """Refuse what cannot be a policy, and what changes nothing."""
    return proposal.problem


def may_be_shadowed(_ask: Ask[Any], choice: Choice) -> Refusal | None:
    """Refuse what is in force or in the shadow; the built-in policy is drafted first."""
    number = choice.chosen.number
    match choice.chosen.state:
        case PolicyState.ACTIVE:
            return Refusal("ALREADY_ACTIVE", f"version {number} is in force: a shadow says what another would do")
        case PolicyState.SHADOW:
            return Refusal("ALREADY_SHADOW", f"version {number} is in the shadow already")
    if number == 0:
        return Refusal("BUILT_IN", "the built-in policy has no row of its own: draft from version 0, and try the draft")
    return None


def is_in_shadow(_ask: Ask[Any], choice: Choice) -> Refusal | None:
    """Refuse what is not in the shadow."""
    if choice.chosen.state is PolicyState.SHADOW:
        return None
    return Refusal("NOT_SHADOW", f"version {choice.chosen.number} is not in the shadow")


def may_be_activated(_ask: Ask[Any], choice: Choice) -> Refusal | None:
    """Refuse what is in force, and what was before: that is rolled back, so that both stay as they were."""
    number = choice.chosen.number
    match choice.chosen.state:
        case PolicyState.ACTIVE:
            return Refusal("ALREADY_ACTIVE", f"version {number} is in force already")
        case PolicyState.RETIRED:
            said = f"version {number} is retired: roll back to it, or put a draft of it into force"
            return Refusal("RETIRED", said)
    return None


def says_what_it_replaces(ask: Ask[PolicyActivation], choice: Choice) -> Refusal | None:
    """Refuse to overwrite what the caller has not seen."""
    replaces, active = ask.arguments.replaces, choice.active.number
    if replaces is None:
        if ask.version is not None:
            return None
        said = "say which version it takes the place of: `replaces`, or If-Match with the ETag of what you read"
        return Refusal("REPLACES_REQUIRED", said, Because.INVALID, {"fields": {"replaces": "missing"}})
    if replaces == active:
        return None
    said = f"version {active} is in force by now, not {replaces}: read it, and say so if yours is still to hold"
    return Refusal("STALE_VERSION", said, details={"version": active})


def may_hold_again(_ask: Ask[Any], choice: Choice) -> Refusal | None:
    """Refuse what never held, what holds, and what says the same as what holds."""
    chosen = choice.chosen
    if chosen.state is PolicyState.ACTIVE:
        return Refusal("ALREADY_ACTIVE", f"version {chosen.number} is in force already")
    if chosen.number != 0 and chosen.activated_at is None:
        return Refusal("NEVER_ACTIVE", f"version {chosen.number} was never in force: activate it instead")
    if not difference(choice.active.policy, chosen.policy):
        return Refusal("NO_CHANGE", f"version {choice.active.number}, which is in force, says the same")
    return None


def _draft(connection: Connection, ask: Ask[PolicyDraft], proposal: Proposal) -> Effect:
    assert proposal.wanted is not None
    who, changes = ask.principal, difference(proposal.active.policy, proposal.wanted)
    number = triage_policies.keep(
        connection, who.org_id, proposal.wanted, diff=changes, reason=ask.arguments.reason, by=who.actor_id
    )
    details = {"version": number, "changes": changes, "reason": ask.arguments.reason}
    body = _read(connection, ask, number)
    return Effect(body, status=201, details=details | {"from_version": ask.arguments.from_version})


def _shadow(connection: Connection, ask: Ask[PolicyNote], choice: Choice) -> Effect:
    org_id, number = ask.principal.org_id, choice.chosen.number
    triage_policies.shadow(connection, org_id, number)
    details = {"version": number, "reason": ask.arguments.reason}
    return Effect(
        _read(connection, ask, number), version=choice.active.number, details=details, jobs=retriaging.request(org_id)
    )


def _stop_shadow(connection: Connection, ask: Ask[PolicyNote], choice: Choice) -> Effect:
    number = choice.chosen.number
    triage_policies.retire(connection, ask.principal.org_id, PolicyState.SHADOW)
    details = {"version": number, "reason": ask.arguments.reason}
    return Effect(_read(connection, ask, number), version=choice.active.number, details=details)


def _activate(connection: Connection, ask: Ask[PolicyActivation], choice: Choice) -> Effect:
    return _put_into_force(connection, ask, choice, choice.chosen.number)


def _roll_back(connection: Connection, ask: Ask[PolicyRollback], choice: Choice) -> Effect:
    who, chosen = ask.principal, choice.chosen
    number = triage_policies.keep(
        connection,
        who.org_id,
        chosen.policy,
        diff=difference(choice.active.policy, chosen.policy),
        reason=ask.arguments.reason,
        by=who.actor_id,
        source=chosen.number,
    )
    return _put_into_force(connection, ask, choice, number)


def _put_into_force(connection: Connection, ask: Ask[Any], choice: Choice, number: int) -> Effect:
    who = ask.principal
    triage_policies.activate(connection, who.org_id, number, by=who.actor_id)
    changes = difference(choice.active.policy, choice.chosen.policy)
    details = {"version": number, "replaces": choice.active.number, "changes": changes}
    triage_policies.tell(connection, who.org_id, who.email, {"triage_policy": details})
    return Effect(
        _read(connection, ask, number),
        version=number,
        details={**details, "source_version": choice.chosen.number, "reason": ask.arguments.reason},
        jobs=retriaging.request(who.org_id),
    )


def _read(connection: Connection, ask: Ask[Any], number: int) -> dict[str, Any]:
    kept = triage_policies.one(connection, ask.principal.org_id, number)
    assert kept is not None
    return body_of(kept)


_VERSION: Target[Any, Choice] = Target("triage_policy", _chosen, _MISSING, unreached=_PART_ONLY)
_MAY = Permission.TRIAGE_POLICY_CHANGE

DRAFT = Command(
    name="triage_policy.draft",
    about="Writes down another policy of triage: a draft, with what it changes; nothing follows it yet.",
    arguments=PolicyDraft,
    permission=_MAY,
    target=Target("organization", _to_draft, _PART_ONLY, unreached=_PART_ONLY),
    gates=(is_good,),
    effect=_draft,
)
SHADOW = Command(
    name="triage_policy.shadow",
    about="Lets a version say beside the one in force what it would do; it decides nothing.",
    arguments=PolicyNote,
    permission=_MAY,
    target=_VERSION,
    gates=(may_be_shadowed,),
    effect=_shadow,
)
STOP_SHADOW = Command(
    name="triage_policy.stop_shadow",
    about="Takes the version in the shadow out of it.",
    arguments=PolicyNote,
    permission=_MAY,
    target=_VERSION,
    gates=(is_in_shadow,),
    effect=_stop_shadow,
)
ACTIVATE = Command(
    name="triage_policy.activate",
    about="Puts a draft, or what is in the shadow, into force in the place of a version that the caller names.",
    arguments=PolicyActivation,
    permission=_MAY,
    target=_VERSION,
    gates=(may_be_activated, says_what_it_replaces),
    effect=_activate,
)
ROLL_BACK = Command(
    name="triage_policy.roll_back",
    about="Lets the policy of a version that was in force hold again: a new version that copies it.",
    arguments=PolicyRollback,
    permission=_MAY,
    target=_VERSION,
    gates=(may_hold_again,),
    effect=_roll_back,
)
#: What `pipeline.table` finds here.
COMMANDS = (DRAFT, SHADOW, STOP_SHADOW, ACTIVATE, ROLL_BACK)
