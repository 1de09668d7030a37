"""Work sessions as they stand, each with its events, the pauses of its technician and the rules for these."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import WorkSessionAction, WorkSessionState
from pipeline.core.pause_budget import LONGEST_DAY, Pause, Terms
from pipeline.core.work_sessions import Session, SessionEvent
from pipeline.core.workshop_rules import Rules

#: The clock, not the transaction's time: whoever waited for the lock must not write what was before the one it waited
#: for.
_SESSIONS = text("""
    SELECT s.id, s.org_id, s.order_id, s.technician_id, s.state, s.started_at, s.ended_at, w.trace_id, w.attempt,
           now() AS began_at, greatest(clock_timestamp(), (
               SELECT max(e.event_at) FROM work_session_events e
                WHERE e.org_id = s.org_id AND e.technician_id = s.technician_id)) AS now
      FROM work_sessions s JOIN work_orders w ON w.id = s.order_id
     WHERE s.id = ANY(CAST(:ids AS uuid[])) ORDER BY s.id
""")
_EVENTS = text("""
    SELECT session_id, action, event_at FROM work_session_events
     WHERE session_id = ANY(CAST(:ids AS uuid[])) ORDER BY session_id, id
""")
#: Those that are over, by their ends, each with the event before it. The earliest moment stands there by itself, too:
#: without it nobody knows beforehand that few rows are meant, and all of the technician's are read.
_PAUSES = text("""
    SELECT t.session, before.event_at AS began_at, e.event_at AS ended_at
      FROM unnest(CAST(:sessions AS uuid[]), CAST(:orgs AS uuid[]), CAST(:technicians AS uuid[]),
                  CAST(:sinces AS timestamptz[])) AS t(session, org, technician, since)
      JOIN work_session_events e ON e.org_id = t.org AND e.technician_id = t.technician AND e.event_at >= t.since
       AND e.event_at >= :earliest AND e.action IN ('resumed', 'stopped')
     CROSS JOIN LATERAL (
           SELECT b.action, b.event_at FROM work_session_events b
            WHERE b.session_id = e.session_id AND b.id < e.id ORDER BY b.id DESC LIMIT 1) before
     WHERE before.action = 'paused'
     ORDER BY e.event_at
""")
#: Those in force at a moment, and all that came after them.
_RULES = text("""
    SELECT t.session, r.rules, r.created_at
      FROM unnest(CAST(:sessions AS uuid[]), CAST(:orgs AS uuid[]), CAST(:moments AS timestamptz[]))
        AS t(session, org, moment)
      JOIN rules_versions r ON r.org_id = t.org AND r.version >= coalesce(
           (SELECT max(f.version) FROM rules_versions f WHERE f.org_id = t.org AND f.created_at <= t.moment), 0)
     ORDER BY t.session, r.version
""")
_EVER = datetime.min.replace(tzinfo=UTC) + LONGEST_DAY


def read(connection: Connection, session_ids: Sequence[UUID]) -> list[Session]:
    """Return sessions by id, as they are; those that are there. What is locked stays so until the transaction ends."""
    found = connection.execute(_SESSIONS, {"ids": list(session_ids)}).all()
    if not found:
        return []
    events: dict[UUID, list[SessionEvent]] = defaultdict(list)
    for one in connection.execute(_EVENTS, {"ids": [row.id for row in found]}):
        events[one.session_id].append(SessionEvent(one.session_id, WorkSessionAction(one.action), one.event_at))
    # What decides on a pause is seen from its beginning on; from now on where there is none.
    moments = {row.id: _moment(row, events[row.id]) for row in found}
    pauses, terms = _pauses(connection, found, moments), _terms(connection, found, moments)
    return [_session(row, events[row.id], pauses[row.id], terms[row.id]) for row in found]


def _moment(row: Row[Any], events: Sequence[SessionEvent]) -> datetime:
    return events[-1].at if row.state == WorkSessionState.PAUSED else row.now


def _session(row: Row[Any], events: Sequence[SessionEvent], pauses: list[Pause], terms: list[Terms]) -> Session:
    is_paused = row.state == WorkSessionState.PAUSED
    return Session(
        session_id=row.id,
        org_id=row.org_id,
        order_id=row.order_id,
        technician_id=row.technician_id,
        state=WorkSessionState(row.state),
        started_at=row.started_at,
        ended_at=row.ended_at,
        events=tuple(events),
        now=row.now,
        began_at=row.began_at,
        pauses=(*pauses, Pause(events[-1].at)) if is_paused else tuple(pauses),
        terms=tuple(terms),
        attempt=row.attempt,
        trace_id=row.trace_id,
    )


def _pauses(
    connection: Connection, found: Sequence[Row[Any]], moments: Mapping[UUID, datetime]
) -> Mapping[UUID, list[Pause]]:
    sinces = [moments[row.id] - LONGEST_DAY for row in found]
    values = {
        "sessions": [row.id for row in found],
        "orgs": [row.org_id for row in found],
        "technicians": [row.technician_id for row in found],
        "sinces": sinces,
        "earliest": min(sinces),
    }
    pauses: dict[UUID, list[Pause]] = defaultdict(list)
    for one in connection.execute(_PAUSES, values):
        pauses[one.session].append(Pause(one.began_at, one.ended_at))
    return pauses


def _terms(
    connection: Connection, found: Sequence[Row[Any]], moments: Mapping[UUID, datetime]
) -> Mapping[UUID, list[Terms]]:
    """Return what was in force by session: the built-in rules before the first version, and no time goes back."""
    values = {
        "sessions": [row.id for row in found],
        "orgs": [row.org_id for row in found],
        "moments": [moments[row.id] for row in found],
    }
    terms: dict[UUID, list[Terms]] = {row.id: [_terms_of(Rules(), _EVER)] for row in found}
    for one in connection.execute(_RULES, values):
        listed = terms[one.session]
        listed.append(_terms_of(Rules.read(one.rules), max(one.created_at, listed[-1].since)))
    return terms


def _terms_of(rules: Rules, since: datetime) -> Terms:
    said = rules.work_session
    return Terms(since, timedelta(minutes=said.daily_pause_limit_minutes), said.zone)
