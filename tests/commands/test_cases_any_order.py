"""Cases do not tell how their signals came: in any order, in any calls and mails, at the same moment."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any
from uuid import uuid4

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from models.enums import SignalStatus, TriageMode
from pipeline import executor
from pipeline.command import Ask
from pipeline.commands.case_arguments import Run
from pipeline.commands.triage_runs import RUN
from pipeline.executor import Answer
from pipeline.runtime.db import Database
from pipeline.stages import triage
from tests import factories
from tests.commands.desks import principal
from tests.factories import NOON, mail
from tests.stages.world import World

ASSETS = ("AUS_0001", "AUS_0002", "AUS_0003")
THREADS = 8
#: What people write of a status.
_SAID = {"down": "is down", "online": "is working again"}
_REPORT = st.fixed_dictionaries(
    {
        "asset": st.sampled_from(ASSETS),
        "status": st.sampled_from([one.value for one in SignalStatus]),
        "source": st.sampled_from(("charger_api", "311", "ugc")),
        "minute": st.integers(0, 2_000),
        "text": st.sampled_from(("", "the plug is bent", "card reader", "no network")),
    }
)
#: All that a case says but for when it was said.
_TOLD = """
    SELECT c.code, c.mode, c.state, c.priority_score, c.sla_hours, c.root_cause_tag, c.confidence,
           c.recommended_action, c.grid_stress_level, c.explanation, c.uncertainty_reasons, c.verification_required,
           c.signal_count, c.first_signal_at, c.last_signal_at,
           (SELECT count(*) FROM verification_tasks v WHERE v.case_id = c.id AND v.status = 'open') AS asked
      FROM cases c WHERE c.org_id = :org ORDER BY c.code, c.mode
"""


def run(world: World, reports: Sequence[dict[str, Any]], mode: TriageMode = TriageMode.CERTAINTY) -> Answer:
    """Report by the command."""
    signals = [
        {
            "id": one["id"],
            "source": one["source"],
            "timestamp": (NOON + timedelta(minutes=one["minute"])).isoformat(),
            "charger_id": one["asset"],
            "status": one["status"],
            "text": one["text"],
        }
        for one in reports
    ]
    arguments = Run.model_validate({"signals": signals, "mode": mode})
    return executor.run(world.db.begin, RUN, Ask(principal(world.org_id, role="dispatcher"), arguments))


def world_of(db: Database, mails: Sequence[tuple[str, str]]) -> tuple[World, list[int]]:
    """Return a world with the chargers, and its messages that wait for triage."""
    world = World(db)
    with db.begin() as connection:
        for asset in ASSETS:
            factories.asset(connection, world.org_id, asset)
    raws = [
        mail("Trouble", f"{asset} {_SAID[status]}.", sender=f"p{number}@x.example", message_id=f"<{number}@x>")
        for number, (asset, status) in enumerate(mails)
    ]
    found = world.stitched(*raws)
    statement = "SELECT message_id FROM occurrences WHERE id = :id"
    return world, [int(world.value(statement, id=one)) for one in found]


def triaged(world: World, messages: Sequence[int]) -> None:
    """Let messages be triaged, in one batch."""
    if messages:
        world.run(triage.STAGE, *messages)


def told(world: World) -> list[tuple[Any, ...]]:
    """Return what the organization's cases say."""
    return [tuple(row) for row in world.rows(_TOLD, org=world.org_id)]


def forget(world: World) -> None:
    """Delete all that triage has made."""
    with world.db.begin() as connection:
        # What is kept for good refuses to be deleted.
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table in ("case_assessments", "verification_tasks", "signals", "cases"):
            connection.execute(text(f"DELETE FROM {table}"))


def test_any_order_and_grouping_of_signals_gives_the_same_cases(db: Database) -> None:
    world, messages = world_of(db, [("AUS_0001", "down"), ("AUS_0002", "online"), ("AUS_0003", "down")])

    @settings(max_examples=8, deadline=None, database=None)
    @given(st.lists(_REPORT, min_size=1, max_size=12), st.sets(st.sampled_from(messages)), st.randoms())
    def check(reports: list[dict[str, Any]], mails: set[int], chance: random.Random) -> None:
        reports = [one | {"id": f"s{number}"} for number, one in enumerate(reports)]
        forget(world)
        run(world, reports)
        triaged(world, sorted(mails))
        once = told(world)
        forget(world)
        things: list[Any] = [*reports, *sorted(mails)]
        chance.shuffle(things)
        while things:
            size = chance.randint(1, 4)
            group, things = things[:size], things[size:]
            run(world, [one for one in group if isinstance(one, dict)], chance.choice(list(TriageMode)))
            triaged(world, [one for one in group if isinstance(one, int)])
        assert told(world) == once

    check()


def test_runs_and_mails_at_once_make_one_case_of_each_charger_with_all_signals(db: Database) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    world, messages = world_of(db, [("AUS_0001", "down"), ("AUS_0002", "down")])
    # Those that nobody entered are made by whoever comes first, under one of their spellings.
    assets = [*ASSETS, "new_0004", "NEW-0004", "New 0005"]
    calls = [
        [
            {
                "id": uuid4().hex,
                "asset": asset,
                "status": "down",
                "source": "ugc",
                "minute": chance.randrange(60),
                "text": "",
            }
            for asset in chance.sample(assets, len(assets))
        ]
        for _ in range(THREADS - len(messages))
    ]
    start = Barrier(THREADS)

    def go(work: Any) -> None:
        start.wait()
        for _ in range(2):
            if isinstance(work, list):
                run(world, work)
            else:
                triaged(world, [work])

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(go, [*calls, *messages]))
    counts = dict(
        tuple(row)
        for row in world.rows(
            "SELECT code, signal_count FROM cases WHERE org_id = :org AND mode = 'certainty'", org=world.org_id
        )
    )
    each = len(calls)
    assert counts == {
        "case_aus_0001": each + 1, "case_aus_0002": each + 1, "case_aus_0003": each, "case_new_0004": 2 * each,
        "case_new_0005": each,
    }  # fmt: skip
    attached = "SELECT count(*) FROM signals WHERE org_id = :org AND case_id IS NOT NULL"
    assert world.value(attached, org=world.org_id) == sum(counts.values())
