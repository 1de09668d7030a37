"""Commands at the same moment, for tests: raced in threads, each in a transaction of its own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from pipeline import executor
from pipeline.command import Ask, Command, Refused
from pipeline.core.refusing import Refusal
from pipeline.executor import Answer
from pipeline.runtime.db import Database
from pipeline.table import COMMANDS
from tests.commands import site_steps, walking
from tests.commands.field_desk import FieldDesk
from tests.commands.walking import DRAWS, Walk

Asked = tuple[Command[Any, Any], Ask[Any]]


def race(db: Database, wishes: Sequence[Asked]) -> list[Answer | Refusal]:
    """Execute commands at the same moment, each in a thread and a transaction of its own; what else fails is raised."""
    start = Barrier(len(wishes))

    def go(wish: Asked) -> Answer | Refusal:
        start.wait()
        try:
            return executor.run(db.begin, *wish)
        except Refused as refused:
            return refused.refusal

    with ThreadPoolExecutor(len(wishes)) as pool:
        return list(pool.map(go, wishes))


def possible(state: str) -> list[str]:
    """Return the commands that may be done in a state, by name."""
    names = (name for name in DRAWS if not COMMANDS[name].beginnings)
    return sorted(name for name in names if state in (COMMANDS[name].from_states or ()))


def wish(walk: Walk, name: str, ticket_id: UUID, **more: Any) -> Asked:
    """Return a well-formed wish of somebody whose work it is."""
    command, row = COMMANDS[name], walk.desk.row(ticket_id)
    who = "tech" if name == "tech.request_change" else walking._HANDS.get(name.partition(".")[0], ("dispatcher",))[0]
    while True:
        try:
            arguments = command.arguments(**DRAWS[name](walk, row))
        except ValidationError:
            continue
        return command, walk.desk.ask(arguments, by=who, target=str(ticket_id), **more)


def ready(desk: FieldDesk, state: str) -> UUID:
    """Return a new ticket in a state; where work is under way, its proof is there."""
    ticket_id = desk.at(state)
    if state == "IN_PROGRESS":
        site_steps.prove(desk, ticket_id)
    return ticket_id
