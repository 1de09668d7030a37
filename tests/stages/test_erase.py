"""Forgetting the mail of an address: nothing of it is found anywhere afterwards, and every count still adds up."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.message import EmailMessage
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from models.enums import BlobKind, Cause
from pipeline.commands import erasing as commands
from pipeline.commands.policy import change_policy
from pipeline.runtime import blob_rows, erasures
from pipeline.runtime.db import Database
from pipeline.runtime.errors import Transient, UserError
from pipeline.stages import erase, forget, index
from tests import factories
from tests.factories import NOON
from tests.stages.world import World

CANARY = "zwiebelkuchen"
CUSTOMER = f"{CANARY}@customer.example"


def _mail(sender: str, subject: str, body: str, *, to: str = "help@acme.example", file: bytes | None = None) -> bytes:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = f"{sender.partition('@')[0].title()} <{sender}>", to, subject
    mail["Message-ID"] = f"<{hashlib.sha256(f'{sender}{subject}'.encode()).hexdigest()[:16]}@customer.example>"
    mail["Date"] = "Mon, 02 Mar 2026 12:00:00 +0000"
    mail.set_content(body)
    if file is not None:
        mail.add_attachment(file, maintype="text", subtype="plain", filename="list.txt")
    return mail.as_bytes()


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def _arrived(world: World) -> list[int]:
    """Let two mails of the customer and one of somebody else arrive and be indexed, with a file that all attach."""
    raws = (
        _mail(CUSTOMER, f"{CANARY} one", f"My {CANARY} is broken", file=b"the list of all\n"),
        _mail(CUSTOMER, f"{CANARY} two", f"No {CANARY} left", file=f"only {CANARY}\n".encode()),
        _mail("bob@other.example", "The door", "does not close", file=b"the list of all\n"),
    )
    found = world.routed(*raws)
    noted = [(world.org_id, hashlib.sha256(raw).digest(), len(raw), len(raw)) for raw in raws]
    with world.db.begin() as connection:
        blob_rows.note_blobs(connection, BlobKind.RAW, noted)
    messages = [row.message_id for row in world.rows("SELECT message_id FROM occurrences ORDER BY id")]
    world.run(index.STAGE, *messages)
    return found


def _places(world: World) -> set[str]:
    """Return every column of the database that holds the canary in whatever form its text has."""
    columns = world.rows("""
        SELECT table_name, column_name FROM information_schema.columns
         WHERE table_schema = current_schema() AND data_type NOT IN ('bytea', 'bigint', 'boolean')
    """)
    return {
        f"{column.table_name}.{column.column_name}"
        for column in columns
        if world.value(
            f'SELECT count(*) FROM "{column.table_name}" WHERE CAST("{column.column_name}" AS text) ILIKE :canary',
            canary=f"%{CANARY}%",
        )
    }


def _erase(world: World, address: str = CUSTOMER) -> int:
    with world.db.begin() as connection:
        erasure_id, is_new, _ = commands.erase_address(
            connection, world.org_id, address, actor="ann", reason="asked for it"
        )
    assert is_new
    _run(world, erasure_id)
    return erasure_id


def _run(world: World, erasure_id: int) -> None:
    while any(stage == "erase" for stage, _ in world.run(erase.STAGE, erasure_id).next):
        pass
    world.run(forget.STAGE, world.org_id)


def test_nothing_of_an_erased_address_is_found_in_any_table_or_in_the_blob_store(world: World) -> None:
    occurrences = _arrived(world)
    ticket = world.ticket_of(occurrences[0])
    with world.db.begin() as connection:
        _leave_traces(connection, world, ticket.id, occurrences[0])
    assert len(_places(world)) > 15
    _erase(world)
    assert _places(world) == set()
    assert [raw for raw in world.blobs.contents.values() if CANARY.encode() in raw] == []


def _leave_traces(connection: Connection, world: World, ticket_id: UUID, occurrence_id: int) -> None:
    """Write what people and failures leave beside a mail."""
    values = {"org": world.org_id, "ticket": ticket_id, "said": f"about {CANARY}", "key": str(occurrence_id)}
    for statement in (
        "INSERT INTO ticket_notes (org_id, ticket_id, actor, body_markdown) VALUES (:org, :ticket, 'ann', :said)",
        """INSERT INTO events (org_id, ticket_id, kind, data)
           VALUES (:org, :ticket, 'noted', jsonb_build_object('said', CAST(:said AS text)))""",
        """INSERT INTO shadow_decisions (ticket_id, org_id, decision)
           VALUES (:ticket, :org, jsonb_build_object('said', CAST(:said AS text)))""",
        f"""INSERT INTO dead_letters (job_id, org_id, stage, key, lane, cause, error_class, error_text, error_trace,
                error_group, attempts, failures, crashes, trace_id, queued_at, resolution, resolved_at, resolved_by)
            VALUES (99, :org, 'stitch', :key, 'live', '{Cause.PERMANENT}', 'Error', :said, :said, 'g', 1, 1, 0, 't',
                    now(), 'replayed', now(), 'ann')""",
        """INSERT INTO audit_events (org_id, number, at, actor_kind, actor_id, action, outcome, target_kind, target_id,
                                     previous, hash)
           VALUES (:org, 1, now(), 'HUMAN', 'ann', 'tickets.note', 'done', 'ticket', CAST(:ticket AS text), '', '')""",
        """INSERT INTO audit_details (org_id, number, data)
           VALUES (:org, 1, jsonb_build_object('said', CAST(:said AS text)))""",
        """INSERT INTO quarantines (org_id, occurrence_id, cause, evidence, stage, released_at, released_by)
           VALUES (:org, CAST(:key AS bigint), 'loop', :said, 'stitch', now(), 'ann')""",
    ):
        connection.execute(text(statement), values)


def test_what_others_wrote_stays_whole_and_so_does_the_file_they_share(world: World) -> None:
    occurrences = _arrived(world)
    _erase(world)
    ticket = world.ticket_of(occurrences[2])
    assert (ticket.subject, ticket.requester_email) == ("The door", "bob@other.example")
    files = [content for (kind, _), content in world.blobs.contents.items() if kind == BlobKind.ATTACHMENT]
    assert files == [b"the list of all\n"]
    assert world.value("SELECT count(*) FROM message_search") == 1


def test_every_id_of_the_provider_stays_accounted_for(world: World) -> None:
    _arrived(world)
    before = world.rows("SELECT provider_id, state, message_id FROM occurrences ORDER BY id")
    _erase(world)
    assert world.rows("SELECT provider_id, state, message_id FROM occurrences ORDER BY id") == before
    assert world.value("SELECT count(*) FROM messages WHERE erased_at IS NOT NULL") == 2


def test_the_ledger_of_erasures_counts_what_went_and_forgets_the_address(world: World) -> None:
    _arrived(world)
    _erase(world)
    with world.db.begin() as connection:
        (done,) = erasures.listed(connection, world.org_id, limit=10)
    assert (done.state, done.address, done.actor) == ("done", None, "ann")
    assert {name: done.counts[name] for name in ("messages", "attachments", "raw", "texts")} == {
        "messages": 2, "attachments": 2, "raw": 2, "texts": 2,
    }  # fmt: skip
    digest = world.value("SELECT address_sha256 FROM erasures")
    assert bytes(digest) == hashlib.sha256(CUSTOMER.encode()).digest()


def test_erasing_twice_takes_nothing_more_and_an_equal_wish_joins_the_first(world: World) -> None:
    _arrived(world)
    with world.db.begin() as connection:
        first = commands.erase_address(connection, world.org_id, CUSTOMER, actor="ann", reason="asked")
        again = commands.erase_address(connection, world.org_id, CUSTOMER.upper(), actor="bob", reason="asked")
    assert (first[0], first[1], again[1]) == (again[0], True, False)
    _run(world, first[0])
    assert world.run(erase.STAGE, first[0]).loaded == 0
    _erase(world)
    assert world.value("SELECT counts ->> 'messages' FROM erasures ORDER BY id DESC LIMIT 1") in (None, "0")


def test_a_reply_that_comes_later_still_finds_its_ticket(world: World) -> None:
    occurrences = _arrived(world)
    _erase(world)
    reply = EmailMessage()
    reply["From"], reply["To"], reply["Subject"] = CUSTOMER, "help@acme.example", "Re: again"
    reply["Message-ID"] = "<later@customer.example>"
    first = hashlib.sha256(f"{CUSTOMER}{CANARY} one".encode()).hexdigest()[:16]
    reply["In-Reply-To"] = f"<{first}@customer.example>"
    reply.set_content("Hello again")
    (later,) = world.stitched(reply.as_bytes(), minutes=10)
    assert world.ticket_of(later).id == world.ticket_of(occurrences[0]).id


@pytest.mark.parametrize("said", ["", "nobody", "a b@c.example", "help@acme.example", "x@y\x00z"])
def test_what_is_no_address_or_our_own_is_refused_and_nothing_begins(world: World, said: str) -> None:
    with world.db.begin() as connection, pytest.raises(UserError):
        commands.erase_address(connection, world.org_id, said, actor="ann", reason="asked")
    assert world.value("SELECT count(*) FROM erasures") == 0


def test_bytes_that_are_being_erased_are_not_noted_until_they_are_gone(world: World) -> None:
    _arrived(world)
    sha256 = bytes(world.value("SELECT raw_sha256 FROM occurrences ORDER BY id LIMIT 1"))
    with world.db.begin() as connection:
        connection.execute(text("UPDATE blobs SET erased_at = now() WHERE sha256 = :sha"), {"sha": sha256})
        other = factories.organization(connection)
    for org_id in (world.org_id, other):
        with pytest.raises(Transient, match="is being erased"), world.db.begin() as connection:
            blob_rows.note_blobs(connection, BlobKind.RAW, [(org_id, sha256, 1, 1)])
    world.run(forget.STAGE, world.org_id)
    with world.db.begin() as connection:
        blob_rows.note_blobs(connection, BlobKind.RAW, [(other, sha256, 1, 1)])


def test_an_object_that_another_organization_needs_stays(world: World) -> None:
    _arrived(world)
    shared = bytes(world.value("SELECT raw_sha256 FROM occurrences ORDER BY id LIMIT 1"))
    with world.db.begin() as connection:
        other = factories.organization(connection)
        blob_rows.note_blobs(connection, BlobKind.RAW, [(other, shared, 1, 1)])
    _erase(world)
    assert (BlobKind.RAW, shared.hex()) in world.blobs.contents
    assert world.rows("SELECT org_id FROM blobs WHERE sha256 = :sha", sha=shared) == [(other,)]


def test_a_mark_that_an_older_transaction_may_not_have_seen_waits_for_its_end(world: World) -> None:
    _arrived(world)
    with _open(world.db):
        _erase(world)
        assert world.value("SELECT count(*) FROM blobs WHERE erased_at IS NOT NULL") == 3
        assert any(CANARY.encode() in content for content in world.blobs.contents.values())
    world.run(forget.STAGE, world.org_id)
    assert world.value("SELECT count(*) FROM blobs WHERE erased_at IS NOT NULL") == 0


@contextmanager
def _open(db: Database) -> Iterator[None]:
    """Hold a transaction open that began before the block."""
    with db.engine.connect() as connection:
        connection.execute(text("SELECT txid_current()"))
        yield
        connection.rollback()


def test_a_policy_forgets_what_ended_long_ago_and_nothing_that_is_open(world: World) -> None:
    occurrences = _arrived(world)
    tickets = [world.ticket_of(one).id for one in occurrences]
    world.rows("UPDATE tickets SET status = 'closed', closed_at = now() WHERE id = :id", id=tickets[0])
    with world.db.begin() as connection:
        assert commands.request_retention(connection) == 0
        change_policy(connection, world.org_id, {"retention_days": 30}, actor="ann")
        assert commands.request_retention(connection) == 1
    world.rows(
        "UPDATE erasures SET before_at = :at", at=NOON + timedelta(days=1)
    )  # the mails of these tests are always of the same day
    _run(world, world.value("SELECT id FROM erasures"))
    assert world.rows("SELECT m.erased_at IS NOT NULL FROM messages m ORDER BY m.id") == [(True,), (False,), (False,)]
    assert world.ticket_of(occurrences[1]).requester_email == CUSTOMER
