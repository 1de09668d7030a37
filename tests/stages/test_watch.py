"""Watch: asked for once a day, never later than two days before its end; a refusal is written down and tried again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Row

from models.enums import MailboxState
from pipeline.commands.push import announce, request_watches
from pipeline.ports import Watch
from pipeline.runtime import ledger
from pipeline.runtime.errors import Forbidden, NeedsAuthorization, Permanent, Suspended, Throttled, Transient
from pipeline.runtime.watching import note_found
from pipeline.stage import Again, Blocked, Work
from pipeline.stages.watch import STAGE, Failed
from tests.factories import claimed
from tests.stages.world import World

TOPIC = "projects/p/topics/t"
WEEK = timedelta(days=7)


def _watch(world: World, *, failures: int = 0, topic: str | None = TOPIC) -> Any:
    """Run the stage for the mailbox; return the outcome, or None when there was nothing left to do."""
    args = {} if topic is None else {"topic": topic}
    job = replace(world.job(STAGE, world.mailbox_id), args=args, failures=failures)
    with world.db.begin() as connection:
        items = STAGE.load(connection, [job])
    if not items:
        return None
    (outcome,) = STAGE.work([items[job.job_id]], world.ports)
    if not isinstance(outcome, Again | Blocked | Exception):
        with world.db.begin() as connection:
            assert STAGE.save(connection, [Work(job, items[job.job_id], outcome)]) == ()
    return outcome


def _row(world: World) -> Row[Any]:
    (row,) = world.rows("SELECT w.*, now() AS now FROM watches w WHERE mailbox_id = :id", id=world.mailbox_id)
    return row


def _promise(world: World, life: timedelta = WEEK) -> None:
    world.source.watched = Watch(world.value("SELECT now()") + life, "77")


def _due(world: World) -> None:
    world.rows("UPDATE watches SET renew_at = now()")


def _asked(world: World, topic: str = TOPIC) -> int:
    with world.db.begin() as connection:
        return request_watches(connection, topic)


def test_a_watch_is_kept_with_its_end_and_renewed_in_a_day(world: World):
    _promise(world)
    _watch(world)
    row = _row(world)
    assert (row.state, row.topic, row.error) == ("active", TOPIC, None)
    assert row.expires_at == world.source.watched.expires_at
    assert world.source.calls == [f"watch {TOPIC}"]
    assert timedelta(hours=20) <= row.renew_at - row.renewed_at <= timedelta(hours=28)


def test_renewals_are_spread_so_that_mailboxes_do_not_renew_together(world: World):
    _promise(world)
    found = set()
    for _ in range(20):
        _watch(world)
        row = _row(world)
        found.add(row.renew_at - row.renewed_at)
        _due(world)
    assert max(found) - min(found) > timedelta(hours=1)


@pytest.mark.parametrize("hours", [60, 50])
def test_a_shorter_promise_is_renewed_two_days_before_its_end(world: World, hours: int):
    _promise(world, timedelta(hours=hours))
    _watch(world)
    row = _row(world)
    assert row.renew_at == row.expires_at - timedelta(hours=48)


def test_a_promise_of_less_than_two_days_is_renewed_each_hour_and_not_at_once(world: World):
    _promise(world, timedelta(hours=10))
    _watch(world)
    row = _row(world)
    assert row.renew_at - row.renewed_at == timedelta(hours=1)


def test_the_providers_cursor_moves_nothing(world: World):
    _promise(world)
    _watch(world)
    assert world.value("SELECT sync_cursor FROM mailboxes WHERE id = :id", id=world.mailbox_id) == "50"


def test_a_job_that_comes_twice_asks_once(world: World):
    _promise(world)
    _watch(world)
    assert _watch(world) is None
    assert world.source.calls == [f"watch {TOPIC}"]


@pytest.mark.fault("F-49")
def test_a_watch_that_has_lapsed_is_asked_for_whatever_its_time_of_renewal_says(world: World):
    _promise(world)
    _watch(world)
    world.rows("UPDATE watches SET expires_at = now() - interval '1 second'")
    assert _watch(world) is not None


def test_a_job_without_a_topic_has_nothing_to_do(world: World):
    assert _watch(world, topic=None) is None


def test_another_client_of_the_project_is_a_failure_in_words_and_no_dead_letter(world: World):
    world.source.watched = Permanent(
        "Gmail watch answered 400: Only one user push notification client allowed per developer"
        " (call /stop then try again)"
    )
    assert isinstance(_watch(world), Failed)
    row = _row(world)
    assert row.state == "failed"
    assert "Cloud project of its own" in row.error
    assert timedelta(minutes=45) <= row.renew_at - row.now <= timedelta(minutes=75)


def test_a_failed_renewal_keeps_what_was_promised_before(world: World):
    _promise(world)
    _watch(world)
    before = _row(world)
    _due(world)
    world.source.watched = Permanent("Gmail watch answered 403: topic")
    _watch(world)
    row = _row(world)
    assert (row.state, row.error) == ("failed", "Gmail watch answered 403: topic")
    assert (row.expires_at, row.renewed_at) == (before.expires_at, before.renewed_at)


def test_a_watch_that_can_be_had_again_is_active_without_an_error(world: World):
    world.source.watched = Permanent("no")
    _watch(world)
    _promise(world)
    assert isinstance(_watch(world), Watch)
    assert (_row(world).state, _row(world).error) == ("active", None)


def test_what_passes_is_tried_again_and_only_the_last_try_is_a_failure(world: World):
    world.source.watched = Transient("503")
    tried = [_watch(world, failures=failures) for failures in range(STAGE.attempts)]
    assert [type(outcome) for outcome in tried] == [Transient] * (STAGE.attempts - 1) + [Failed]
    assert (_row(world).state, _row(world).error) == ("failed", "503")


@pytest.mark.parametrize("kind", [NeedsAuthorization, Forbidden, Suspended])
def test_a_refusal_to_watch_stops_no_mailbox_that_can_be_read(world: World, kind: type[Exception]):
    world.source.watched = kind("Gmail watch answered 403: Error sending test message to Cloud PubSub")
    assert isinstance(_watch(world), Failed)
    assert "Cloud PubSub" in _row(world).error


def test_throttling_is_waited_out_and_is_no_failure(world: World):
    world.source.watched = Throttled("later")
    assert isinstance(_watch(world, failures=STAGE.attempts), Throttled)
    assert world.rows("SELECT FROM watches") == []


def test_a_paused_mailbox_is_not_watched(world: World):
    world.rows("UPDATE mailboxes SET state = 'paused', paused_until = now() + interval '1 hour'")
    assert isinstance(_watch(world), Again)
    assert world.source.calls == []


def test_one_mailbox_in_trouble_does_not_hold_up_the_others(world: World):
    other = world.mailbox("other@acme.example", cursor="9")
    _promise(world)
    world.sources.refused[other] = ValueError("broken")
    jobs = [replace(world.job(STAGE, one), args={"topic": TOPIC}) for one in (other, world.mailbox_id)]
    with world.db.begin() as connection:
        items = STAGE.load(connection, jobs)
    outcomes = STAGE.work([items[job.job_id] for job in jobs], world.ports)
    assert [type(outcome) for outcome in outcomes] == [ValueError, Watch]


def test_watches_are_asked_for_where_there_is_none_or_the_time_has_come(world: World):
    fresh = world.mailbox("fresh@acme.example", cursor="9")
    world.mailbox("asleep@acme.example", cursor="9", state=MailboxState.PAUSED)
    world.mailbox("imap@acme.example", cursor="9")
    world.rows("UPDATE mailboxes SET provider = 'imap' WHERE address = 'imap@acme.example'")
    _promise(world)
    _watch(world)
    assert _asked(world) == 1
    with world.db.begin() as connection:
        (job,) = claimed(connection, "watch")
        ledger.settle(connection, [job.job_id])
    assert (job.key, job.args) == (str(fresh), {"topic": TOPIC})
    _due(world)
    assert _asked(world) == 2


def test_asking_twice_makes_one_job(world: World):
    assert [_asked(world), _asked(world)] == [1, 1]
    assert world.value("SELECT count(*) FROM jobs WHERE stage = 'watch'") == 1


def test_a_new_topic_is_asked_for_at_once_and_a_refused_one_only_when_its_time_has_come(world: World):
    _promise(world)
    _watch(world)
    other = "projects/p/topics/other"
    assert (_asked(world), _asked(world, other)) == (0, 1)
    world.source.watched = Permanent("Only one user push notification client allowed per developer")
    assert isinstance(_watch(world, topic=other), Failed)
    assert _asked(world, other) == 0


def _found(world: World, *, found_new: bool = True, minutes: int = 5) -> str:
    previous_at = world.value("SELECT now() - make_interval(mins => :minutes)", minutes=minutes)
    with world.db.begin() as connection:
        note_found(connection, world.mailbox_id, found_new=found_new, previous_at=previous_at)
    return _row(world).state


@pytest.fixture
def watched(world: World) -> World:
    """A mailbox that is watched since yesterday."""
    _promise(world)
    _watch(world)
    world.rows("UPDATE watches SET renewed_at = now() - interval '1 day'")
    return world


def _wait_for_silence(world: World) -> None:
    assert _found(world) == "active"
    assert _row(world).unannounced_since is not None
    world.rows("UPDATE watches SET unannounced_since = now() - interval '15 minutes'")
    assert _found(world, found_new=False) == "silent"


@pytest.mark.fault("F-49")
def test_a_watch_that_announces_nothing_is_silent_and_an_announcement_mends_it(watched: World):
    _wait_for_silence(watched)
    with watched.db.begin() as connection:
        assert announce(connection, ["Help@acme.example"]).known == 1
    row = _row(watched)
    assert (row.state, row.unannounced_since) == ("active", None)
    assert row.pushed_at is not None


def test_announced_mail_is_not_held_against_its_watch(watched: World):
    with watched.db.begin() as connection:
        announce(connection, ["help@acme.example"])
    assert _found(watched) == "active"
    assert _row(watched).unannounced_since is None


def test_a_renewal_does_not_make_a_silent_watch_believed_and_another_topic_does(watched: World):
    _wait_for_silence(watched)
    _due(watched)
    _watch(watched)
    assert _row(watched).state == "silent"
    assert _row(watched).unannounced_since is not None
    _watch(watched, topic="projects/p/topics/other")
    assert (_row(watched).state, _row(watched).unannounced_since) == ("active", None)


def test_readings_of_a_mailbox_that_nobody_watches_leave_no_trace(world: World):
    with world.db.begin() as connection:
        note_found(connection, world.mailbox_id, found_new=True, previous_at=None)
    assert world.rows("SELECT FROM watches") == []
