"""Policies of triage in the database: the one in force, the one in the shadow, those of before, and drafts.

Reading locks nothing. Version 0 is the built-in policy, which no row holds. Whoever changes any holds `hold` first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, text

from models.enums import PolicyState
from pipeline.core.triage_policy import BUILT_IN, Deadlines, TriagePolicy
from pipeline.runtime import locks

_JUDGING = text("""
    SELECT id, org_id, version, state, policy, shadowed_at FROM triage_policies
     WHERE org_id = ANY(CAST(:orgs AS uuid[])) AND state IN ('active', 'shadow')
""")
_ALONE = text("SELECT pg_advisory_xact_lock(:kind, hashtext(:org))")
_THESE = text("""
    SELECT version, policy FROM triage_policies WHERE org_id = :org AND version = ANY(CAST(:versions AS int[]))
""")
_COLUMNS = (
    "id, version, state, policy, checksum, diff, reason, source_version, created_by, created_at, shadowed_at, "
    "activated_at, activated_by, retired_at"
)
_ONE = text(f"SELECT {_COLUMNS} FROM triage_policies WHERE org_id = :org AND version = :version")  # noqa: S608 - columns from above
_PAGE = text(f"""
    SELECT {_COLUMNS} FROM triage_policies
     WHERE org_id = :org AND (CAST(:before AS int) IS NULL OR version < :before) ORDER BY version DESC LIMIT :limit
""")  # noqa: S608 - columns from above
_INSERT = text("""
    INSERT INTO triage_policies (org_id, version, policy, checksum, diff, reason, source_version, created_by)
    SELECT :org, 1 + coalesce(max(version), 0), CAST(:policy AS jsonb), :checksum, CAST(:diff AS jsonb), :reason,
           CAST(:source AS int), :by FROM triage_policies WHERE org_id = :org
    RETURNING version
""")
_RETIRE = text("""
    UPDATE triage_policies SET state = 'retired', retired_at = now() WHERE org_id = :org AND state = :state
    RETURNING version
""")
_SHADOW = text("""
    UPDATE triage_policies SET state = 'shadow', shadowed_at = now(), retired_at = NULL
     WHERE org_id = :org AND version = :version
""")
_ACTIVATE = text("""
    UPDATE triage_policies SET state = 'active', activated_at = now(), activated_by = :by, retired_at = NULL
     WHERE org_id = :org AND version = :version
""")
_TELL = text("""
    INSERT INTO events (org_id, kind, actor, data) VALUES (:org, 'policy.changed', :actor, CAST(:data AS jsonb))
""")


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a policy of triage as it judges; the built-in one has no id."""

    number: int
    policy: TriagePolicy
    policy_id: UUID | None = None
    #: When it came into the shadow, if it ever did.
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Judging:
    """What judges an organization's cases: the policy in force, and perhaps a shadow, which decides nothing."""

    active: Version
    shadow: Version | None = None

    @property
    def reach(self) -> timedelta:
        """How far back any of them looks."""
        return max(one.policy.evidence.reach for one in (self.active, self.shadow) if one is not None)


@dataclass(frozen=True, slots=True)
class Kept:
    """One version as it is kept: where it stands, and how it came about."""

    number: int
    policy: TriagePolicy
    state: PolicyState
    policy_id: UUID | None = None
    #: As it was when it was written.
    checksum: str = ""
    #: By rule, what it changed of the policy that was in force when it was written.
    diff: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    source_version: int | None = None
    created_by: str = "system"
    created_at: datetime | None = None
    shadowed_at: datetime | None = None
    activated_at: datetime | None = None
    activated_by: str | None = None
    retired_at: datetime | None = None


UNCHANGED = Judging(Version(0, BUILT_IN))


def judging(connection: Connection, org_ids: Sequence[UUID]) -> dict[UUID, Judging]:
    """Return what judges the cases of each organization."""
    found: dict[tuple[UUID, PolicyState], Version] = {}
    for row in connection.execute(_JUDGING, {"orgs": sorted(set(org_ids))}):
        version = Version(row.version, TriagePolicy.read(row.policy), row.id, row.shadowed_at)
        found[row.org_id, PolicyState(row.state)] = version
    return {
        org_id: Judging(
            found.get((org_id, PolicyState.ACTIVE), UNCHANGED.active), found.get((org_id, PolicyState.SHADOW))
        )
        for org_id in org_ids
    }


def active(connection: Connection, org_id: UUID) -> Version:
    """Return the version in force."""
    return judging(connection, [org_id])[org_id].active


def deadlines(connection: Connection, org_id: UUID, versions: Iterable[int]) -> dict[int, Deadlines]:
    """Return how soon somebody comes by each of these versions."""
    return {number: policy.deadlines for number, policy in _these(connection, org_id, versions).items()}


def scored_alike(connection: Connection, org_id: UUID, versions: Collection[int]) -> frozenset[int]:
    """Return those of these versions by which the formula says what it says by the one in force."""
    now = active(connection, org_id).policy
    known = _these(connection, org_id, versions)
    return frozenset(number for number in versions if number in known and known[number].scores_like(now))


def _these(connection: Connection, org_id: UUID, versions: Iterable[int]) -> dict[int, TriagePolicy]:
    """Return policies by their versions, the built-in one among them."""
    rows = connection.execute(_THESE, {"org": org_id, "versions": sorted(versions)})
    return {0: BUILT_IN} | {row.version: TriagePolicy.read(row.policy) for row in rows}


def hold(connection: Connection, org_id: UUID) -> None:
    """Let nobody else change the organization's policies of triage until the transaction is over."""
    connection.execute(_ALONE, {"kind": locks.TRIAGE_POLICIES, "org": str(org_id)})


def one(connection: Connection, org_id: UUID, number: int) -> Kept | None:
    """Return a version by its number; None when there is none."""
    if number == 0:
        return _built_in(connection, org_id)
    row = connection.execute(_ONE, {"org": org_id, "version": number}).one_or_none()
    return None if row is None else _kept(row)


def page(connection: Connection, org_id: UUID, *, before: int | None, limit: int) -> list[Kept]:
    """Return versions below a number, newest first; the built-in one is the last of all."""
    rows = connection.execute(_PAGE, {"org": org_id, "before": before, "limit": limit}).all()
    found = [_kept(row) for row in rows]
    is_end = len(found) < limit and (before is None or before > 0)
    return [*found, _built_in(connection, org_id)] if is_end else found


def keep(
    connection: Connection,
    org_id: UUID,
    policy: TriagePolicy,
    *,
    diff: Mapping[str, Any],
    reason: str,
    by: str,
    source: int | None = None,
) -> int:
    """Write a new version as a draft; return its number."""
    values = {
        "org": org_id,
        "policy": orjson.dumps(policy.stored()).decode(),
        "checksum": policy.checksum,
        "diff": orjson.dumps(dict(diff)).decode(),
        "reason": reason,
        "source": source,
        "by": by,
    }
    return int(connection.execute(_INSERT, values).scalar_one())


def retire(connection: Connection, org_id: UUID, state: PolicyState) -> int | None:
    """Retire the version in a state; return its number, None when there was none."""
    retired = connection.execute(_RETIRE, {"org": org_id, "state": state.value})
    number: int | None = retired.scalar_one_or_none()
    return number


def shadow(connection: Connection, org_id: UUID, number: int) -> None:
    """Put a version into the shadow; the one that was there is retired."""
    retire(connection, org_id, PolicyState.SHADOW)
    connection.execute(_SHADOW, {"org": org_id, "version": number})


def activate(connection: Connection, org_id: UUID, number: int, *, by: str) -> None:
    """Put a version into force; the one before is retired."""
    retire(connection, org_id, PolicyState.ACTIVE)
    connection.execute(_ACTIVATE, {"org": org_id, "version": number, "by": by})


def tell(connection: Connection, org_id: UUID, actor: str, said: Mapping[str, Any]) -> None:
    """Keep as an event that another policy is in force: cases that were assessed before were so by another."""
    connection.execute(_TELL, {"org": org_id, "actor": actor, "data": orjson.dumps(dict(said)).decode()})


def _built_in(connection: Connection, org_id: UUID) -> Kept:
    is_active = active(connection, org_id).number == 0
    state = PolicyState.ACTIVE if is_active else PolicyState.RETIRED
    return Kept(0, BUILT_IN, state, checksum=BUILT_IN.checksum, reason="built in")


def _kept(row: Row[Any]) -> Kept:
    return Kept(
        number=row.version,
        policy=TriagePolicy.read(row.policy),
        state=PolicyState(row.state),
        policy_id=row.id,
        checksum=row.checksum,
        diff=row.diff,
        reason=row.reason,
        source_version=row.source_version,
        created_by=row.created_by,
        created_at=row.created_at,
        shadowed_at=row.shadowed_at,
        activated_at=row.activated_at,
        activated_by=row.activated_by,
        retired_at=row.retired_at,
    )
