"""Queries of work orders name their organization themselves: the barrier behind them may be missing."""

from __future__ import annotations

from datetime import timedelta

from models.enums import WorkOrderState
from models.queries import my_work
from models.queries.scoping import EVERYTHING
from pipeline.runtime.db import Database
from tests.commands.work_desk import WorkDesk


def test_a_day_at_a_glance_counts_one_organization_of_somebody_who_works_for_two(db: Database) -> None:
    ours, theirs = WorkDesk.of(db), WorkDesk.of(db)
    person_id = ours.person_id("tech")
    ours.order(WorkOrderState.ASSIGNED, "tech")
    for state in (WorkOrderState.ASSIGNED, WorkOrderState.DONE):
        theirs.order(state, assigned_to_id=person_id, attempt=1)
    with db.begin() as connection:
        counts = my_work.counts(connection, ours.org_id, person_id, EVERYTHING, soon=timedelta(hours=1))
    assert (counts.assigned, counts.done) == (1, 0)
