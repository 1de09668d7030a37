"""From version 7 to 8: what settings said of triage is a policy, and old cases and questions have their names."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from models import schema
from models.enums import AssessedBecause, CaseEnd, TriageMode
from pipeline.core.triage_policy import BUILT_IN, TriagePolicy
from pipeline.runtime import case_rows, triage_policies
from pipeline.runtime.db import Database
from tests.factories import rows, value

_ORG = "INSERT INTO organizations (name, policy) VALUES (:name, :policy) RETURNING id"
_ASSET = "INSERT INTO assets (org_id, tag) VALUES (:org, :tag) RETURNING id"
_CASE = """
    INSERT INTO cases (org_id, asset_id, mode, state, priority_score, sla_hours, root_cause_tag, confidence,
                       recommended_action, grid_stress_level, explanation, verification_required, assessed_at)
    VALUES (:org, :asset, :mode, :state, 64, 8, 'unknown', 0.64, 'needs_verification', 'elevated', 'old', true,
            now() - interval '1 day') RETURNING id
"""
_SIGNAL = """
    INSERT INTO signals (org_id, asset_id, case_id, source, reporter, at, status, text, rules_version)
    VALUES (:org, :asset, :case, 'mail', 'ann@x.example', now() - make_interval(hours => :hours), 'degraded', 'slow', 1)
"""
_TASK = """
    INSERT INTO verification_tasks (org_id, case_id, question, owner, status, result)
    VALUES (:org, :case, 'Is it so?', 'FieldOps', :status, :result)
"""
DISPATCH = {"automatic": False, "least_certainty": 70, "least_priority": 50}
SETTINGS = {
    "triage_mode": "baseline", "auto_dispatch": False, "min_confidence": 0.7, "min_priority": 50,
    "reopen_after_days": 5, "acknowledge": True,
}  # fmt: skip


def run(connection: Connection, statement: str, **values: Any) -> Any:
    result = connection.execute(text(statement), values)
    return result.scalar_one() if result.returns_rows else None


def policy_of(db: Database, org_id: UUID) -> triage_policies.Version:
    with db.begin() as connection:
        return triage_policies.active(connection, org_id)


@pytest.fixture
def old(db: Database) -> Database:
    """A database of the version before."""
    with db.begin() as connection:
        schema.undo(connection, "0007")
    return db


@pytest.mark.parametrize(
    ("settings", "version", "changes"),
    [
        (SETTINGS, 1, {"mode": "baseline", "dispatch": DISPATCH}),
        ({"auto_dispatch": True}, 1, {}),
        ({"min_confidence": 1}, 1, {"dispatch": {"least_certainty": 100}}),
        ({"reopen_after_days": 5, "acknowledge": True}, 0, {}),
        ({}, 0, {}),
    ],
)  # fmt: skip
def test_settings_become_the_policy_that_is_in_force(
    old: Database, settings: dict[str, Any], version: int, changes: dict[str, Any]
) -> None:
    with old.begin() as connection:
        org_id = run(connection, _ORG, name="Acme", policy=Jsonb(settings))
        schema.migrate(connection)
    found = policy_of(old, org_id)
    assert (found.number, found.policy) == (version, TriagePolicy.change(BUILT_IN, changes))
    with old.begin() as connection:
        kept = triage_policies.one(connection, org_id, version)
    assert kept is not None
    assert kept.state == "active"


def test_old_cases_and_questions_have_names_and_are_assessed_further(old: Database) -> None:
    with old.begin() as connection:
        org_id = run(connection, _ORG, name="Acme", policy=Jsonb({}))
        assets = [run(connection, _ASSET, org=org_id, tag=tag) for tag in ("AUS 1", "AUS_1", "B")]
        cases = [
            run(connection, _CASE, org=org_id, asset=asset, mode="certainty", state=state)
            for asset, state in zip(assets, ("open", "open", "closed"), strict=True)
        ]
        for hours, (asset, case) in enumerate(zip(assets, cases, strict=True)):
            run(connection, _SIGNAL, org=org_id, asset=asset, case=case, hours=hours + 1)
        run(connection, _TASK, org=org_id, case=cases[0], status="done", result="needs_more_data")
        run(connection, _TASK, org=org_id, case=cases[0], status="open", result=None)
        schema.migrate(connection)
    named = rows(old, "SELECT code, state, closed_because, signal_count FROM cases ORDER BY id")
    assert [tuple(row) for row in named] == [
        ("case_aus_1", "open", None, 1), ("case_aus_1__2", "open", None, 1), ("case_b", "closed", "quiet", 1),
    ]  # fmt: skip
    questions = rows(old, "SELECT code, status, ended_at IS NULL AS is_open FROM verification_tasks ORDER BY id")
    assert [tuple(row) for row in questions] == [("ver_aus_1", "done", False), ("ver_aus_1__2", "open", True)]
    with old.begin() as connection:
        run(
            connection,
            "UPDATE signals SET at = now(), status = 'down', case_id = NULL WHERE asset_id = :b",
            b=assets[2],
        )
        assessed = case_rows.assess(connection, assets, AssessedBecause.SIGNALS)
        case_rows.close(connection, [assets[0]], CaseEnd.QUIET)
        run(connection, "UPDATE signals SET case_id = NULL WHERE asset_id = :a", a=assets[0])
        again = case_rows.assess(connection, [assets[0]], AssessedBecause.SIGNALS)
    assert [one.code for one in sorted(assessed, key=lambda one: assets.index(one.asset_id))][2] == "case_b__2"
    assert [one.code for one in again] == ["case_aus_1__3"]
    modes = "SELECT count(DISTINCT mode) FROM cases WHERE asset_id = :asset"
    assert [value(old, modes, asset=asset) for asset in assets] == [len(TriageMode)] * 3


def test_it_goes_down_and_up_again_with_what_was_made_meanwhile(db: Database) -> None:
    with db.begin() as connection:
        org_id = run(connection, _ORG, name="Acme", policy=Jsonb({"triage_mode": "baseline"}))
        asset = run(connection, _ASSET, org=org_id, tag="A")
        case = run(connection, _CASE, org=org_id, asset=asset, mode="certainty", state="open")
        run(connection, _TASK, org=org_id, case=case, status="open", result=None)
        run(connection, "UPDATE verification_tasks SET status = 'superseded', ended_at = now()")
        schema.undo(connection, "0007")
        schema.migrate(connection)
        assert schema.drift(connection) == []
    assert policy_of(db, org_id).policy.mode is TriageMode.BASELINE
    assert [row.code for row in rows(db, "SELECT code FROM cases")] == ["case_a"]
