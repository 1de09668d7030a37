"""Forgetting who asked for field work: nothing of them is left in any table, and what was done still adds up."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text

from pipeline.commands import approvals, endings, erasing, intake, triaging
from pipeline.runtime.db import Database
from pipeline.stages import erase, forget
from tests.commands.field_desk import FieldDesk, take_in, told
from tests.stages.world import World

CANARY = "zwiebelkuchen"
CUSTOMER = f"{CANARY}@customer.example"


def places(desk: FieldDesk, *said: str) -> set[str]:
    """Return every column of the database that holds one of some words."""
    columns = desk.rows("""
        SELECT table_name, column_name FROM information_schema.columns
         WHERE table_schema = current_schema() AND data_type NOT IN ('bytea', 'bigint', 'boolean')
    """)
    wheres = " OR ".join(f"CAST(x AS text) ILIKE '%{one}%'" for one in said)
    union = " UNION ALL ".join(
        f'SELECT \'{table}.{column}\' AS place FROM (SELECT "{column}" AS x FROM "{table}") AS t WHERE {wheres}'
        for table, column in columns
    )
    with desk.db.begin() as connection:
        return set(connection.execute(text(union)).scalars())


def test_nothing_of_who_asked_for_field_work_is_found_afterwards(db: Database) -> None:
    world = World(db)
    desk = FieldDesk.of(db)
    body = take_in(
        desk,
        summary=f"{CANARY} door",
        description=f"{CANARY} says it sticks",
        customer_name=CANARY,
        contact_email=CUSTOMER,
        sop_handoff_prompt=f"ask {CANARY}",
    ).body
    made = UUID(body["id"])
    signature = desk.work(made).identity_signature
    wish = triaging.Triage(
        priority="URGENT",  # type: ignore[arg-type]
        incident_type="DOOR_WONT_LATCH",
        workflow_outcome="APPROVAL_REQUIRED",
        approval_reason=f"{CANARY} wants a new door",
        sop_handoff_acknowledged=True,
    )
    approval_id = desk.run(triaging.TRIAGE, wish, made, by="agent").body["approval"]["id"]
    denial = approvals.Decision(approval_id=approval_id, decision="DENIED", notes=f"not for {CANARY}")
    desk.run(approvals.DECIDE, denial, made, by="approver")
    desk.run(triaging.REQUEST_INFO, triaging.Question(question=f"who is {CANARY}?"), made)
    desk.refused(intake.BLIND_INTAKE, told(desk, **_same()), by="agent")
    desk.run(endings.CANCEL, endings.Ending(reason=f"{CANARY} moved away"), made)
    before = places(desk, CANARY, signature, "15551234567")
    assert {"dispatches.customer_email", "approvals.notes", "intakes.signature", "idempotency_keys.answer"} <= before
    with db.begin() as connection:
        erasure_id, _, _ = erasing.erase_address(connection, desk.org_id, CUSTOMER, actor="ann", reason="asked")
    while any(stage == "erase" for stage, _ in world.run(erase.STAGE, erasure_id).next):
        pass
    world.run(forget.STAGE, desk.org_id)
    assert places(desk, CANARY, signature, "15551234567") == set()
    assert (desk.state(made), desk.work(made).identity_confidence) == ("CANCELLED", 90)
    assert desk.rows("SELECT state FROM approvals") == [("DENIED",)]


def _same() -> dict[str, str]:
    return {"summary": f"{CANARY} door", "customer_name": CANARY, "contact_email": CUSTOMER}
