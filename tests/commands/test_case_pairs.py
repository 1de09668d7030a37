"""Two things that are done to one case at the same moment: whole cases, one order, nobody waits in a circle."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations_with_replacement, count
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from pipeline import executor
from pipeline.command import Ask, Command, Refused
from pipeline.commands.case_arguments import CaseDispatch, Run, Verification
from pipeline.commands.case_truths import TELL, Correction
from pipeline.commands.cases import DISPATCH, VERIFY
from pipeline.commands.quieting import request_quiet
from pipeline.commands.triage_runs import RUN
from pipeline.runtime.case_truths import IS_REAL, RELIABLE
from pipeline.runtime.db import Database
from pipeline.stages import dispatch, settle
from tests import factories
from tests.commands.desks import principal
from tests.factories import NOON
from tests.stages.world import World

#: Pairs in the normal run; all of them in the long one.
_SOME = 12
_TEAM = "FieldOps"
_REASON = "they called us, it smokes"
_NUMBERS = count()

#: Each names cases or orders that are not whole, of any organization: there must be none.
_BROKEN = {
    "of two modes, one is open, or a trouble of its own": """
        SELECT asset_id FROM cases GROUP BY asset_id, number
        HAVING count(*) <> 2 OR count(DISTINCT state) > 1 OR count(DISTINCT is_real) > 1""",
    "an asset has two open troubles": """
        SELECT asset_id FROM cases WHERE state = 'open' GROUP BY asset_id HAVING count(DISTINCT number) > 1""",
    "a trouble has two open orders": """
        SELECT k.asset_id FROM cases k JOIN work_orders w ON w.case_id = k.id
         WHERE w.state NOT IN ('done', 'cancelled') GROUP BY k.asset_id, k.number HAVING count(*) > 1""",
    "a report stands in a case of another asset, or in none": """
        SELECT s.id FROM signals s LEFT JOIN cases k ON k.id = s.case_id
         WHERE k.asset_id <> s.asset_id OR (k.id IS NULL AND s.status <> 'online')""",
    "a case counts other reports than it has": """
        SELECT c.id FROM cases c WHERE c.mode = 'certainty' AND c.state = 'open'
           AND c.signal_count <> (SELECT count(*) FROM signals s WHERE s.case_id = c.id)""",
    "a question is open that nobody needs to answer, or is not open": """
        SELECT c.id FROM cases c WHERE c.mode = 'certainty'
           AND (c.state = 'open' AND c.verification_required) <> EXISTS (
               SELECT FROM verification_tasks v WHERE v.case_id = c.id AND v.status = 'open')""",
    "an order goes on for a false alarm that nobody had begun": """
        SELECT c.id FROM cases c JOIN work_orders w ON w.case_id = c.id
         WHERE c.closed_because = 'false_alarm' AND w.state = 'created'""",
    "what is true is not what was found": f"""
        SELECT c.id FROM cases c WHERE c.is_real IS DISTINCT FROM {IS_REAL}""",
}
#: Once all that was to follow has: who sends somebody after the work was done has a case that goes on.
_UNSETTLED = """
    SELECT c.id FROM cases c JOIN work_orders w ON w.case_id = c.id
     WHERE c.state = 'open' GROUP BY c.id
    HAVING bool_or(w.state = 'done') AND bool_and(w.state IN ('done', 'cancelled'))
"""


@dataclass(frozen=True)
class Site:
    """An asset with one open case, another asset beside it, and somebody who may do everything."""

    world: World
    asset: str
    other: str

    @property
    def case_id(self) -> UUID:
        """The case that leads, the newest."""
        found: UUID = self.world.value(
            "SELECT c.id FROM cases c JOIN assets a ON a.id = c.asset_id"
            " WHERE a.tag = :tag AND c.mode = 'certainty' ORDER BY c.number DESC LIMIT 1",
            tag=self.asset,
        )
        return found

    def do(self, command: Command[Any, Any], arguments: BaseModel, **more: Any) -> str:
        """Execute a command; return how it went."""
        ask = Ask(principal(self.world.org_id, role="admin"), arguments, **more)
        try:
            executor.run(self.world.db.begin, command, ask)
        except Refused as refused:
            return refused.refusal.code
        return "done"

    def report(self, statuses: str, *, asset: str | None = None, report_id: str = "", minute: int = 0) -> str:
        """Report as programs do."""
        told = [
            {
                "id": report_id or f"{self.asset}-{next(_NUMBERS)}",
                "source": "ugc",
                "timestamp": (NOON + timedelta(minutes=minute + number)).isoformat(),
                "charger_id": asset or self.asset,
                "status": status,
            }
            for number, status in enumerate(statuses.split())
        ]
        return self.do(RUN, Run.model_validate({"signals": told, "mode": "certainty"}))

    def run(self, stage: Any, case_id: UUID) -> str:
        """Do what a worker does."""
        self.world.run(stage, case_id)
        return "done"

    def quiet(self, case_id: UUID) -> str:
        """Ask for quiet cases to be closed, as the schedule does, and close this one if it is."""
        with self.world.db.begin() as connection:
            request_quiet(connection)
        return self.run(settle.STAGE, case_id)


Deed = Callable[[Site, UUID, dict[str, Any]], str]


def _verify(result: str) -> Deed:
    asked = Verification.model_validate({"result": result})
    return lambda site, case_id, seen: site.do(VERIFY, asked, target=str(case_id), **seen)


def _send(**more: Any) -> Deed:
    asked = CaseDispatch(assigned_team=_TEAM, override_reason=_REASON, **more)
    return lambda site, case_id, seen: site.do(DISPATCH, asked, target=str(case_id), **seen)


def _truth(*, is_real: bool) -> Deed:
    asked = Correction(is_real=is_real, note="I was there")
    return lambda site, case_id, seen: site.do(TELL, asked, target=str(case_id), **seen)


COMMANDS: dict[str, Deed] = {
    "confirm": _verify("confirmed_issue"),
    "false alarm": _verify("false_alarm"),
    "more data": _verify("needs_more_data"),
    "send": _send(),
    "done": _send(state="done"),
    "real": _truth(is_real=True),
    "not real": _truth(is_real=False),
    "report": lambda site, _case, _seen: site.report("down", minute=60),
    "good news": lambda site, _case, _seen: site.report("online", minute=60),
    "move there": lambda site, _case, _seen: site.report("down", asset=site.other, report_id=site.asset, minute=60),
    "move here": lambda site, _case, _seen: site.report("down", report_id=site.other, minute=61),
}
STAGES: dict[str, Deed] = {
    "settle": lambda site, case_id, _seen: site.run(settle.STAGE, case_id),
    "dispatch": lambda site, case_id, _seen: site.run(dispatch.STAGE, case_id),
    "quiet": lambda site, case_id, _seen: site.quiet(case_id),
}
DEEDS = COMMANDS | STAGES
#: How a case may stand before: what its reports say, and what is done about it.
STATES: dict[str, tuple[str, Sequence[str]]] = {
    "asked": ("degraded", ()),
    "certain": ("down down down", ()),
    "ordered": ("down down down", ("dispatch",)),
    "confirmed": ("degraded", ("confirm",)),
    "worked": ("down down down", ("done",)),
}


@pytest.fixture
def world(db: Database) -> World:
    world = World(db)
    with db.begin() as connection:
        factories.team(connection, world.org_id, _TEAM)
    return world


@pytest.fixture
def chance() -> random.Random:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    return random.Random(seed)


def ready(world: World, state: str) -> Site:
    """Return an asset whose case stands so, and another one that was reported, too."""
    number = next(_NUMBERS)
    site = Site(world, f"A-{number}", f"B-{number}")
    statuses, deeds = STATES[state]
    first, *rest = statuses.split()
    assert site.report(first, report_id=site.asset) == "done"
    assert site.report("down", asset=site.other, report_id=site.other) == "done"
    if rest:
        assert site.report(" ".join(rest), minute=1) == "done"
    for name in deeds:
        assert DEEDS[name](site, site.case_id, {}) == "done"
    return site


def check(world: World) -> None:
    """Hold everything that must be true of whole cases."""
    for said, statement in _BROKEN.items():
        known = {"sources": list(RELIABLE)} if ":sources" in statement else {}
        assert world.rows(statement, **known) == [], said


def clash(world: World, state: str, names: tuple[str, str], *, is_seen: bool) -> list[str]:
    """Let two things be done at once, commands with the version that both have seen or without."""
    site = ready(world, state)
    case_id = site.case_id
    version = world.value("SELECT version FROM cases WHERE id = :id", id=case_id)
    trail = "SELECT count(*) FROM audit_events WHERE action = ANY(:actions)"
    actions = [one.name for one in (VERIFY, DISPATCH, TELL, RUN)]
    before, start = world.value(trail, actions=actions), Barrier(2)

    def go(name: str) -> str:
        start.wait()
        return DEEDS[name](site, case_id, {"version": version} if is_seen else {})

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(go, names))
    check(world)
    # The stage that dispatches writes a row under the name of its own command.
    assert world.value(trail, actions=actions) == before + sum(name in COMMANDS for name in names), (state, names)
    if is_seen and all(name in ("confirm", "false alarm", "more data") for name in names):
        assert sorted(told) == ["STALE_VERSION", "done"], (state, names)
    follow(world, site, (state, names, told))
    return told


def follow(world: World, site: Site, told: object) -> None:
    """Do all that follows, as workers do."""
    for _ in range(2):
        cases = world.rows(
            "SELECT c.id FROM cases c JOIN assets a ON a.id = c.asset_id"
            " WHERE a.tag = ANY(:tags) AND c.mode = 'certainty' ORDER BY c.id",
            tags=[site.asset, site.other],
        )
        world.run(settle.STAGE, *(one.id for one in cases))
        world.run(dispatch.STAGE, site.case_id)
    check(world)
    assert world.rows(_UNSETTLED) == [], told


def run_pairs(world: World, wanted: Sequence[tuple[str, str, str]]) -> Counter[str]:
    """Let pairs clash; return how often what came of it."""
    told: Counter[str] = Counter()
    for number, (state, one, other) in enumerate(wanted):
        told.update(clash(world, state, (one, other), is_seen=bool(number % 2)))
    print(told)
    return told


def pairs() -> list[tuple[str, str, str]]:
    """Return each pair of deeds in each state."""
    return [(state, *pair) for state in STATES for pair in combinations_with_replacement(DEEDS, 2)]


def test_two_deeds_at_once_leave_whole_cases(world: World, chance: random.Random) -> None:
    assert run_pairs(world, chance.sample(pairs(), _SOME))["done"] >= _SOME


@pytest.mark.soak
def test_all_pairs_of_deeds_at_once_leave_whole_cases(world: World, chance: random.Random) -> None:
    # So that each pair goes both with a version and without.
    wanted = [pair for pair in pairs() for _ in range(2)]
    told = run_pairs(world, wanted)
    assert {"STALE_VERSION", "CASE_CLOSED"} <= set(told)
