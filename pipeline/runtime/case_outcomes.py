"""Troubles read for figures: both modes of each beside each other, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from models.enums import TriageMode
from models.queries import case_outcomes
from pipeline.core.case_metrics import Judged, Saying, Trouble
from pipeline.core.findings import ASSUMED
from pipeline.core.triage_policy import BUILT_IN, Deadlines
from pipeline.runtime import triage_policies

#: How far back figures go unless somebody says otherwise.
REACH = timedelta(days=90)


def since(connection: Connection, asked: datetime | None) -> datetime:
    """Return from when on figures are made."""
    return asked or case_outcomes.ago(connection, REACH)


def troubles(connection: Connection, org_id: UUID, since: datetime) -> list[Trouble]:
    """Return the troubles of an organization that began since, the newest first; at most `case_outcomes.MOST`."""
    rows = case_outcomes.outcomes(
        connection,
        org_id,
        since,
        mode=BUILT_IN.mode.value,
        from_priority=BUILT_IN.dispatch.from_priority,
        assumed=ASSUMED,
    )
    versions = {row.urgent_version for row in rows if row.urgent_version is not None}
    deadlines = triage_policies.deadlines(connection, org_id, versions)
    return [_trouble(list(both), deadlines) for _, both in groupby(rows, key=lambda row: (row.asset_id, row.number))]


def is_whole(found: Sequence[Trouble]) -> bool:
    """Say whether these are all troubles of the time that was asked for."""
    return len(found) < case_outcomes.MOST


def _trouble(rows: list[Row[Any]], deadlines: Mapping[int, Deadlines]) -> Trouble:
    """Return a trouble of its cases; one that an older version made has one case, and so one mode."""
    lead = TriageMode(rows[0].lead)
    row = next((one for one in rows if one.mode == lead), rows[0])
    urgent = deadlines.get(row.urgent_version)
    hours = row.sla_hours if urgent is None else urgent.hours(row.priority_score)
    return Trouble(
        lead=TriageMode(row.mode),
        modes={mode: Judged() for mode in TriageMode} | dict(_judged(rows)),
        priority=row.priority_score,
        sla=timedelta(hours=hours),
        arrived_at=row.arrived_at,
        is_real=row.is_real,
        ordered_at=row.ordered_at,
        decided_at=row.decided_at,
        is_assumed=row.is_assumed,
        policy_version=row.decided_by,
    )


def _judged(rows: Iterable[Row[Any]]) -> Iterable[tuple[TriageMode, Judged]]:
    for row in rows:
        saying = None
        if row.policy_version is not None:
            saying = Saying(row.policy_version, row.formula_hundredths, row.told_hundredths, row.says_go)
        yield TriageMode(row.mode), Judged(row.asked_at, row.is_doubtful, saying)
