"""Triage: signals about known assets out of the text, and the case they make, with priority and certainty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from models.enums import AssessedBecause, DispatchState, SignalSource
from models.lifecycle import AUTOMATIC_TRIAGE
from pipeline.core import signals
from pipeline.core.extractions import Extraction
from pipeline.core.reading import Reading
from pipeline.ports import Ports, StatusClassifier
from pipeline.runtime import asset_guessing, asset_registry, automatic_moves, case_rows, regrouping
from pipeline.runtime.asset_guessing import Unnamed
from pipeline.runtime.automatic_moves import Moved
from pipeline.runtime.case_rows import Assessed
from pipeline.runtime.jobs import Emit, Job
from pipeline.stage import Stage, Work, caught

_LOAD = text("""
    SELECT m.id, m.org_id, m.subject, m.from_address, m.received_at, c.body_text
      FROM messages m JOIN message_contents c ON c.message_id = m.id
     WHERE m.id = ANY(CAST(:ids AS bigint[]))
""")
_INSERT = text("""
    INSERT INTO signals (org_id, asset_id, source, reporter, message_id, at, status, text, span, part, extracted_by,
                         symptoms, rules_version)
    SELECT org_id, asset_id, :source, reporter, message_id, at, status, quote, ARRAY[span_start, span_end], part,
           extracted_by, string_to_array(symptoms, ','), :version
      FROM unnest(CAST(:org_id AS uuid[]), CAST(:asset_id AS uuid[]), CAST(:reporter AS text[]),
                  CAST(:message_id AS bigint[]), CAST(:at AS timestamptz[]), CAST(:status AS text[]),
                  CAST(:quote AS text[]), CAST(:span_start AS int[]), CAST(:span_end AS int[]),
                  CAST(:part AS text[]), CAST(:extracted_by AS text[]), CAST(:symptoms AS text[]))
        AS t(org_id, asset_id, reporter, message_id, at, status, quote, span_start, span_end, part, extracted_by,
             symptoms)
        ON CONFLICT (message_id, asset_id) DO NOTHING
""")
_TRIAGED = text("""
    UPDATE tickets SET dispatch_state = 'TRIAGED', version = version + 1
     WHERE id = ANY(CAST(:ids AS uuid[])) AND dispatch_state = 'NEW'
    RETURNING id, org_id
""")
_NEW_STATE, _TRIAGED_STATE = DispatchState.NEW.value, DispatchState.TRIAGED.value


@dataclass(frozen=True, slots=True)
class Report:
    """One message, and what is read in it; None when it names nothing and may mean nothing."""

    row: Any
    reading: Reading | None


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Report]:
    """Return the messages, each read; the database is asked once for all that name nothing and may mean something."""
    known = asset_registry.known(connection, {job.org_id for job in jobs})
    rows = {str(row.id): row for row in connection.execute(_LOAD, {"ids": [int(job.key) for job in jobs]})}
    readings = {row.id: signals.read(row.subject, row.body_text, known[row.org_id]) for row in rows.values()}
    unnamed = [
        Unnamed(row.id, row.org_id, known[row.org_id], reading)
        for row in rows.values()
        if (reading := readings[row.id]) is not None and not reading.mentions
    ]
    meant = asset_guessing.meant(connection, unnamed) if unnamed else {}
    readings |= {mail.message_id: meant.get(mail.message_id) for mail in unnamed}
    return {job.job_id: Report(rows[job.key], readings[rows[job.key].id]) for job in jobs if job.key in rows}


@caught
def _extract(report: Report, classifier: StatusClassifier | None) -> list[Extraction]:
    if report.reading is None:
        return []
    if classifier is None:
        return report.reading.extractions()
    return [telling.judged(classifier.judge) for telling in report.reading.tellings()]


def work(items: Sequence[Report], ports: Ports) -> Sequence[list[Extraction] | Exception]:
    """Return what each message says of assets, by the rules and as the classifier judges."""
    return [_extract(item, ports.statuses) for item in items]


def save(connection: Connection, works: Sequence[Work[Report, list[Extraction]]]) -> Sequence[Emit]:
    """Keep the signals, assess every asset they touch anew, and ask for dispatch."""
    found = [(done, extraction) for done in works for extraction in done.result]
    if not found:
        return []
    asset_ids = sorted({extraction.asset_id for _, extraction in found})
    locked = case_rows.lock(connection, asset_ids)
    connection.execute(_INSERT, _columns(found))
    # Before work orders, which follow the case that leads when another one does. Cases have no locks of their own.
    places = regrouping.lock_tickets_of(connection, sorted({done.item.row.id for done, _ in found}))
    assessed = case_rows.assess_locked(connection, locked, AssessedBecause.SIGNALS)
    traces = {places[done.item.row.id]: done.job.trace_id for done, _ in found if done.item.row.id in places}
    triaged = connection.execute(_TRIAGED, {"ids": sorted(traces)})
    moved = [Moved(row.org_id, row.id, _NEW_STATE, _TRIAGED_STATE, traces[row.id]) for row in triaged]
    automatic_moves.record(connection, moved, AUTOMATIC_TRIAGE)
    return _dispatches(found, assessed)


def _columns(found: Iterable[tuple[Work[Report, Any], Extraction]]) -> dict[str, Any]:
    pairs = sorted(found, key=lambda pair: (pair[0].item.row.id, pair[1].asset_id))
    return {
        "source": SignalSource.MAIL.value,
        "version": signals.RULES_VERSION,
        "org_id": [done.item.row.org_id for done, _ in pairs],
        "asset_id": [extraction.asset_id for _, extraction in pairs],
        "reporter": [done.item.row.from_address or "" for done, _ in pairs],
        "message_id": [done.item.row.id for done, _ in pairs],
        "at": [done.item.row.received_at for done, _ in pairs],
        "status": [extraction.status.value for _, extraction in pairs],
        "quote": [extraction.quote for _, extraction in pairs],
        "span_start": [extraction.span.start for _, extraction in pairs],
        "span_end": [extraction.span.end for _, extraction in pairs],
        "part": [extraction.part.value for _, extraction in pairs],
        "extracted_by": [extraction.extracted_by.value for _, extraction in pairs],
        "symptoms": [",".join(told.symptom.value for told in extraction.symptoms) for _, extraction in pairs],
    }


def _dispatches(found: Sequence[tuple[Work[Report, Any], Extraction]], assessed: Sequence[Assessed]) -> list[Emit]:
    """Send on the cases that ask for a technician, each under the trace of its newest message."""
    asking = {one.asset_id: one.case_id for one in case_rows.to_dispatch(assessed)}
    by_age = sorted(found, key=lambda pair: pair[0].item.row.received_at)
    newest = {extraction.asset_id: done for done, extraction in by_age}
    return [done.job.then("dispatch", str(asking[asset])) for asset, done in newest.items() if asset in asking]


STAGE = Stage(
    name="triage",
    about="Signals about known assets, and the case they make.",
    load=load,
    work=work,
    save=save,
    emits=("dispatch",),
    batch=200,
)
