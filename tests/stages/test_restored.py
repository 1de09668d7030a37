"""A database of an earlier moment is told what it must know: nothing that the world saw since happens twice."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from dlq import letters
from models.enums import Cause, Lane, OutboundKind
from pipeline.commands import restoring
from pipeline.ports import Fetched
from pipeline.runtime import ledger, outgoing
from pipeline.runtime.errors import UserError
from pipeline.stages import fetch, send
from tests import conservation, factories
from tests.factories import NOON, mail
from tests.stages import chain
from tests.stages.world import World

pytestmark = pytest.mark.fault("F-60")


def settle(world: World, *, blobs: bool = False) -> restoring.Settled:
    """Tell the world's database that it was restored just now."""
    stored = [(str(kind), name) for kind, name in world.blobs.contents] if blobs else None
    with world.db.begin() as connection:
        return restoring.settle(connection, "a copy", stored, blobs_are_lost=True)


def answer(world: World) -> UUID:
    """Mean to answer a customer; nothing leaves yet."""
    (arrived,) = world.stitched(mail(message_id="<q@customer.example>"))
    identity = world.value("SELECT id FROM send_identities LIMIT 1")
    ticket_id = world.ticket_of(arrived).id
    to = ["ann@customer.example"]
    intent = outgoing.Intent(world.org_id, ticket_id, identity, OutboundKind.REPLY, to, "Re: It", "Tomorrow.", "bo")
    with world.db.begin() as connection:
        return outgoing.intend(connection, world.ports.reply_tokens, intent).outbound_id


def listed(world: World, provider_id: str, raw: bytes) -> int:
    """Let the provider name a mail; return its occurrence."""
    world.source.mails[provider_id] = Fetched(provider_id, raw, None, ("INBOX",), NOON)
    with world.db.begin() as connection:
        return factories.occurrence(connection, world.mailbox_id, provider_id, labels=("INBOX",), at=NOON)


def read(world: World, *occurrence_ids: int) -> None:
    """Fetch mails and follow them along the chain."""
    jobs = [chain.job(world, "fetch", one, Lane.REPAIR) for one in occurrence_ids]
    chain.follow(world, world.run_jobs(fetch.STAGE, *jobs).emits)


def pass_time(world: World) -> None:
    """Let the minute pass after which what was handed over can be found."""
    world.rows("UPDATE outbound SET handed_over_at = handed_over_at - CAST(:by AS interval)", by=timedelta(minutes=2))


@pytest.mark.parametrize(("has_left", "keeps", "sent", "state"), [
    (True, True, 1, "sent"),
    (False, True, 1, "sent"),
    (True, False, 1, "unknown"),
    (False, False, 0, "unknown"),
])  # fmt: skip
def test_a_queued_answer_is_looked_up_before_it_may_leave_and_stops_where_nobody_can_tell(
    world: World, has_left: bool, keeps: bool, sent: int, state: str
) -> None:
    """With `keeps` the provider finds what it took, as Gmail does; without, nobody can tell, as by SMTP."""
    sender = chain.desk(world)
    outbound_id = answer(world)
    if has_left:
        world.run(send.STAGE, outbound_id)
        world.rows("UPDATE outbound SET state = 'queued', sent_at = NULL, provider_id = NULL, handed_over = 0")
    sender.keeps = keeps
    assert settle(world).doubtful == (outbound_id,)
    for _ in range(2):
        pass_time(world)
        world.run(send.STAGE, outbound_id)
    pass_time(world)
    assert len(sender.sent) == sent
    assert world.value("SELECT state FROM outbound") == state


def test_mail_of_before_the_restore_is_not_answered_automatically_again(world: World) -> None:
    sender = chain.desk(world)
    before = chain.now() - timedelta(minutes=1)  # `now` runs ahead by a microsecond a call
    settle(world)
    (found,) = chain.receive(world, mail(sender="Bo <bo@customer.example>"), at=before)
    assert sender.sent == []
    said = world.value("SELECT data ->> 'reason' FROM events WHERE kind = 'acknowledgement.withheld'")
    assert "before the database was restored" in said
    assert world.ticket_of(found) is not None
    chain.receive(world, mail("Another", sender="Cy <cy@customer.example>"), at=chain.now() + timedelta(minutes=1))
    assert chain.told(sender) == ["cy@customer.example"]


def test_no_number_is_told_again_and_no_holder_of_the_lost_time_gets_through(world: World) -> None:
    with world.db.begin() as connection:
        ledger.put(connection, [factories.emit("7", "parse", org_id=world.org_id)])
        (held,) = factories.claimed(connection, "parse", worker=3)
    work_orders = world.value("SELECT nextval('work_order_numbers')")
    assert settle(world).jobs == 1
    with world.db.begin() as connection:
        assert ledger.hold(connection, [held], worker=3) == set()
        (again,) = factories.claimed(connection, "parse", worker=3)
        assert again.attempt > held.attempt + 100
    assert world.value("SELECT nextval('work_order_numbers')") >= work_orders + 10_000
    assert world.value("SELECT nextval(pg_get_serial_sequence('jobs', 'id'))") > 1_000_000_000
    assert 100_000 < world.value("SELECT nextval('worker_numbers')") < 2**31


def test_a_wish_about_many_letters_is_left_to_a_person(world: World) -> None:
    world.rows("""
        INSERT INTO bulks (org_id, action, state, selection, selection_digest, total, actor, reason)
        VALUES (:org, 'replay', 'running', '{}', 'x', 0, 'ann', 'it is mended')
    """, org=world.org_id)  # fmt: skip
    assert settle(world).wishes == 1
    assert world.value("SELECT state FROM bulks") == "cancelled"
    assert world.value("SELECT actor FROM letter_actions WHERE action = 'bulk_cancelled'") == "restore"


def test_bytes_that_the_restored_store_lacks_are_read_again_and_nothing_is_doubled(world: World) -> None:
    chain.desk(world, acknowledge=False)
    raw = mail("With a plan", attachment=b"%PDF-1.4 a plan")
    kept, lost = listed(world, "p-kept", mail("Whole")), listed(world, "p-lost", raw)
    read(world, kept, lost)
    before = _facts(world)
    name = world.value("SELECT encode(raw_sha256, 'hex') FROM occurrences WHERE id = :id", id=lost)
    world.blobs.contents = {key: said for key, said in world.blobs.contents.items() if key[1] != name}
    settled = settle(world, blobs=True)
    assert (settled.lost_blobs, settled.refetched) == (1, 1)
    assert (world.state_of(kept), world.state_of(lost)) == ("routed", "seen")
    assert world.value("SELECT key FROM jobs WHERE stage = 'fetch'") == str(lost)
    read(world, lost)
    assert world.state_of(lost) == "routed"
    assert settle(world, blobs=True).lost_blobs == 0
    assert _facts(world) == before


def test_a_dead_letter_whose_mail_is_lost_begins_with_the_fetch_when_it_is_replayed(world: World) -> None:
    occurrence_id = listed(world, "p-dead", mail("Odd"))
    world.run_jobs(fetch.STAGE, chain.job(world, "fetch", occurrence_id, Lane.REPAIR))
    with world.db.begin() as connection:
        ledger.put(connection, [factories.emit(str(occurrence_id), "parse", org_id=world.org_id)])
        (job,) = factories.claimed(connection, "parse")
        letters.bury(connection, [letters.Death(job, Cause.PERMANENT, None, by_occurrence=True)])
    world.blobs.contents.clear()
    settled = settle(world, blobs=True)
    assert (settled.letters, settled.refetched, world.state_of(occurrence_id)) == (1, 0, "quarantined")
    with world.db.begin() as connection:
        letters.replay(connection, [world.value("SELECT id FROM dead_letters")], actor="ann", reason="mended")
    assert world.value("SELECT stage FROM jobs WHERE state = 'ready'") == "fetch"
    read(world, occurrence_id)
    assert world.state_of(occurrence_id) == "routed"


def test_a_store_that_lacks_much_is_refused_and_changes_nothing_until_a_person_says_it_is_lost(world: World) -> None:
    for number in range(20):
        occurrence_id = listed(world, f"p-{number}", mail(f"No. {number}"))
        world.run_jobs(fetch.STAGE, chain.job(world, "fetch", occurrence_id, Lane.REPAIR))
    stored = [(str(kind), name) for kind, name in world.blobs.contents]
    before = _facts(world)
    with pytest.raises(UserError, match=r"2 of the 20 blobs .* --blobs-are-lost"), world.db.begin() as connection:
        restoring.settle(connection, "a copy", stored[2:])
    assert _facts(world) == before
    with world.db.begin() as connection:
        assert restoring.settle(connection, "a copy", stored[1:]).lost_blobs == 1
    with world.db.begin() as connection:
        assert restoring.settle(connection, "a copy", [], blobs_are_lost=True).lost_blobs == 20


def test_to_settle_may_take_longer_than_other_transactions(world: World) -> None:
    with world.db.begin() as connection:
        restoring.settle(connection, "a copy", None)
        for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
            assert connection.execute(text(f"SELECT current_setting('{name}')")).scalar_one() == "0"


def test_an_attachment_that_is_missing_is_taken_from_the_mail_again(world: World) -> None:
    found = listed(world, "p-1", mail("With a plan", attachment=b"%PDF-1.4 a plan"))
    read(world, found)
    before = _facts(world)
    world.blobs.contents = {key: said for key, said in world.blobs.contents.items() if key[0] != "attachment"}
    assert settle(world, blobs=True).refetched == 1
    assert world.state_of(found) == "fetched"
    chain.follow(world, [chain.step(world, "parse", found, Lane.REPAIR)])
    assert world.state_of(found) == "routed"
    assert settle(world, blobs=True).lost_blobs == 0
    assert _facts(world) == before


def test_a_database_that_was_not_restored_is_not_harmed(world: World) -> None:
    chain.desk(world)
    chain.receive(world, mail())
    before = _facts(world)
    settle(world, blobs=True)
    settle(world, blobs=True)
    assert _facts(world) == before


def _facts(world: World) -> dict[str, str]:
    """Return what must stay as it is; that it was restored stands in the history."""
    with world.db.begin() as connection:
        return {table: said for table, said in conservation.snapshot(connection).items() if table != "events"}
