"""Routing by hand: rules listed, a ticket explained, a rule set from a file tried on past mail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.cli.conftest import Command
from tests.factories import mail
from tests.stages.test_assignment import person
from tests.stages.test_routing import queue, rule
from tests.stages.world import World


@pytest.fixture
def world(db: Database, served: Settings) -> World:
    return World(db)


def test_rules_are_listed_and_a_ticket_is_explained(fieldpost: Command, world: World) -> None:
    desk = queue(world, "desk")
    person(world, "ann", desk)
    rule(world, name="Sales", priority=1, match_recipient_pattern="sales@*", add_tags=["s"])
    rule(world, name="Desk", priority=2, queue_id=desk, strategy="round_robin")
    (found,) = world.routed(mail())
    code = world.ticket_of(found).code
    listed = fieldpost("routing", "rules")
    assert listed.code == 0
    assert listed.out.index("Sales") < listed.out.index("Desk")
    assert [one["name"] for one in fieldpost("routing", "rules", "--json").json] == ["Sales", "Desk"]
    said = fieldpost("routing", "trace", code).out
    assert all(word in said for word in ("missed by recipient", "ann@acme.example", "got it", code))
    told = fieldpost("routing", "trace", code, "--json").json
    assert (told["decision"]["rule_name"], told["assignment"]["person_name"]) == ("Desk", "ann@acme.example")
    missing = fieldpost("routing", "trace", "tkt-nothing")
    assert (missing.code, "there is no ticket 'tkt-nothing'" in missing.err) == (2, True)
    rule(world, name="Broken", match_subject_pattern="(", add_tags=["s"])
    broken = fieldpost("routing", "rules")
    assert (broken.code, "cannot be compiled" in broken.out) == (1, True)


def test_a_file_of_rules_is_tried_on_past_mail(fieldpost: Command, world: World, tmp_path: Path) -> None:
    rule(world, name="All", add_tags=["all"])
    (one, _) = world.routed(mail("The charger"), mail("Something else"))
    assert fieldpost("routing", "simulate").code == 0
    file = tmp_path / "rules.json"
    file.write_text(
        json.dumps(
            [
                {"name": "New", "priority": 1, "match_subject_pattern": "charger", "action_add_tags": ["new"]},
                {"name": "All", "action_add_tags": ["all"]},
            ]
        )
    )
    tried = fieldpost("routing", "simulate", "--rules", file)
    assert tried.code == 1
    assert world.ticket_of(one).code in tried.out
    assert "1 of 2 tickets would be decided otherwise: tags 1" in tried.err
    told = fieldpost("routing", "simulate", "--rules", file, "--json").json
    assert [(item["then"]["rule_name"], item["now"]["rule_name"]) for item in told["items"]] == [("All", "New")]
    wrong = {
        "[": "is no JSON",
        "[{}]": "rule 1 of the set: a rule needs an action",
        '[{"priority": -1}]': "rules.0.priority",
        '{"allowlist": ["a["]}': "pattern: the [ at position 2",
        '[{"match_subject_pattern": "(", "action_drop": true}]': "match_subject_pattern: pattern '('",
    }
    for content, said in wrong.items():
        file.write_text(content)
        refused = fieldpost("routing", "simulate", "--rules", file)
        assert (refused.code, said in refused.err) == (2, True), refused.err
    assert fieldpost("routing", "simulate", "--rules", tmp_path / "none.json").code == 2
