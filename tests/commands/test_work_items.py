"""Time and parts that are told by hand: by whom, when, how much, and until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from models.queries import invoices as queries
from pipeline.adapters.clock import SystemClock
from pipeline.commands.billing_arguments import NewPart, NewTime, PartRemoval, TimeRemoval
from pipeline.commands.work_items import ADD_PART, REMOVE_PART, REMOVE_TIME, TELL_TIME
from pipeline.executor import Answer
from pipeline.runtime import field_rows, time_rows, work_item_rows
from pipeline.runtime.db import Database
from tests.commands.billed import invoiced, set_rate, worked
from tests.commands.field_desk import FieldDesk

NOW = SystemClock().now()
HOUR = timedelta(hours=1)


@pytest.fixture
def desk(db: Database) -> FieldDesk:
    return FieldDesk.of(db)


def part(**said: Any) -> NewPart:
    return NewPart(**{"name": "Hinge", "sku": "H-1", "quantity": "1.5", "unit_price_cents": 333, **said})


def time(began: timedelta, ended: timedelta, kind: str = "travel") -> NewTime:
    return NewTime(kind=kind, began_at=NOW - began, ended_at=NOW - ended)  # type: ignore[arg-type]


def add(desk: FieldDesk, ticket_id: UUID, **more: Any) -> Answer:
    return desk.run(ADD_PART, part(), ticket_id, **{"by": "tech", **more})


def test_parts_and_time_are_billed_and_what_was_taken_back_is_not(desk: FieldDesk) -> None:
    set_rate(desk, 6_000, travel_hour_cents=3_000)
    ticket_id = worked(desk)
    kept, wrong = add(desk, ticket_id), add(desk, ticket_id, by="dispatcher")
    assert (kept.status, kept.body["part"]["quantity"], kept.body["state"]) == (201, "1.5", "VERIFIED")
    removal = PartRemoval(part_id=wrong.body["part"]["id"], reason="told twice")
    taken = desk.run(REMOVE_PART, removal, ticket_id)
    assert taken.body["part"]["removed_at"] is not None
    assert taken.version == wrong.version + 1  # type: ignore[operator]
    desk.run(TELL_TIME, time(8 * HOUR, 7 * HOUR), ticket_id, by="tech")
    lines = invoiced(desk, ticket_id).body["invoice"]["lines"]
    assert [(line["kind"], line["amount_cents"]) for line in lines] == [
        ("labor", 6_000),
        ("travel", 3_000),
        ("part", 500),
    ]
    assert [action for action, _, _ in desk.trail(ticket_id)][-5:-1] == [
        *("parts.add", "parts.add", "parts.remove", "time.tell")
    ]
    assert [told["reason"] for kind, told in desk.events(ticket_id) if kind == "parts.remove"] == ["told twice"]


def test_only_who_was_sent_or_a_dispatcher_tells(desk: FieldDesk) -> None:
    ticket_id = worked(desk)
    for by, code in (("other_tech", "NOT_ASSIGNED"), ("customer", "FORBIDDEN"), ("finance", "FORBIDDEN")):
        assert desk.refused(ADD_PART, part(), ticket_id, by=by).code == code
        assert desk.refused(TELL_TIME, time(2 * HOUR, HOUR), ticket_id, by=by).code == code
    assert desk.rows("SELECT count(*) FROM part_entries") == [(0,)]


def test_what_is_billed_or_not_begun_takes_no_more(desk: FieldDesk) -> None:
    ticket_id = worked(desk, "IN_PROGRESS")
    wrong = add(desk, ticket_id).body["part"]["id"]
    asked = (
        *((ADD_PART, part()), (TELL_TIME, time(2 * HOUR, HOUR))),
        (REMOVE_PART, PartRemoval(part_id=wrong, reason="wrong")),
        (REMOVE_TIME, TimeRemoval(time_id=uuid4(), reason="wrong")),
    )
    for state in ("INVOICED", "CLOSED", "CANCELLED", "NEW", "NEEDS_INFO"):
        desk.change("UPDATE tickets SET dispatch_state = :state WHERE id = :id", id=ticket_id, state=state)
        for command, arguments in asked:
            found = desk.refused(command, arguments, ticket_id)
            assert (found.code, found.details["from_state"]) == ("INVALID_STATE_TRANSITION", state)


def test_a_part_is_taken_back_once_and_from_its_own_ticket(desk: FieldDesk) -> None:
    ticket_id, other = worked(desk), worked(desk)
    part_id = add(desk, ticket_id).body["part"]["id"]
    removal = PartRemoval(part_id=part_id, reason="wrong")
    assert desk.refused(REMOVE_PART, removal, other).code == "PART_NOT_FOUND"
    assert desk.refused(REMOVE_PART, PartRemoval(part_id=uuid4(), reason="x"), ticket_id).code == "PART_NOT_FOUND"
    desk.run(REMOVE_PART, removal, ticket_id)
    assert desk.refused(REMOVE_PART, removal, ticket_id).code == "PART_REMOVED"


def test_time_that_was_taken_back_is_neither_billed_nor_in_the_way(
    desk: FieldDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_rate(desk, 6_000, travel_hour_cents=3_000)
    ticket_id = worked(desk)
    wrong = desk.run(TELL_TIME, time(9 * HOUR, 7 * HOUR), ticket_id, by="tech")
    taken = desk.run(REMOVE_TIME, removal(wrong.body["time"]["id"], "the wrong day"), ticket_id, by="tech")
    told = taken.body["time"]
    assert told == wrong.body["time"] | {"removed_at": told["removed_at"], "removed_by": desk.people["tech"].actor_id}
    assert (told["removed_at"] is None, taken.version) == (False, wrong.version + 1)  # type: ignore[operator]
    # Nor does it take a place: there is room for one beside what check-in counted.
    monkeypatch.setattr("pipeline.commands.work_items.MOST_ENTRIES", 2)
    desk.run(TELL_TIME, time(8 * HOUR, 7 * HOUR), ticket_id, by="tech")
    with desk.db.begin() as connection:
        items = queries.work_items(connection, ticket_id)
    assert [(item.kind, item.removed_at is not None) for item in items] == [
        *(("labor", False), ("travel", True), ("travel", False))
    ]
    lines = invoiced(desk, ticket_id).body["invoice"]["lines"]
    assert [(line["kind"], line["amount_cents"]) for line in lines] == [("labor", 6_000), ("travel", 3_000)]
    assert [action for action, _, _ in desk.trail(ticket_id)][-4:-1] == ["time.tell", "time.remove", "time.tell"]
    assert [told["reason"] for kind, told in desk.events(ticket_id) if kind == "time.remove"] == ["the wrong day"]


def removal(time_id: Any, reason: str = "wrong") -> TimeRemoval:
    return TimeRemoval(time_id=time_id, reason=reason)


def test_time_is_taken_back_once_from_its_own_ticket_and_when_it_is_over(desk: FieldDesk) -> None:
    ticket_id, other = worked(desk), worked(desk, "IN_PROGRESS")
    time_id = desk.run(TELL_TIME, time(2 * HOUR, HOUR), ticket_id).body["time"]["id"]
    assert desk.refused(REMOVE_TIME, removal(time_id), other).code == "TIME_NOT_FOUND"
    assert desk.refused(REMOVE_TIME, removal(uuid4()), ticket_id).code == "TIME_NOT_FOUND"
    assert desk.refused(REMOVE_TIME, removal(time_id), ticket_id, by="other_tech").code == "NOT_ASSIGNED"
    assert desk.refused(REMOVE_TIME, removal(time_id), ticket_id, by="finance").code == "FORBIDDEN"
    desk.run(REMOVE_TIME, removal(time_id), ticket_id)
    assert desk.refused(REMOVE_TIME, removal(time_id), ticket_id).code == "TIME_REMOVED"
    ((going,),) = desk.rows("UPDATE time_entries SET ended_at = NULL WHERE ticket_id = :id RETURNING id", id=other)
    assert desk.refused(REMOVE_TIME, removal(going), other).code == "TIME_GOES_ON"


def test_labor_that_was_taken_back_does_not_hold_the_clock_up(desk: FieldDesk) -> None:
    ticket_id = desk.at("DISPATCHED")
    wrong = desk.run(TELL_TIME, time(HOUR, timedelta(minutes=1), "labor"), ticket_id).body["time"]["id"]
    desk.run(REMOVE_TIME, removal(wrong), ticket_id)
    with desk.db.begin() as connection:
        found = field_rows.lock(connection, desk.people["tech"], str(ticket_id))
        assert found is not None
        assert time_rows.begin(connection, found[0], NOW - timedelta(minutes=30), "tests")
    began = desk.rows("SELECT began_at FROM time_entries WHERE ticket_id = :id AND removed_at IS NULL", id=ticket_id)
    assert began == [(NOW - timedelta(minutes=30),)]


def test_time_is_over_in_order_and_a_day_at_most(desk: FieldDesk) -> None:
    ticket_id = worked(desk)
    too_long = (26 * HOUR, 2 * HOUR - timedelta(seconds=1))
    for began, ended in ((HOUR, HOUR), (HOUR, 2 * HOUR), (HOUR, -HOUR), too_long):
        assert desk.refused(TELL_TIME, time(began, ended), ticket_id).code == "INVALID_REQUEST"
    assert desk.run(TELL_TIME, time(26 * HOUR, 2 * HOUR), ticket_id).status == 201


def test_time_of_one_kind_does_not_overlap(desk: FieldDesk) -> None:
    ticket_id = worked(desk)
    desk.run(TELL_TIME, time(3 * HOUR, 2 * HOUR), ticket_id)
    for began, ended in ((3, 2), (4, 1), (2.5, 2.25), (3.5, 2.9)):
        assert desk.refused(TELL_TIME, time(began * HOUR, ended * HOUR), ticket_id).code == "TIME_OVERLAP"
    desk.run(TELL_TIME, time(2 * HOUR, HOUR), ticket_id)
    desk.run(TELL_TIME, time(3 * HOUR, 2 * HOUR, "labor"), ticket_id)
    going = worked(desk, "IN_PROGRESS")
    desk.change("UPDATE time_entries SET ended_at = NULL WHERE ticket_id = :id", id=going)
    assert desk.refused(TELL_TIME, time(2 * HOUR, HOUR, "labor"), going).code == "TIME_OVERLAP"
    desk.run(TELL_TIME, time(7 * HOUR, 6 * HOUR, "labor"), going)


def test_entries_are_bounded(desk: FieldDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.commands.work_items.MOST_ENTRIES", 1)
    ticket_id = worked(desk)
    add(desk, ticket_id)
    assert desk.refused(ADD_PART, part(), ticket_id).code == "TOO_MANY_PARTS"
    assert desk.refused(TELL_TIME, time(2 * HOUR, HOUR), ticket_id).code == "TOO_MANY_TIMES"


def test_items_are_paged_in_the_order_they_were_told(desk: FieldDesk) -> None:
    ticket_id = worked(desk)
    told = [add(desk, ticket_id).body["part"]["id"] for _ in range(2)]
    told.append(desk.run(TELL_TIME, time(3 * HOUR, 2 * HOUR), ticket_id).body["time"]["id"])
    with desk.db.begin() as connection:
        first = queries.work_items(connection, ticket_id, limit=2)
        rest = queries.work_items(connection, ticket_id, after=first[-1].id, limit=2)
        assert [str(item.id) for item in (*first, *rest)][1:] == told
        assert [item.kind for item in (*first, *rest)] == ["labor", "part", "part", "travel"]
        assert work_item_rows.count_parts(connection, ticket_id) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        *({"quantity": 0}, {"quantity": -1}, {"quantity": "0.0001"}, {"quantity": "x"}, {"quantity": True}),
        *({"quantity": "Infinity"}, {"quantity": 100_001}, {"quantity": None}, {"quantity": "1,5"}),
        *({"unit_price_cents": 1.5}, {"unit_price_cents": "1"}, {"unit_price_cents": -1}, {"name": " "}),
        *({"name": "a\x00b"}, {"sku": ""}, {"sku": "a\nb"}, {"colour": "red"}),
    ],
    ids=str,
)
def test_a_part_is_checked_whole(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        part(**wrong)


def test_a_time_has_a_zone() -> None:
    noon = datetime(2026, 3, 2, 12)  # noqa: DTZ001
    with pytest.raises(ValidationError):
        NewTime(kind="travel", began_at=noon, ended_at=noon.replace(tzinfo=UTC))  # type: ignore[arg-type]
