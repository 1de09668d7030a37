"""People who work for two organizations: what they do in one keeps them from nothing in the other."""

from __future__ import annotations

from dataclasses import replace

from models.enums import WorkOrderState
from pipeline.commands import work_sessions
from pipeline.commands.workshop_arguments import Nothing
from pipeline.runtime.db import Database
from tests.commands.workshop_desk import WorkshopDesk


def test_work_for_one_organization_does_not_keep_from_work_for_another(db: Database) -> None:
    ours, theirs = WorkshopDesk.of(db), WorkshopDesk.of(db)
    person_id = theirs.person_id("tech")
    theirs.start(theirs.repair(WorkOrderState.ASSIGNED, "tech").order_id)
    mine = ours.repair(WorkOrderState.ASSIGNED, assigned_to_id=person_id, attempt=1)
    somebody = replace(ours.people["tech"], person_id=person_id, actor_id=str(person_id))
    assert ours.run(work_sessions.START, Nothing(), mine.order_id, by=somebody).status == 200
