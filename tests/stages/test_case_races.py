"""Cases at the same moment, from two sides: nothing is lost, nobody is sent twice, nobody waits in a circle."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Event
from uuid import UUID

import pytest
from sqlalchemy import Connection, event, text

from models.enums import AssessedBecause, CaseEnd, SignalStatus
from models.queries import cases
from models.queries.cases import Named
from pipeline import executor
from pipeline.command import Ask, Refused
from pipeline.commands.asset_arguments import NewAsset
from pipeline.commands.assets import ADD
from pipeline.commands.quieting import request_quiet
from pipeline.core.scoring import Signal
from pipeline.runtime import case_rows, signal_rows
from pipeline.runtime.case_rows import Assessed
from pipeline.stage import Work
from pipeline.stages import dispatch, settle, triage
from tests import factories
from tests.commands.desks import principal
from tests.commands.test_cases_any_order import run
from tests.factories import mail
from tests.stages.test_retriage import asked, change, walk
from tests.stages.world import World
from tests.told import tell
from tests.worker_process import until

_WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
"""
_OPEN = "SELECT code, signal_count FROM cases WHERE mode = 'certainty' AND state = 'open' ORDER BY code"
#: What one report costs at most, whoever is not sent by it; each is a way to the database and back.
MOST_STATEMENTS = 12


def beside(world: World, held: Callable[[Connection], object], other: Callable[[], object]) -> object:
    """Do something in a transaction, begin another thing that must wait for it, commit; return what came of that."""
    with ThreadPoolExecutor(1) as pool:
        with world.db.begin() as connection:
            held(connection)
            waits: Future[object] = pool.submit(other)
            until(lambda: waits.done() or world.value(_WAITING), "somebody who waits")
            assert not waits.done(), "it did not wait"
        return waits.result(timeout=60)


def report(
    connection: Connection, world: World, asset: str, name: str, status: str = "down", *, minutes: int = 0
) -> list[Assessed]:
    """Have a program report about an asset, some minutes from now."""
    now: datetime = connection.execute(text("SELECT now()")).scalar_one()
    one = Signal(name, "ugc", now + timedelta(minutes=minutes), asset, SignalStatus(status))
    locked = signal_rows.report(connection, world.org_id, signal_rows.look(connection, world.org_id, [one]))
    return case_rows.assess_locked(connection, locked, AssessedBecause.SIGNALS)


def reported(world: World, asset: str, name: str, **options: int) -> list[Assessed]:
    with world.db.begin() as connection:
        return report(connection, world, asset, name, **options)


def opened(connection: Connection, world: World, asset_id: UUID) -> str:
    """Have somebody report an asset by itself, as mail does; return the code of its case."""
    connection.execute(
        text("INSERT INTO signals (org_id, asset_id, source, at, status, text, rules_version)"
             " VALUES (:org, :asset, 'mail', now(), 'down', '', 1)"), {"org": world.org_id, "asset": asset_id},
    )  # fmt: skip
    (one,) = case_rows.assess(connection, [asset_id], AssessedBecause.SIGNALS)
    return one.code


def test_two_assets_that_are_spelled_alike_get_their_first_cases_at_once(world: World) -> None:
    with world.db.begin() as connection:
        one, other = (factories.asset(connection, world.org_id, tag) for tag in ("AUS 1", "AUS_1"))
        connection.execute(text("UPDATE assets SET slug = 'aus_1'"))

    def late() -> str:
        with world.db.begin() as connection:
            return opened(connection, world, other)

    assert beside(world, lambda connection: opened(connection, world, one), late) == "case_aus_1__2"
    with world.db.begin() as connection:
        assert cases.named(connection, world.org_id, "case_aus_1__2") == Named(other, 2)
        assert cases.named(connection, world.org_id, "case_aus_1") == Named(one, None)


@pytest.mark.parametrize("is_entered_first", [True, False], ids=["entered first", "reported first"])
def test_spellings_that_are_entered_and_reported_at_once_are_one_asset(world: World, is_entered_first: bool) -> None:
    ask = Ask(principal(world.org_id, role="admin"), NewAsset(tag="AUS-1"))

    def enter() -> str | None:
        try:
            executor.run(world.db.begin, ADD, ask)
        except Refused as refused:
            return refused.refusal.said
        return None

    if is_entered_first:
        beside(world, lambda connection: executor.execute(connection, ADD, ask), lambda: reported(world, "aus 1", "x"))
    else:
        said = beside(world, lambda connection: report(connection, world, "aus 1", "x"), enter)
        assert said == "AUS-1 is another spelling of aus 1, which is there: mail could not tell them apart"
    tag = "AUS-1" if is_entered_first else "aus 1"
    assert [tuple(row) for row in world.rows("SELECT tag, slug FROM assets")] == [(tag, "aus_1")]


def test_an_asset_that_is_called_otherwise_leaves_its_codes_to_its_cases(world: World) -> None:
    with world.db.begin() as connection:
        old = factories.asset(connection, world.org_id, "AUS_1")
        assert opened(connection, world, old) == "case_aus_1"
        case_rows.close(connection, [old], CaseEnd.QUIET)
        connection.execute(text("UPDATE assets SET tag = 'BOS_7', slug = 'bos_7' WHERE id = :id"), {"id": old})
        new = factories.asset(connection, world.org_id, "AUS_1")
        assert opened(connection, world, new) == "case_aus_1__2"
        assert opened(connection, world, old) == "case_bos_7__2"
        found = {name: cases.named(connection, world.org_id, name) for name in
                 ("case_aus_1__2", "case_bos_7__2", "case_bos_7", "case_aus_1__1", "case_bos_8")}  # fmt: skip
    assert found == {
        "case_aus_1__2": Named(new, 2),
        "case_bos_7__2": Named(old, 2),
        "case_bos_7": Named(old, None),
        "case_aus_1__1": Named(old, 1),
        "case_bos_8": None,
    }


def test_a_report_that_two_give_to_different_assets_at_once_counts_for_one(world: World) -> None:
    for asset in ("A", "B"):
        reported(world, asset, f"about {asset}")
    beside(
        world,
        lambda connection: report(connection, world, "A", "x"),
        lambda: reported(world, "B", "x", minutes=1),
    )
    assert [tuple(row) for row in world.rows(_OPEN)] == [("case_a", 1), ("case_b", 2)]


def test_a_report_that_is_about_another_asset_by_now_waits_for_assets_in_their_order(world: World) -> None:
    with world.db.begin() as connection:
        tags = {factories.asset(connection, world.org_id, tag): tag for tag in ("A", "B", "C")}
    first, second, last = sorted(tags)
    reported(world, tags[second], "x")
    one = Signal("x", "ugc", world.value("SELECT now() + interval '1 hour'"), tags[last], SignalStatus.DOWN)
    in_order = text("SELECT FROM assets WHERE id = :id FOR NO KEY UPDATE NOWAIT")

    def late() -> None:
        with world.db.begin() as connection:
            seen = signal_rows.look(connection, world.org_id, [one])
            reported(world, tags[first], "x", minutes=5)
            is_seen.set()
            assert is_held.wait(60)
            locked = signal_rows.report(connection, world.org_id, seen)
            case_rows.assess_locked(connection, locked, AssessedBecause.SIGNALS)

    is_seen, is_held = Event(), Event()
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(late)
        until(is_seen.is_set, "a look")
        with world.db.begin() as connection:
            case_rows.lock(connection, [first])
            is_held.set()
            until(lambda: waits.done() or world.value(_WAITING), "somebody who waits")
            # Whoever holds an asset may go on to any that comes after it.
            connection.execute(in_order, {"id": last})
        waits.result(timeout=60)
    assert [tuple(row) for row in world.rows("SELECT asset_id FROM signals")] == [(last,)]
    assert world.value("SELECT sum(signal_count) FROM cases WHERE mode = 'certainty'") == 1


def test_a_newer_version_of_a_report_of_a_closed_case_is_about_the_next_trouble(world: World) -> None:
    (first,) = reported(world, "A", "x", minutes=-5)
    with world.db.begin() as connection:
        case_rows.close(connection, [first.asset_id], CaseEnd.FALSE_ALARM)
    # A correction of what was said then opens nothing.
    assert reported(world, "A", "x", minutes=-3) == []
    (again,) = reported(world, "A", "x", minutes=5)
    assert (again.code, again.case.evidence_ids) == ("case_a__2", ("x",))


def test_what_is_reported_while_its_case_is_closed_opens_the_next_one(world: World) -> None:
    (first,) = reported(world, "A", "x")
    found = beside(
        world,
        lambda connection: (
            case_rows.lock(connection, [first.asset_id]),
            case_rows.close(connection, [first.asset_id], CaseEnd.FALSE_ALARM),
        ),
        lambda: reported(world, "A", "y"),
    )
    assert [(one.code, one.case.evidence_ids) for one in found] == [("case_a__2", ("y",))]  # type: ignore[attr-defined]


def test_another_mode_sends_nobody_a_second_time_whoever_was_to_be_sent_before(world: World) -> None:
    (before,) = tell(world.db, world.org_id, "A", "down down down")
    change(world, mode="baseline")
    (after,) = asked(walk(world))
    assert after != str(before.case_id)
    world.run(dispatch.STAGE, before.case_id)
    world.run(dispatch.STAGE, after)
    assert [str(row.case_id) for row in world.rows("SELECT case_id FROM work_orders")] == [after]


def test_somebody_is_sent_once_though_the_mode_changes_meanwhile(world: World) -> None:
    (before,) = tell(world.db, world.org_id, "A", "down down down")

    def walked() -> list[str]:
        change(world, mode="baseline")
        return asked(walk(world))

    def send(connection: Connection) -> None:
        job = world.job(dispatch.STAGE, before.case_id)
        items = dispatch.STAGE.load(connection, [job])
        (chosen,) = dispatch.STAGE.work(list(items.values()), world.ports)
        dispatch.STAGE.save(connection, [Work(job, items[job.job_id], chosen)])

    beside(world, send, walked)
    (order,) = world.rows("SELECT w.case_id, c.mode FROM work_orders w JOIN cases c ON c.id = w.case_id")
    assert order.mode == "baseline"
    world.run(dispatch.STAGE, order.case_id)
    assert world.value("SELECT count(*) FROM work_orders") == 1


def test_a_mail_after_a_change_of_mode_takes_its_ticket_before_the_order(world: World) -> None:
    with world.db.begin() as connection:
        factories.asset(connection, world.org_id, "AUS_0123")
    down = "AUS_0123 is down, the connector is bent and it does not charge at all."
    mails = [mail("Trouble", down, sender=f"{name}@x.example", in_reply_to="<a@x>") for name in ("ann", "bob", "cid")]
    world.dispatched(*mails)
    (order,) = world.rows("SELECT id, ticket_id FROM work_orders")
    change(world, mode="baseline")
    (late,) = world.routed(mail("Trouble", down, sender="dan@x.example", in_reply_to="<a@x>"), minutes=9)
    assert world.ticket_of(late).id == order.ticket_id
    message_id = world.value("SELECT message_id FROM occurrences WHERE id = :id", id=late)

    def held(connection: Connection) -> None:
        connection.execute(text("SELECT FROM tickets WHERE id = :id FOR NO KEY UPDATE"), {"id": order.ticket_id})

    with ThreadPoolExecutor(1) as pool:
        with world.db.begin() as connection:
            held(connection)
            waits = pool.submit(world.run, triage.STAGE, message_id)
            until(lambda: world.value(_WAITING), "a mail that waits for its ticket")
            # Whoever holds the ticket goes on to its order.
            connection.execute(text("SELECT FROM work_orders WHERE id = :id FOR UPDATE NOWAIT"), {"id": order.id})
        waits.result(timeout=60)
    (lead,) = world.rows("SELECT c.mode FROM work_orders w JOIN cases c ON c.id = w.case_id")
    assert lead.mode == "baseline"


def test_a_case_that_lost_all_its_reports_is_closed_though_somebody_was_asked(world: World) -> None:
    (moved,) = reported(world, "A", "x", minutes=-5)
    reported(world, "B", "x")
    open_tasks = "SELECT count(*) FROM verification_tasks WHERE status = 'open' AND case_id = :id"
    assert world.value(open_tasks, id=moved.case_id) == 1
    world.rows("UPDATE cases SET assessed_at = now() - interval '31 days' RETURNING id")
    with world.db.begin() as connection:
        assert request_quiet(connection) == 1
    world.run(settle.STAGE, moved.case_id)
    closed = "SELECT DISTINCT state, closed_because FROM cases WHERE asset_id = :id"
    assert [tuple(row) for row in world.rows(closed, id=moved.asset_id)] == [("closed", "quiet")]
    assert world.value(open_tasks, id=moved.case_id) == 0


@pytest.mark.parametrize("is_known", [True, False], ids=["an open case", "a new charger"])
def test_one_report_takes_few_statements(world: World, is_known: bool) -> None:
    one = {"id": "s1", "asset": "AUS_1", "source": "ugc", "status": "down", "minute": 1, "text": ""}
    if is_known:
        run(world, [one])
    told: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        told.append(statement)

    event.listen(world.db.engine, "before_cursor_execute", count)
    try:
        run(world, [one | {"id": "s2", "minute": 2}])
    finally:
        event.remove(world.db.engine, "before_cursor_execute", count)
    # Whoever is new is made, alone, and their case gets a number and a question.
    most = MOST_STATEMENTS if is_known else MOST_STATEMENTS + 10
    assert len(told) <= most, "\n".join(told)
