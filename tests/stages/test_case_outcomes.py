"""Troubles as figures are made of them: from when they are counted, and how urgent they were."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

from models.enums import AssessedBecause, SignalStatus, TaskResult, TriageMode, TruthSource
from pipeline import executor
from pipeline.command import Ask
from pipeline.commands.case_arguments import Verification
from pipeline.commands.cases import VERIFY
from pipeline.core.case_metrics import Saying, Trouble, compare
from pipeline.core.findings import REPAIRED
from pipeline.core.scoring import Signal
from pipeline.runtime import case_outcomes, case_rows, case_truths, signal_rows
from pipeline.runtime.db import Database
from pipeline.stages import dispatch, settle
from tests.commands.desks import principal
from tests.factories import NOON
from tests.stages.test_retriage import change, walk
from tests.stages.world import World

_NUMBERS = count()


def say(world: World, status: str, hours: float = 0, source: str = "ugc") -> None:
    """Let a program report the charger, so many hours after noon."""
    at = NOON + timedelta(hours=hours)
    told = Signal(f"sig_{next(_NUMBERS)}", source, at, "AUS_1", SignalStatus(status))
    with world.db.begin() as connection:
        touched = signal_rows.report(connection, world.org_id, signal_rows.look(connection, world.org_id, [told]))
        case_rows.assess_locked(connection, touched, AssessedBecause.SIGNALS)


def trouble(world: World) -> Trouble:
    """Return the one trouble of these days."""
    with world.db.begin() as connection:
        (found,) = case_outcomes.troubles(connection, world.org_id, NOON - timedelta(days=9_999))
    return found


def case(world: World) -> Any:
    return world.rows("SELECT * FROM cases WHERE mode = 'certainty'")[0]


def test_good_news_from_before_is_evidence_of_a_trouble_and_no_report_of_it(world: World) -> None:
    say(world, "online")
    world.rows("UPDATE signals SET created_at = created_at - interval '1 day' RETURNING id")
    for source in ("ugc", "311"):
        say(world, "down", 24, source)
    assert case(world).signal_count == 3
    assert trouble(world).arrived_at == case(world).created_at
    assert trouble(world).is_caught(trouble(world).lead) is False
    world.rows("UPDATE cases SET is_real = true RETURNING id")
    with world.db.begin() as connection:
        found = compare(case_outcomes.troubles(connection, world.org_id, NOON - timedelta(days=9_999)))
    assert found["counts"]["criticals_caught"] == {"baseline": 1, "certainty": 0}


def test_a_trouble_that_nobody_came_to_stays_as_critical_as_it_was(db: Database) -> None:
    world = World(db, triage={"evidence": {"half_life_minutes": 60}})
    for source in ("ugc", "311"):
        say(world, "down", source=source)
    say(world, "unknown", 10)
    world.rows("UPDATE cases SET is_real = true RETURNING id")
    assert (case(world).priority_score < 80, case(world).sla_hours > 2) == (True, True)
    assert (trouble(world).priority, trouble(world).sla) == (100, timedelta(hours=2))
    assert compare([trouble(world)])["counts"]["criticals"] == 1


def find(world: World, source: TruthSource, note: str) -> None:
    """Find out that something was wrong, and settle."""
    with world.db.begin() as connection:
        case_truths.tell(
            connection, case(world).id, source, source.value, is_real=True, order_id=None, actor_id="ann", note=note
        )
    world.run(settle.STAGE, case(world).id)


def test_what_nobody_said_is_counted_apart_from_what_somebody_did(world: World) -> None:
    say(world, "down")
    known = []
    for source, note in ((TruthSource.FIELD, REPAIRED.note), (TruthSource.QC, "I saw it")):
        find(world, source, note)
        found = trouble(world)
        known.append((found.is_real, found.is_assumed, compare([found])["counts"]["assumed"]))
    assert known == [(True, True, 1), (True, False, 0)]


def test_what_was_said_after_somebody_found_out_is_not_held_against_triage(world: World) -> None:
    say(world, "down")
    before = trouble(world).modes[trouble(world).lead].saying
    assert before == Saying(0, 71, 71, says_go=True)
    find(world, TruthSource.FIELD, "the fuse")
    world.rows("UPDATE cases SET state = 'open', closed_at = NULL, closed_because = NULL RETURNING id")
    say(world, "online", 1, "311")
    assert case(world).formula_hundredths != 71
    assert trouble(world).modes[trouble(world).lead].saying == before


def judge_anew(world: World, **said: Any) -> None:
    """Put another version of the policy into force, and walk."""
    change(world, **said)
    walk(world)


def decided(world: World) -> tuple[Any, ...]:
    """Return which version decided, which mode led then, and of which version the saying of that mode is."""
    found = trouble(world)
    saying = found.modes[found.lead].saying
    return found.policy_version, found.lead, saying and saying.policy_version


def test_an_outcome_is_the_policys_by_which_somebody_was_sent(world: World) -> None:
    for source in ("ugc", "311", "charger_api"):
        say(world, "down", source=source)
    world.run(dispatch.STAGE, case(world).id)
    judge_anew(world, deadlines={"otherwise_hours": 9})
    judge_anew(world, mode="baseline")
    assert (case(world).policy_version, decided(world)) == (2, (0, TriageMode.CERTAINTY, 0))
    find(world, TruthSource.FIELD, "the fuse")
    assert decided(world) == (0, TriageMode.CERTAINTY, 0)


def test_an_outcome_is_the_policys_by_which_somebody_verified(world: World) -> None:
    say(world, "degraded")
    judge_anew(world, deadlines={"otherwise_hours": 9})
    found = Verification(result=TaskResult.CONFIRMED_ISSUE)
    executor.run(world.db.begin, VERIFY, Ask(principal(world.org_id, role="dispatcher"), found, str(case(world).id)))
    judge_anew(world, deadlines={"otherwise_hours": 10})
    assert (case(world).policy_version, decided(world)) == (2, (1, TriageMode.CERTAINTY, 1))


def test_else_an_outcome_is_the_policys_that_first_decided_or_that_asks(world: World) -> None:
    say(world, "degraded")
    judge_anew(world, deadlines={"otherwise_hours": 9})
    assert decided(world) == (1, TriageMode.CERTAINTY, 1)
    judge_anew(world, verification={"below": 0})
    judge_anew(world, deadlines={"otherwise_hours": 10})
    assert decided(world) == (2, TriageMode.CERTAINTY, 2)
