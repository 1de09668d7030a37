"""Policies of triage: from a draft by way of the shadow into force and back, and never over somebody's head."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from pipeline.command import Ask, Command
from pipeline.commands.triage_policies import ACTIVATE, DRAFT, ROLL_BACK, SHADOW, STOP_SHADOW
from pipeline.commands.triage_policy_arguments import PolicyActivation, PolicyDraft, PolicyNote, PolicyRollback
from pipeline.core.principals import Scope
from pipeline.core.triage_policy import BUILT_IN, TriagePolicy
from pipeline.runtime import triage_policies
from pipeline.runtime.db import Database
from tests import factories
from tests.commands.racing import race
from tests.commands.staffed import Staffed, staff

NOTE, WHY = PolicyNote(), PolicyRollback(reason="it asked too much")


@dataclass
class House(Staffed):
    """One organization."""

    speaker = "admin"

    @classmethod
    def of(cls, db: Database) -> House:
        """Build one."""
        with db.begin() as connection:
            org_id = factories.organization(connection)
            return cls(db, org_id, staff(connection, org_id, {"admin": "admin", "dispatcher": "dispatcher"}))

    def draft(self, below: int = 70, **more: Any) -> int:
        """Draft a version; return its number."""
        asked = PolicyDraft(policy={"verification": {"below": below}}, reason="doubts", **more)
        return int(self.run(DRAFT, asked).body["version"])

    def activate(self, number: int, replaces: int | None) -> dict[str, Any]:
        """Put a version into force."""
        return self.run(ACTIVATE, PolicyActivation(replaces=replaces), str(number)).body

    def states(self) -> dict[int, str]:
        """Return where every version stands."""
        return dict(self.rows("SELECT version, state FROM triage_policies WHERE org_id = :org ORDER BY version"))

    def walks(self) -> int:
        """Return how many walks were asked for."""
        return int(self.one("SELECT count(*) FROM jobs WHERE stage = 'retriage'")[0])

    def below(self) -> int:
        """Return a rule of the policy in force."""
        with self.db.begin() as connection:
            return triage_policies.active(connection, self.org_id).policy.verification.below


@pytest.fixture
def house(db: Database) -> House:
    return House.of(db)


def test_from_a_draft_by_way_of_the_shadow_into_force_and_back(house: House) -> None:
    drafted = house.run(DRAFT, PolicyDraft(policy={"quiet_days": 9, "verification": {"below": 70}}, reason=" doubts "))
    assert (drafted.status, drafted.body["version"], drafted.body["state"]) == (201, 1, "draft")
    assert drafted.body["reason"] == "doubts"
    assert drafted.body["diff"] == {
        "quiet_days": {"before": 30, "after": 9}, "verification.below": {"before": 65, "after": 70},
    }  # fmt: skip
    assert (house.below(), house.walks()) == (65, 0)
    assert house.run(SHADOW, NOTE, "1").body["state"] == "shadow"
    assert (house.below(), house.walks()) == (65, 2)
    assert house.activate(1, replaces=0)["state"] == "active"
    assert (house.below(), house.walks()) == (70, 4)
    back = house.run(ROLL_BACK, WHY, "0").body
    assert (back["version"], back["state"], back["source_version"]) == (2, "active", 0)
    assert (house.below(), house.states(), house.walks()) == (65, {1: "retired", 2: "active"}, 6)
    again = house.run(ROLL_BACK, WHY, "1").body
    assert (again["version"], again["source_version"], house.below()) == (3, 1, 70)
    said = ["draft", "shadow", "activate", "roll_back", "roll_back"]
    assert house.trail() == [(f"triage_policy.{word}", "done", None) for word in said]
    told = house.rows("SELECT data #>> '{triage_policy,version}' FROM events WHERE kind = 'policy.changed' ORDER BY id")
    assert told == [("1",), ("2",), ("3",)]


def test_the_trail_says_what_changed_and_why(house: House) -> None:
    house.activate(house.draft(71), replaces=0)
    details = [row[0] for row in house.rows("SELECT data FROM audit_details WHERE org_id = :org ORDER BY number")]
    assert [one["changes"]["verification.below"] for one in details] == [{"before": 65, "after": 71}] * 2
    assert (details[0]["reason"], details[1]["replaces"]) == ("doubts", 0)


def test_a_draft_begins_with_the_version_that_is_named(house: House) -> None:
    house.activate(house.draft(70), replaces=0)
    made = house.run(DRAFT, PolicyDraft(policy={"quiet_days": 5}, from_version=0, reason="anew")).body
    assert made["policy"] == TriagePolicy.change(BUILT_IN, {"quiet_days": 5}).stored()
    assert set(made["diff"]) == {"quiet_days", "verification.below"}


def test_the_shadow_has_room_for_one_and_takes_back_what_is_retired(house: House) -> None:
    first, second = house.draft(70), house.draft(71)
    house.run(SHADOW, NOTE, str(first))
    house.run(SHADOW, NOTE, str(second))
    assert house.states() == {first: "retired", second: "shadow"}
    house.run(SHADOW, NOTE, str(first))
    assert house.run(STOP_SHADOW, NOTE, str(first)).body["state"] == "retired"
    assert house.states() == {first: "retired", second: "retired"}


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        ({}, "NO_CHANGE", "nothing differs"),
        ({"verification": {"below": 65}}, "NO_CHANGE", "nothing differs"),
        ({"verification": {"beneath": 65}}, "INVALID_POLICY", "there is no rule 'verification.beneath'"),
        ({"magic": 1}, "INVALID_POLICY", "there is no rule 'magic'"),
        ({"mode": "guess"}, "INVALID_POLICY", "mode"),
        ({"verification": {"below": 101}}, "INVALID_POLICY", "verification.below"),
        ({"verification": {"below": "70"}}, "INVALID_POLICY", "verification.below"),
        ({"verification": {"question": "Is {charger} dark?"}}, "INVALID_POLICY", "only {asset} may stand in braces"),
        ({"keywords": {"network": ["two words"]}}, "INVALID_POLICY", "keywords.network.0"),
        ({"weights": 7}, "INVALID_POLICY", "weights"),
        ({"weights": {"down": float("nan")}}, "INVALID_POLICY", ""),
        ({"verification": {"question": "\ud800"}}, "INVALID_POLICY", ""),
    ],
)
def test_what_cannot_be_a_policy_is_refused_in_words(house: House, said: Any, code: str, words: str) -> None:
    refusal = house.refused(DRAFT, PolicyDraft(policy=said, reason="x"))
    assert (refusal.code, refusal.because.value) == (code, "invalid")
    assert words in refusal.said
    assert house.states() == {}


def test_each_step_is_refused_where_it_may_not_be_done(house: House) -> None:
    first, second = house.draft(70), house.draft(71)
    house.activate(first, replaces=0)
    stale, none = PolicyActivation(replaces=0), PolicyActivation()
    asked: list[tuple[Command[Any, Any], Any, int | str, str]] = [
        (DRAFT, PolicyDraft(policy={"quiet_days": 1}, from_version=9, reason="x"), "", "UNKNOWN_VERSION"),
        (SHADOW, NOTE, first, "ALREADY_ACTIVE"),
        (SHADOW, NOTE, 0, "BUILT_IN"),
        (STOP_SHADOW, NOTE, second, "NOT_SHADOW"),
        (ACTIVATE, stale, first, "ALREADY_ACTIVE"),
        (ACTIVATE, stale, 0, "RETIRED"),
        (ACTIVATE, stale, second, "STALE_VERSION"),
        (ACTIVATE, none, second, "REPLACES_REQUIRED"),
        (ROLL_BACK, WHY, first, "ALREADY_ACTIVE"),
        (ROLL_BACK, WHY, second, "NEVER_ACTIVE"),
        *((SHADOW, NOTE, name, "UNKNOWN_VERSION") for name in (99, -1, "x", "1.0", "\u0663", 2**40, "9" * 5000)),
    ]
    assert [house.refused(command, said, target).code for command, said, target, _ in asked] == [
        code for *_, code in asked
    ]
    assert house.states() == {first: "active", second: "draft"}
    house.run(SHADOW, NOTE, str(second))
    assert house.refused(SHADOW, NOTE, second).code == "ALREADY_SHADOW"
    house.activate(second, replaces=first)
    back = house.run(ROLL_BACK, WHY, str(first)).body["version"]
    assert house.refused(ROLL_BACK, WHY, first).code == "NO_CHANGE"
    assert house.refused(ACTIVATE, PolicyActivation(replaces=back), second).code == "RETIRED"


def test_a_reason_has_no_control_characters() -> None:
    for said in ("", "   ", "a\x00b", "x" * 501):
        with pytest.raises(ValidationError):
            PolicyRollback(reason=said)


def test_what_the_caller_has_seen_may_be_said_as_if_match(house: House) -> None:
    first, second = house.draft(70), house.draft(71)
    house.run(ACTIVATE, PolicyActivation(), str(first), version=0)
    assert house.refused(ACTIVATE, PolicyActivation(), str(second), version=0).code == "STALE_VERSION"
    assert house.refused(DRAFT, PolicyDraft(policy={"quiet_days": 2}, reason="x"), version=0).code == "STALE_VERSION"
    assert house.run(ACTIVATE, PolicyActivation(), str(second), version=first).version == second


def test_of_many_at_once_one_is_put_into_force_and_the_others_are_told(house: House) -> None:
    drafts = race(house.db, [(DRAFT, _draft(house, below)) for below in range(70, 74)])
    numbers = sorted(one.body["version"] for one in drafts)
    assert numbers == [1, 2, 3, 4]
    wish = PolicyActivation(replaces=0)
    found = race(house.db, [(ACTIVATE, house.ask(wish, target=str(number))) for number in numbers])
    assert sorted(getattr(one, "code", "in force") for one in found) == ["STALE_VERSION"] * 3 + ["in force"]
    assert sorted(house.states().values()) == ["active", "draft", "draft", "draft"]
    backs = race(house.db, [(ROLL_BACK, house.ask(WHY, target="0")) for _ in range(3)])
    assert sorted(getattr(one, "code", "in force") for one in backs) == ["NO_CHANGE"] * 2 + ["in force"]


def _draft(house: House, below: int) -> Ask[Any]:
    return house.ask(PolicyDraft(policy={"verification": {"below": below}}, reason="race"))


def test_who_may_not_or_reaches_a_part_changes_nothing(house: House, db: Database) -> None:
    number = house.draft()
    narrow = replace(house.people["admin"], scope=Scope(account_ids=frozenset({UUID(int=1)})))
    wish = PolicyActivation(replaces=0)
    assert house.refused(ACTIVATE, wish, number, by="dispatcher").code == "FORBIDDEN"
    assert house.refused(ACTIVATE, wish, number, by=narrow).code == "FORBIDDEN"
    assert House.of(db).refused(ACTIVATE, wish, number).code == "UNKNOWN_VERSION"
    assert house.states() == {number: "draft"}


def test_an_organization_has_so_many_versions_at_most(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.commands.triage_policies.MOST_VERSIONS", 1)
    house.draft()
    assert house.refused(DRAFT, PolicyDraft(policy={"quiet_days": 2}, reason="x")).code == "TOO_MANY_VERSIONS"
