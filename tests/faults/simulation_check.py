"""What the simulation compares at its end: what is left to do, and what was done with what was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set as AbstractSet
from typing import Any

from sqlalchemy import Connection, text

from tests.faults.simulated_stages import group

_EFFECTS = text("SELECT stage, key, count(*) AS number FROM effects GROUP BY 1, 2")
_JOBS = text("SELECT stage, key, state, attempt FROM jobs ORDER BY stage, key")
_BULKS = text("SELECT 'bulk', id, state, 0 FROM bulks WHERE finished_at IS NULL")
_BY_BULKS = text("SELECT count(*) FROM letter_actions WHERE action = 'replayed' AND bulk_id IS NOT NULL")
_LETTERS = text("SELECT stage, key, coalesce(resolution, 'open') AS resolution FROM dead_letters")


def left(connection: Connection) -> list[Any]:
    """Return the jobs and bulks that are not at their end: stage, key, state and attempt of each."""
    jobs = [tuple(row) for row in connection.execute(_JOBS) if row.state != "dead"]
    return jobs + [tuple(row) for row in connection.execute(_BULKS)]


def check(connection: Connection, asked: AbstractSet[str], resolved: Counter[str]) -> None:
    """Compare effects, jobs and letters with what was asked for (reliability, section 6: I4, I9, I13).

    `resolved`: how many letters operators resolved one by one, by how.
    """
    done = {(row.stage, row.key): row.number for row in connection.execute(_EFFECTS)}
    dead = {(row.stage, row.key) for row in connection.execute(_JOBS)}
    found = [tuple(row) for row in connection.execute(_LETTERS)]
    doubled = {one: number for one, number in done.items() if number > 1}
    assert not doubled, f"effects that happened more than once: {doubled}"
    assert {(stage, key) for stage, key, resolution in found if resolution == "open"} == dead
    given_up = dead | {(stage, key) for stage, key, resolution in found if resolution == "discarded"}
    lost = {key for key in asked if ("first", key) not in done and ("first", key) not in given_up}
    assert not lost, f"asked for, and neither done nor given up: {sorted(lost)}"
    firsts = {key for stage, key in done if stage == "first"}
    late = {key for key in firsts if ("second", key) not in done and ("second", group(key)) not in given_up}
    assert not late, f"first steps whose second never came: {sorted(late)}"
    counted = Counter(resolution for _, _, resolution in found if resolution != "open")
    by_all = Counter(resolved)
    by_all["replayed"] += connection.execute(_BY_BULKS).scalar_one()
    assert counted == +by_all, f"letters {counted}, operators {by_all}"
