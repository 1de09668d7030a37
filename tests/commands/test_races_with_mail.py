"""People, mail and merges in one ticket at the same moment: nobody waits in a circle, and nothing is done by halves."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest

from pipeline.command import Command
from pipeline.commands import desk as desk_commands
from pipeline.commands import regrouping, triaging
from pipeline.commands.desk_arguments import NewNote, TagChange
from pipeline.core.refusing import Refusal
from pipeline.executor import Answer
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError
from pipeline.stages import dispatch, routing, stitch, triage
from pipeline.table import COMMANDS
from tests.commands import schedules, walking
from tests.commands.field_desk import FieldDesk
from tests.commands.racing import race
from tests.commands.walking import Walk
from tests.factories import mail
from tests.stages.world import NOON, World


@pytest.fixture
def walk(db: Database) -> Walk:
    # Every case is dispatched: the chain moves the ticket, too.
    return Walk(FieldDesk.of(db, {"dispatch": {"least_priority": 0, "least_certainty": 0}}), random.Random(1))


def test_commands_mail_and_merges_in_one_ticket_do_not_wait_in_a_circle(walk: Walk) -> None:
    """A mail goes through its chain into a ticket that people work on, note on, and merge others into."""
    world, desk = World(walk.desk.db), walk.desk
    world.org_id = desk.org_id
    world.mailbox_id = world.mailbox("races@acme.example", cursor="50")
    (tag,) = desk.rows("SELECT tag FROM assets WHERE org_id = :org")[0]
    first = world.routed(mail("Door", f"{tag} is broken.", message_id="<first@x.example>"))[0]
    ticket_id = world.ticket_of(first).id
    others = [
        world.ticket_of(world.routed(mail(f"Other {n}", "Hello.", sender=f"o{n}@y.example"))[0]).id for n in range(4)
    ]
    arrived = [
        world.parsed(_reply(number, f"{tag} is still broken."), at=NOON + schedules.HOUR * (number + 1))
        for number in range(6)
    ]
    start, turns = Barrier(4), [_mail(world, arrived), _merges(desk, ticket_id, others)]
    turns += [_people(walk, ticket_id, "dispatcher"), _people(walk, ticket_id, "agent")]

    def go(turn: list[Callable[[], object]]) -> None:
        start.wait()
        for step in turn:
            step()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(go, turns))
    assert {world.state_of(one) for one in arrived} == {"routed"}
    assert {world.ticket_of(one).id for one in arrived} == {ticket_id}
    moves = desk.moves(ticket_id)
    assert all(one[1] == other[0] for one, other in pairwise(moves)), moves
    assert moves[-1][1] == desk.state(ticket_id)


def test_a_ticket_is_triaged_or_merged_away_and_never_both_by_halves(walk: Walk) -> None:
    desk = walk.desk
    command = COMMANDS["ticket.triage"]
    for _ in range(3):
        ticket_id, into_id = desk.make(), desk.make()
        asked = command.arguments(priority="URGENT", incident_type="DOOR_WONT_LATCH")
        start = Barrier(2)
        wish, (merge,) = (command, desk.ask(asked, target=str(ticket_id))), _merges(desk, into_id, [ticket_id])
        with ThreadPoolExecutor(2) as pool:
            merged, triaged = (
                pool.submit(_after, start, merge),
                pool.submit(_after, start, lambda w=wish: race(desk.db, [w])[0]),
            )
        found, is_merged = triaged.result(), merged.exception() is None
        assert is_merged or isinstance(merged.exception(), UserError)
        if isinstance(found, Refusal):
            assert (found.code, is_merged) == ("TICKET_MERGED", True)
        assert (desk.row(ticket_id).merged_into is not None) is is_merged
        assert desk.moves(ticket_id)[-1][1] == desk.state(ticket_id)


def _after(start: Barrier, step: Callable[[], Any]) -> Any:
    start.wait()
    return step()


def _reply(number: int, words: str) -> bytes:
    said = {"message_id": f"<reply-{number}@x.example>", "in_reply_to": "<first@x.example>"}
    return mail("Re: Door", words, **said)


def _mail(world: World, arrived: Sequence[int]) -> list[Callable[[], object]]:
    """Return the steps of a worker through which mails come into the ticket."""

    def chain(occurrence_id: int) -> None:
        world.run(stitch.STAGE, occurrence_id)
        steps = world.run(routing.STAGE, occurrence_id)
        found = world.run(triage.STAGE, *(key for _, key in steps.next))
        world.run(dispatch.STAGE, *(key for _, key in found.next))

    return [lambda one=one: chain(one) for one in arrived]  # type: ignore[misc]


def _merges(desk: FieldDesk, ticket_id: UUID, others: Sequence[UUID]) -> list[Callable[[], object]]:
    """Return the steps of a person who merges tickets into it."""

    def merge(other: UUID) -> None:
        with desk.db.begin() as connection:
            into, loser = regrouping.find_tickets(connection, desk.org_id, [str(ticket_id), str(other)])
            regrouping.merge_tickets(connection, desk.org_id, into, [loser], actor="ann", reason="the same")

    return [lambda one=one: merge(one) for one in others]  # type: ignore[misc]


def _people(walk: Walk, ticket_id: UUID, name: str) -> list[Callable[[], object]]:
    """Return the steps of a person who triages, notes, tags and plans, whatever is refused of it."""
    desk, target = walk.desk, str(ticket_id)
    steps: list[tuple[Command[Any, Any], Any]] = [
        (desk_commands.ADD_NOTE, NewNote(body_markdown="called")),
        (triaging.TRIAGE, triaging.Triage(priority="URGENT", incident_type="DOOR_WONT_LATCH", ready_to_schedule=True)),  # type: ignore[arg-type]
        (desk_commands.CHANGE_TAGS, TagChange(add=[name])),
        (COMMANDS["schedule.propose"], COMMANDS["schedule.propose"].arguments(options=[walking._window(walk)])),
        (COMMANDS["schedule.withdraw"], COMMANDS["schedule.withdraw"].arguments(reason="not yet")),
        (desk_commands.ADD_NOTE, NewNote(body_markdown="called again")),
    ]

    def run(command: Command[Any, Any], arguments: Any) -> None:
        (found,) = race(desk.db, [(command, desk.ask(arguments, by=name, target=target))])
        assert isinstance(found, Answer) or found.code in {"INVALID_STATE_TRANSITION", "FORBIDDEN"}, found

    return [lambda step=step: run(*step) for step in steps]  # type: ignore[misc]
