"""Triage: what mails say about assets becomes signals once, and one case per asset that is assessed anew."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID

import pytest

from pipeline.stages import triage
from tests import factories
from tests.factories import mail
from tests.stages.world import World

STAGE = triage.STAGE
DOWN = "AUS_0123 is down, the connector is bent and it does not charge at all."


@pytest.fixture
def asset(world: World) -> UUID:
    with world.db.begin() as connection:
        return factories.asset(connection, world.org_id, "AUS_0123")


def people(*names: str, body: str = DOWN, thread: str = "<a@x>") -> list[bytes]:
    return [
        mail("Trouble", body, sender=f"{name}@x.example", in_reply_to=thread, message_id=f"<{name}.{thread[1:]}")
        for name in names
    ]


def cases(world: World) -> list[object]:
    """Those that lead; those of the other mode tell what it would do."""
    return world.rows("SELECT * FROM cases WHERE id IN (SELECT case_id FROM signals) ORDER BY created_at")


def test_a_mail_about_a_known_asset_becomes_a_signal_of_a_case(world: World, asset: UUID):
    world.triaged(mail("Trouble", DOWN))
    (signal,) = world.rows("SELECT * FROM signals")
    assert (signal.asset_id, signal.source, signal.reporter, signal.status) == (
        asset, "mail", "ann@customer.example", "down",
    )  # fmt: skip
    assert "AUS_0123" in signal.text
    (case,) = cases(world)
    assert (case.asset_id, case.mode, case.state, case.root_cause_tag) == (asset, "certainty", "open", "connector")
    assert signal.case_id == case.id


def test_a_mail_about_nothing_known_leaves_no_trace(world: World, asset: UUID):
    assert world.triaged(mail("Hello", "I have a question about my invoice.")).next == []
    assert (world.rows("SELECT id FROM signals"), cases(world)) == ([], [])


def test_a_message_triaged_twice_has_its_signal_once(world: World, asset: UUID):
    world.triaged(mail("Trouble", DOWN))
    message_id = world.value("SELECT message_id FROM signals")
    world.run(STAGE, message_id, message_id)
    assert world.value("SELECT count(*) FROM signals") == 1
    assert len(cases(world)) == 1


def test_a_case_is_assessed_anew_and_not_replaced(world: World, asset: UUID):
    world.triaged(*people("ann"))
    (before,) = cases(world)
    world.triaged(*people("bob", "cid"), minutes=10)
    (after,) = cases(world)
    assert after.id == before.id
    assert after.version > before.version
    assert after.confidence > before.confidence
    assert after.priority_score > before.priority_score


def test_several_people_are_several_sources(world: World, asset: UUID):
    world.triaged(*people("ann", "bob"))
    (two_people,) = cases(world)
    world.rows("UPDATE signals SET reporter = 'ann@x.example'")
    message_id = world.value("SELECT min(message_id) FROM signals")
    world.run(STAGE, message_id)
    (one_person,) = cases(world)
    assert one_person.priority_score < two_people.priority_score
    assert one_person.confidence < two_people.confidence


def test_good_news_alone_opens_no_case_but_is_kept(world: World, asset: UUID):
    world.triaged(mail("Fixed", "AUS_0123 is working again."))
    assert cases(world) == []
    (signal,) = world.rows("SELECT status, case_id FROM signals")
    assert tuple(signal) == ("online", None)


def test_good_news_joins_the_open_case_and_makes_it_less_certain(world: World, asset: UUID):
    world.triaged(*people("ann", "bob", "cid"))
    (before,) = cases(world)
    world.triaged(mail("Fixed", "AUS_0123 is working again.", sender="dan@x.example"), minutes=10)
    (after,) = cases(world)
    assert after.id == before.id
    assert after.confidence < before.confidence
    assert "status_conflict_recent" in after.uncertainty_reasons


def test_an_uncertain_case_asks_one_question_until_it_is_answered(world: World, asset: UUID):
    doubtful = "AUS_0123 looks strange to me."
    assert world.triaged(*people("ann", body=doubtful)).next == []
    world.triaged(*people("bob", body="AUS_0123 is working again."), minutes=5)
    (case,) = cases(world)
    assert (case.recommended_action, case.verification_required) == ("needs_verification", True)
    (task,) = world.rows("SELECT case_id, question, status FROM verification_tasks")
    assert (task.case_id, task.status) == (case.id, "open")
    assert "AUS_0123" in task.question
    world.rows("UPDATE verification_tasks SET status = 'done', result = 'needs_more_data', ended_at = now()")
    world.triaged(*people("cid", body=doubtful), minutes=9)
    assert world.value("SELECT count(*) FROM verification_tasks") == 2


def test_a_certain_and_urgent_case_goes_on_to_dispatch_under_the_trace_of_its_newest_message(world: World, asset: UUID):
    ran = world.triaged(*people("ann", "bob", "cid"))
    (case,) = cases(world)
    assert ran.next == [("dispatch", str(case.id))]
    assert world.value("SELECT dispatch_state FROM tickets") == "TRIAGED"


def test_each_asset_of_a_mail_has_its_own_case(world: World, asset: UUID):
    with world.db.begin() as connection:
        factories.asset(connection, world.org_id, "AUS_0999")
    world.triaged(mail("Trouble", "AUS_0123 is down.\n\nAUS_0999 is working fine.\n"))
    statuses = {
        row.tag: row.status for row in world.rows("SELECT tag, status FROM signals JOIN assets a ON a.id = asset_id")
    }
    assert statuses == {"AUS_0123": "down", "AUS_0999": "online"}
    assert len(cases(world)) == 1


def test_a_closed_case_is_left_alone_and_new_trouble_opens_another(world: World, asset: UUID):
    world.triaged(*people("ann"))
    world.rows("UPDATE cases SET state = 'closed', closed_at = now(), closed_because = 'quiet'")
    world.triaged(*people("bob"), minutes=10)
    first, second = cases(world)
    assert (first.state, second.state) == ("closed", "open")
    counts = {row.case_id: row.n for row in world.rows("SELECT case_id, count(*) AS n FROM signals GROUP BY case_id")}
    assert counts == {first.id: 1, second.id: 1}


def test_the_organizations_mode_decides_how_a_case_is_scored(db: object):
    baseline = World(db, triage={"mode": "baseline"})  # type: ignore[arg-type]
    with baseline.db.begin() as connection:
        factories.asset(connection, baseline.org_id, "AUS_0123")
    baseline.triaged(mail("Trouble", DOWN))
    (case,) = cases(baseline)
    assert (case.mode, case.uncertainty_reasons, case.verification_required) == ("baseline", [], False)


def test_assets_of_another_organization_are_not_recognised(world: World):
    with world.db.begin() as connection:
        factories.asset(connection, factories.organization(connection), "AUS_0123")
    world.triaged(mail("Trouble", DOWN))
    assert world.rows("SELECT id FROM signals") == []


def test_threads_that_triage_one_asset_at_once_make_one_case_of_all_signals(world: World, asset: UUID):
    found = world.stitched(*people(*(f"person{number}" for number in range(8))))
    messages = [
        world.value("SELECT message_id FROM occurrences WHERE id = :id", id=occurrence_id) for occurrence_id in found
    ]
    start = Barrier(8)

    def go(message_id: int) -> None:
        start.wait()
        world.run(STAGE, message_id)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(go, messages))
    (case,) = cases(world)
    assert world.value("SELECT count(*) FROM signals WHERE case_id = :id", id=case.id) == 8
    assert case.explanation.startswith("Signals: 8 down from 8 sources")


def test_a_report_of_more_than_a_month_before_the_newest_that_is_read_later_is_of_no_case(world: World, asset: UUID):
    world.triaged(*people("ann"))
    for days, is_of_a_case in ((29, True), (31, False)):
        world.triaged(*people("bo", thread=f"<{days}@x>"), minutes=-days * 24 * 60)
        (signal,) = world.rows("SELECT case_id FROM signals ORDER BY message_id DESC LIMIT 1")
        assert (signal.case_id is not None) == is_of_a_case
    (case,) = cases(world)
    assert case.signal_count == 2  # type: ignore[attr-defined]
