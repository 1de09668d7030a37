"""The proxy: it breaks what it is told to break, and nothing else."""

from __future__ import annotations

import time

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Away
from redis.exceptions import TimeoutError as Silent
from redis.retry import Retry
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from pipeline.runtime.db import Database
from tests.faults.proxy import before_postgres, before_valkey
from tests.worker_process import until

pytestmark = pytest.mark.faults


def _client(url: str) -> Redis:
    return Redis.from_url(url, socket_timeout=0.3, socket_connect_timeout=0.3, retry=Retry(NoBackoff(), 0))


@pytest.mark.parametrize("tcp", [False, True])
def test_a_network_passes_refuses_goes_silent_and_heals(redis_url: str, tcp: bool) -> None:
    with before_valkey(redis_url, tcp=tcp) as network, _client(network.url) as client:
        assert client.set("a", 1)
        network.refuse()
        with pytest.raises(Away):
            client.get("a")
        network.heal()
        assert client.get("a") == b"1"
        network.blackhole()
        with pytest.raises(Silent):
            client.incr("a")
        with pytest.raises((Silent, Away)):
            client.get("a")
        network.heal()
        until(lambda: client.get("a") == b"2", "what was sent into the silence")


def test_a_lost_reply_is_one_whose_request_was_done(redis_url: str) -> None:
    with before_valkey(redis_url) as network, _client(network.url) as client:
        network.drop_replies(after=b"INCR")
        assert client.ping()
        with pytest.raises(Away):
            client.incr("a")
        assert (client.get("a"), network.lost) == (b"1", 1)
        network.drop_replies(after=b"INCR", then_hang=True)
        with pytest.raises(Silent):
            client.incr("a")
        assert (client.incr("a"), network.lost) == (3, 2)


def test_a_delay_holds_every_packet(redis_url: str) -> None:
    with before_valkey(redis_url) as network, _client(network.url) as client:
        client.ping()
        network.delay(0.05)
        began = time.monotonic()
        client.ping()
        assert time.monotonic() - began >= 0.1


@pytest.mark.parametrize("tcp", [False, True])
def test_a_commit_whose_reply_is_lost_has_happened(database_url: str, db: Database, tcp: bool) -> None:
    with before_postgres(database_url, tcp=tcp) as network:
        engine = create_engine(network.url)
        network.drop_replies(after=b"COMMIT")
        with pytest.raises(OperationalError), engine.begin() as connection:
            connection.execute(text("CREATE TABLE proof (id int)"))
        with db.begin() as connection:
            assert connection.execute(text("SELECT count(*) FROM proof")).scalar_one() == 0
        assert network.lost == 1
        engine.dispose()
