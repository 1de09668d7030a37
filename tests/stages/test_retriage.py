"""Retriage: open cases come to a policy that was put into force or into the shadow, each once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text

from models.enums import AssessedBecause, CaseEnd, PolicyState
from models.queries import policy_differences
from models.queries.policy_differences import Place, Shadow
from pipeline.core.triage_policy import TriagePolicy, difference
from pipeline.runtime import case_rows, retriaging, triage_policies
from pipeline.runtime.retriaging import Stretch
from pipeline.stages import dispatch, retriage
from tests import factories
from tests.stages.world import Ran, World
from tests.told import tell

STAGE = retriage.STAGE


def change(world: World, *, into: PolicyState = PolicyState.ACTIVE, **said: Any) -> int:
    """Put another policy into force, or into the shadow; return its number."""
    with world.db.begin() as connection:
        before = triage_policies.active(connection, world.org_id).policy
        after = TriagePolicy.change(before, said)
        diff = difference(before, after)
        number = triage_policies.keep(connection, world.org_id, after, diff=diff, reason="", by="test")
        if into is PolicyState.SHADOW:
            triage_policies.shadow(connection, world.org_id, number)
        else:
            triage_policies.activate(connection, world.org_id, number, by="test")
    return number


def walk(world: World) -> list[Ran]:
    """Do a whole walk; return what its pages did."""
    pages = [key for _, key in world.run(STAGE, "walk").next]
    return [world.run(STAGE, key) for key in pages]


def asked(found: list[Ran]) -> list[str]:
    """Return the cases that are to be dispatched."""
    return [key for one in found for stage, key in one.next if stage == "dispatch"]


def case(world: World, tag: str, mode: str = "certainty") -> Any:
    (row,) = world.rows(
        "SELECT c.* FROM cases c JOIN assets a ON a.id = c.asset_id WHERE a.tag = :tag AND c.mode = :mode"
        " AND c.state = 'open'",
        tag=tag,
        mode=mode,
    )
    return row


def versions(world: World) -> list[tuple[UUID, int]]:
    return [tuple(row) for row in world.rows("SELECT id, version FROM cases ORDER BY id")]


def test_open_cases_of_both_modes_come_to_the_new_policy_once(world: World) -> None:
    tell(world.db, world.org_id, "A", "degraded")
    tell(world.db, world.org_id, "B", "down down down")
    assert case(world, "A").verification_required
    number = change(world, verification={"below": 60}, dispatch={"from_priority": 60, "least_certainty": 60})
    walk(world)
    lenient = case(world, "A")
    assert (lenient.verification_required, lenient.recommended_action) == (False, "dispatch_field_tech")
    assert world.value("SELECT count(*) FROM cases WHERE policy_version = :n", n=number) == 4
    assert world.rows("SELECT status FROM verification_tasks")[0].status == "superseded"
    because = world.rows("SELECT because FROM case_assessments WHERE case_id = :id ORDER BY version", id=lenient.id)
    assert [row.because for row in because] == ["signals", "policy"]
    before = versions(world)
    walk(world)
    assert versions(world) == before


def test_those_that_ask_for_somebody_now_are_sent_on_and_those_at_work_are_not(world: World) -> None:
    tell(world.db, world.org_id, "A", "degraded")
    tell(world.db, world.org_id, "B", "down down down")
    with world.db.begin() as connection:
        factories.team(connection, world.org_id, "North")
    world.run(dispatch.STAGE, case(world, "B").id)
    change(
        world, verification={"below": 60}, dispatch={"from_priority": 60, "least_certainty": 60, "least_priority": 60}
    )
    assert asked(walk(world)) == [str(case(world, "A").id)]
    change(world, dispatch={"automatic": False})
    assert asked(walk(world)) == []


def test_without_open_cases_there_is_nothing_to_do(world: World) -> None:
    (opened,) = tell(world.db, world.org_id, "A", "down")
    with world.db.begin() as connection:
        case_rows.close(connection, [opened.asset_id], CaseEnd.QUIET)
    before = versions(world)
    change(world, quiet_days=9)
    assert asked(walk(world)) == []
    assert versions(world) == before


def test_pages_follow_each_other_and_each_case_is_in_one(world: World) -> None:
    for number in range(5):
        tell(world.db, world.org_id, f"A{number}", "down")
    change(world, quiet_days=9)
    with world.db.begin() as connection:
        pages = retriaging.stretches(connection, world.org_id, page=2)
    assert [one.after for one in pages] == [UUID(int=0), *(one.upto for one in pages[:-1])]
    assert (len(pages), pages[-1].upto) == (3, None)
    left = []
    for one in reversed(pages):
        with world.db.begin() as connection:
            retriaging.assess(connection, world.org_id, one)
        left.append(world.value("SELECT count(*) FROM cases WHERE policy_version = 0"))
    assert left == [8, 4, 0]


def test_a_key_names_the_page(world: World) -> None:
    def page(key: str) -> Stretch | None:
        with world.db.begin() as connection:
            (found,) = STAGE.load(connection, [world.job(STAGE, key)]).values()
        return found  # type: ignore[no-any-return]

    assert world.run(STAGE, "walk").next == [("retriage", f"walk/{UUID(int=0)}/")]
    assert (page("walk"), page(f"walk/{UUID(int=0)}/")) == (None, Stretch())
    assert page(f"walk/{UUID(int=1)}/{UUID(int=2)}") == Stretch(UUID(int=1), UUID(int=2))


def shadow_of(world: World) -> Shadow:
    with world.db.begin() as connection:
        judging = triage_policies.judging(connection, [world.org_id])[world.org_id]
    assert judging.shadow is not None
    assert judging.shadow.policy_id is not None
    assert judging.shadow.since is not None
    return Shadow(world.org_id, judging.shadow.policy_id, judging.shadow.since, judging.active.policy.mode)


def differences(world: World) -> tuple[dict[tuple[str, str], int], int, list[str]]:
    shadow = shadow_of(world)
    with world.db.begin() as connection:
        counts = policy_differences.counts(connection, shadow)
        page = policy_differences.page(connection, shadow, after=None, limit=10)
        return (
            {(one.action, one.shadow_action): one.cases for one in counts},
            policy_differences.waiting(connection, shadow),
            sorted(row.code for row in page),
        )


def test_the_shadow_says_something_of_each_open_case_and_decides_nothing(world: World) -> None:
    tell(world.db, world.org_id, "A", "degraded")
    tell(world.db, world.org_id, "B", "down down down")
    before = versions(world)
    lenient: dict[str, Any] = {"verification": {"below": 60}}
    first = change(world, into=PolicyState.SHADOW, **lenient)
    assert differences(world) == ({}, 2, [])
    assert asked(walk(world)) == []
    dispatched, verify = "dispatch_field_tech", "needs_verification"
    alike = {(dispatched, dispatched): 1, (verify, "remote_reset"): 1}
    assert differences(world) == (alike, 0, ["case_a"])
    assert versions(world) == before
    # What it said is of then: in the shadow once more, it has said nothing until it is asked again.
    change(world, into=PolicyState.SHADOW, quiet_days=9)
    with world.db.begin() as connection:
        triage_policies.shadow(connection, world.org_id, first)
    assert differences(world) == ({}, 2, [])
    walk(world)
    assert differences(world) == (alike, 0, ["case_a"])


def test_differences_go_on_page_by_page(world: World) -> None:
    for number in range(3):
        tell(world.db, world.org_id, f"A{number}", "degraded")
    change(world, into=PolicyState.SHADOW, verification={"below": 60})
    walk(world)
    found, after = [], None
    for _ in range(3):
        with world.db.begin() as connection:
            (row,) = policy_differences.page(connection, shadow_of(world), after=after, limit=1)
        after = Place(row.at, row.id)
        found.append(row.code)
    assert sorted(found) == ["case_a0", "case_a1", "case_a2"]


def test_a_shadow_that_looks_further_back_leaves_the_cases_as_they_are(world: World) -> None:
    change(world, evidence={"most_days": 1})
    tell(world.db, world.org_id, "A", "down down down down", days=3)
    tell(world.db, world.org_id, "A", "degraded")
    before = (case(world, "A").signal_count, case(world, "A").priority_score)
    change(world, into=PolicyState.SHADOW, evidence={"most_days": 30})
    walk(world)
    tell(world.db, world.org_id, "A", "degraded")
    assert (case(world, "A").signal_count, case(world, "A").priority_score) == before
    assert world.value("SELECT priority_score FROM case_shadows") > before[1]


def test_another_mode_leads_with_all_that_the_one_before_had(world: World) -> None:
    tell(world.db, world.org_id, "A", "degraded")
    tell(world.db, world.org_id, "B", "down down down")
    with world.db.begin() as connection:
        factories.team(connection, world.org_id, "North")
    world.run(dispatch.STAGE, case(world, "B").id)
    change(world, mode="baseline", dispatch={"from_priority": 60, "least_priority": 60})
    assert asked(walk(world)) == [str(case(world, "A", "baseline").id)]
    leads = "SELECT DISTINCT c.mode FROM signals s JOIN cases c ON c.id = s.case_id"
    assert [row.mode for row in world.rows(leads)] == ["baseline"]
    assert [row.status for row in world.rows("SELECT status FROM verification_tasks")] == ["superseded"]
    assert world.value("SELECT case_id FROM work_orders") == case(world, "B", "baseline").id
    # Somebody was sent already, so nobody is sent a second time.
    world.run(dispatch.STAGE, case(world, "B", "baseline").id)
    assert world.value("SELECT count(*) FROM work_orders") == 1
    change(world, mode="certainty")
    walk(world)
    assert [row.mode for row in world.rows(leads)] == ["certainty"]
    open_questions = "SELECT v.case_id FROM verification_tasks v WHERE v.status = 'open'"
    assert [row.case_id for row in world.rows(open_questions)] == [case(world, "A").id]


def test_assets_that_are_spelled_alike_never_share_a_code(world: World) -> None:
    with world.db.begin() as connection:
        assets = [factories.asset(connection, world.org_id, tag) for tag in ("AUS 1", "AUS_1", "aus-1")]
        statement = text(
            "INSERT INTO signals (org_id, asset_id, source, at, status, text, rules_version)"
            " VALUES (:org, :asset, 'mail', now(), 'down', '', 1)"
        )
        for asset_id in assets:
            connection.execute(statement, {"org": world.org_id, "asset": asset_id})
        for once in (assets[:2], assets[2:]):
            case_rows.assess(connection, once, AssessedBecause.SIGNALS)
    codes = "SELECT code FROM cases WHERE mode = 'certainty' ORDER BY number"
    assert [row.code for row in world.rows(codes)] == ["case_aus_1", "case_aus_1__2", "case_aus_1__3"]
