"""The dispatcher's queue over HTTP: order, filters, paging, reach, and what may be done next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from models.enums import Reach
from models.queries import dispatch_queue
from ops_api.dispatch_actions import ACTIONS
from tests.commands.field_desk import FieldDesk, triage
from tests.ops_api import people
from tests.ops_api.serving import Api, Person, change, serving, settings_for


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


def queue(who: Person, **asked: object) -> list[dict[str, Any]]:
    """Follow the cursor to the end; return every item."""
    found: list[dict[str, Any]] = []
    cursor = None
    for _ in range(200):
        answer = who.get("/dispatch/queue", params={**asked, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        if (cursor := answer.json()["next_cursor"]) is None:
            return found
    raise AssertionError("the queue has no end")


def due(api: Api, ticket_id: UUID, minutes: float) -> None:
    change(
        api.db,
        "UPDATE dispatches SET due_at = now() + :minutes * interval '1 minute', "
        "queue_due_at = now() + :minutes * interval '1 minute' WHERE ticket_id = :id",
        id=ticket_id,
        minutes=minutes,
    )


def ids(items: list[dict[str, Any]]) -> list[UUID]:
    return [UUID(one["id"]) for one in items]


def test_what_is_due_first_stands_first_and_what_is_over_does_not_stand_there(api: Api, desk: FieldDesk) -> None:
    later, soon, late, over = (desk.make() for _ in range(4))
    for ticket_id, minutes in ((later, 300.5), (soon, 20.5), (late, -10.5)):
        due(api, ticket_id, minutes)
    change(api.db, "UPDATE dispatches SET queue_due_at = NULL WHERE ticket_id = :id", id=over)
    who = person(api, desk)
    found = queue(who)
    assert ids(found) == [late, soon, later]
    assert [(one["sla_status"], one["sla_display"]) for one in found] == [
        *(("breach", "-00:11"), ("warning", "00:20"), ("healthy", "05:00")),
    ]
    for status, ticket_id in (("breach", late), ("warning", soon), ("healthy", later)):
        assert ids(queue(who, sla_status=status)) == [ticket_id]
        # Applied before the page is cut.
        assert ids(queue(who, sla_status=status, limit=1)) == [ticket_id]
    assert ids(queue(who, limit=1)) == [late, soon, later]


def test_of_what_is_due_in_the_same_minute_the_region_decides(api: Api, desk: FieldDesk) -> None:
    ids_by_region = {}
    for region in ("TX", "CA", "NY"):
        site_id = desk.one(
            "INSERT INTO sites (org_id, account_id, name, region) VALUES (:org, :account, :region, :region) "
            "RETURNING id",
            org=desk.org_id,
            account=desk.account_id,
            region=region,
        ).id
        ids_by_region[region] = desk.make(site_id=site_id)
        due(api, ids_by_region[region], 100.5)
    found = queue(person(api, desk))
    assert [one["region"] for one in found] == ["CA", "NY", "TX"]
    assert [one["region_weight"] for one in found] == [190, 555, 740]


def test_filters_narrow_and_bad_ones_are_refused(api: Api, desk: FieldDesk) -> None:
    triaged, sent = desk.at("TRIAGED"), desk.at("DISPATCHED")
    new = desk.make(priority="EMERGENCY")
    who, tech = person(api, desk), desk.people["tech"].person_id
    cases: list[tuple[dict[str, object], set[UUID]]] = [
        ({}, {triaged, sent, new}),
        ({"state": "TRIAGED"}, {triaged}),
        ({"state": "CLOSED"}, set()),
        ({"priority": "EMERGENCY"}, {new}),
        ({"assigned_tech_id": tech}, {sent}),
        ({"incident_type": " door_wont_latch"}, {triaged, sent}),
        ({"account_id": desk.account_id, "site_id": desk.site_id, "state": "NEW"}, {new}),
        ({"account_id": uuid4()}, set()),
    ]
    for asked, expected in cases:
        assert set(ids(queue(who, **asked))) == expected, asked
    sent_row = next(one for one in queue(who) if one["id"] == str(sent))
    assert (sent_row["technician"] is not None, sent_row["assigned_tech_id"]) == (True, str(tech))
    assert sent_row["scheduled_start"]
    for name in ("state", "priority", "sla_status", "account_id", "site_id", "assigned_tech_id", "limit"):
        answer = who.get("/dispatch/queue", params={name: "nothing"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_QUERY"), name
    first = who.get("/dispatch/queue", params={"limit": 1}).json()["next_cursor"]
    assert who.get("/dispatch/queue", params={"limit": 1, "cursor": first, "state": "NEW"}).status_code == 400


def test_each_row_says_what_who_asks_may_do_next(api: Api, desk: FieldDesk) -> None:
    desk.at("READY_TO_SCHEDULE")
    (for_dispatcher,) = queue(person(api, desk))
    (for_agent,) = queue(person(api, desk, "agent"))
    (for_admin,) = queue(person(api, desk, "admin"))
    assert set(for_dispatcher["actions"]) == {one.name for one in ACTIONS}
    assert len(ACTIONS) >= 20
    assert for_dispatcher["actions"]["schedule.propose"] is None
    assert for_dispatcher["actions"]["qa.verify"] == "INVALID_STATE_TRANSITION"
    assert for_dispatcher["actions"]["billing.generate_invoice"] == "FORBIDDEN"
    assert for_agent["actions"]["ticket.cancel"] == "FORBIDDEN"
    assert "FORBIDDEN" not in for_admin["actions"].values()
    possible = {name for name, code in for_dispatcher["actions"].items() if code is None}
    assert {"schedule.hold", "ticket.cancel", "assignment.recommend"} <= possible


def test_somebody_of_one_site_sees_its_work_alone_page_by_page(
    api: Api, desk: FieldDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = [desk.make() for _ in range(5)]
    change(api.db, "UPDATE tickets SET site_id = NULL WHERE org_id = :org", org=desk.org_id)
    ours = desk.make()
    foreign = FieldDesk.of(api.db)
    triage(foreign, foreign.make())
    with api.db.begin() as connection:
        somebody = people.member(connection, desk.org_id, "dispatcher", f"narrow-{uuid4().hex}@example.org")
        people.narrow(connection, desk.org_id, somebody, Reach.SITE, sites=(desk.site_id,))
    who = api.signed_in(desk.org_id, somebody)
    assert ids(queue(who)) == [ours]
    # Where a walk ends before the page is full, its cursor goes on: nothing is lost.
    monkeypatch.setattr(dispatch_queue, "WALK", 2)
    assert ids(queue(who)) == [ours]
    assert set(ids(queue(person(api, desk), state="NEW", limit=2))) == {*elsewhere, ours}


def test_the_queue_is_for_those_who_dispatch(api: Api, desk: FieldDesk) -> None:
    for name, status in (("dispatcher", 200), ("agent", 200), ("tech", 403), ("customer", 403), ("finance", 403)):
        assert person(api, desk, name).get("/dispatch/queue").status_code == status, name
