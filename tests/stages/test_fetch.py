"""Fetch: raw bytes are stored under their hash; what vanished, what is nobody's request and what waits stay counted."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest

from models.enums import OccurrenceState
from pipeline.ports import Fetched
from pipeline.runtime.errors import NeedsAuthorization, Throttled, Transient
from pipeline.stage import Again
from pipeline.stages import fetch
from tests import factories
from tests.factories import NOON
from tests.stages.world import World

STAGE = fetch.STAGE


def seen(world: World, provider_id: str, **options: object) -> int:
    with world.db.begin() as connection:
        return factories.occurrence(connection, world.mailbox_id, provider_id, **options)  # type: ignore[arg-type]


def offer(world: World, provider_id: str, raw: bytes = b"raw", **facts: object) -> int:
    world.source.mails[provider_id] = Fetched(provider_id, raw, **facts)  # type: ignore[arg-type]
    return seen(world, provider_id)


def test_raw_bytes_are_stored_and_the_providers_facts_are_kept(world: World):
    found = offer(world, "a", b"raw", thread_id="t", labels=("INBOX", "UNREAD"), internal_at=NOON)
    assert world.run(STAGE, found).next == [("parse", str(found))]
    (row,) = world.rows("SELECT state, raw_sha256, thread_id, labels, internal_at FROM occurrences")
    digest = hashlib.sha256(b"raw").digest()
    assert tuple(row) == ("fetched", digest, "t", ["INBOX", "UNREAD"], NOON)
    assert world.blobs.contents == {("raw", digest.hex()): b"raw"}
    (blob,) = world.rows("SELECT org_id, kind, sha256, size, stored_size FROM blobs")
    assert tuple(blob) == (world.org_id, "raw", digest, 3, 3)


@pytest.mark.fault("F-43")
def test_a_vanished_message_becomes_a_tombstone(world: World):
    found = seen(world, "vanished")
    ran = world.run(STAGE, found)
    assert (ran.next, ran.unsaved) == ([], {})
    assert world.state_of(found) == "gone"


@pytest.mark.parametrize("label", ["DRAFT", "CHAT"])
def test_a_draft_is_counted_and_its_bytes_are_not_kept(world: World, label: str):
    found = offer(world, "a", labels=("INBOX", label))
    assert world.run(STAGE, found).next == []
    assert world.state_of(found) == "ignored"
    assert world.blobs.contents == {}


def test_trouble_of_the_blob_store_passes_and_leaves_tombstones_alone(world: World):
    stored, vanished, draft = offer(world, "a"), seen(world, "vanished"), offer(world, "d", labels=("DRAFT",))
    world.blobs.broken = Transient("disk full")
    ran = world.run(STAGE, stored, vanished, draft)
    assert ran.unsaved == {str(stored): world.blobs.broken}
    assert [world.state_of(one) for one in (stored, vanished, draft)] == ["seen", "gone", "ignored"]


def test_equal_bytes_in_one_batch_are_one_blob_and_several_occurrences(world: World):
    found = [offer(world, name, b"same") for name in ("a", "b", "c")]
    assert len(world.run(STAGE, *found).next) == 3
    assert world.value("SELECT count(*) FROM blobs") == 1
    assert world.value("SELECT count(DISTINCT raw_sha256) FROM occurrences WHERE state = 'fetched'") == 1


def test_bytes_that_are_stored_already_are_no_error(world: World):
    world.run(STAGE, offer(world, "a", b"same"))
    assert len(world.run(STAGE, offer(world, "b", b"same")).next) == 1
    assert world.value("SELECT count(*) FROM blobs") == 1


def test_the_trouble_of_one_message_is_its_own(world: World):
    good, slow = offer(world, "good"), seen(world, "slow")
    world.source.mails["slow"] = Throttled("later", timedelta(seconds=9))
    ran = world.run(STAGE, good, slow)
    assert isinstance(ran.unsaved[str(slow)], Throttled)
    assert (world.state_of(good), world.state_of(slow)) == ("fetched", "seen")


def test_a_mailbox_that_cannot_be_opened_holds_up_its_own_messages_only(world: World):
    good, closed = offer(world, "good"), world.mailbox("closed@acme.example")
    with world.db.begin() as connection:
        locked = factories.occurrence(connection, closed, "x")
    world.sources.refused[closed] = NeedsAuthorization("consent")
    ran = world.run(STAGE, locked, good)
    assert ran.unsaved == {str(locked): world.sources.refused[closed]}
    assert world.state_of(good) == "fetched"


def test_a_paused_mailbox_is_not_touched(world: World):
    found = offer(world, "a")
    world.rows("UPDATE mailboxes SET state = 'paused', paused_until = now() + interval '1 hour'")
    assert isinstance(world.run(STAGE, found).unsaved[str(found)], Again)
    assert world.source.calls == []


@pytest.mark.parametrize("state", [OccurrenceState.FETCHED, OccurrenceState.GONE, OccurrenceState.IGNORED])
def test_what_was_fetched_or_ended_is_not_fetched_again(world: World, state: OccurrenceState):
    raw = b"x" if state is OccurrenceState.FETCHED else None
    assert world.run(STAGE, seen(world, "a", state=state, raw=raw)).loaded == 0


def test_a_quarantined_message_without_bytes_is_fetched_when_it_is_replayed(world: World):
    world.source.mails["a"] = Fetched("a", b"raw")
    found = seen(world, "a", state=OccurrenceState.QUARANTINED)
    assert world.run(STAGE, found).next == [("parse", str(found))]
    assert world.state_of(found) == "fetched"


def test_facts_the_provider_leaves_out_do_not_erase_what_the_listing_said(world: World):
    world.source.mails["a"] = Fetched("a", b"raw")
    found = seen(world, "a", thread_id="listed", labels=("INBOX",))
    world.run(STAGE, found)
    (row,) = world.rows("SELECT thread_id, labels FROM occurrences")
    assert tuple(row) == ("listed", ["INBOX"])
