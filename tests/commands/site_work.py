"""Work on site for tests: tickets that a technician was sent to, with evidence, completed and checked."""

from __future__ import annotations

from uuid import UUID

from models.enums import AssignmentMode, DispatchPriority
from pipeline.commands import assigning_work
from pipeline.commands.assignment_arguments import Dispatch
from tests.commands.field_desk import INCIDENT, FieldDesk, triage
from tests.commands.site_steps import check_in, finish, verify


def dispatched(desk: FieldDesk, incident: str = INCIDENT) -> UUID:
    """Make a ticket that the technician is sent to."""
    ticket_id = desk.make()
    triage(desk, ticket_id, priority=DispatchPriority.EMERGENCY, incident_type=incident)
    tech_id = desk.people["tech"].person_id
    assert tech_id is not None
    asked = Dispatch(
        tech_id=tech_id,
        dispatch_mode=AssignmentMode.EMERGENCY_BYPASS,
        rationale="the door stands open",
        override_reason="nobody else is near",
    )
    desk.run(assigning_work.DISPATCH, asked, ticket_id)
    return ticket_id


def on_site(desk: FieldDesk, incident: str = INCIDENT) -> UUID:
    """Make a ticket that the technician works on."""
    ticket_id = dispatched(desk, incident)
    check_in(desk, ticket_id)
    return ticket_id


def completed(desk: FieldDesk, incident: str = INCIDENT) -> UUID:
    """Make a ticket whose work is done and proved."""
    ticket_id = on_site(desk, incident)
    finish(desk, ticket_id)
    return ticket_id


def verified(desk: FieldDesk) -> UUID:
    """Make a ticket whose work passed its check."""
    ticket_id = completed(desk)
    verify(desk, ticket_id)
    return ticket_id
