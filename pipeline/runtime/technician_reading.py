"""Technicians as people see them: what they can do, where they go, whether they are here, and how much they have."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.queries.technicians import TechnicianRow
from pipeline.core.duty import away_until, is_on_shift
from pipeline.core.field_work import Window
from pipeline.core.objectives import WHOLE, quality_share
from pipeline.core.technicians import Technician, spans
from pipeline.core.written import plain
from pipeline.runtime import technician_rows

#: How far ahead the next shift and leave are looked for.
AHEAD = timedelta(days=14)
_NOW = text("SELECT now()")
_CERTIFICATES = text("""
    SELECT person_id, name, valid_until, valid_until < current_date AS is_expired FROM certificates
     WHERE org_id = :org AND person_id = ANY(CAST(:people AS uuid[])) ORDER BY person_id, name
""")


def described(connection: Connection, org_id: UUID, rows: Sequence[TechnicianRow]) -> list[dict[str, Any]]:
    """Return these technicians as JSON, in their order; who is no member is left out."""
    now: datetime = connection.execute(_NOW).scalar_one()
    ids = [row.person_id for row in rows]
    found = technician_rows.technicians(connection, org_id, Window(now, now + AHEAD), only=ids)
    people = {one.person_id: one for one in found}
    certificates: dict[UUID, list[dict[str, Any]]] = {one: [] for one in ids}
    for held in connection.execute(_CERTIFICATES, {"org": org_id, "people": ids}):
        said = {"name": held.name, "valid_until": _day(held.valid_until), "is_expired": bool(held.is_expired)}
        certificates[held.person_id].append(said)
    return [
        _described(row, people[row.person_id], certificates[row.person_id], now)
        for row in rows
        if row.person_id in people
    ]


def _described(
    row: TechnicianRow, one: Technician, certificates: Sequence[dict[str, Any]], now: datetime
) -> dict[str, Any]:
    home = one.home
    return {
        "person_id": str(row.person_id),
        "name": row.full_name,
        "team_id": None if row.team_id is None else str(row.team_id),
        "team": row.team,
        "is_available": one.is_available,
        "skills": sorted(one.skills),
        "zones": sorted(one.zones),
        "home": None if home is None else {"lat": home.lat, "lon": home.lon},
        "capacity": one.capacity,
        "most_visits": one.most_visits,
        "certificates": list(certificates),
        "open_load": len(one.open_tickets),
        "quality": {"checks": one.checks, "passes": one.passes, "percent": quality_share(one) * 100 // WHOLE},
        **_duty(one, now),
    }


def _duty(one: Technician, now: datetime) -> dict[str, Any]:
    """Return whether they are here, until when, and when they are next; shifts without any are for ever."""
    found = spans(one.shifts, now, now + AHEAD)
    going = next((shift for shift in found if shift.starts_at <= now < shift.ends_at), None)
    later = next((shift for shift in found if shift.starts_at > now), None)
    leave = next((leave for leave in one.leaves if leave.begins_at > now), None)
    return {
        "is_on_shift": is_on_shift(one.shifts, now),
        "shift_ends_at": plain(going.ends_at if going else None),
        "next_shift": _window(later.starts_at, later.ends_at) if later else None,
        "away_until": plain(away_until(one.leaves, now)),
        "next_leave": _window(leave.begins_at, leave.ends_at) if leave else None,
    }


def _window(begins_at: datetime, ends_at: datetime) -> dict[str, str | None]:
    return {"start": plain(begins_at), "end": plain(ends_at)}


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
