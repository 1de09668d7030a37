"""Who is sent to a ticket: recommended with reasons, dispatched, exchanged, taken off; and what refuses it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from pipeline.adapters.clock import SystemClock
from pipeline.command import Refused
from pipeline.commands import assigning_work, technicians
from pipeline.commands.assignment_arguments import Dispatch, Reassignment, Recommendation, Unassignment
from pipeline.commands.policy import change_policy
from pipeline.commands.technicians import Certificate, CertificateName, Setting
from pipeline.core.field_work import Window
from pipeline.executor import Answer
from pipeline.runtime import field_rows, technician_rows, visit_rows
from pipeline.runtime.db import Database
from tests.commands.field_desk import FieldDesk
from tests.factories import value

HOUR = timedelta(hours=1)
TOMORROW = SystemClock().now().replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1)
WHY = "nobody else is within fifty kilometres"


@pytest.fixture
def desk(db: Database) -> FieldDesk:
    return FieldDesk.of(db)


def who(desk: FieldDesk, name: str) -> UUID:
    found = desk.people[name].person_id
    assert found is not None
    return found


def scheduled(desk: FieldDesk, at: datetime = TOMORROW, **said: Any) -> UUID:
    """Make a ticket whose visit is booked, for nobody yet."""
    ticket_id = desk.at("READY_TO_SCHEDULE", **said)
    with desk.db.begin() as connection:
        window = Window(at, at + HOUR)
        visit = visit_rows.book(connection, field_rows.read(connection, ticket_id), window)
        connection.execute(text("UPDATE tickets SET dispatch_state = 'SCHEDULED' WHERE id = :id"), {"id": ticket_id})
        connection.execute(
            text(
                "UPDATE dispatches SET scheduled_start = :s, scheduled_end = :e, visit_number = :n "
                "WHERE ticket_id = :id"
            ),
            {"s": at, "e": at + HOUR, "n": visit.number, "id": ticket_id},
        )
    return ticket_id


def emergency(desk: FieldDesk) -> UUID:
    """Make a triaged emergency."""
    ticket_id = desk.at("TRIAGED")
    desk.change("UPDATE dispatches SET priority = 'EMERGENCY' WHERE ticket_id = :id", id=ticket_id)
    return ticket_id


def send(desk: FieldDesk, ticket_id: UUID, name: str = "tech", **said: Any) -> Answer:
    asked = Dispatch(tech_id=who(desk, name), **said)
    return desk.run(assigning_work.DISPATCH, asked, ticket_id)


def refused(desk: FieldDesk, ticket_id: UUID, name: str = "tech", **said: Any) -> str:
    found = desk.refused(assigning_work.DISPATCH, Dispatch(tech_id=who(desk, name), **said), ticket_id)
    return found.code


def visits(desk: FieldDesk, ticket_id: UUID) -> list[Any]:
    return desk.rows("SELECT technician_id, state FROM visits WHERE ticket_id = :id ORDER BY number", id=ticket_id)


def set_technician(desk: FieldDesk, name: str = "tech", **said: Any) -> Answer:
    return desk.run(technicians.SET, Setting(**said), who(desk, name), by="admin")


def at_once(*actions: Callable[[], object]) -> list[object]:
    """Run actions at the same moment; return what each answered or was refused with."""
    ready = threading.Barrier(len(actions))

    def one(action: Callable[[], object]) -> object:
        ready.wait(20)
        try:
            return action()
        except Refused as refusal:
            return refusal.refusal

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(one, actions))


def test_a_technician_is_sent_with_the_whole_table_kept(desk: FieldDesk) -> None:
    ticket_id = scheduled(desk)
    advice = desk.run(assigning_work.RECOMMEND, Recommendation(), ticket_id, by="agent")
    assert (advice.status, advice.body["fit"], advice.body["what_if"]) == (201, 2, False)
    assert [one["name"] for one in advice.body["recommendations"]] == ["", ""]
    snapshot_id = advice.body["recommendation_snapshot_id"]
    answer = send(desk, ticket_id, recommendation_snapshot_id=snapshot_id)
    tech = who(desk, "tech")
    assert (answer.status, answer.body["state"]) == (200, "DISPATCHED")
    assert answer.body["assigned_tech_id"] == str(tech)
    assert answer.body["assignment"]["has_snapshot"] is True
    assert answer.version == desk.row(ticket_id).version
    assert visits(desk, ticket_id) == [(tech, "booked")]
    assert desk.moves(ticket_id)[-1] == ("SCHEDULED", "DISPATCHED")
    kept = desk.one("SELECT * FROM assignments WHERE ticket_id = :id", id=ticket_id)
    assert (str(kept.recommendation_id), kept.technician_id, kept.ended_at) == (snapshot_id, tech, None)
    assert {line["tech_id"] for line in kept.candidates} == {str(tech), str(who(desk, "other_tech"))}
    assert all(len(line["filters"]) == 9 and len(line["objectives"]) == 5 for line in kept.candidates)
    (kind, data) = desk.events(ticket_id)[-1]
    assert (kind, data["has_snapshot"], data["to"]) == ("assignment.dispatch", True, "DISPATCHED")


def test_dispatchers_and_administrators_are_sent_only_where_somebody_says_so(desk: FieldDesk) -> None:
    ticket_id = scheduled(desk)
    assert refused(desk, ticket_id, "dispatcher") == "ASSIGNMENT_NOT_FOUND"
    assert refused(desk, ticket_id, "qa", override_reason=WHY) == "ASSIGNMENT_NOT_FOUND"
    stranger = desk.refused(assigning_work.DISPATCH, Dispatch(tech_id=uuid4(), override_reason=WHY), ticket_id)
    assert stranger.code == "ASSIGNMENT_NOT_FOUND"
    set_technician(desk, "dispatcher")
    assert send(desk, ticket_id, "dispatcher").body["state"] == "DISPATCHED"


@pytest.fixture
def wanting(desk: FieldDesk) -> UUID:
    """A scheduled ticket whose template asks for a skill and a certificate, at a site with a zone."""
    ticket_id = scheduled(desk)
    desk.change(
        "WITH t AS (INSERT INTO incident_templates (org_id, incident_type, name, evidence_keys, checklist_keys, "
        "skills, certificates) VALUES (:org, 'DOOR_WONT_LATCH', 'Doors', '{a}', '{b}', '{doors_v2}', '{HV}') "
        "RETURNING id) "
        "UPDATE dispatches SET template_id = t.id FROM t WHERE ticket_id = :id",
        id=ticket_id,
    )
    desk.change("UPDATE sites SET zone = 'North' WHERE org_id = :org")
    return ticket_id


def test_each_filter_refuses_with_its_code_until_it_passes(desk: FieldDesk, wanting: UUID) -> None:
    tech = who(desk, "tech")
    member = {"person": tech}
    set_technician(desk, is_available=False, zones=["South"])
    assert refused(desk, wanting) == "TECH_UNAVAILABLE"
    set_technician(desk, zones=["South"])
    assert refused(desk, wanting) == "ASSIGNMENT_CAPABILITY_MISMATCH"
    desk.change("UPDATE memberships SET skills = '{Doors}' WHERE person_id = :person", **member)
    assert refused(desk, wanting) == "ASSIGNMENT_ZONE_MISMATCH"
    set_technician(desk, zones=["north"])
    assert refused(desk, wanting) == "ASSIGNMENT_CERTIFICATE_MISSING"
    desk.run(technicians.CERTIFY, Certificate(name="hv", valid_until=TOMORROW.date()), tech, by="admin")
    desk.change(
        "INSERT INTO leaves (org_id, person_id, begins_at, ends_at) "
        "VALUES (:org, :person, :at, :at + interval '1 day')",
        at=TOMORROW,
        **member,
    )
    assert refused(desk, wanting) == "ASSIGNMENT_OFF_DUTY"
    desk.change("DELETE FROM leaves WHERE org_id = :org")
    desk.change(
        "INSERT INTO shifts (org_id, person_id, weekday, begins, ends, timezone) VALUES (:org, :person, :day, '08:00', "
        "'12:30', 'UTC')",
        day=TOMORROW.weekday(),
        **member,
    )
    assert refused(desk, wanting) == "ASSIGNMENT_OFF_DUTY"
    desk.change("DELETE FROM shifts WHERE org_id = :org")
    assert send(desk, wanting).body["assignment"]["overruled"] == []
    assert desk.one("SELECT overruled_because FROM assignments").overruled_because is None


def test_what_speaks_against_somebody_is_overruled_by_a_reason_that_is_kept(desk: FieldDesk, wanting: UUID) -> None:
    with pytest.raises(ValueError, match="at least 10 characters"):
        Dispatch(tech_id=uuid4(), override_reason="too short")
    first = scheduled(desk)
    send(desk, first, override_reason=WHY)
    refusal = desk.refused(assigning_work.DISPATCH, Dispatch(tech_id=who(desk, "tech")), wanting)
    assert [one["filter"] for one in refusal.details["against"]] == ["skill", "certificate", "overlap"]
    answer = send(desk, wanting, override_reason=WHY)
    assert answer.body["assignment"]["overruled"] == ["skill", "certificate", "overlap"]
    kept = desk.one("SELECT overruled_because FROM assignments WHERE ticket_id = :id", id=wanting)
    assert kept.overruled_because == WHY
    assert desk.one("SELECT is_overlap_allowed FROM visits WHERE ticket_id = :id", id=wanting).is_overlap_allowed


def test_a_recommendation_of_another_ticket_or_without_the_technician_is_refused(desk: FieldDesk) -> None:
    ticket_id, other = scheduled(desk), scheduled(desk, TOMORROW + 5 * HOUR)
    theirs = desk.run(assigning_work.RECOMMEND, Recommendation(), other).body["recommendation_snapshot_id"]
    assert refused(desk, ticket_id, recommendation_snapshot_id=theirs) == "ASSIGNMENT_RECOMMENDATION_MISMATCH"
    assert refused(desk, ticket_id, recommendation_snapshot_id=uuid4()) == "ASSIGNMENT_RECOMMENDATION_MISMATCH"
    desk.change("UPDATE memberships SET is_active = false WHERE person_id = :id", id=who(desk, "tech"))
    before = desk.run(assigning_work.RECOMMEND, Recommendation(), ticket_id).body["recommendation_snapshot_id"]
    assert refused(desk, ticket_id) == "ASSIGNMENT_NOT_FOUND"
    desk.change("UPDATE memberships SET is_active = true WHERE person_id = :id", id=who(desk, "tech"))
    assert refused(desk, ticket_id, recommendation_snapshot_id=before) == "ASSIGNMENT_RECOMMENDATION_MISMATCH"


def test_a_triaged_ticket_is_sent_to_only_by_an_emergency_bypass_that_is_one(desk: FieldDesk) -> None:
    ticket_id = desk.at("TRIAGED")
    plain = desk.refused(assigning_work.DISPATCH, Dispatch(tech_id=who(desk, "tech")), ticket_id)
    assert (plain.code, dict(plain.details)) == (
        "INVALID_STATE_TRANSITION",
        {"from_state": "TRIAGED", "to_state": "DISPATCHED"},
    )
    bypass = Dispatch(tech_id=who(desk, "tech"), dispatch_mode="EMERGENCY_BYPASS")  # type: ignore[arg-type]
    denied = desk.refused(assigning_work.DISPATCH, bypass, ticket_id)
    assert (denied.code, denied.details["reasons"]) == (
        "ASSIGNMENT_BYPASS_DENIED",
        ["the priority is not EMERGENCY", "the rationale is missing"],
    )
    desk.change("UPDATE dispatches SET priority = 'EMERGENCY' WHERE ticket_id = :id", id=ticket_id)
    said = {"dispatch_mode": "EMERGENCY_BYPASS", "rationale": "the door stands open"}
    desk.change(
        "INSERT INTO approvals (org_id, ticket_id, kind, source, return_state, reason, requested_by) VALUES "
        "(:org, :id, 'PROPOSAL', 'test', 'TRIAGED', 'why', 'ann')",
        id=ticket_id,
    )
    assert refused(desk, ticket_id, **said) == "ASSIGNMENT_BYPASS_DENIED"
    desk.change("DELETE FROM approvals WHERE org_id = :org")
    answer = send(desk, ticket_id, **said)
    assert (answer.body["state"], answer.body["assignment"]["mode"]) == ("DISPATCHED", "EMERGENCY_BYPASS")
    assert desk.moves(ticket_id)[-1] == ("TRIAGED", "DISPATCHED")
    assert answer.body["scheduled_start"] is not None
    assert desk.refused(assigning_work.DISPATCH, bypass, desk.make()).code == "INVALID_STATE_TRANSITION"


def test_an_emergency_goes_before_other_work_but_not_before_other_filters(desk: FieldDesk) -> None:
    now: datetime = value(desk.db, "SELECT now()")
    first = scheduled(desk, now - HOUR / 2)
    send(desk, first)
    second = emergency(desk)
    said = {"dispatch_mode": "EMERGENCY_BYPASS", "rationale": "the door stands open"}
    set_technician(desk, is_available=False)
    assert refused(desk, second, **said) == "TECH_UNAVAILABLE"
    set_technician(desk, most_visits=1)
    assert send(desk, second, **said).body["state"] == "DISPATCHED"
    assert desk.one("SELECT is_overlap_allowed FROM visits WHERE ticket_id = :id", id=second).is_overlap_allowed


def test_what_if_keeps_nothing_and_changes_the_order(desk: FieldDesk) -> None:
    ticket_id = scheduled(desk)
    send(desk, scheduled(desk, TOMORROW + 4 * HOUR), "tech")
    found = desk.run(assigning_work.RECOMMEND, Recommendation(weights={"workload": 1000}), ticket_id)  # type: ignore[dict-item]
    assert (found.status, found.body["what_if"], "recommendation_snapshot_id" in found.body) == (200, True, False)
    assert found.body["recommendations"][0]["tech_id"] == str(who(desk, "other_tech"))
    window = {"start": TOMORROW + 4 * HOUR, "end": TOMORROW + 5 * HOUR}
    there = desk.run(assigning_work.RECOMMEND, Recommendation(window=window, limit=1), ticket_id)  # type: ignore[arg-type]
    assert (there.body["fit"], len(there.body["recommendations"])) == (1, 1)
    both = Recommendation(window=window, ignore=["overlap"])  # type: ignore[arg-type,list-item]
    assert desk.run(assigning_work.RECOMMEND, both, ticket_id).body["fit"] == 2
    assert desk.rows("SELECT id FROM recommendations WHERE ticket_id = :id", id=ticket_id) == []


def test_the_organizations_policy_says_what_counts_how_much(desk: FieldDesk) -> None:
    ticket_id = scheduled(desk)
    with desk.db.begin() as connection:
        change_policy(connection, desk.org_id, {"match_sla": 0, "match_quality": 900}, actor="ann")
    found = desk.run(assigning_work.RECOMMEND, Recommendation(), ticket_id).body["recommendations"][0]
    weights = {one["objective"]: one["weight"] for one in found["objectives"]}
    assert weights == {"distance": 300, "workload": 250, "sla": 0, "continuity": 150, "quality": 900}


@pytest.mark.parametrize("state", ["NEW", "NEEDS_INFO", "APPROVAL_REQUIRED"])
def test_nobody_is_recommended_before_it_is_known_what_is_to_be_done(desk: FieldDesk, state: str) -> None:
    ticket_id = desk.at(state)
    assert desk.refused(assigning_work.RECOMMEND, Recommendation(), ticket_id).code == "INVALID_STATE_TRANSITION"
    assert refused(desk, ticket_id) == "INVALID_STATE_TRANSITION"


@pytest.mark.parametrize("state", ["DISPATCHED", "IN_PROGRESS", "ON_HOLD"])
def test_another_technician_takes_over_with_visit_and_running_time(desk: FieldDesk, state: str) -> None:
    ticket_id = scheduled(desk)
    before = send(desk, ticket_id)
    tech, other = who(desk, "tech"), who(desk, "other_tech")
    desk.change("UPDATE tickets SET dispatch_state = :state WHERE id = :id", state=state, id=ticket_id)
    desk.change(
        "INSERT INTO time_entries (org_id, ticket_id, technician_id, began_at, recorded_by) "
        "VALUES (:org, :id, :tech, now(), 'ann')",
        id=ticket_id,
        tech=tech,
    )
    asked = Reassignment(tech_id=other, reason="ill since noon")
    answer = desk.run(assigning_work.REASSIGN, asked, ticket_id)
    assert (answer.body["state"], answer.body["assigned_tech_id"]) == (state, str(other))
    assert (before.version, answer.version) == (answer.body["version"] - 1, answer.body["version"])
    assert visits(desk, ticket_id) == [(other, "booked")]
    assigned = "SELECT technician_id, ended_because FROM assignments WHERE ticket_id = :id ORDER BY id"
    assert desk.rows(assigned, id=ticket_id) == [(tech, "ill since noon"), (other, None)]
    spent = "SELECT technician_id, ended_at IS NULL FROM time_entries WHERE ticket_id = :id ORDER BY id"
    assert desk.rows(spent, id=ticket_id) == [(tech, False), (other, True)]
    again = desk.refused(assigning_work.REASSIGN, asked, ticket_id)
    assert again.code == "ALREADY_ASSIGNED"
    assert desk.moves(ticket_id)[-1] == ("SCHEDULED", "DISPATCHED")


def test_reassigning_goes_by_the_same_filters(desk: FieldDesk) -> None:
    ticket_id = scheduled(desk)
    send(desk, ticket_id)
    send(desk, scheduled(desk), "other_tech")
    asked = Reassignment(tech_id=who(desk, "other_tech"), reason="ill since noon")
    assert desk.refused(assigning_work.REASSIGN, asked, ticket_id).code == "ASSIGNMENT_OVERLAP"
    overruled = asked.model_copy(update={"override_reason": WHY})
    assert desk.run(assigning_work.REASSIGN, overruled, ticket_id).body["assignment"]["overruled"] == ["overlap"]


@pytest.mark.parametrize(
    ("ahead", "state", "visit"), [(HOUR, "SCHEDULED", "booked"), (-HOUR / 2, "READY_TO_SCHEDULE", "cancelled")]
)
def test_taking_somebody_off_leaves_a_visit_ahead_to_another(
    desk: FieldDesk, ahead: timedelta, state: str, visit: str
) -> None:
    now: datetime = value(desk.db, "SELECT now()")
    ticket_id = scheduled(desk, now + ahead)
    send(desk, ticket_id)
    answer = desk.run(assigning_work.UNASSIGN, Unassignment(reason="the van broke down"), ticket_id)
    assert (answer.body["state"], answer.body["assigned_tech_id"]) == (state, None)
    assert (answer.body["scheduled_start"] is None) is (state == "READY_TO_SCHEDULE")
    ((technician_id, stands),) = visits(desk, ticket_id)
    assert (technician_id is None or visit == "cancelled", stands) == (True, visit)
    ended = desk.one("SELECT ended_because FROM assignments WHERE ticket_id = :id", id=ticket_id)
    assert ended.ended_because == "the van broke down"
    if state == "SCHEDULED":
        assert send(desk, ticket_id, "other_tech").body["state"] == "DISPATCHED"


def test_of_two_dispatchers_who_send_different_technicians_one_wins(desk: FieldDesk) -> None:
    ticket_id = scheduled(desk)

    def by(name: str, tech: str) -> Callable[[], object]:
        asked = Dispatch(tech_id=who(desk, tech))
        return lambda: desk.run(assigning_work.DISPATCH, asked, ticket_id, by=name)

    found = at_once(by("dispatcher", "tech"), by("other_dispatcher", "other_tech"))
    (won,) = [one for one in found if isinstance(one, Answer)]
    (lost,) = [one for one in found if not isinstance(one, Answer)]
    assert (lost.code, lost.details["from_state"]) == ("INVALID_STATE_TRANSITION", "DISPATCHED")  # type: ignore[attr-defined]
    assert str(desk.work(ticket_id).assigned_tech_id) == won.body["assigned_tech_id"]
    assert len(desk.rows("SELECT id FROM assignments WHERE ticket_id = :id", id=ticket_id)) == 1


def test_of_tickets_that_take_one_technicians_same_hour_one_wins(desk: FieldDesk) -> None:
    tickets = [scheduled(desk) for _ in range(4)]
    found = at_once(*(lambda ticket=ticket: send(desk, ticket) for ticket in tickets))
    codes = sorted("sent" if isinstance(one, Answer) else one.code for one in found)  # type: ignore[attr-defined]
    assert codes == ["ASSIGNMENT_OVERLAP"] * 3 + ["sent"]
    assert len(desk.rows("SELECT id FROM visits WHERE org_id = :org AND technician_id IS NOT NULL")) == 1


def test_work_that_waits_for_its_check_leaves_room_for_other_work(desk: FieldDesk) -> None:
    ticket_id = desk.at("COMPLETED_PENDING_VERIFICATION")
    assert [state for _, state in visits(desk, ticket_id)] == ["under_way"]
    with desk.db.begin() as connection:
        around = Window(TOMORROW, TOMORROW + HOUR)
        (tech,) = technician_rows.technicians(connection, desk.org_id, around, only=[who(desk, "tech")])
    assert tech.open_tickets == frozenset()


def test_visits_that_are_done_count_among_those_of_the_day(desk: FieldDesk) -> None:
    set_technician(desk, most_visits=1)
    done, ticket_id = scheduled(desk), scheduled(desk, TOMORROW + 3 * HOUR)
    desk.change(
        "UPDATE visits SET technician_id = :tech, state = 'done', ended_at = now() WHERE ticket_id = :id",
        tech=who(desk, "tech"),
        id=done,
    )
    assert refused(desk, ticket_id) == "TECH_UNAVAILABLE"
    set_technician(desk, most_visits=2)
    assert send(desk, ticket_id).status == 200


def test_a_technician_is_known_by_earlier_visits_and_checks(desk: FieldDesk) -> None:
    tech = who(desk, "tech")
    earlier = scheduled(desk, TOMORROW - timedelta(days=9), asset_id=desk.asset_id)
    desk.change(
        "UPDATE visits SET technician_id = :tech, state = 'done', ended_at = now() WHERE ticket_id = :id",
        tech=tech,
        id=earlier,
    )
    desk.change(
        "WITH c AS (INSERT INTO completions (org_id, ticket_id, command, template_id, checklist_status, completed_by) "
        "SELECT :org, :id, 'tech.complete', id, '{}', 'ann' FROM incident_templates ORDER BY id LIMIT 1 RETURNING id) "
        "INSERT INTO qa_checks (org_id, ticket_id, completion_id, technician_id, result, checked_at, checked_by) "
        "SELECT :org, :id, c.id, :tech, 'PASS', now(), 'ann' FROM c",
        tech=tech,
        id=earlier,
    )
    found = desk.run(assigning_work.RECOMMEND, Recommendation(), scheduled(desk, asset_id=desk.asset_id)).body
    said = {one["objective"]: one["reason"] for one in found["recommendations"][0]["objectives"]}
    assert found["recommendations"][0]["tech_id"] == str(tech)
    assert said["continuity"] == "has worked on this asset"
    assert said["quality"] == "1 of the last 1 checks passed"
    nearby = desk.run(assigning_work.RECOMMEND, Recommendation(), scheduled(desk)).body["recommendations"][0]
    assert {one["objective"]: one["reason"] for one in nearby["objectives"]}["continuity"] == "has worked at this site"


def test_what_is_set_of_a_technician_is_told_and_audited_without_their_home(desk: FieldDesk) -> None:
    tech = who(desk, "tech")
    answer = set_technician(desk, zones=["b", "a", "b"], home={"lat": 52.5, "lon": 13.4}, most_visits=6)
    assert (answer.body["zones"], answer.body["home"]) == (["a", "b"], {"lat": 52.5, "lon": 13.4})
    desk.run(technicians.CERTIFY, Certificate(name="HV"), tech, by="admin")
    said = desk.run(technicians.CERTIFY, Certificate(name="hv", valid_until=TOMORROW.date()), tech, by="admin").body
    until = TOMORROW.date().isoformat()
    assert said["certificates"] == [{"name": "hv", "valid_until": until, "is_expired": False}]
    assert desk.run(technicians.UNCERTIFY, CertificateName(name="Hv"), tech, by="admin").body["certificates"] == []
    gone = desk.refused(technicians.UNCERTIFY, CertificateName(name="hv"), tech, by="admin")
    assert gone.code == "CERTIFICATE_NOT_FOUND"
    nobody = desk.refused(technicians.SET, Setting(), who(desk, "finance"), by="admin")
    assert nobody.code == "NOT_A_TECHNICIAN"
    assert desk.refused(technicians.SET, Setting(), uuid4(), by="admin").code == "PERSON_NOT_FOUND"
    assert desk.refused(technicians.SET, Setting(), tech, by="dispatcher").code == "FORBIDDEN"
    assert [line[0] for line in desk.trail(tech) if line[1] == "done"] == [
        *("technician.set", "technician.certify", "technician.certify", "technician.uncertify"),
    ]
    told = desk.rows("SELECT data FROM audit_details WHERE org_id = :org")
    assert "13.4" not in str(told)


def test_a_reason_sends_somebody_also_where_only_the_database_knows_of_other_work(desk: FieldDesk) -> None:
    now: datetime = value(desk.db, "SELECT now()")
    # Half of the window is over, and only in that half the other one has a visit.
    ticket_id, other = scheduled(desk, now - HOUR / 2), scheduled(desk, now - 3 * HOUR / 2 + HOUR / 12)
    send(desk, ticket_id)
    send(desk, other, "other_tech")
    desk.change("UPDATE visits SET ends_at = :at WHERE ticket_id = :id", at=now - HOUR / 4, id=other)
    desk.change("UPDATE tickets SET site_id = NULL WHERE id = :id", id=other)
    desk.change("UPDATE sites SET lat = 52, lon = 13 WHERE org_id = :org")
    asked = Reassignment(tech_id=who(desk, "other_tech"), reason="ill since noon")
    assert desk.refused(assigning_work.REASSIGN, asked, ticket_id).code == "ASSIGNMENT_OVERLAP"
    desk.change("UPDATE tickets SET site_id = :site WHERE id = :id", site=desk.site_id, id=other)
    assert desk.refused(assigning_work.REASSIGN, asked, ticket_id).said.startswith("this technician has another visit")
    sent = desk.run(assigning_work.REASSIGN, asked.model_copy(update={"override_reason": WHY}), ticket_id)
    assert sent.body["assigned_tech_id"] == str(who(desk, "other_tech"))
