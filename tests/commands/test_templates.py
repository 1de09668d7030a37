"""Incident templates: six are built in, an organization's own are versions, and tickets keep theirs."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID

import pytest

from pipeline.commands import closing
from pipeline.commands.templates import BadTemplate, StaleTemplate, reset_template, set_template
from pipeline.core.evidence import SIGNATURE_KEY
from pipeline.runtime import template_rows
from pipeline.runtime.db import Database
from tests.commands.field_desk import FieldDesk
from tests.commands.site_steps import DOOR_KEYS, POINTS, prove, report
from tests.commands.site_work import on_site

#: Incident type -> its three keys, and whether it is of high risk (seed-behaviours, 1.7 and 1.8).
BUILT_IN = {
    "DOOR_WONT_LATCH": (DOOR_KEYS, False),
    "CLOSER_LEAKING_OR_SLAMMING": (
        (
            "photo_before_closer_body",
            "photo_after_closer_or_adjustment",
            "note_sweep_and_latch_speed_settings",
        ),
        False,
    ),
    "AUTO_OPERATOR_FAULT": (
        ("photo_before_operator_and_sensors", "photo_after_operator_and_sensors", "note_cycle_and_sensor_tests"),
        True,
    ),
    "CANNOT_SECURE_ENTRY": (
        (
            "photo_before_security_risk",
            "photo_after_temporary_or_permanent_securement",
            "note_risk_mitigation_and_customer_handoff",
        ),
        True,
    ),
    "HARDWARE_REPLACEMENT": (
        ("photo_before_failed_hardware", "photo_after_installed_hardware", "note_part_numbers_and_function_test"),
        False,
    ),
    "FRAME_OR_GLASS_DAMAGE": (
        (
            "photo_before_damage_extent",
            "photo_after_repair_or_board_up",
            "note_safety_actions_and_follow_up_scope",
        ),
        True,
    ),
}
OWN = {"name": "Our doors", "evidence_keys": ["photo_door"], "checklist_keys": ["closes"]}


@pytest.fixture
def desk(db: Database) -> FieldDesk:
    return FieldDesk.of(db)


def put(desk: FieldDesk, incident: str = "DOOR_WONT_LATCH", version: int | None = None, **said: Any) -> Any:
    with desk.db.begin() as connection:
        return set_template(connection, desk.org_id, incident, {**OWN, **said}, actor="ann", version=version)


def current(desk: FieldDesk, incident: str = "DOOR_WONT_LATCH") -> Any:
    with desk.db.begin() as connection:
        return template_rows.current(connection, desk.org_id, incident)


def test_the_six_of_the_contract_are_built_in(desk: FieldDesk) -> None:
    with desk.db.begin() as connection:
        found = template_rows.in_force(connection, desk.org_id, limit=100)
    assert {row.incident_type: (tuple(row.evidence_keys), row.is_high_risk) for row in found} == {
        name: ((*keys, SIGNATURE_KEY), is_risky) for name, (keys, is_risky) in BUILT_IN.items()
    }
    assert {tuple(row.checklist_keys) for row in found} == {POINTS}


@pytest.mark.parametrize("said", [" door_wont_latch ", "Door_Wont_Latch"])
def test_a_type_is_looked_up_in_upper_case_without_spaces(desk: FieldDesk, said: str) -> None:
    assert current(desk, said).incident_type == "DOOR_WONT_LATCH"
    assert current(desk, "DOOR_WONT_LATCH_V1") is None


def test_each_change_is_a_version_and_the_same_again_is_none(desk: FieldDesk) -> None:
    assert (put(desk).version, put(desk).version) == (1, 1)
    assert put(desk, visit_minutes=90).version == 2
    assert current(desk).evidence_keys == ("photo_door",)
    with desk.db.begin() as connection:
        versions = template_rows.versions(connection, desk.org_id, "DOOR_WONT_LATCH", limit=10)
        assert reset_template(connection, desk.org_id, "door_wont_latch")
        assert not reset_template(connection, desk.org_id, "door_wont_latch")
    assert [(row.org_id, row.version, row.is_current) for row in versions] == [
        (desk.org_id, 2, True),
        (desk.org_id, 1, False),
        (None, 1, True),
    ]
    assert current(desk).evidence_keys == (*DOOR_KEYS, SIGNATURE_KEY)
    assert put(desk).version == 3


def test_a_version_that_is_not_in_force_any_more_is_refused(desk: FieldDesk) -> None:
    put(desk)
    with pytest.raises(StaleTemplate):
        put(desk, version=2, name="other")
    assert put(desk, version=1, name="other").version == 2


def test_another_organization_sees_nothing_of_it(desk: FieldDesk, db: Database) -> None:
    put(desk)
    put(desk, "OUR_TYPE")
    theirs = FieldDesk.of(db)
    assert current(theirs).version == 1
    assert current(theirs).evidence_keys == (*DOOR_KEYS, SIGNATURE_KEY)
    assert current(theirs, "OUR_TYPE") is None


def test_a_ticket_keeps_the_version_that_it_was_triaged_with(desk: FieldDesk) -> None:
    before = on_site(desk)
    put(desk, evidence_keys=["photo_door", "photo_more"])
    after = on_site(desk)
    for ticket_id, missing in ((before, sorted(DOOR_KEYS)), (after, ["photo_door", "photo_more"])):
        refusal = desk.refused(closing.COMPLETE, report(no_signature_reason="n"), ticket_id, by="tech")
        assert refusal.details["missing_evidence_keys"] == missing
    prove(desk, before)
    assert desk.run(closing.COMPLETE, report(), before, by="tech").status == 200


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"evidence_keys": []}, "evidence_keys: work proves"),
        ({"checklist_keys": []}, "checklist_keys: work proves"),
        ({"evidence_keys": ["a", "b", "a"]}, "'a' stands in it twice"),
        ({"evidence_keys": ["a", " a "]}, "'a' stands in it twice"),
        ({"checklist_keys": ["Has Spaces"]}, "small letters"),
        ({"evidence_keys": [f"k{n}" for n in range(51)]}, "50 at most"),
        ({"skills": [""]}, "a word"),
        ({"certificates": ["a", "a"]}, "twice"),
        ({"name": " "}, "name"),
        ({"visit_minutes": 4}, "visit_minutes"),
        ({"visit_minutes": 1441}, "visit_minutes"),
    ],
)
def test_a_template_that_would_not_work_is_refused_in_words(desk: FieldDesk, said: dict[str, Any], why: str) -> None:
    with pytest.raises(BadTemplate, match=why):
        put(desk, **said)


@pytest.mark.parametrize("incident", ["", " ", "DOOR WONT", "DOOR_V2", "1DOOR", "x" * 65, "TÜR"])
def test_a_type_is_a_plain_word_without_a_version(desk: FieldDesk, incident: str) -> None:
    with pytest.raises(BadTemplate):
        put(desk, incident)


def test_people_who_change_one_template_at_once_make_one_version_each(desk: FieldDesk) -> None:
    gate = threading.Barrier(4)

    def change(number: int) -> None:
        gate.wait()
        put(desk, visit_minutes=10 + number)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = desk.rows("SELECT version, is_current FROM incident_templates WHERE org_id = :org ORDER BY version")
    assert found == [(1, False), (2, False), (3, False), (4, True)]


def test_an_organization_has_so_many_and_no_more(desk: FieldDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.commands.templates.MOST_TYPES", 1)
    put(desk)
    with pytest.raises(BadTemplate, match="1 incident types"):
        put(desk, "ANOTHER")
    assert put(desk, name="again").version == 2
    assert isinstance(put(desk).id, UUID)
