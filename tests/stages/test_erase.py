"""Forgetting the mail of an address: nothing of it is found anywhere afterwards, and every count still adds up."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from email.message import EmailMessage
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from models.enums import BlobKind, Cause, ExtractionState
from pipeline.commands import erasing as commands
from pipeline.commands.policy import change_policy
from pipeline.core.extraction import Extracted
from pipeline.runtime import blob_rows, erasing, erasures, idempotency, indexing
from pipeline.runtime.db import Database
from pipeline.runtime.errors import Throttled, Transient, UserError
from pipeline.stage import Work
from pipeline.stages import erase, forget, index, parse, stitch
from tests import factories
from tests.factories import NOON
from tests.stages.world import Ran, World
from tests.worker_process import until

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


def test_what_a_mail_said_of_an_asset_is_forgotten_and_that_it_said_something_stays(world: World) -> None:
    with world.db.begin() as connection:
        factories.asset(connection, world.org_id, "AUS_0123")
    world.triaged(_mail(CUSTOMER, "Trouble", f"AUS_0123 is down, {CANARY}"))
    world.rows("UPDATE signals SET symptoms = '{no_power}' RETURNING id")
    _erase(world)
    (signal,) = world.rows("SELECT status, text, reporter, span, symptoms FROM signals")
    assert tuple(signal) == ("down", "", "", None, [])


def test_nothing_is_left_of_whom_we_wrote_to_either_nor_when_our_copy_is_seen_again(world: World) -> None:
    raw = _mail("help@acme.example", "Your order", f"Dear {CANARY}", to=CUSTOMER)
    world.routed(raw, labels=("SENT",))
    assert world.value("SELECT direction FROM messages") == "outbound"
    _erase(world)
    assert _places(world) == set()
    _seen_again(world, raw)
    world.run(forget.STAGE, world.org_id)
    assert _places(world) == set()
    assert world.value("SELECT count(*) FROM occurrence_recipients WHERE address IS NOT NULL") == 2


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
    assert (BlobKind.RAW, sha256.hex()) not in world.blobs.contents
    # Somebody may have put them just before they went, and would note what is not there.
    with pytest.raises(Throttled), world.db.begin() as connection:
        blob_rows.note_blobs(connection, BlobKind.RAW, [(other, sha256, 1, 1)])
    _let_go(world)
    with world.db.begin() as connection:
        blob_rows.note_blobs(connection, BlobKind.RAW, [(other, sha256, 1, 1)])


def _let_go(world: World) -> None:
    """Let the time pass in which somebody may note what went, and look again."""
    world.rows("UPDATE blobs SET erased_at = erased_at - :kept WHERE stored_size = 0", kept=2 * blob_rows.KEPT_MARKED)
    assert [stage for stage, _ in world.run(forget.STAGE, world.org_id).next] == ["forget"]
    assert world.run(forget.STAGE, world.org_id).next == []


def _seen_again(world: World, raw: bytes) -> tuple[int, Ran]:
    """Let a mail that is known stand in a colleague's mailbox, too, where its bytes are others."""
    other = b"Received: from a by b; Mon, 2 Mar 2026 12:00:09 +0000\r\n" + raw
    found = world.arrive(other, mailbox_id=world.mailbox("colleague@acme.example"))
    with world.db.begin() as connection:
        noted = [(world.org_id, hashlib.sha256(other).digest(), len(other), len(other))]
        blob_rows.note_blobs(connection, BlobKind.RAW, noted)
    return found, world.run(parse.STAGE, found)


def test_a_second_sighting_of_what_was_erased_brings_nothing_back(world: World) -> None:
    occurrences = _arrived(world)
    raw = next(raw for raw in world.blobs.contents.values() if f"{CANARY} two".encode() in raw)
    _erase(world)
    _let_go(world)
    again, ran = _seen_again(world, raw)
    assert sorted(stage for stage, _ in ran.next) == ["forget", "stitch"]
    first = world.value("SELECT message_id FROM occurrences WHERE id = :id", id=occurrences[1])
    assert world.value("SELECT message_id FROM occurrences WHERE id = :id", id=again) == first
    world.run(stitch.STAGE, again)
    world.run(forget.STAGE, world.org_id)
    assert _places(world) == set()
    assert [content for content in world.blobs.contents.values() if CANARY.encode() in content] == []


def test_a_second_sighting_that_is_tied_while_the_first_is_erased_goes_with_it(world: World) -> None:
    raw = _mail(CUSTOMER, "again", f"where is my {CANARY}")
    (occurrence_id,) = world.routed(raw)
    message_id = world.value("SELECT message_id FROM occurrences WHERE id = :id", id=occurrence_id)
    with ThreadPoolExecutor(1) as pool:
        with world.db.begin() as connection:
            erasing.erase_messages(connection, world.org_id, [message_id])
            waiting = pool.submit(_seen_again, world, raw)
            until(lambda: world.value("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0, "parse waits")
        assert ("forget", str(world.org_id)) in waiting.result()[1].next
    assert world.value("SELECT count(*) FROM blobs WHERE erased_at IS NULL") == 0
    assert world.rows("SELECT message_id, evidence FROM occurrence_recipients") == [(message_id, {})] * 2


def test_what_is_erased_while_a_second_sighting_is_being_tied_to_it_takes_that_along(world: World) -> None:
    raw = _mail(CUSTOMER, "again", f"where is my {CANARY}")
    (occurrence_id,) = world.routed(raw)
    message_id = world.value("SELECT message_id FROM occurrences WHERE id = :id", id=occurrence_id)
    again = world.arrive(raw, mailbox_id=world.mailbox("colleague@acme.example"))
    job = world.job(parse.STAGE, again)
    with world.db.begin() as connection:
        items = parse.STAGE.load(connection, [job])
        blob_rows.note_blobs(connection, BlobKind.RAW, [(world.org_id, hashlib.sha256(raw).digest(), 1, 1)])
    (understood,) = parse.STAGE.work(list(items.values()), world.ports)

    def erase_it() -> None:
        with world.db.begin() as connection:
            erasing.erase_messages(connection, world.org_id, [message_id])

    with ThreadPoolExecutor(1) as pool:
        with world.db.begin() as connection:
            parse.STAGE.save(connection, [Work(job, items[job.job_id], understood)])
            waiting = pool.submit(erase_it)
            until(lambda: world.value("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0, "erasing waits")
        waiting.result()
    assert world.rows("SELECT message_id, evidence FROM occurrence_recipients") == [(message_id, {})] * 2


def test_what_was_read_to_be_indexed_before_it_was_erased_is_not_indexed_after(world: World) -> None:
    _arrived(world)
    ids = [row.id for row in world.rows("SELECT id FROM messages ORDER BY id")]
    world.rows("DELETE FROM message_search")
    world.rows("DELETE FROM attachment_texts")
    with world.db.begin() as connection:
        mails, _ = indexing.load(connection, ids)
        content = Extracted(ExtractionState.DONE, f"only {CANARY}")
        done = [(one, indexing.compose(one, {part.sha256: content for part in one.attached})) for one in mails.values()]
    _erase(world)
    with world.db.begin() as connection:
        indexing.save(connection, done)
    assert world.rows("SELECT message_id FROM message_search") == [(ids[2],)]
    assert world.value("SELECT count(*) FROM attachment_texts") == 1


def test_an_answer_that_is_kept_for_a_repetition_says_nothing_of_a_forgotten_ticket(world: World) -> None:
    occurrences = _arrived(world)
    ticket_id = world.ticket_of(occurrences[0]).id
    with world.db.begin() as connection:
        key = idempotency.Key(world.org_id, "ann", "PATCH", f"/tickets/{ticket_id}", "k", b"b" * 32)
        assert idempotency.enter(connection, key) is None
        body = {"id": str(ticket_id), "requester_email": CUSTOMER}
        idempotency.keep(connection, key, idempotency.Stored(200, {"body": body, "version": 1}))
    _erase(world)
    with world.db.begin() as connection:
        assert idempotency.enter(connection, key) == idempotency.Stored(200, {"body": {}, "version": 1})


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
    assert [content for content in world.blobs.contents.values() if CANARY.encode() in content] == []
    _let_go(world)
    assert world.value("SELECT count(*) FROM blobs WHERE erased_at IS NOT NULL") == 0


@contextmanager
def _open(db: Database) -> Iterator[None]:
    """Hold a transaction open that began before the block."""
    with db.engine.connect() as connection:
        connection.execute(text("SELECT txid_current()"))
        yield
        connection.rollback()


def test_a_ticket_that_is_opened_while_its_age_is_looked_at_keeps_its_mail(world: World) -> None:
    ids = [world.ticket_of(one).id for one in _arrived(world)]
    world.rows("UPDATE tickets SET status = 'closed', closed_at = now()")
    with world.db.begin() as connection:
        erasure_id, _ = erasures.start(
            connection, world.org_id, before_at=NOON + timedelta(days=1), actor="ann", reason="old"
        )
    with ThreadPoolExecutor(1) as pool:
        with world.db.begin() as connection:
            opened = text("UPDATE tickets SET status = 'open', closed_at = NULL WHERE id = :id")
            connection.execute(opened, {"id": ids[0]})
            waiting = pool.submit(_run, world, erasure_id)
            until(lambda: world.value("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0, "erasing waits")
        waiting.result()
    assert world.rows("SELECT erased_at IS NOT NULL FROM messages ORDER BY id") == [(False,), (True,), (True,)]


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


def _person(world: World, email: str, *, is_active: bool) -> UUID:
    """Write a person with a telephone and a notice, who is or was a member; return their id."""
    statement = """
        WITH made AS (
            INSERT INTO people (email, phone, full_name, password_hash) VALUES (:email, '+4915112345678', :name, 'hash')
            RETURNING id
        ), told AS (
            INSERT INTO notices (org_id, person_id, kind, recipient) SELECT :org, id, 'invitation', :email FROM made
        ), joined AS (
            INSERT INTO memberships (org_id, person_id, role_id, is_active)
            SELECT :org, made.id, r.id, :active FROM made, roles r WHERE r.code = 'viewer'
        ) SELECT id FROM made
    """
    values = {"org": world.org_id, "email": email, "name": f"Frau {CANARY}", "active": is_active}
    found: UUID = world.rows(statement, **values)[0].id
    return found


def test_a_former_colleague_is_forgotten_with_their_address(world: World) -> None:
    person = _person(world, CUSTOMER, is_active=False)
    for table, columns in (("technicians", "home_lat, home_lon"), ("certificates", "name, valid_until")):
        values = "48.1, 11.6" if table == "technicians" else "'Gas', NULL"
        world.rows(
            f"INSERT INTO {table} (org_id, person_id, {columns}) VALUES (:org, :id, {values})",
            org=world.org_id, id=person,
        )  # fmt: skip
    _erase(world)
    assert _places(world) == set()
    assert world.value("SELECT (SELECT count(*) FROM technicians) + (SELECT count(*) FROM certificates)") == 0
    (row,) = world.rows(
        "SELECT email, phone, password_hash, is_active, erased_at FROM people WHERE id = :id", id=person
    )
    assert (row.email, row.phone, row.password_hash, row.is_active) == (None, None, None, False)
    assert row.erased_at is not None


def test_who_still_works_here_or_worked_elsewhere_keeps_their_account(world: World) -> None:
    colleague, other = _person(world, CUSTOMER, is_active=True), "other@customer.example"
    world.rows("UPDATE people SET phone = NULL")
    elsewhere = _person(world, other, is_active=False)
    with world.db.begin() as connection:
        org_id = factories.organization(connection)
    world.rows("UPDATE memberships SET org_id = :org WHERE person_id = :id", org=org_id, id=elsewhere)
    _erase(world)
    _erase(world, other)
    assert world.value("SELECT count(*) FROM people WHERE erased_at IS NULL AND email IS NOT NULL") == 2
    assert world.value("SELECT email FROM people WHERE id = :id", id=colleague) == CUSTOMER
