"""Send: a message leaves exactly once, whatever is refused, lost or interrupted, and a person decides the rest."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from email.policy import default
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection

from dlq import letters
from models.enums import BlobKind, Cause, Lane, OutboundKind
from models.queries import outbound as reading
from pipeline.commands import replies
from pipeline.core import mime
from pipeline.core.handing_over import Handed, HandOver
from pipeline.runtime import ledger, outgoing
from pipeline.runtime.errors import NeedsAuthorization, Permanent, Throttled, Transient, UserError
from pipeline.runtime.jobs import Job
from pipeline.runtime.ledger import Line
from pipeline.runtime.outgoing import Intended
from pipeline.stage import Again, Blocked, Work
from pipeline.stages import parse, send, stitch
from tests import factories
from tests.stages.post import MemorySender
from tests.stages.world import Ran, World

MANY_HEADERS = {"Auto-Submitted": "auto-replied", "X-Auto-Response-Suppress": "All"}


@pytest.fixture
def ticket_id(world: World) -> UUID:
    """A ticket with one mail of a customer in it."""
    (arrived,) = world.stitched(factories.mail(message_id="<q@customer.example>"))
    found: UUID = world.ticket_of(arrived).id
    return found


@pytest.fixture
def sender(world: World) -> MemorySender:
    """What sends the mailbox's mail."""
    return world.senders.by_mailbox.setdefault(world.mailbox_id, MemorySender())


def identity(world: World, address: str = "help@acme.example", **options: Any) -> UUID:
    with world.db.begin() as connection:
        return factories.identity(connection, world.org_id, world.mailbox_id, address, **options)


def intend(world: World, ticket_id: UUID, **changes: Any) -> Intended:
    """Mean to answer, and enqueue it."""
    values: dict[str, Any] = {
        "org_id": world.org_id,
        "ticket_id": ticket_id,
        "kind": OutboundKind.REPLY,
        "to": ["ann@customer.example"],
        "subject": "Re: The charger is broken",
        "body_text": "We come tomorrow.",
        "created_by": "bo@acme.example",
    }
    values |= changes
    if "identity_id" not in values:
        values["identity_id"] = world.value("SELECT id FROM send_identities LIMIT 1") or identity(world)
    with world.db.begin() as connection:
        found = outgoing.intend(connection, world.ports.reply_tokens, outgoing.Intent(**values))
        ledger.put(connection, [found.step] if found.step else [])
        return found


def run(world: World, intended: Intended) -> Ran:
    return world.run(send.STAGE, intended.outbound_id)


def state(world: World, intended: Intended) -> str:
    found: str = world.value("SELECT state FROM outbound WHERE id = :id", id=intended.outbound_id)
    return found


def later(world: World, seconds: int = 61) -> None:
    """Let time pass for whatever was handed over."""
    world.rows("UPDATE outbound SET handed_over_at = handed_over_at - :by", by=timedelta(seconds=seconds))


def events(world: World) -> list[str]:
    return [row.kind for row in world.rows("SELECT kind FROM events WHERE kind LIKE 'outbound.%' ORDER BY id")]


def test_an_answer_leaves_once_and_is_stored_as_it_left(world: World, ticket_id: UUID, sender: MemorySender) -> None:
    intended = intend(world, ticket_id)
    assert run(world, intended).next == [("index", str(intended.message_id))]
    (mail,) = sender.sent
    (row,) = world.rows("SELECT * FROM outbound")
    assert (row.state, row.provider_id, row.handed_over, row.last_error) == ("sent", "sent-1", 1, None)
    assert row.sent_at is not None
    sha256 = hashlib.sha256(mail.raw)
    assert world.value("SELECT raw_sha256 FROM messages WHERE id = :id", id=intended.message_id) == sha256.digest()
    assert world.blobs.contents[BlobKind.RAW, sha256.hexdigest()] == mail.raw
    assert world.value("SELECT count(*) FROM blobs WHERE sha256 = :sha", sha=sha256.digest()) == 1
    assert events(world) == ["outbound.queued", "outbound.sent"]
    assert run(world, intended).loaded == 0
    assert sender.calls == ["send"]


def test_what_leaves_names_the_ticket_the_thread_and_its_writer(
    world: World, ticket_id: UUID, sender: MemorySender
) -> None:
    identity(world, name="Acme Support")
    intended = intend(world, ticket_id, cc=["Chef@Customer.example"])
    run(world, intended)
    (mail,) = sender.sent
    said = message_from_bytes(mail.raw, policy=default)
    code = world.value("SELECT code FROM tickets WHERE id = :id", id=ticket_id)
    assert str(said["From"]) == "Acme Support <help@acme.example>"
    assert (str(said["To"]), str(said["Cc"])) == ("ann@customer.example", "chef@customer.example")
    assert str(said["In-Reply-To"]) == str(said["References"]) == "<q@customer.example>"
    assert str(said["Message-ID"]) == mail.message_id == f"<{intended.outbound_id}@acme.example>"
    assert world.ports.reply_tokens.verify(said["Reply-To"].addresses[0].addr_spec) == code
    assert said["Reply-To"].addresses[0].addr_spec.startswith("help+tkt-")
    assert world.ports.reply_tokens.outbound_id(str(said["X-Fieldpost-Message"])) == intended.outbound_id
    assert mail.recipients == ("ann@customer.example", "chef@customer.example")
    assert said.get_content().rstrip() == "We come tomorrow."


def test_the_intent_stands_in_the_ticket_before_anything_leaves(world: World, ticket_id: UUID) -> None:
    before = world.rows("SELECT * FROM tickets WHERE id = :id", id=ticket_id)[0]
    intended = intend(world, ticket_id)
    (link,) = world.rows("SELECT * FROM ticket_messages WHERE message_id = :id", id=intended.message_id)
    assert (link.ticket_id, link.reason, link.confidence) == (ticket_id, "outbound_send", "high")
    after = world.rows("SELECT * FROM tickets WHERE id = :id", id=ticket_id)[0]
    assert after.last_activity_at > before.last_activity_at
    assert after.version > before.version
    assert (after.subject, after.requester_email) == (before.subject, before.requester_email)
    assert events(world) == ["outbound.queued"]


def test_the_copy_that_the_mailbox_shows_is_the_same_message(
    world: World, ticket_id: UUID, sender: MemorySender
) -> None:
    intended = intend(
        world, ticket_id, subject="Re: Ärger 漢字 " + "lang " * 60, body_text="Grüße\n\n  - eingerückt\n."
    )
    run(world, intended)
    copy = world.parsed(sender.sent[0].raw, labels=("SENT",))
    world.run(stitch.STAGE, copy)
    assert world.value("SELECT message_id FROM occurrences WHERE id = :id", id=copy) == intended.message_id
    assert world.value("SELECT count(*) FROM messages") == 2
    assert world.value("SELECT count(*) FROM tickets") == 1
    parsed = mime.parse(sender.sent[0].raw)
    (row,) = world.rows(
        "SELECT m.*, c.body_text FROM messages m JOIN message_contents c ON c.message_id = m.id WHERE m.id = :id",
        id=intended.message_id,
    )
    assert (row.subject, row.body_text) == (parsed.subject, parsed.text.rstrip("\n"))


def test_a_sent_copy_whose_message_id_was_rewritten_on_its_way_is_the_same_message(
    world: World, ticket_id: UUID, sender: MemorySender
) -> None:
    intended = intend(world, ticket_id)
    run(world, intended)
    (mail,) = sender.sent
    raw = mail.raw.replace(mail.message_id.encode(), b"<rewritten@mail.provider.example>")
    copy = world.arrive(raw, labels=("SENT",))
    world.run(parse.STAGE, copy)
    world.run(stitch.STAGE, copy)
    assert world.value("SELECT message_id FROM occurrences WHERE id = :id", id=copy) == intended.message_id
    assert world.ticket_of(copy).id == ticket_id


def test_a_stranger_who_repeats_the_proof_of_our_mail_hides_nothing(
    world: World, ticket_id: UUID, sender: MemorySender
) -> None:
    intended = intend(world, ticket_id)
    run(world, intended)
    (mail,) = sender.sent
    raw = mail.raw.replace(b"We come tomorrow.", b"Pay to this account.").replace(b"help@acme", b"evil@else")
    copy = world.arrive(raw)
    world.run(parse.STAGE, copy)
    assert world.value("SELECT message_id FROM occurrences WHERE id = :id", id=copy) != intended.message_id


def test_a_message_that_was_marked_and_left_is_found_and_not_sent_again(
    world: World, ticket_id: UUID, sender: MemorySender
) -> None:
    sender.answers, sender.doubtful_is_taken = [Handed(HandOver.DOUBTFUL, "the connection ended")], True
    intended = intend(world, ticket_id)
    assert run(world, intended).next == [("send", str(intended.outbound_id))]
    assert state(world, intended) == "sending"
    resting = run(world, intended).unsaved[str(intended.outbound_id)]
    assert isinstance(resting, Again)
    assert resting.reason == "the connection ended"
    later(world, 6)
    run(world, intended)
    assert (state(world, intended), sender.calls) == ("sent", ["send", "find"])
    assert len(sender.sent) == 1
    assert events(world) == ["outbound.queued", "outbound.sent"]
    assert world.value("SELECT count(*) FROM blobs WHERE kind = 'raw' AND size = :size", size=len(sender.sent[0].raw))


def test_a_message_that_did_not_leave_is_sent_when_nobody_can_be_sending_any_more(
    world: World, ticket_id: UUID, sender: MemorySender
) -> None:
    sender.answers = [Handed(HandOver.DOUBTFUL, "the connection ended")]
    intended = intend(world, ticket_id)
    run(world, intended)
    early = run(world, intended).unsaved[str(intended.outbound_id)]
    assert isinstance(early, Again)
    assert timedelta(0) < early.delay <= send.CERTAIN
    later(world)
    assert run(world, intended).next == [("send", str(intended.outbound_id))]
    assert (state(world, intended), sender.sent) == ("queued", [])
    later(world)
    run(world, intended)
    assert (state(world, intended), len(sender.sent)) == ("sent", 1)
    assert world.value("SELECT handed_over FROM outbound") == 2


def test_where_nobody_can_tell_a_person_decides(world: World, ticket_id: UUID, sender: MemorySender) -> None:
    sender.answers, sender.keeps = [Handed(HandOver.DOUBTFUL, "the connection ended")], False
    intended = intend(world, ticket_id)
    run(world, intended)
    assert isinstance(run(world, intended).unsaved[str(intended.outbound_id)], Again)
    later(world)
    assert run(world, intended).next == [("index", str(intended.message_id))]
    assert (state(world, intended), sender.sent) == ("unknown", [])
    assert events(world) == ["outbound.queued", "outbound.unknown"]
    assert sender.calls.count("send") == 1


@pytest.mark.parametrize("moment", ["load", "work"])
def test_a_process_that_died_after_the_mark_leaves_a_message_that_is_looked_up_first(
    world: World, ticket_id: UUID, sender: MemorySender, moment: str
) -> None:
    intended = intend(world, ticket_id)
    job = world.job(send.STAGE, intended.outbound_id)
    with world.db.begin() as connection:
        items = send.STAGE.load(connection, [job])
    if moment == "work":
        send.STAGE.work(list(items.values()), world.ports)
    # Nothing was saved.
    later(world)
    run(world, intended)
    later(world)
    run(world, intended)
    assert (state(world, intended), len(sender.sent)) == ("sent", 1)
    assert sender.calls[-1] == ("send" if moment == "load" else "find")


def test_what_is_refused_for_now_is_tried_again_after_a_rest_that_grows(
    world: World, ticket_id: UUID, sender: MemorySender
) -> None:
    sender.answers = [Handed(HandOver.LATER, "450 greylisted, try again")] * 3
    intended = intend(world, ticket_id)
    waits = []
    for _ in range(3):
        assert run(world, intended).next == [("send", str(intended.outbound_id))]
        assert state(world, intended) == "queued"
        waits.append(run(world, intended).unsaved[str(intended.outbound_id)].delay)  # type: ignore[union-attr]
        later(world, 3600)
    assert waits == sorted(waits)
    assert waits[0] < waits[2]
    assert world.value("SELECT last_error FROM outbound") == "450 greylisted, try again"
    run(world, intended)
    assert (state(world, intended), len(sender.sent), sender.calls.count("find")) == ("sent", 1, 0)


def test_what_is_refused_for_now_again_and_again_fails_in_the_end(
    world: World, ticket_id: UUID, sender: MemorySender
) -> None:
    sender.answers = [Handed(HandOver.LATER, "452 mailbox full")]
    intended = intend(world, ticket_id)
    world.rows("UPDATE outbound SET handed_over = :most", most=send.MOST_HAND_OVERS - 1)
    run(world, intended)
    assert state(world, intended) == "failed"
    assert "452 mailbox full" in world.value("SELECT last_error FROM outbound")


def test_what_is_refused_for_good_fails_and_the_ticket_says_why(
    world: World, ticket_id: UUID, sender: MemorySender
) -> None:
    sender.answers = [Handed(HandOver.REFUSED, "550 no such user")]
    intended = intend(world, ticket_id)
    run(world, intended)
    assert (state(world, intended), sender.sent) == ("failed", [])
    (event,) = world.rows("SELECT * FROM events WHERE kind = 'outbound.failed'")
    assert (event.ticket_id, event.data["reason"]) == (ticket_id, "550 no such user")


def test_the_time_to_begin_counts_from_before_the_mark(world: World, ticket_id: UUID, sender: MemorySender) -> None:
    intended = intend(world, ticket_id)
    job = world.job(send.STAGE, intended.outbound_id)
    world.run_jobs(send.STAGE, job)
    assert sender.sent[0].begin_by == job.taken.after(send.BEGIN_WITHIN)


@pytest.mark.parametrize("clock", ["monotonic", "wall"])
def test_a_process_that_stood_still_after_its_mark_sends_nothing(
    world: World, ticket_id: UUID, sender: MemorySender, clock: str
) -> None:
    """Frozen, the one clock has gone on; suspended with its machine, the other."""
    intended = intend(world, ticket_id)
    job = world.job(send.STAGE, intended.outbound_id)
    slept = job.taken.after(-send.BEGIN_WITHIN - timedelta(seconds=1))
    with world.db.begin() as connection:
        stale = replace(job, taken=replace(job.taken, **{clock: getattr(slept, clock)}))
        items = send.STAGE.load(connection, [stale])
    # Meanwhile another one found it, did not find the mail, and sent it.
    for seconds in (61, 3600):
        later(world, seconds)
        run(world, intended)
    assert (state(world, intended), len(sender.sent)) == ("sent", 1)
    (result,) = send.STAGE.work(list(items.values()), world.ports)
    assert isinstance(result, send.Ended)
    assert (result.state, result.said, len(sender.sent)) == ("queued", "the time to begin was over", 1)


def test_a_doubtful_end_is_what_certainty_counts_from(world: World, ticket_id: UUID, sender: MemorySender) -> None:
    """A hand-over may end long after its mark; what the provider took then is not found at once."""
    sender.answers = [Handed(HandOver.DOUBTFUL, "the answer did not come")]
    intended = intend(world, ticket_id)
    job = world.job(send.STAGE, intended.outbound_id)
    with world.db.begin() as connection:
        items = send.STAGE.load(connection, [job])
    (result,) = send.STAGE.work(list(items.values()), world.ports)
    later(world, 59)
    with world.db.begin() as connection:
        send.STAGE.save(connection, [Work(job, items[job.job_id], result)])  # type: ignore[arg-type]
    later(world, 50)
    assert isinstance(run(world, intended).unsaved[str(intended.outbound_id)], Again)
    assert state(world, intended) == "sending"


@pytest.mark.parametrize("trouble", [(Permanent("the server is no more"), 61), (Transient("the server is away"), 3601)])
@pytest.mark.parametrize("where", ["open", "find"])
def test_what_cannot_be_looked_up_for_good_or_for_long_a_person_decides(
    world: World, ticket_id: UUID, sender: MemorySender, trouble: tuple[Exception, int], where: str
) -> None:
    error, seconds = trouble
    sender.answers = [Handed(HandOver.DOUBTFUL, "the connection ended")]
    intended = intend(world, ticket_id)
    run(world, intended)
    if where == "open":
        world.senders.refused[world.mailbox_id] = error
    else:
        sender.broken = error
    later(world, seconds - 10)
    assert isinstance(run(world, intended).unsaved[str(intended.outbound_id)], Again)
    later(world, 10)
    assert run(world, intended).next == [("index", str(intended.message_id))]
    assert (state(world, intended), sender.sent) == ("unknown", [])
    assert str(error) in world.value("SELECT last_error FROM outbound")
    assert events(world) == ["outbound.queued", "outbound.unknown"]


@pytest.mark.parametrize("decide", [replies.retry, replies.settle])
def test_a_person_may_decide_about_what_is_under_way_for_minutes(
    world: World, ticket_id: UUID, sender: MemorySender, decide: Any
) -> None:
    """Its job may be buried or wait for a mailbox, and then nobody else ever will."""
    sender.answers = [RuntimeError("a defect")]
    intended = intend(world, ticket_id)
    run(world, intended)
    with world.db.begin() as connection:
        assert dead(connection, intended)
    with pytest.raises(UserError, match="5 minutes after"), world.db.begin() as connection:
        decide(connection, intended.outbound_id, actor="bo")
    later(world, 301)
    with world.db.begin() as connection:
        found = decide(connection, intended.outbound_id, actor="bo")
    assert state(world, intended) == ("queued" if decide is replies.retry else "sent")
    assert world.rows("SELECT state FROM jobs WHERE stage = 'send'") == [("ready",)]
    assert world.rows("SELECT resolution, resolved_by FROM dead_letters") == [("replayed", "bo")]
    assert found == (None if decide is replies.settle else {Line("send", Lane.LIVE)})
    run(world, intended)
    assert (state(world, intended), len(sender.sent)) == ("sent", int(decide is replies.retry))


def test_a_queued_message_whose_job_is_dead_or_missing_can_be_sent_again(
    world: World, ticket_id: UUID, sender: MemorySender
) -> None:
    first, second = intend(world, ticket_id), intend(world, ticket_id, body_text="And again.")
    with pytest.raises(UserError, match="only one that is"), world.db.begin() as connection:
        replies.retry(connection, first.outbound_id, actor="bo")
    world.rows("DELETE FROM jobs WHERE key = :key", key=str(second.outbound_id))
    with world.db.begin() as connection:
        dead(connection, first)
        assert [reading.outbound_message(connection, one.outbound_id).is_adrift for one in (first, second)] == [
            True
        ] * 2  # type: ignore[union-attr]
        for one in (first, second):
            replies.retry(connection, one.outbound_id, actor="bo")
        assert [reading.outbound_message(connection, one.outbound_id).is_adrift for one in (first, second)] == [
            False
        ] * 2  # type: ignore[union-attr]
    assert world.value("SELECT count(*) FROM jobs WHERE stage = 'send' AND state = 'ready'") == 2


def dead(connection: Connection, intended: Intended) -> bool:
    """Bury the job of a message."""
    line = Line("send", Lane.LIVE)
    jobs = ledger.claim(connection, line, batch=9, worker=1, lease=timedelta(minutes=1))
    found = [job for job in jobs if job.key == str(intended.outbound_id)]
    letters.bury(connection, [letters.Death(job, Cause.EXHAUSTED, None, by_occurrence=False) for job in found])
    return bool(found)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Transient("the database of tokens is away"), "queued"),
        (Throttled("no units"), "queued"),
        (NeedsAuthorization("connect it again"), "queued"),
        (Permanent("it cannot send"), "failed"),
    ],
)
def test_a_sender_that_does_not_open_leaves_no_doubt(
    world: World, ticket_id: UUID, error: Exception, expected: str
) -> None:
    world.senders.refused[world.mailbox_id] = error
    intended = intend(world, ticket_id)
    run(world, intended)
    assert state(world, intended) == expected
    assert str(error) in world.value("SELECT last_error FROM outbound")


def test_a_look_up_without_an_answer_is_made_again(world: World, ticket_id: UUID, sender: MemorySender) -> None:
    sender.answers, sender.doubtful_is_taken = [Handed(HandOver.DOUBTFUL)], True
    intended = intend(world, ticket_id)
    run(world, intended)
    later(world)
    sender.broken = Transient("no answer")
    assert isinstance(run(world, intended).unsaved[str(intended.outbound_id)], Again)
    sender.broken = NeedsAuthorization("connect it again")
    assert run(world, intended).unsaved[str(intended.outbound_id)] is sender.broken
    assert state(world, intended) == "sending"
    sender.broken = None
    run(world, intended)
    assert state(world, intended) == "sent"


def test_a_blob_store_that_is_away_keeps_everything_here(world: World, ticket_id: UUID, sender: MemorySender) -> None:
    world.blobs.broken = Transient("no disk")
    intended = intend(world, ticket_id)
    run(world, intended)
    assert (state(world, intended), sender.calls) == ("queued", [])


def test_an_unforeseen_error_leaves_the_message_to_be_looked_up(
    world: World, ticket_id: UUID, sender: MemorySender
) -> None:
    sender.answers = [RuntimeError("a defect")]
    intended = intend(world, ticket_id)
    assert isinstance(run(world, intended).unsaved[str(intended.outbound_id)], RuntimeError)
    assert state(world, intended) == "sending"


def test_a_paused_mailbox_sends_nothing_and_marks_nothing(world: World, ticket_id: UUID, sender: MemorySender) -> None:
    intended = intend(world, ticket_id)
    world.rows("UPDATE mailboxes SET state = 'auth_required', state_reason = 'connect it again'")
    assert run(world, intended).unsaved == {str(intended.outbound_id): Blocked("connect it again")}
    assert world.rows("SELECT state, handed_over FROM outbound") == [("queued", 0)]
    assert sender.calls == []


def test_an_address_that_was_disabled_meanwhile_sends_nothing(
    world: World, ticket_id: UUID, sender: MemorySender
) -> None:
    intended = intend(world, ticket_id)
    world.rows("UPDATE send_identities SET is_enabled = false")
    run(world, intended)
    assert (state(world, intended), sender.calls) == ("failed", [])


def test_a_decision_made_meanwhile_is_not_overruled(world: World, ticket_id: UUID, sender: MemorySender) -> None:
    intended = intend(world, ticket_id)
    job = world.job(send.STAGE, intended.outbound_id)
    with world.db.begin() as connection:
        items = send.STAGE.load(connection, [job])
    world.rows("UPDATE outbound SET state = 'failed'")
    with world.db.begin() as connection:
        (result,) = send.STAGE.work(list(items.values()), world.ports)
        assert isinstance(result, send.Ended)
        works = [Work(job, items[job.job_id], result)]
        assert send.STAGE.save(connection, works) == []
    assert (state(world, intended), events(world)) == ("failed", ["outbound.queued"])


def test_an_automatic_mail_carries_its_marks_and_without_them_does_not_leave(
    world: World, ticket_id: UUID, sender: MemorySender
) -> None:
    automatic = {"kind": OutboundKind.ACKNOWLEDGEMENT, "headers": MANY_HEADERS, "created_by": "system"}
    first, second = intend(world, ticket_id, **automatic), intend(world, ticket_id, **automatic)
    assert first.step is not None
    world.run_jobs(send.STAGE, _job(world, first))
    assert [message_from_bytes(mail.raw)["Auto-Submitted"] for mail in sender.sent] == ["auto-replied"]
    # Its job, which carries the headers, is gone.
    run(world, second)
    assert (state(world, second), len(sender.sent)) == ("failed", 1)
    assert "headers" in world.value("SELECT last_error FROM outbound WHERE id = :id", id=second.outbound_id)


@pytest.mark.parametrize("trouble", ["cannot send", "disabled"])
def test_a_failed_automatic_mail_can_be_sent_again_with_its_marks(
    world: World, ticket_id: UUID, sender: MemorySender, trouble: str
) -> None:
    intended = intend(world, ticket_id, kind=OutboundKind.ACKNOWLEDGEMENT, headers=MANY_HEADERS, created_by="system")
    if trouble == "disabled":
        world.rows("UPDATE send_identities SET is_enabled = false")
    else:
        world.senders.refused[world.mailbox_id] = Permanent("it cannot send")
    world.run_jobs(send.STAGE, _job(world, intended))
    assert state(world, intended) == "failed"
    world.rows("DELETE FROM jobs")
    world.rows("UPDATE send_identities SET is_enabled = true")
    world.senders.refused.clear()
    with world.db.begin() as connection:
        replies.retry(connection, intended.outbound_id, actor="bo")
    run(world, intended)
    assert state(world, intended) == "sent"
    assert message_from_bytes(sender.sent[0].raw)["Auto-Submitted"] == "auto-replied"


def test_an_automatic_mail_whose_marks_are_lost_is_not_sent_again(
    world: World, ticket_id: UUID, sender: MemorySender
) -> None:
    intended = intend(world, ticket_id, kind=OutboundKind.ACKNOWLEDGEMENT, headers=MANY_HEADERS, created_by="system")
    world.rows("DELETE FROM jobs")
    run(world, intended)
    assert state(world, intended) == "failed"
    with pytest.raises(UserError, match="never stored"), world.db.begin() as connection:
        replies.retry(connection, intended.outbound_id, actor="bo")
    assert (state(world, intended), sender.sent) == ("failed", [])


def _job(world: World, intended: Intended) -> Job:
    assert intended.step is not None
    job = world.job(send.STAGE, intended.outbound_id)
    return replace(job, args=intended.step.args)


def test_several_messages_are_handed_over_together_and_one_does_not_hurt_the_others(
    world: World, ticket_id: UUID, sender: MemorySender
) -> None:
    intended = [intend(world, ticket_id, body_text=f"Number {number}.") for number in range(12)]
    sender.answers = [Handed(HandOver.REFUSED, "550 no"), RuntimeError("a defect")]
    ran = world.run(send.STAGE, *(one.outbound_id for one in intended))
    assert len(ran.unsaved) == 1
    assert world.rows("SELECT state, count(*) FROM outbound GROUP BY state ORDER BY state") == [
        ("failed", 1),
        ("sending", 1),
        ("sent", 10),
    ]
    assert len({mail.message_id for mail in sender.sent}) == 10


def test_a_merged_ticket_is_answered_as_the_one_it_went_into(world: World, ticket_id: UUID) -> None:
    with world.db.begin() as connection:
        other = factories.ticket(connection, world.org_id)
    world.rows(
        "UPDATE tickets SET status = 'merged', merged_into = :into, closed_at = now() WHERE id = :id",
        into=ticket_id, id=other,
    )  # fmt: skip
    assert intend(world, other).ticket_id == ticket_id


def test_a_thread_is_named_by_its_twenty_newest_ids_and_a_hostile_one_is_left_out(
    world: World, ticket_id: UUID, sender: MemorySender
) -> None:
    mails = [
        factories.mail(message_id=f"<m{number}@customer.example>", in_reply_to="<q@customer.example>")
        for number in range(25)
    ]
    world.stitched(*mails, minutes=1)
    world.rows(
        "UPDATE messages SET rfc_message_id = E'<x\\r\\nBcc: evil@x.example>' WHERE rfc_message_id LIKE '<m20@%'"
    )
    intended = intend(world, ticket_id)
    run(world, intended)
    said = message_from_bytes(sender.sent[0].raw, policy=default)
    named = str(said["References"]).split()
    assert named == [f"<m{number}@customer.example>" for number in range(4, 25) if number != 20]
    assert said["Bcc"] is None


def test_an_answer_to_our_mail_comes_back_to_the_ticket_and_opens_it_again(
    world: World, ticket_id: UUID, sender: MemorySender
) -> None:
    intended = intend(world, ticket_id)
    run(world, intended)
    world.rows("UPDATE tickets SET status = 'closed', closed_at = :at", at=factories.NOON)
    reply_to = message_from_bytes(sender.sent[0].raw, policy=default)["Reply-To"].addresses[0].addr_spec
    by_token = factories.mail("Something else", sender="Bob <bob@elsewhere.example>", to=reply_to)
    by_reference = factories.mail("Re: It", in_reply_to=sender.sent[0].message_id)
    forged = factories.mail("Re: It", sender="Eve <eve@evil.example>", in_reply_to=sender.sent[0].message_id)
    found = world.stitched(by_token, by_reference, forged, minutes=60)
    assert [world.ticket_of(one).id == ticket_id for one in found] == [True, True, False]
    assert world.value("SELECT status FROM tickets WHERE id = :id", id=ticket_id) == "open"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"is_enabled": False}, "disabled"),
        ({"status": "pending"}, "not verified"),
        ({"status": "failed"}, "not verified"),
    ],
)
def test_an_address_that_may_not_be_written_from_is_refused(
    world: World, ticket_id: UUID, changes: dict[str, Any], problem: str
) -> None:
    identity(world, **changes)
    with pytest.raises(UserError, match=problem):
        intend(world, ticket_id)


@pytest.mark.parametrize("provider", ["files", "imap"])
def test_a_mailbox_that_cannot_send_is_refused(world: World, ticket_id: UUID, provider: str) -> None:
    world.rows("UPDATE mailboxes SET provider = :provider", provider=provider)
    with pytest.raises(UserError, match="cannot be written from"):
        intend(world, ticket_id)


def test_the_addresses_and_tickets_of_another_organization_do_not_exist(world: World, ticket_id: UUID) -> None:
    with world.db.begin() as connection:
        theirs = factories.organization(connection)
    mine = identity(world)
    with pytest.raises(outgoing.UnknownTicket):
        intend(world, ticket_id, org_id=theirs, identity_id=mine)
    with world.db.begin() as connection:
        their_ticket = factories.ticket(connection, theirs)
    with pytest.raises(outgoing.UnknownIdentity):
        intend(world, their_ticket, org_id=theirs, identity_id=mine)


@pytest.mark.parametrize(
    "changes",
    [
        {"to": []},
        {"to": ["no address"]},
        {"to": [f"a{number}@b.example" for number in range(51)]},
        {"cc": ["a@b.example\r\nBcc: c@d.example"]},
        {"subject": " \r\n "},
        {"subject": "x" * 999},
        {"body_text": "\n \t\n"},
        {"body_text": "x" * 100_001},
        {"headers": {"Bcc": "a@b.example"}},
        {"headers": {"X-Other": "a\r\nBcc: b@c.example"}},
        {"headers": {"X Other": "a"}},
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(
    world: World, ticket_id: UUID, changes: dict[str, Any]
) -> None:
    with pytest.raises(UserError):
        intend(world, ticket_id, **changes)
    assert world.value("SELECT count(*) FROM outbound") == 0
    assert world.value("SELECT count(*) FROM messages") == 1


def test_a_copy_is_parsed_before_its_send_is_saved(world: World, ticket_id: UUID, sender: MemorySender) -> None:
    """History may be faster than the answer of the provider."""
    intended = intend(world, ticket_id)
    job = world.job(send.STAGE, intended.outbound_id)
    with world.db.begin() as connection:
        items = send.STAGE.load(connection, [job])
    (result,) = send.STAGE.work(list(items.values()), world.ports)
    copy = world.arrive(sender.sent[0].raw, labels=("SENT",))
    assert world.run(parse.STAGE, copy).unsaved == {}
    with world.db.begin() as connection:
        send.STAGE.save(connection, [Work(job, items[job.job_id], result)])  # type: ignore[arg-type]
    assert world.value("SELECT message_id FROM occurrences WHERE id = :id", id=copy) == intended.message_id
    assert state(world, intended) == "sent"
