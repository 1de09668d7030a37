"""Finished work for the tests of billing: a ticket whose proof is complete, with time, visits and rates."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from pipeline.commands.billing import GENERATE_INVOICE
from pipeline.commands.billing_arguments import InvoiceWish, RateWish
from pipeline.commands.rates import PUT_RATE
from pipeline.executor import Answer
from tests.commands.field_desk import INCIDENT, FieldDesk

#: Written as rows: billing is tested whatever the commands before it do.
_WORK = text("""
    WITH template AS (
        SELECT id, evidence_keys, checklist_keys FROM incident_templates
         WHERE org_id IS NULL AND incident_type = :incident AND is_current
    ), worked AS (
        UPDATE dispatches SET incident_type = :incident, template_id = (SELECT id FROM template), nte_cents = :limit,
                              assigned_tech_id = :tech, visit_number = 1, queue_due_at = NULL
         WHERE ticket_id = :ticket
    ), proved AS (
        INSERT INTO evidence_items (org_id, ticket_id, kind, uri, evidence_key, created_by)
        SELECT :org, :ticket, 'PHOTO', 's3://proof/' || one, one, 'tests' FROM template, unnest(evidence_keys) AS one
    )
    INSERT INTO completions (org_id, ticket_id, command, template_id, checklist_status, completed_by)
    SELECT :org, :ticket, 'tech.complete', id,
           (SELECT jsonb_object_agg(one, true) FROM unnest(checklist_keys) AS one), 'tests' FROM template
""")
_STATE = text("UPDATE tickets SET dispatch_state = :state, version = version + 1 WHERE id = :ticket")
_TIME = text("""
    INSERT INTO time_entries (org_id, ticket_id, kind, technician_id, began_at, ended_at, recorded_by)
    VALUES (:org, :ticket, 'labor', :tech, now() - interval '5 hours', now() - interval '5 hours' + :labor, 'tests')
""")
_VISIT = text("""
    INSERT INTO visits (org_id, ticket_id, number, technician_id, starts_at, ends_at, state, ended_at,
                        is_overlap_allowed)
    VALUES (:org, :ticket, 1, :tech, now() - interval '5 hours', now() - interval '3 hours', 'done', now(), true)
""")


def worked(
    desk: FieldDesk, state: str = "VERIFIED", *, labor: timedelta = timedelta(hours=1), limit: int = 0, **said: Any
) -> UUID:
    """Make a ticket whose work is done and proved; return it."""
    ticket_id = desk.make(**said)
    values = {"org": desk.org_id, "ticket": ticket_id, "tech": desk.people["tech"].person_id, "limit": limit}
    with desk.db.begin() as connection:
        connection.execute(_WORK, values | {"incident": INCIDENT})
        connection.execute(_STATE, values | {"state": state})
        connection.execute(_VISIT, values)
        if labor:
            connection.execute(_TIME, values | {"labor": labor})
    return ticket_id


def set_rate(desk: FieldDesk, labor_hour_cents: int = 8_000, **said: Any) -> Answer:
    """Set a rate, the organization's own in USD where nothing else is said."""
    wish = RateWish(**{"currency": "USD", "labor_hour_cents": labor_hour_cents, **said})
    return desk.run(PUT_RATE, wish, by="finance")


def invoiced(desk: FieldDesk, ticket_id: UUID, **wish: Any) -> Answer:
    """Issue a ticket's invoice."""
    return desk.run(GENERATE_INVOICE, InvoiceWish(**wish), ticket_id, by="finance")
