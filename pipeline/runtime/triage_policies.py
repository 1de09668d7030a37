"""Policies of triage in the database: the one in force, the one in the shadow, and those of before.

Reading locks nothing. Version 0 is the built-in policy, which no row holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import PolicyState
from pipeline.core.triage_policy import BUILT_IN, TriagePolicy

_JUDGING = text("""
    SELECT id, org_id, version, state, policy FROM triage_policies
     WHERE org_id = ANY(CAST(:orgs AS uuid[])) AND state IN ('active', 'shadow')
""")


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a policy of triage; the built-in one has no id."""

    number: int
    policy: TriagePolicy
    policy_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Judging:
    """What judges an organization's cases: the policy in force, and perhaps a shadow, which decides nothing."""

    active: Version
    shadow: Version | None = None


UNCHANGED = Judging(Version(0, BUILT_IN))


def judging(connection: Connection, org_ids: Sequence[UUID]) -> dict[UUID, Judging]:
    """Return what judges the cases of each organization."""
    found: dict[tuple[UUID, PolicyState], Version] = {}
    for row in connection.execute(_JUDGING, {"orgs": sorted(set(org_ids))}):
        found[row.org_id, PolicyState(row.state)] = _version(row)
    return {
        org_id: Judging(
            found.get((org_id, PolicyState.ACTIVE), UNCHANGED.active), found.get((org_id, PolicyState.SHADOW))
        )
        for org_id in org_ids
    }


def active(connection: Connection, org_id: UUID) -> Version:
    """Return the version in force."""
    return judging(connection, [org_id])[org_id].active


def _version(row: Row[Any]) -> Version:
    return Version(row.version, TriagePolicy.read(row.policy), row.id)
