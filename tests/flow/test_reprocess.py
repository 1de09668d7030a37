"""A repetition whose workers die again and again, while new mail arrives: exact in the end, and nothing lost."""

from __future__ import annotations

import hashlib
import secrets
from random import Random

import pytest

from models.enums import BlobKind, Lane, OccurrenceState, ReprocessKind
from models.queries import reprocessing as queries
from pipeline.commands import reprocessing as commands
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.jobs import Emit
from pipeline.runtime.settings import Settings
from pipeline.stages import reprocess
from tests import factories
from tests.engine import Engine
from tests.factories import mail, rows, value

_MAILS = 40


class Desk:
    """One mailbox of an engine, and what is asked of its mail."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.db = engine, engine.db
        with self.db.begin() as connection:
            self.org_id = factories.organization(connection)
            self.mailbox_id = factories.mailbox(connection, self.org_id, "help@acme.example")

    def arrive(self, subject: str, lane: Lane = Lane.LIVE) -> None:
        """Let a mail be fetched, with its parsing in line."""
        raw = mail(subject, f"About {subject}.", to="help@acme.example")
        self.engine.ports.blobs.put(BlobKind.RAW, {hashlib.sha256(raw).hexdigest(): raw})
        with self.db.begin() as connection:
            found = factories.occurrence(connection, self.mailbox_id, state=OccurrenceState.FETCHED, raw=raw)
            trace = secrets.token_hex(16)
            ledger.put(connection, [Emit("parse", str(found), self.org_id, self.mailbox_id, lane, found, trace)])

    def start(self) -> int:
        with self.db.begin() as connection:
            return commands.start(connection, self.org_id, None, ReprocessKind.PARSE, "ann")

    def apply(self, run_id: int) -> None:
        with self.db.begin() as connection:
            commands.apply(connection, self.org_id, run_id, "ann")

    def state(self, run_id: int) -> queries.Reprocessing:
        with self.db.begin() as connection:
            found = queries.find(connection, self.org_id, run_id)
        assert found is not None
        return found


def die_now_and_then(engine: Engine, chance: Random) -> int:
    """Run until nothing is ready, dying before every third batch or so; return how often."""
    deaths = 0
    for _ in range(2_000):
        if chance.random() < 0.3:
            deaths += engine.die_while_running(chance)
        if engine.run(most=1) == 0:
            return deaths
    raise AssertionError("it never ends")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_repetition_survives_the_death_of_its_workers(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    print(f"seed {seed}")
    chance = Random(seed)
    monkeypatch.setattr(reprocess, "CHUNK", 4)
    with Engine(db, settings) as engine:
        desk = Desk(engine)
        for number in range(_MAILS):
            desk.arrive(f"mail {number}")
        engine.run()
        right = rows(db, "SELECT id, subject, snippet FROM messages ORDER BY id")
        rows(db, "UPDATE messages SET subject = 'wrong', parser_version = 1 WHERE id % 2 = 0")
        wrong = value(db, "SELECT count(*) FROM messages WHERE subject = 'wrong'")

        run_id = desk.start()
        desk.arrive("meanwhile, while it compares")
        deaths = die_now_and_then(engine, chance)
        found = desk.state(run_id)
        assert (found.state, found.seen, found.changed, found.failed) == ("compared", _MAILS, wrong, 0)
        assert value(db, "SELECT count(*) FROM messages WHERE subject = 'wrong'") == wrong

        desk.apply(run_id)
        desk.arrive("meanwhile, while it applies")
        deaths += die_now_and_then(engine, chance)
        found = desk.state(run_id)
        assert (found.state, found.applied, found.refused) == ("applied", wrong, 0)
        assert deaths > 3
        assert rows(db, "SELECT id, subject, snippet FROM messages ORDER BY id LIMIT :n", n=_MAILS) == right
        assert value(db, "SELECT count(DISTINCT message_id) FROM ticket_messages") == _MAILS + 2
        assert value(db, "SELECT count(*) FROM message_search") == _MAILS + 2
        assert value(db, "SELECT count(*) FROM jobs") == 0


def test_a_cancelled_walk_changes_nothing_more(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reprocess, "CHUNK", 4)
    with Engine(db, settings) as engine:
        desk = Desk(engine)
        for number in range(12):
            desk.arrive(f"mail {number}")
        engine.run()
        rows(db, "UPDATE messages SET subject = 'wrong'")
        run_id = desk.start()
        engine.run()
        desk.apply(run_id)
        engine.run(most=1)
        with db.begin() as connection:
            commands.cancel(connection, desk.org_id, run_id)
        engine.run()
        assert value(db, "SELECT count(*) FROM messages WHERE subject = 'wrong'") == 8
        assert desk.state(run_id).state == "cancelled"
