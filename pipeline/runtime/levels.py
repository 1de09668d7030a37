"""The service levels of organizations as they are stored: their enabled policies, each with its calendar."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from pipeline.core.calendars import Calendar
from pipeline.core.service_levels import Conditions, Policy, read_pauses, read_targets

_POLICIES = text("""
    SELECT p.id, p.org_id, p.name, p.version, p.conditions, p.targets, p.pauses, p.warning_minutes, p.calendar_id,
           c.timezone, c.hours,
           ARRAY(SELECT h.day FROM holidays h WHERE h.calendar_id = p.calendar_id ORDER BY h.day) AS holidays
      FROM sla_policies p LEFT JOIN calendars c ON c.id = p.calendar_id
     WHERE p.org_id = ANY(CAST(:orgs AS uuid[])) AND p.is_enabled
     ORDER BY p.position, p.id
""")


def levels_of(connection: Connection, org_ids: Collection[UUID]) -> dict[UUID, Sequence[Policy]]:
    """Return by organization the policies that time its tickets, the first to try first.

    One that cannot be read, as after an update without the time zone, is passed over: mail must go on.
    """
    levels: dict[UUID, list[Policy]] = {org_id: [] for org_id in org_ids}
    calendars: dict[UUID, Calendar] = {}
    for row in connection.execute(_POLICIES, {"orgs": list(levels)}):
        try:
            levels[row.org_id].append(_policy(row, calendars))
        except ValueError:
            continue
    return dict(levels)


def _policy(row: Row[Any], calendars: dict[UUID, Calendar]) -> Policy:
    if row.calendar_id is not None and row.calendar_id not in calendars:
        calendars[row.calendar_id] = Calendar.read(row.timezone, row.hours, row.holidays)
    conditions = Conditions.read(row.conditions)
    return Policy(
        policy_id=row.id,
        name=row.name,
        version=row.version,
        targets=read_targets(row.targets, conditions),
        conditions=conditions,
        calendar=calendars.get(row.calendar_id),
        pauses=read_pauses(row.pauses),
        warning=timedelta(minutes=row.warning_minutes),
    )
