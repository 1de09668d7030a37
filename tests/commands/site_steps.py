"""Steps of a technician's work, for tests: what `tests.commands.field_desk` leads tickets by."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from models.enums import QaResult
from pipeline.adapters.clock import SystemClock
from pipeline.commands import closing, evidence, visits
from pipeline.commands.evidence_arguments import AddEvidence
from pipeline.commands.field_arguments import GivenReason
from pipeline.core.evidence import SIGNATURE_KEY
from pipeline.executor import Answer

if TYPE_CHECKING:
    from tests.commands.field_desk import FieldDesk

DOOR_KEYS = ("photo_before_door_edge_and_strike", "photo_after_latched_alignment", "note_adjustments_and_test_cycles")
POINTS = (
    *("work_performed", "parts_used_or_needed", "resolution_status", "onsite_photos_after"),
    "billing_authorization",
)
CHECKLIST = dict.fromkeys(POINTS, True)


def now() -> datetime:
    """Return the time of this machine."""
    return SystemClock().now()


def check_in(desk: FieldDesk, ticket_id: UUID, at: datetime | None = None, **more: Any) -> Answer:
    """Arrive."""
    return desk.run(visits.CHECK_IN, visits.CheckIn(timestamp=at or now()), ticket_id, **{"by": "tech", **more})


def hold(desk: FieldDesk, ticket_id: UUID) -> Answer:
    """Let work wait."""
    return desk.run(visits.HOLD, GivenReason(reason="a part is missing"), ticket_id, by="tech")


def add(desk: FieldDesk, ticket_id: UUID, key: str | None, *, by: str = "tech", **said: Any) -> dict[str, Any]:
    """Add a piece of evidence; return it."""
    values = {"kind": "PHOTO", "evidence_key": key, "uri": f"s3://bucket/{key}.jpg", **said}
    return dict(desk.run(evidence.ADD, AddEvidence(**values), ticket_id, by=by).body)


def prove(desk: FieldDesk, ticket_id: UUID, *keys: str) -> list[dict[str, Any]]:
    """Add a piece for each key, for all that a door needs unless some are named."""
    return [add(desk, ticket_id, key) for key in keys or (*DOOR_KEYS, SIGNATURE_KEY)]


def report(**said: Any) -> closing.CompleteWork:
    """Return a report of completed work."""
    return closing.CompleteWork(**{"checklist_status": CHECKLIST, **said})


def complete(desk: FieldDesk, ticket_id: UUID, *, by: str = "tech", **said: Any) -> Answer:
    """Complete work."""
    return desk.run(closing.COMPLETE, report(**said), ticket_id, by=by)


def check(result: QaResult = QaResult.PASS, **said: Any) -> closing.VerifyWork:
    """Return what a check found."""
    return closing.VerifyWork(**{"timestamp": now() - timedelta(seconds=1), "result": result, **said})


def finish(desk: FieldDesk, ticket_id: UUID) -> Answer:
    """Prove and complete work."""
    prove(desk, ticket_id)
    return complete(desk, ticket_id)


def verify(desk: FieldDesk, ticket_id: UUID, result: QaResult = QaResult.PASS, **said: Any) -> Answer:
    """Check completed work."""
    return desk.run(closing.VERIFY, check(result, **said), ticket_id, by="qa")
