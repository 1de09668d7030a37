"""`fieldpost ticket`: shown with its reasons, merged, split, undone, and told in one line what is wrong."""

from __future__ import annotations

import pytest

from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.cli.conftest import Command
from tests.factories import mail
from tests.stages.world import World


@pytest.fixture
def world(db: Database, served: Settings) -> World:
    return World(db)


def test_show_tells_why_and_what_may_belong(fieldpost: Command, world: World) -> None:
    root, _, stranger = world.stitched(
        mail("Charger down", message_id="<a@customer.example>"),
        mail("Re: Charger down", in_reply_to="<a@customer.example>"),
        mail("Me too", sender="mallory@evil.example", in_reply_to="<a@customer.example>"),
    )
    shown = fieldpost("ticket", "show", world.ticket_of(root).code)
    assert shown.code == 0
    for said in (
        "Charger down",
        "in reply to",
        "first of its conversation",
        "Possibly related",
        "mallory@evil.example",
    ):
        assert said in shown.out
    assert world.ticket_of(stranger).code in shown.out
    told = fieldpost("ticket", "show", str(world.ticket_of(root).id), "--json").json
    assert [one["reason"] for one in told["messages"]] == ["in_reply_to", "new_ticket"]


def test_merge_split_and_undo_go_round(fieldpost: Command, world: World) -> None:
    one, two = world.stitched(mail("a", message_id="<a@x>"), mail("b", message_id="<b@x>"))
    first, second = world.ticket_of(one).code, world.ticket_of(two).code
    merged = fieldpost("ticket", "merge", first, second, "--reason", "one charger", "--json")
    assert (merged.code, merged.json["ticket"]) == (0, first)
    assert world.ticket_of(two).code == first
    assert "one charger" in fieldpost("ticket", "show", first).out
    undone = fieldpost("ticket", "undo", first, str(merged.json["regrouping_id"]))
    assert (undone.code, world.ticket_of(two).code) == (0, second)
    assert "merge" in undone.err


def test_split_names_the_new_ticket(fieldpost: Command, world: World) -> None:
    root, reply = world.stitched(mail("a", message_id="<a@x>"), mail("b", in_reply_to="<a@x>"))
    message_id = world.value("SELECT message_id FROM occurrences WHERE id = :id", id=reply)
    made = fieldpost("ticket", "split", world.ticket_of(root).code, str(message_id), "-r", "another site")
    assert made.code == 0
    assert world.ticket_of(reply).code in made.err
    assert "ticket undo" in made.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "tkt-nothing"], "there is no ticket"),
        (["show", "x' OR 1=1 --"], "there is no ticket"),
        (["merge", "tkt-nothing", "tkt-else", "-r", "x"], "there is no ticket"),
        (["undo", "tkt-nothing", "1"], "there is no ticket"),
        (["undo", "tkt-nothing", "one"], "should be a valid integer"),
        (["merge", "tkt-nothing", "tkt-else"], "Missing option"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    fieldpost: Command, world: World, arguments: list[str], said: str
) -> None:
    told = fieldpost("ticket", *arguments)
    assert told.code == 2
    assert said in told.err
    assert len(told.err.strip().splitlines()) == 1


def test_tickets_are_listed_by_the_filters_of_the_desk(fieldpost: Command, world: World) -> None:
    first, second = world.stitched(mail("Charger down"), mail("100% bill", sender="bob@shop.example"))
    codes = [world.ticket_of(one).code for one in (first, second)]
    assert {one["code"] for one in fieldpost("ticket", "list", "--json").json} == set(codes)
    assert [one["code"] for one in fieldpost("ticket", "list", "CHARGER", "--json").json] == codes[:1]
    assert [one["code"] for one in fieldpost("ticket", "list", "0%", "--status", "new", "--json").json] == codes[1:]
    assert "Charger down" in fieldpost("ticket", "list", "--limit", "2").out
    assert "No ticket answers" in fieldpost("ticket", "list", "--tag", "nobody-has-it").out
    for wrong in (("--queue", "none"), ("--person", "x@y.example"), ("--sla", "late")):
        refused = fieldpost("ticket", "list", *wrong)
        assert (refused.code, wrong[1] in refused.err) == (2, True)
