"""The policy of triage by hand: shown, drafted from files and words, tried, put into force, and taken back."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest

from pipeline.core.triage_policy import BUILT_IN, TriagePolicy
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from pipeline.stages import retriage
from tests import factories
from tests.cli.conftest import Command, trail
from tests.stages.world import World
from tests.told import tell

BY = ("triage", "policy")


@pytest.fixture(autouse=True)
def acme(db: Database) -> UUID:
    """One organization."""
    with db.begin() as connection:
        return factories.organization(connection, "Acme")


def test_the_built_in_policy_is_shown_rule_by_rule(fieldpost: Command, served: Settings) -> None:
    shown = fieldpost(*BY, "show", "--json").json
    assert (shown["version"], shown["state"], shown["policy"]) == (0, "active", BUILT_IN.stored())
    said = fieldpost(*BY, "show").out
    assert "verification.below" in said
    assert "Is charger {asset} physically offline right now?" in said
    assert [one["version"] for one in fieldpost(*BY, "list", "--json").json] == [0]


def test_from_words_to_force_and_back(fieldpost: Command, served: Settings, db: Database) -> None:
    made = fieldpost(
        *BY, "set", "verification.below=60", "dispatch.automatic=false", "quiet_days=9",
        "verification.owner=Night shift", "--reason", "fewer questions", "--json",
    )  # fmt: skip
    assert (made.code, made.json["version"], made.json["state"]) == (0, 1, "draft")
    assert made.json["policy"]["verification"]["owner"] == "Night shift"
    refused = fieldpost(*BY, "activate", "1")
    assert refused.code == 2
    assert "say which version it takes the place of: --replaces N" in refused.err
    stale = fieldpost(*BY, "activate", "1", "--replaces", "7")
    assert (stale.code, "version 0 is in force by now, not 7" in stale.err) == (2, True)
    done = fieldpost(*BY, "activate", "1", "--replaces", "0")
    assert (done.code, "version 1 is in force" in done.err) == (0, True)
    assert "verification.below" in done.out
    eased = fieldpost(*BY, "set", "verification.below=", "--reason", "as it was", "--json").json
    assert eased["diff"] == {"verification.below": {"before": 60, "after": 65}}
    back = fieldpost(*BY, "rollback", "0", "--reason", "no", "--json").json
    assert (back["version"], back["state"], back["source_version"]) == (3, "active", 0)
    assert [one.action for one in trail(db) if one.action.startswith("triage_policy.")] == [
        "triage_policy.draft", "triage_policy.activate", "triage_policy.activate", "triage_policy.draft",
        "triage_policy.roll_back",
    ]  # fmt: skip
    listed = fieldpost(*BY, "list").out
    assert "fewer questions" in listed


def test_the_shadow_is_shown(fieldpost: Command, served: Settings, db: Database, acme: UUID) -> None:
    none = fieldpost(*BY, "differences")
    assert (none.code, "nothing is in the shadow" in none.err) == (2, True)
    tell(db, acme, "A", "degraded")
    fieldpost(*BY, "set", "verification.below=60", "--reason", "x")
    fieldpost(*BY, "shadow", "1")
    assert "of 1 open cases it has said nothing yet" in fieldpost(*BY, "differences").err
    world = World.__new__(World)
    world.db, world.org_id, world.mailbox_id, world.ports = db, acme, None, None  # type: ignore[assignment]
    for _, key in world.run(retriage.STAGE, "walk").next:
        world.run(retriage.STAGE, key)
    found = fieldpost(*BY, "differences", "--json").json
    assert found["counts"] == [{"action": "needs_verification", "shadow_action": "remote_reset", "cases": 1}]
    said = fieldpost(*BY, "differences").out
    assert "case_a" in said
    assert "needs_verification -> remote_reset" in said
    assert fieldpost(*BY, "shadow", "1", "--stop", "--json").json["state"] == "retired"


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_file_holds_a_policy_or_what_changes(
    fieldpost: Command, served: Settings, tmp_path: Path, is_whole: bool
) -> None:
    changes = {"calibration": {"points": [[10, 20], [90, 80]]}}
    policy = TriagePolicy.change(BUILT_IN, changes)
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({"policy": policy.stored(), "made": "by hand"} if is_whole else changes))
    made = fieldpost(*BY, "draft", file, "--reason", "calibrated", "--json").json
    assert TriagePolicy.read(made["policy"]) == policy


def test_a_shipped_policy_is_drafted_by_its_name(fieldpost: Command, served: Settings) -> None:
    assert fieldpost(*BY, "draft", "baseline", "--reason", "x", "--json").json["policy"]["mode"] == "baseline"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("set", "verification.below", "--reason", "x"), "write NAME=VALUE"),
        (("set", "verification.beneath=1", "--reason", "x"), "there is no rule 'verification.beneath'"),
        (("set", "verification.beneath=", "--reason", "x"), "there is no rule 'verification.beneath'"),
        (("set", "verification.below=high", "--reason", "x"), "verification.below"),
        (("set", "verification.below=65", "--reason", "x"), "nothing differs"),
        (("set", "verification.below=60", "--reason", " "), "reason"),
        (("set", "verification=5", "verification.below=60", "--reason", "x"), "say one of them"),
        (("set", "verification.=5", "--reason", "x"), "there is no rule 'verification.'"),
        (("draft", "nowhere.json", "--reason", "x"), "or name a shipped policy"),
        (("draft", "n" * 300, "--reason", "x"), "or name a shipped policy"),
        (("show", "7"), "there is no version 7"),
        (("show", "seven"), "a version is a number"),
        (("shadow", "7"), "no such version"),
        (("shadow", "0"), "version 0 is in force"),
        (("rollback", "0", "--reason", "x"), "is in force already"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    fieldpost: Command, served: Settings, arguments: tuple[str, ...], said: str
) -> None:
    done = fieldpost(*BY, *arguments)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("triage_mode=baseline", "fieldpost triage policy set mode="),
        ("auto_dispatch=false", "fieldpost triage policy set dispatch.automatic="),
        ("min_confidence=0.7", "fieldpost triage policy set dispatch.least_certainty="),
        ("min_priority=50", "fieldpost triage policy set dispatch.least_priority="),
        ("reopen_after_days=7", "never decided anything and is gone"),
    ],
)
def test_settings_that_moved_say_where_to(fieldpost: Command, served: Settings, value: str, said: str) -> None:
    done = fieldpost("policy", "set", value)
    assert (done.code, said in done.err, len(done.err.strip().splitlines())) == (2, True, 1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"verification": {"below": NaN}}', "is no JSON"),
        (b'{"verification": {"below": 1e999}}', "is no JSON"),
        (b'{"verification": {"below": 123456789012345678901234567890}}', "verification.below"),
        (b'{"verification": {"below": ' + b"[" * 900 + b"]" * 900 + b"}}", "recursion limit exceeded"),
        (b"[" * 5_000, "is no JSON"),
        (b"[]", "holds no JSON object"),
        (b"\xff\xfe{", "is no JSON"),
        (b" " * 1_048_577, "is larger than a policy can be"),
    ],
)
def test_a_file_that_is_no_policy_is_refused_in_one_line(
    fieldpost: Command, served: Settings, tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "policy.json"
    file.write_bytes(content)
    done = fieldpost(*BY, "draft", file, "--reason", "x")
    assert (done.code, said in done.err, len(done.err.strip().splitlines())) == (2, True, 1), done.err
