"""Push from end to end: Gmail is asked to announce, announces through Pub/Sub, and new mail becomes a history job."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from actors.listener import Puller
from pipeline.adapters.pubsub import PullSubscription
from pipeline.adapters.wiring import make_ports
from pipeline.commands.push import request_watches
from pipeline.ports import Watch
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.metrics import Metrics
from pipeline.runtime.settings import Settings
from pipeline.stage import Work
from pipeline.stages.watch import STAGE, Failed
from tests.factories import claimed, rows
from tests.flow.gmail_box import ADDRESS, GmailBox
from tests.gmail_server.server import GmailServer
from tests.pubsub_server.server import PubSubServer

TOPIC, NAME = "projects/p/topics/mail", "projects/p/subscriptions/mail"


@pytest.fixture
def gmail() -> Iterator[GmailServer]:
    with GmailServer() as server:
        yield server


@pytest.fixture
def box(gmail: GmailServer, db: Database, settings: Settings, tmp_path: Path) -> GmailBox:
    return GmailBox(gmail, db, settings, tmp_path)


def _watch(box: GmailBox, settings: Settings, topic: str) -> object:
    """Ask for the watch and run its job through the real adapter; return what came of it."""
    with box.db.begin() as connection:
        assert request_watches(connection, topic) == 1
        (job,) = claimed(connection, "watch")
        items = STAGE.load(connection, [job])
    ports = make_ports(settings, Metrics(), box.db)
    (outcome,) = STAGE.work([items[job.job_id]], ports)
    ports.sources.close()
    assert isinstance(outcome, Watch | Failed)
    with box.db.begin() as connection:
        STAGE.save(connection, [Work(job, items[job.job_id], outcome)])
        ledger.settle(connection, [job.job_id])
    return outcome


def test_a_watched_mailbox_announces_its_new_mail_and_a_listener_asks_for_it(
    gmail: GmailServer, box: GmailBox, settings: Settings
):
    _watch(box, settings, TOPIC)
    assert box.box.watched is not None
    assert box.box.watched[0] == TOPIC
    (row,) = rows(box.db, "SELECT state, expires_at FROM watches")
    assert (row.state, row.expires_at) == ("active", datetime.fromtimestamp(box.box.watched[1] / 1000, UTC))
    rows(box.db, "UPDATE mailboxes SET sync_cursor = :cursor", cursor=str(box.box.history_id))
    with PubSubServer() as pubsub:
        pubsub.pull_from(NAME, TOPIC)
        gmail.announcer.publish = pubsub.publish
        box.arrive(3, Random(1))
        subscription = PullSubscription(NAME, None, pubsub.url)
        assert Puller(box.db, subscription, lambda _: None, Metrics()).pull_once() == gmail.announcer.sent > 0
        subscription.close()
    found = [(row.stage, row.key) for row in rows(box.db, "SELECT stage, key FROM jobs")]
    assert found == [("history", str(box.mailbox_id))]
    assert rows(box.db, "SELECT FROM watches WHERE pushed_at IS NOT NULL") != []


def test_a_mailbox_that_another_topic_watches_is_refused_in_words_until_that_watch_ends(
    gmail: GmailServer, box: GmailBox, settings: Settings
):
    box.box.watched = ("projects/p/topics/staging", gmail.clock.now_ms() + 1_000_000)
    refused = _watch(box, settings, TOPIC)
    assert isinstance(refused, Failed)
    assert "Cloud project of its own" in refused.error
    assert rows(box.db, "SELECT FROM dead_letters") == []
    assert box.box.watched[0] == "projects/p/topics/staging"
    gmail.clock.advance(timedelta(hours=1).total_seconds())
    rows(box.db, "UPDATE watches SET renew_at = now()")
    assert isinstance(_watch(box, settings, TOPIC), Watch)
    assert [row.state for row in rows(box.db, "SELECT state FROM watches")] == ["active"]
    assert gmail.mailbox(ADDRESS).watched is not None
