"""`fieldpost triage truth` and `calibrate`: what came true, told as tables, and learned of as a policy's file."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests import factories
from tests.cli.conftest import Command

#: The formula said that much, and so many of twenty were real: less than it promised, and rising.
SEEN = {71: 10, 85: 13, 99: 17}
_ASSESSED = """
    INSERT INTO case_assessments (org_id, case_id, version, because, policy_version, priority_score, confidence,
                                  formula_hundredths, recommended_action, signal_count)
    SELECT org_id, id, 0, 'signals', 0, priority_score, confidence, round(100 * confidence), recommended_action, 1
      FROM cases WHERE org_id = :org
"""


@pytest.fixture
def org(db: Database) -> UUID:
    """An organization whose cases promised more than they kept."""
    with db.begin() as connection:
        org_id = factories.organization(connection, "Acme")
        for said, real in SEEN.items():
            for number in range(20):
                asset_id = factories.asset(connection, org_id, f"T-{said}-{number}")
                case_id = factories.case(connection, org_id, asset_id, confidence=said / 100)
                # Spread, as no order tells what came true.
                is_real = (number * 7) % 20 < real
                connection.execute(
                    text("UPDATE cases SET is_real = :real WHERE id = :id"), {"real": is_real, "id": case_id}
                )
        connection.execute(text(_ASSESSED), {"org": org_id})
        factories.case(connection, org_id, factories.asset(connection, org_id, "T-0"))
    return org_id


def test_what_came_true_is_told_by_policy_with_its_diagram(fieldpost: Command, served: Settings, org: UUID) -> None:
    done = fieldpost("triage", "truth", "--json")
    assert done.code == 0, done.err
    (policy,) = done.json["policies"]
    assert (policy["known"], policy["real"], policy["false_dispatches"]) == (60, 40, 20)
    assert policy["expected_calibration_error"] == pytest.approx(0.1833, abs=1e-4)
    assert done.json["compare"]["counts"]["cases"] == 61
    said = fieldpost("triage", "truth")
    assert (said.code, "certainty from" in said.out, "0.65" in said.out) == (0, True, True)
    assert "of 60 of 61 cases it is known" in said.err
    assert "No cases in this time." in fieldpost("triage", "truth", "--since", "2100-01-01").out


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_what_certainties_mean_is_learned_and_drafted(
    fieldpost: Command, served: Settings, org: UUID, tmp_path: Path, method: str
) -> None:
    out = tmp_path / "calibration.json"
    done = fieldpost("triage", "calibrate", "--method", method, "--out", out, "--json")
    assert done.code == 0, done.err
    assert (done.json["cases"], done.json["left_out"]) == (60, 0)
    assert done.json["after"]["expected_calibration_error"] < done.json["before"]["expected_calibration_error"]
    points = json.loads(out.read_bytes())["calibration"]["points"]
    assert points[0][0] == 71
    assert points == done.json["calibration"]["points"]
    drafted = fieldpost("triage", "policy", "draft", out, "--reason", "calibrated", "--json")
    assert drafted.code == 0, drafted.err


def test_what_another_formula_said_is_left_out_and_counted(
    fieldpost: Command, served: Settings, db: Database, org: UUID
) -> None:
    with db.begin() as connection:
        factories.triage_policy(connection, org, doubts={"start": 80})
    done = fieldpost("triage", "calibrate")
    assert (done.code, "60 more were decided by versions whose formula" in done.err) == (1, True)
    told = fieldpost("triage", "calibrate", "--json").json
    assert (told["cases"], told["left_out"]) == (0, 60)


def test_too_little_and_wrong_input_are_told_in_one_line(
    fieldpost: Command, served: Settings, org: UUID, tmp_path: Path
) -> None:
    few = fieldpost("triage", "calibrate", "--since", "2100-01-01")
    assert (few.code, "at least 30 are needed" in few.err) == (1, True)
    told = fieldpost("triage", "calibrate", "--since", "2100-01-01", "--json")
    assert (told.code, told.json["cases"], told.json["calibration"]) == (1, 0, None)
    for arguments, said in (
        (("calibrate", "--method", "guess"), "isotonic or platt"),
        (("truth", "--since", "soon"), "write a day like"),
        (("calibrate", "--out", tmp_path / "none" / "x.json"), "cannot be written"),
    ):
        done = fieldpost("triage", *arguments)
        assert (done.code, said in done.err, done.err.count("\n")) == (2, True, 1), done.err
