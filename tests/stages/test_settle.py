"""Settle: the most reliable finding counts, a case ends with its work, and what comes afterwards is another trouble."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest

from models.enums import Lane, TruthSource
from pipeline.commands.quieting import request_quiet
from pipeline.runtime import case_truths
from pipeline.stages import settle, triage
from tests import factories
from tests.factories import mail
from tests.stages.test_clocks import minutes_from_noon
from tests.stages.world import World

STAGE = settle.STAGE
DOWN = "AUS_0123 is down, the connector is bent and it does not charge at all."


def report(world: World, *raws: bytes) -> None:
    """Let mails arrive an hour ago and be triaged."""
    world.triaged(*raws, minutes=minutes_from_noon())


@pytest.fixture
def asset(world: World) -> UUID:
    with world.db.begin() as connection:
        return factories.asset(connection, world.org_id, "AUS_0123")


@pytest.fixture
def case_id(world: World, asset: UUID) -> UUID:
    """Return the leading case of a mail."""
    report(world, mail("Trouble", DOWN))
    found: UUID = world.value("SELECT case_id FROM signals")
    return found


def tell(world: World, case_id: UUID, source: TruthSource, *, is_real: bool, reference: str = "") -> None:
    """Find something out, and have the case settled, twice as a worker may."""
    with world.db.begin() as connection:
        case_truths.tell(
            connection, case_id, source, reference or uuid4().hex, is_real=is_real, order_id=None, actor_id="ann"
        )
    world.run(STAGE, case_id)
    before = cases(world)
    world.run(STAGE, case_id)
    assert cases(world) == before


def cases(world: World) -> list[Any]:
    """Return the cases of both modes: state, why closed, whether real, and their number."""
    said = "SELECT mode, state, closed_because, is_real, number, version FROM cases ORDER BY number, mode"
    return [tuple(row) for row in world.rows(said)]


def both(world: World) -> tuple[Any, ...]:
    """Return how the newest cases stand, which those of both modes share."""
    first, second = [row[1:5] for row in cases(world)][-2:]
    assert first == second
    return tuple(first)


def order(world: World, case_id: UUID, state: str = "done") -> UUID:
    """Make a work order of a case, over a moment ago where it is over."""
    with world.db.begin() as connection:
        ticket_id = factories.ticket(connection, world.org_id)
        found = factories.work_order(connection, world.org_id, case_id, ticket_id)
    world.rows(
        "UPDATE work_orders SET state = :state, closed_at = CASE WHEN :state IN ('done', 'cancelled') THEN now() END"
        " WHERE id = :id RETURNING id",
        state=state,
        id=found,
    )
    return found


def test_the_most_reliable_finding_counts_then_the_newest(world: World, case_id: UUID) -> None:
    for source, is_real, counts in (
        (TruthSource.VERIFICATION, True, True),
        (TruthSource.VERIFICATION, False, False),
        (TruthSource.FIELD, True, True),
        (TruthSource.VERIFICATION, False, True),
        (TruthSource.QC, False, False),
        (TruthSource.FIELD, True, False),
        (TruthSource.PERSON, True, True),
        (TruthSource.QC, False, True),
    ):
        tell(world, case_id, source, is_real=is_real)
        assert both(world) == ("open", None, counts, 1), source


def test_a_finding_counts_once_by_its_reference(world: World, case_id: UUID) -> None:
    tell(world, case_id, TruthSource.FIELD, is_real=True, reference="order:1")
    tell(world, case_id, TruthSource.FIELD, is_real=False, reference="order:1")
    assert world.rows("SELECT is_real FROM case_truths") == [(True,)]
    assert both(world)[2] is True


def test_a_case_is_closed_with_its_work_and_a_later_finding_still_corrects_it(world: World, case_id: UUID) -> None:
    order(world, case_id, "in_progress")
    tell(world, case_id, TruthSource.FIELD, is_real=True)
    assert both(world) == ("open", None, True, 1)
    world.rows("UPDATE work_orders SET state = 'done', closed_at = now() RETURNING id")
    world.run(STAGE, case_id)
    assert both(world) == ("closed", "resolved", True, 1)
    tell(world, case_id, TruthSource.QC, is_real=False)
    assert both(world) == ("closed", "resolved", False, 1)


def test_a_person_who_says_that_nothing_was_wrong_closes_a_case_and_its_question(world: World, asset: UUID) -> None:
    report(world, mail("Trouble", "AUS_0123 is slow today."))
    case_id = world.value("SELECT case_id FROM verification_tasks")
    tell(world, case_id, TruthSource.FIELD, is_real=False)
    assert both(world)[0] == "open"
    tell(world, case_id, TruthSource.PERSON, is_real=False)
    assert both(world) == ("closed", "false_alarm", False, 1)
    assert world.rows("SELECT status FROM verification_tasks") == [("superseded",)]


@pytest.mark.parametrize("state", ["created", "in_progress", "cancelled"])
def test_work_that_is_not_done_closes_nothing(world: World, case_id: UUID, state: str) -> None:
    order(world, case_id, state)
    world.run(STAGE, case_id)
    assert both(world)[0] == "open"


def test_what_was_reported_after_the_work_was_done_is_the_next_trouble(world: World, case_id: UUID) -> None:
    order(world, case_id)
    world.rows("UPDATE work_orders SET closed_at = closed_at - interval '1 day' RETURNING id")
    world.rows("UPDATE signals SET created_at = now() - interval '2 days', at = now() - interval '2 days' RETURNING id")
    report(world, mail("Again", DOWN, sender="eve@x.example"))
    ran = world.run(STAGE, case_id)
    assert [row[1:5] for row in cases(world)][:2] == [("closed", "resolved", None, 1)] * 2
    assert both(world) == ("open", None, None, 2)
    (following,) = world.rows("SELECT k.id FROM signals s JOIN cases k ON k.id = s.case_id WHERE k.number = 2")
    assert ran.next == [("dispatch", str(following.id))]
    assert world.run(STAGE, case_id, following.id).next == []
    # The end of the second leaves that of the first as it was.
    first = world.rows("SELECT * FROM cases WHERE number = 1 ORDER BY id")
    tell(world, following.id, TruthSource.PERSON, is_real=False)
    assert both(world) == ("closed", "false_alarm", False, 2)
    assert world.rows("SELECT * FROM cases WHERE number = 1 ORDER BY id") == first


def test_good_news_after_the_work_opens_nothing(world: World, case_id: UUID) -> None:
    order(world, case_id)
    world.rows(
        "UPDATE signals SET at = now() + interval '1 hour', created_at = now() + interval '1 hour', status = 'online'"
        " RETURNING id"
    )
    assert world.run(STAGE, case_id).next == []
    assert both(world) == ("closed", "resolved", None, 1)


def test_cases_that_are_settled_and_reported_about_at_once_come_to_one_end(world: World, case_id: UUID) -> None:
    order(world, case_id)
    messages = [
        world.value("SELECT message_id FROM occurrences WHERE id = :id", id=one)
        for one in world.stitched(
            *(mail("Also", DOWN, sender=f"p{number}@x.example") for number in range(3)), minutes=minutes_from_noon()
        )
    ]
    with ThreadPoolExecutor(4) as pool:
        settled = [pool.submit(world.run, STAGE, case_id) for _ in range(3)]
        reported = [pool.submit(world.run, triage.STAGE, one) for one in messages]
        for one in (*settled, *reported):
            one.result(timeout=60)
    assert (
        world.rows("SELECT count(*) FROM cases WHERE state = 'open' GROUP BY asset_id, mode HAVING count(*) > 1") == []
    )
    assert world.value("SELECT count(*) FROM signals WHERE case_id IS NULL") == 0


def quiet_keys(world: World, **options: int) -> list[str]:
    with world.db.begin() as connection:
        asked = request_quiet(connection, **options)
    keys = [row.key for row in world.rows("SELECT key FROM jobs WHERE stage = 'settle' ORDER BY id")]
    assert asked == len(keys)
    return keys


def silence(world: World, days: int, case_id: UUID | None = None) -> None:
    """Let nothing have been heard for days, of one trouble or all."""
    world.rows(
        "UPDATE cases SET last_signal_at = now() - make_interval(days => :days)"
        " WHERE asset_id = coalesce((SELECT asset_id FROM cases WHERE id = :id), asset_id) RETURNING id",
        days=days,
        id=case_id,
    )


def test_a_case_that_nobody_speaks_of_any_more_is_closed(world: World, case_id: UUID) -> None:
    silence(world, 29)
    assert quiet_keys(world) == []
    silence(world, 31)
    assert quiet_keys(world) == [str(case_id)]
    assert world.value("SELECT lane FROM jobs WHERE stage = 'settle'") == Lane.REPAIR
    # Somebody wrote meanwhile: it is looked at anew.
    silence(world, 0)
    world.run(STAGE, case_id)
    assert both(world)[0] == "open"
    silence(world, 31)
    world.run(STAGE, case_id)
    assert both(world) == ("closed", "quiet", None, 1)


@pytest.mark.parametrize("why", ["work", "question"])
def test_a_case_that_somebody_is_at_is_not_closed_however_quiet_it_is(world: World, asset: UUID, why: str) -> None:
    report(world, mail("Trouble", DOWN if why == "work" else "AUS_0123 is slow today."))
    case_id = world.value("SELECT case_id FROM signals")
    if why == "work":
        order(world, case_id, "created")
    silence(world, 99)
    assert quiet_keys(world) == []
    world.run(STAGE, case_id)
    assert both(world)[0] == "open"


@pytest.mark.parametrize("ends", ["work", "good news", "a person"])
@pytest.mark.parametrize("source", [TruthSource.VERIFICATION, TruthSource.PERSON], ids=str)
def test_a_trouble_that_is_real_and_that_nobody_was_sent_to_is_not_closed_by_silence(
    world: World, case_id: UUID, source: TruthSource, ends: str
) -> None:
    tell(world, case_id, source, is_real=True)
    # Nobody came.
    order(world, case_id, "cancelled")
    silence(world, 99)
    assert quiet_keys(world) == []
    world.run(STAGE, case_id)
    assert both(world)[0] == "open"
    if ends == "a person":
        tell(world, case_id, TruthSource.PERSON, is_real=False)
        assert both(world)[:2] == ("closed", "false_alarm")
    elif ends == "work":
        order(world, case_id)
        world.run(STAGE, case_id)
        assert both(world)[:2] == ("closed", "resolved")
    else:
        online = "UPDATE signals SET status = 'online', at = now() + interval '1 minute' RETURNING id"
        world.rows(online)
        assert quiet_keys(world) == [str(case_id)]
        world.run(STAGE, case_id)
        assert both(world)[:2] == ("closed", "quiet")


def test_a_verdict_from_before_findings_were_kept_counts_as_one(world: World, case_id: UUID) -> None:
    world.rows("UPDATE cases SET verified_result = 'confirmed_issue', verified_at = now() RETURNING id")
    silence(world, 99)
    assert quiet_keys(world) == []
    world.run(STAGE, case_id)
    assert both(world)[0] == "open"


def test_quiet_cases_are_found_page_by_page_by_the_policy_of_each_organization(world: World, asset: UUID) -> None:
    with world.db.begin() as connection:
        factories.triage_policy(connection, world.org_id, quiet_days=2)
        tags = [f"B-{number:04}" for number in range(5)]
        for tag in tags:
            factories.asset(connection, world.org_id, tag)
    report(world, *(mail("Trouble", f"{tag} is down and dead.", sender=f"{tag}@x.example") for tag in tags))
    silence(world, 3)
    # All that was reported of it moved to another asset.
    empty = world.value("SELECT case_id FROM signals ORDER BY id LIMIT 1")
    world.rows("UPDATE cases SET last_signal_at = NULL, assessed_at = now() - interval '3 days' WHERE id = :id"
               " RETURNING id", id=empty)  # fmt: skip
    leading = {str(row.case_id) for row in world.rows("SELECT case_id FROM signals")}
    assert set(quiet_keys(world, page=2)) == leading
    assert len(leading) == 5
    world.run(STAGE, *sorted(leading))
    assert world.rows("SELECT DISTINCT state, closed_because FROM cases") == [("closed", "quiet")]
