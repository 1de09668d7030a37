"""`fieldpost triage simulate, tune, backtest`: policies measured in fleets and in what really happened."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID
from xml.etree import ElementTree as ET

import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from pipeline.core.triage_policy import BUILT_IN, TriagePolicy
from pipeline.runtime import triage_histories
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests import factories
from tests.cli.conftest import Command

SMALL = ("--assets", "24", "--days", "8", "--processes", "1")
TINY = ("--assets", "12", "--days", "5", "--processes", "1")
OPENED = datetime(2026, 3, 2, 8, tzinfo=UTC)


def recorded(connection: Connection, org: UUID, number: int, statuses: str, is_real: bool | None) -> UUID:
    """Insert a case with signals an hour apart (d down, g degraded, o online, u unknown), and its truth."""
    asset = factories.asset(connection, org, f"T{number}")
    case = factories.case(connection, org, asset)
    connection.execute(
        text("UPDATE cases SET is_real = :real, created_at = :at WHERE id = :id"),
        {"real": is_real, "at": OPENED + timedelta(days=number), "id": case},
    )
    words = {"d": "down", "g": "degraded", "o": "online", "u": "unknown"}
    connection.execute(
        text("""
            INSERT INTO signals (org_id, asset_id, case_id, source, reporter, at, status, text, rules_version,
                                 external_id)
            SELECT :org, :asset, :case, 'ugc', '', at, status, 'words of a person', 0,
                   'sig_' || CAST(:number AS text) || '_' || nr
              FROM unnest(CAST(:times AS timestamptz[]), CAST(:statuses AS text[])) WITH ORDINALITY AS t(at, status, nr)
        """),
        {
            "org": org, "asset": asset, "case": case, "number": str(number),
            "times": [OPENED + timedelta(days=number, hours=hour) for hour in range(len(statuses))],
            "statuses": [words[one] for one in statuses],
        },
    )  # fmt: skip
    return case


@pytest.fixture
def org(db: Database) -> UUID:
    """An organization in which false reports flicker, and real ones go on."""
    with db.begin() as connection:
        org_id = factories.organization(connection, "Acme")
        for number in range(34):
            recorded(connection, org_id, number, "ddd" if number % 3 == 0 else "od", number % 3 == 0)
        recorded(connection, org_id, 40, "d", None)
        recorded(connection, org_id, 41, "u", True)
    return org_id


def test_recorded_cases_are_replayed_under_both_policies_and_drawn(
    fieldpost: Command, served: Settings, org: UUID, tmp_path: Path
) -> None:
    where = tmp_path / "triage.svg"
    asked = ("triage", "backtest", "--policy", "baseline", "--policy", "built-in", "--since", "2026-03-01")
    done = fieldpost(*asked, "--picture", where, "--json")
    assert done.code == 0, done.err
    told = done.json
    assert told["cases"] == {"real": 13, "not_real": 22, "unknown": 1, "is_enough": True, "is_whole": True}
    a, b = told["comparison"]["a"], told["comparison"]["b"]
    assert (a["wasted"], a["criticals"], a["questions"]) == (22, 12, 0)
    assert b["wasted"] < 10 < b["questions"]
    assert told["comparison"]["reduction"]["low"] > 40
    assert told["calibration"]["b"]["told"]["count"] > 30
    assert "1 without were left out" in done.err
    assert ET.parse(where).getroot().tag.endswith("svg")
    said = fieldpost(*asked).out
    assert "fewer wasted visits, %" in said
    assert "calibration error" in said


def test_too_little_truth_is_said(fieldpost: Command, served: Settings, org: UUID) -> None:
    done = fieldpost(
        "triage", "backtest", "--policy", "baseline", "--policy", "built-in", "--since", "2026-03-20", "--until",
        "2026-04-01",
    )  # fmt: skip
    assert done.code == 1
    assert "this is too little to tell policies apart: at least 30 cases" in done.err


def test_a_policy_is_named_by_version_or_file(fieldpost: Command, served: Settings, org: UUID, db: Database) -> None:
    policy = TriagePolicy.change(BUILT_IN, {"verification": {"below": 0}})
    with db.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO triage_policies (org_id, version, policy, checksum, created_by)
                VALUES (:org, 7, :policy, :checksum, 'test')
            """),
            {"org": org, "policy": Jsonb(policy.stored()), "checksum": policy.checksum},
        )
    Path("policy.json").write_text(json.dumps({"verification": {"below": 0}}), encoding="utf-8")
    told = fieldpost(
        "triage", "backtest", "--policy", "7", "--policy", "policy.json", "--since", "2026-03-01", "--json"
    ).json
    assert told["comparison"]["a"] == told["comparison"]["b"]
    assert told["comparison"]["a"]["questions"] == 0
    missing = fieldpost("triage", "backtest", "--policy", "8", "--policy", "0", "--since", "2026-03-01")
    assert (missing.code, "there is no version 8" in missing.err) == (2, True)


def test_recorded_cases_are_read_in_pages_of_one_organization_and_bounded(
    served: Settings, org: UUID, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triage_histories, "_PAGE", 7)
    span = (OPENED - timedelta(days=9), OPENED + timedelta(days=99))
    with db.begin() as connection:
        other = factories.organization(connection, "Other")
        recorded(connection, other, 50, "d", True)
        whole = triage_histories.read(connection, org, *span)
        some = triage_histories.read(connection, org, *span, most=20)
        none = triage_histories.read(connection, org, span[1], span[1])
    assert (whole.known, whole.real, whole.unknown, whole.is_whole) == (35, 13, 1, True)
    assert len(whole.history.reports) == 12 * 3 + 22 * 2 + 1
    assert {one.signal.text for one in whole.history.reports} == {""}
    assert (some.known, some.is_whole) == (20, False)
    assert (none.known, none.unknown, none.history.reports) == (0, 0, ())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("simulate", "--seeds", "5-1"), "seeds go from low to high"),
        (("simulate", "--seeds", "x"), "write seeds like 1-20"),
        (("simulate", "--seeds", "1-900"), "at most 200 of them"),
        (("simulate", "--policy", "nowhere.json"), "nowhere.json: No such file or directory; or name"),
        (("tune", "--seeds", "1-5", "--report", "5-9"), "--report must not overlap --seeds"),
        (("backtest", "--policy", "tuned", "--since", "2026-01-01"), "name two policies"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_line(fieldpost: Command, arguments: tuple[str, ...], said: str) -> None:
    done = fieldpost("triage", *arguments)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "is no JSON"), ("[]", "holds no JSON object"), ('{"doubts": {"x": 1}}', "there is no rule 'doubts.x'")],
)
def test_a_file_that_holds_no_policy_is_refused(fieldpost: Command, content: str, said: str) -> None:
    Path("policy.json").write_text(content, encoding="utf-8")
    done = fieldpost("triage", "simulate", "--policy", "policy.json")
    assert (done.code, said in done.err) == (2, True)


def test_fleets_are_simulated_without_a_database_and_the_same_again(fieldpost: Command) -> None:
    asked = ("triage", "simulate", "--seeds", "1-2", "--policy", "built-in", *SMALL)
    once, again = fieldpost(*asked, "--json"), fieldpost(*asked, "--json")
    assert once.code == 0, once.err
    assert once.json == again.json
    assert [one["seed"] for one in once.json["by_seed"]] == [1, 2]
    assert once.json["comparison"]["a"]["wasted"] > 0
    said = fieldpost(*asked, "--picture", "fleet.svg").out
    assert "built-in instead of baseline" in said
    assert ET.parse("fleet.svg").getroot().tag.endswith("svg")


@pytest.mark.soak
def test_a_tuned_policy_is_written_and_can_be_simulated(fieldpost: Command) -> None:
    asked = ("triage", "tune", "--seeds", "1-2", "--report", "11", "--tries", "4", *TINY)
    done = fieldpost(*asked, "--out", "policy.json", "--json")
    assert done.code in {0, 1}, done.err
    policy = TriagePolicy.change(BUILT_IN, json.loads(Path("policy.json").read_text(encoding="utf-8")))
    assert policy.calibration.points
    assert policy.dispatch.least_certainty == min(policy.verification.below, 97)
    assert fieldpost("triage", "simulate", "--policy", "policy.json", "--seeds", "11", *TINY).code == 0
    fieldpost(*asked, "--out", "again.json")
    assert Path("again.json").read_bytes() == Path("policy.json").read_bytes()
