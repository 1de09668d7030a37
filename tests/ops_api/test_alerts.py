"""Alerts of dispatch over HTTP: counted in a window from what really happened, each with examples and a runbook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from models.enums import AuditOutcome
from ops_api.dispatch_gauges import dispatch_gauges
from pipeline.core.alerting import Alert
from pipeline.core.service_levels import Standing
from pipeline.runtime import alert_reading, auditing
from tests.bench.plans import explained
from tests.commands.field_desk import FieldDesk
from tests.ops_api.serving import Api, Person, change, serving, settings_for

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(settings_for(database_url)) as running:
        yield running


@pytest.fixture
def desk(api: Api) -> FieldDesk:
    return FieldDesk.of(api.db)


def person(api: Api, desk: FieldDesk, name: str = "dispatcher") -> Person:
    person_id = desk.people[name].person_id
    assert person_id is not None
    return api.signed_in(desk.org_id, person_id)


def alerts(who: Person) -> dict[str, dict[str, Any]]:
    answer = who.get("/ops/alerts")
    assert answer.status_code == 200, answer.text
    return {one["code"]: one for one in answer.json()["alerts"]}


def waits(api: Api, ticket_id: UUID, minutes: int) -> None:
    """Let a ticket have entered its state so long ago."""
    change(
        api.db,
        "UPDATE transitions SET at = now() - :minutes * interval '1 minute' WHERE ticket_id = :id",
        minutes=minutes,
        id=ticket_id,
    )


def send(who: Person, path: str, body: dict[str, Any], key: str | None = None) -> Any:
    return who.post(path, json=body, headers={"Idempotency-Key": key or str(uuid4())})


def test_work_that_nobody_plans_is_stuck_and_a_visit_to_come_is_not(api: Api, desk: FieldDesk) -> None:
    change(api.db, "UPDATE organizations SET policy = '{\"alert_stuck_scheduling\": 2}' WHERE id = :o", o=desk.org_id)
    who = person(api, desk)
    ready, planned, fresh, passed = (
        desk.at("READY_TO_SCHEDULE"), desk.at("SCHEDULED"), desk.at("READY_TO_SCHEDULE"), desk.at("SCHEDULED"),
    )  # fmt: skip
    for ticket_id, minutes in ((ready, 61), (planned, 6_000), (fresh, 59), (passed, 6_000)):
        waits(api, ticket_id, minutes)
    assert who.get("/ops/alerts").json()["signals"]["stuck_scheduling_count"] == 1
    assert alerts(who) == {}
    # Its time has come and gone, and nobody was sent.
    change(
        api.db,
        "UPDATE dispatches SET scheduled_start = now() - interval '3 hours', scheduled_end = now() "
        "WHERE ticket_id = :id",
        id=passed,
    )
    found = alerts(who)["STUCK_SCHEDULING"]
    assert (found["count"], found["threshold"], found["severity"]) == (2, 2, "warning")
    assert found["ticket_ids"] == [str(passed), str(ready)]
    assert (ROOT / found["runbook"]).is_file()


def test_refusals_of_the_last_hour_are_counted_by_what_they_are(api: Api, desk: FieldDesk) -> None:
    dispatcher, agent = person(api, desk), person(api, desk, "agent")
    ticket_id = desk.at("TRIAGED")
    path, key = f"/tickets/{ticket_id}/request-info", str(uuid4())
    assert send(dispatcher, path, {"question": "which door?"}, key).status_code == 200
    for question in ("another?", "a third?"):
        refused = send(dispatcher, path, {"question": question}, key)
        assert refused.json()["error"]["code"] == "IDEMPOTENCY_PAYLOAD_MISMATCH"
    assert set(alerts(dispatcher)) == {"IDEMPOTENCY_CONFLICT_SPIKE"}
    assert alerts(dispatcher)["IDEMPOTENCY_CONFLICT_SPIKE"]["request_ids"][0] == refused.headers["X-Request-Id"]
    for _ in range(5):
        assert send(agent, f"/tickets/{ticket_id}/cancel", {"reason": "no"}).status_code == 403
    found = alerts(dispatcher)
    assert set(found) == {"IDEMPOTENCY_CONFLICT_SPIKE", "AUTH_POLICY_FAILURE_SPIKE"}
    spike = found["AUTH_POLICY_FAILURE_SPIKE"]
    assert (spike["count"], spike["ticket_ids"], len(spike["request_ids"])) == (5, [str(ticket_id)], 5)
    # Nothing of it is another organization's, and nothing is counted for ever.
    assert alerts(person(api, FieldDesk.of(api.db))) == {}
    _age(api, desk)
    assert alerts(dispatcher) == {}


def _age(api: Api, desk: FieldDesk) -> None:
    """Let what is in the trail have happened two hours ago; its trigger permits no change but by who owns it."""
    with api.db.begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql(
            "UPDATE audit_events SET at = at - interval '2 hours' WHERE org_id = %s", (desk.org_id,)
        )


def refuse(api: Api, desk: FieldDesk, *codes: str, **details: object) -> None:
    """Record refusals in the audit trail."""
    who = desk.people["tech"]
    with api.db.begin() as connection:
        entries = [
            auditing.by(who, "tech.complete", outcome=AuditOutcome.REFUSED, code=code, details=details)
            for code in codes
        ]
        auditing.append_all(connection, desk.org_id, entries)


def test_the_first_of_the_window_is_found_wherever_it_begins(api: Api, desk: FieldDesk) -> None:
    who = person(api, desk)
    rejections = ("CLOSEOUT_REQUIREMENTS_INCOMPLETE", "MANUAL_REVIEW_REQUIRED", "INVALID_STATE_TRANSITION")

    def counted() -> int:
        return int(who.get("/ops/alerts").json()["signals"]["completion_rejection_count"])

    assert counted() == 0
    for number in range(1, 5):
        refuse(api, desk, *rejections)
        assert counted() == 2 * number
    _age(api, desk)
    assert counted() == 0
    refuse(api, desk, *rejections, *rejections)
    assert counted() == 4
    assert alerts(who)["COMPLETION_REJECTION_SPIKE"]["count"] == 4


def test_what_the_trail_had_to_leave_out_is_counted_too(api: Api, desk: FieldDesk) -> None:
    refuse(api, desk, "FORBIDDEN", left_out=70)
    refuse(api, desk, "FORBIDDEN_SCOPE")
    assert alerts(person(api, desk))["AUTH_POLICY_FAILURE_SPIKE"]["count"] == 72


def test_alerts_are_for_those_who_dispatch_for_the_whole_organization(api: Api, desk: FieldDesk) -> None:
    for name, status in (("admin", 200), ("agent", 200), ("tech", 403), ("customer", 403)):
        assert person(api, desk, name).get("/ops/alerts").status_code == status, name
    assert api.client().get("/ops/alerts").status_code == 401


def test_no_alert_reads_a_table_through(api: Api, desk: FieldDesk) -> None:
    desk.at("READY_TO_SCHEDULE")
    refuse(api, desk, "FORBIDDEN")
    with explained(api.db.engine) as plans, api.db.begin() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        alert_reading.watch(connection, desk.org_id)
    said = "\n".join(plans)
    for table in ("audit_events", "dispatches", "transitions", "tickets"):
        assert f"Seq Scan on {table}" not in said, said


def test_prometheus_reads_how_many_organizations_have_each_alert(api: Api, desk: FieldDesk) -> None:
    refuse(api, desk, *["FORBIDDEN"] * 5)
    late = desk.make()
    change(api.db, "UPDATE dispatches SET queue_due_at = now() - interval '1 hour' WHERE ticket_id = :id", id=late)
    with api.db.begin() as connection:
        found = {
            (sample.name, *sample.labels.values()): sample.value
            for family in dispatch_gauges(connection)
            for sample in family.samples
        }
    assert found["fieldpost_dispatch_alerts", "AUTH_POLICY_FAILURE_SPIKE"] >= 1
    assert found["fieldpost_dispatch_alerts", "STUCK_SCHEDULING"] == 0
    assert found["fieldpost_dispatch_queue", "breach"] >= 1
    assert set(found) == {
        *(("fieldpost_dispatch_alerts", one.value) for one in Alert),
        *(("fieldpost_dispatch_queue", one.value) for one in Standing),
    }
