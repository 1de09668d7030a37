"""Triage of mails that name no asset as it is written: patterns, misspelt names, the sender's site; learning."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import text

from models.enums import ActorKind, SignalStatus
from models.permissions import Permission
from pipeline import executor
from pipeline.command import Ask, Command
from pipeline.commands import assets as commands
from pipeline.commands.asset_arguments import AssetChange, NewAsset, NewTagPattern, TagPatternChange
from pipeline.core.principals import Principal, Scope, Way
from pipeline.core.signals import RULES_VERSION
from pipeline.core.symptom_words import Symptom
from pipeline.core.tellings import LEAST_SURE_STATE, Judgement
from pipeline.runtime import asset_registry
from pipeline.stages import triage
from tests import factories
from tests.factories import mail
from tests.stages.world import World


def done(world: World, command: Command, asked: object, target: object = None) -> dict:
    """Execute a command as somebody who may do all."""
    who = Principal(
        world.org_id, "ann", ActorKind.HUMAN, None, "ann", "admin", frozenset(Permission), Scope(), Way.HEADERS
    )
    return executor.run(world.db.begin, command, Ask(who, asked, None if target is None else str(target))).body


@pytest.fixture
def charger(world: World) -> UUID:
    return UUID(done(world, commands.ADD, NewAsset(tag="AUS_0123", name="South lot charger"))["id"])


def signals(world: World) -> list:
    return world.rows("SELECT * FROM signals ORDER BY created_at, id")


def site_of(world: World, name: str) -> UUID:
    with world.db.begin() as connection:
        account = connection.execute(
            text("INSERT INTO accounts (org_id, name) VALUES (:org, :name) RETURNING id"),
            {"org": world.org_id, "name": name},
        ).scalar_one()
        return connection.execute(
            text("INSERT INTO sites (org_id, account_id, name) VALUES (:org, :account, :name) RETURNING id"),
            {"org": world.org_id, "account": account, "name": name},
        ).scalar_one()


def test_a_signal_keeps_what_was_recognised_where_and_by_which_rules(world: World, charger: UUID):
    world.triaged(mail("AUS_0123", "It leaks, and the screen is black."))
    (one,) = signals(world)
    assert (one.asset_id, one.extracted_by, one.part, one.span) == (charger, "name", "subject", [0, 8])
    assert (one.status, one.symptoms, one.rules_version) == ("down", ["display_dark", "leak"], RULES_VERSION)


def test_a_pattern_finds_tags_from_the_next_mail_on_until_it_is_switched_off(world: World, charger: UUID):
    world.triaged(mail("Trouble", "Charging point 0123 is dead.", message_id="<a@x>"))
    made = done(world, commands.ADD_PATTERN, NewTagPattern(pattern=r"charging point #?(\d{4})\b", tag=r"AUS_\1"))
    world.triaged(mail("Trouble", "Charging point 0123 is dead.", message_id="<b@x>"), minutes=1)
    done(world, commands.CHANGE_PATTERN, TagPatternChange(is_enabled=False), made["id"])
    world.triaged(mail("Trouble", "Charging point 0123 is dead.", message_id="<c@x>"), minutes=2)
    (one,) = signals(world)
    assert (one.asset_id, one.extracted_by, one.status) == (charger, "pattern", "down")


def test_a_new_name_is_known_to_the_next_mail(world: World, charger: UUID):
    world.triaged(mail("Trouble", "The bakery charger is dead.", message_id="<a@x>"))
    done(world, commands.CHANGE, AssetChange(aliases=["bakery charger"]), charger)
    world.triaged(mail("Trouble", "The bakery charger is dead.", message_id="<b@x>"), minutes=1)
    assert [one.asset_id for one in signals(world)] == [charger]


def test_a_registry_that_nobody_changed_is_not_read_again(world: World, charger: UUID):
    with world.db.begin() as connection:
        first = asset_registry.known(connection, [world.org_id])[world.org_id]
    with world.db.begin() as connection:
        assert asset_registry.known(connection, [world.org_id])[world.org_id] is first
        factories.asset(connection, world.org_id, "AUS_0999")
    with world.db.begin() as connection:
        assert asset_registry.known(connection, [world.org_id])[world.org_id] is not first


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("The sotuh lot charger is dead.", 1),
        ("The sotuh lot charger is blue.", 0),
        ("The sotuh lot charger 2 is dead.", 0),
        ("The printer of our office is dead.", 0),
    ],
)
def test_a_misspelt_name_is_understood_in_mail_that_tells_of_trouble(world: World, charger: UUID, body, found):
    world.triaged(mail("Trouble", body))
    assert [(one.asset_id, one.extracted_by) for one in signals(world)] == [(charger, "fuzzy")] * found


def test_a_name_that_is_as_much_like_another_is_nobodys(world: World):
    for tag, name in (("A-1", "Harbour stall west"), ("A-2", "Harbour stall vest")):
        done(world, commands.ADD, NewAsset(tag=tag, name=name))
    world.triaged(mail("Trouble", "The harbour stall test is dead."))
    assert signals(world) == []


def test_trouble_of_a_sender_whose_site_has_one_asset_is_that_assets(world: World):
    yard, mill = site_of(world, "Yard"), site_of(world, "Mill")
    asset_id = UUID(done(world, commands.ADD, NewAsset(tag="GATE-1", site_id=yard))["id"])
    for tag in ("GATE-2", "GATE-3"):
        done(world, commands.ADD, NewAsset(tag=tag, site_id=mill))
    for number, site in enumerate((yard, mill)):
        first = world.stitched(
            mail("Hello", "We are new here.", sender=f"p{number}@x.example", message_id=f"<{number}@x>")
        )
        world.rows("UPDATE tickets SET site_id = :site WHERE id = :id", site=site, id=world.ticket_of(first[0]).id)
        for at, body in enumerate(("Our gate does not open!", "Thanks for the calendar.")):
            message_id = f"<{number}.{at}@x>"
            world.triaged(mail("Our gate", body, sender=f"p{number}@x.example", message_id=message_id), minutes=1 + at)
    (one,) = signals(world)
    assert (one.asset_id, one.extracted_by, one.status) == (asset_id, "site", "down")
    assert one.symptoms == ["wont_open"]


class Learned:
    """A classifier that says what it is told to, and remembers what it was asked."""

    def __init__(self, certainty: float) -> None:
        self.certainty, self.asked = certainty, list[frozenset[str]]()

    def judge(self, terms: Collection[str]) -> Judgement:
        self.asked.append(frozenset(terms))
        rest = 1 - self.certainty
        told = Symptom.NOISE if "melody" in terms else Symptom.LEAK
        return Judgement({SignalStatus.DEGRADED: self.certainty, SignalStatus.UNKNOWN: rest}, {told: 0.8})


def test_a_classifier_judges_what_mail_tells_and_is_believed_when_sure(world, charger):
    world.ports = replace(world.ports, statuses=Learned(LEAST_SURE_STATE))
    world.triaged(mail("Charger", "AUS_0123 hums a melody. Greetings, Ann", message_id="<b@x>"))
    (one,) = signals(world)
    assert (one.status, one.extracted_by, one.symptoms) == ("degraded", "name", ["noise"])


def test_of_a_classifier_that_is_not_sure_the_symptom_alone_tells_the_state(world, charger):
    learned = Learned(LEAST_SURE_STATE - 0.01)
    world.ports = replace(world.ports, statuses=learned)
    world.triaged(mail("Charger", "AUS_0123 looks odd.", message_id="<c@x>"))
    assert [(one.status, one.symptoms) for one in signals(world)] == [("degraded", ["leak"])]
    assert {"near odd", "r unknown", "r one"} <= learned.asked[0]


def test_what_is_read_of_one_mail_harms_no_other(world: World, charger: UUID, monkeypatch: pytest.MonkeyPatch):
    report = triage.Report(None, None)
    broken = triage.Report(None, object())  # type: ignore[arg-type]
    first, second = triage.work([broken, report], world.ports)
    assert isinstance(first, AttributeError)
    assert second == []
