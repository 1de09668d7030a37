"""Limits on how often one may ask: exact, for all processes together, and what is left of them while Valkey is away."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis import Redis

from deploy.local.binaries import find_valkey
from models.enums import ActorKind
from models.permissions import Permission
from ops_api.access_rows import ROWS, TABLE
from ops_api.answers import Refusal
from ops_api.limits import Limits, RateLimit
from ops_api.rate_limits import Count, Limiter, Rate, Verdict, count_name, rate_of
from pipeline.adapters.clock import SystemClock
from pipeline.core.principals import Principal, Scope, Way
from tests.deploy.probes import until
from tests.ops_api.serving import Api, FakeClock, house, serving, settings_for

#: On a busy machine a count may take longer than a request should wait for one.
_PATIENT = timedelta(seconds=20)
_NO_DATABASE = "postgresql://nowhere.invalid/none"


def _count(most: int, name: str = "ann", kind: str = "user", rate: Rate = Rate.READ) -> Count:
    return Count(rate, kind, name, most)


def _with(url: str | None, ask: Callable[[Limiter], Awaitable[Any]], limits: Limits | None = None) -> Any:
    """Ask a limiter on a loop of its own."""

    async def run() -> Any:
        limiter = Limiter(url, limits or Limits(count=_PATIENT), SystemClock())
        try:
            return await ask(limiter)
        finally:
            await limiter.close()

    return asyncio.run(run())


def test_many_at_once_get_exactly_what_the_limit_gives(redis_url: str) -> None:
    async def ask(limiter: Limiter) -> list[Verdict | None]:
        return await asyncio.gather(*(limiter.take(_count(7)) for _ in range(50)))

    verdicts = _with(redis_url, ask)
    assert Counter(verdict.wait is None for verdict in verdicts) == {True: 7, False: 43}
    assert sorted(verdict.left for verdict in verdicts if verdict.wait is None) == list(range(7))
    assert {verdict.wait for verdict in verdicts} <= {None, 59, 60}


def test_processes_count_together(redis_url: str) -> None:
    found = [_with(redis_url, lambda limiter: limiter.take(_count(2))) for _ in range(3)]
    assert [verdict.wait is None for verdict in found] == [True, True, False]


def test_a_request_that_one_limit_refuses_is_counted_against_none(redis_url: str) -> None:
    async def ask(limiter: Limiter) -> tuple[Verdict | None, ...]:
        small, large = _count(1), _count(3, "acme", "org")
        refused = [await limiter.take(small, large) for _ in range(5)][-1]
        return refused, await limiter.take(large), await limiter.take(large), await limiter.take(large)

    refused, second, third, fourth = _with(redis_url, ask)
    assert (refused.count.kind, refused.left, refused.wait is None) == ("user", 0, False)
    assert (second.left, third.left, fourth.wait is None) == (1, 0, False)


def test_the_window_slides_and_keys_end_with_it(redis_url: str) -> None:
    """The times that the list holds are moved into the past, as if that long had gone by."""
    key = _count(2).key
    with Redis.from_url(redis_url) as valkey:
        _with(redis_url, lambda limiter: asyncio.gather(limiter.take(_count(2)), limiter.take(_count(2))))
        assert 0 < valkey.pttl(key) <= 60_000
        _age(valkey, key, 0, 59)
        assert _with(redis_url, lambda limiter: limiter.take(_count(2))).wait in {1, 2}
        _age(valkey, key, 0, 2)
        assert _with(redis_url, lambda limiter: limiter.take(_count(2))).wait is None
        # The second of the first two still counts.
        assert _with(redis_url, lambda limiter: limiter.take(_count(2))).wait is not None
        assert valkey.llen(key) == 2


def _age(valkey: Redis, key: str, index: int, seconds: int) -> None:
    valkey.lset(key, index, int(valkey.lindex(key, index)) - seconds * 1_000_000)


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(min_value=0, max_value=90), max_size=60), st.integers(min_value=1, max_value=9))
def test_no_minute_ever_holds_more_than_the_limit(pauses: list[float], most: int) -> None:
    clock, let = FakeClock(), []
    limit = RateLimit(most, clock)
    for pause in pauses:
        clock.at = datetime.fromtimestamp(clock.at.timestamp() + pause, UTC)
        if limit.take("10.0.0.1", "read") is None:
            let.append(clock.monotonic())
    for first in let:
        assert sum(first <= at < first + 60 for at in let) <= most


def test_every_route_has_a_class_but_for_probes() -> None:
    assert {row.path for row in ROWS if rate_of(row) is None} == {"/healthz", "/readyz", "/metrics", "/push/gmail"}
    classes = {path: rate_of(TABLE[method, path]) for method, path in TABLE}
    assert classes["/auth/dev/login"] is Rate.AUTH
    assert classes["/search"] is Rate.SEARCH
    assert classes["/ops/occurrences/{occurrence_id}/raw"] is Rate.DOWNLOAD
    assert classes["/ops/jobs/{job_id}/replay"] is Rate.WRITE
    assert classes["/mailboxes"] is Rate.READ


def test_who_is_counted() -> None:
    limiter = Limiter(None, Limits(read_per_minute=6, auth_per_minute=3), SystemClock())
    permissions: frozenset[Permission] = frozenset()
    ann = Principal(uuid4(), "a-1", ActorKind.HUMAN, None, "ann", "agent", permissions, Scope(), Way.SESSION)
    read = limiter.counts(Rate.READ, who=ann)
    assert [(one.kind, one.most) for one in read] == [("user", 6), ("org", 120)]
    assert [(one.name, one.most) for one in limiter.counts(Rate.READ, address="2001:db8::1")] == [("2001:db8::/64", 60)]
    (auth,) = limiter.counts(Rate.AUTH, path="/auth/csrf", address="10.0.0.1")
    assert (auth.name, auth.most) == ("10.0.0.1:/auth/csrf", 3)


def test_a_name_that_is_guessed_at_from_many_addresses_is_counted_by_its_digest(redis_url: str) -> None:
    async def ask(limiter: Limiter) -> int:
        for _ in range(10):
            await count_name(limiter, "identifier", "ann@example.org")
        with pytest.raises(Refusal) as refused:
            await count_name(limiter, "identifier", "ann@example.org")
        return refused.value.status_code

    assert _with(redis_url, ask) == 429
    with Redis.from_url(redis_url) as valkey:
        assert not [key for key in valkey.scan_iter() if b"ann" in key]


def test_a_person_is_told_how_much_is_left_and_when_to_come_again(database_url: str, redis_url: str) -> None:
    settings = settings_for(database_url, redis_url=redis_url)
    with serving(settings, limits=Limits(read_per_minute=3, count=_PATIENT)) as api:
        ours, theirs = house(api.db, "ours"), house(api.db, "theirs")
        ann, bob, eve = api.person(ours.org_id), api.person(ours.org_id, "viewer"), api.person(theirs.org_id)
        answers = [ann.get("/me") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [answer.headers["ratelimit"] for answer in answers[:3]] == [
            f'"read-user";r={left};t=60' for left in (2, 1, 0)
        ]
        assert answers[0].headers["ratelimit-policy"] == '"read-user";q=3;w=60'
        assert 55 <= int(answers[3].headers["retry-after"]) <= 60
        assert answers[3].json()["code"] == "too_many_requests"
        assert bob.get("/me").status_code == 200
        assert eve.get("/me").status_code == 200
        assert "ratelimit" not in api.client().get("/healthz").headers


@contextmanager
def _valkey() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start a Valkey of this test's own, to be stopped in the midst of it."""
    with tempfile.TemporaryDirectory(prefix="fp-") as folder:
        socket = Path(folder, "v")
        argv = [str(find_valkey()), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", folder]
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        try:
            until(socket.exists)
            yield f"unix://{socket}", process
        finally:
            process.kill()
            process.wait()


def _statuses(api: Api, method: str, path: str, times: int) -> Counter[int]:
    client = api.client()
    return Counter(client.request(method, path).status_code for _ in range(times))


def test_without_valkey_readings_go_on_and_ways_in_are_still_limited() -> None:
    """The address counts before anybody is known, so no person is needed: 401 is let through, 429 is not."""
    limits = Limits(auth_per_minute=5, read_per_minute=1, write_per_minute=1, count=_PATIENT)
    with _valkey() as (url, process), serving(settings_for(_NO_DATABASE, redis_url=url), limits=limits) as api:
        assert _statuses(api, "GET", "/mailboxes", 15) == {401: 10, 429: 5}
        assert _statuses(api, "POST", "/auth/dev/login", 4) == {403: 4}
        process.kill()
        process.wait()
        assert _statuses(api, "GET", "/mailboxes", 40) == {401: 40}
        assert _statuses(api, "POST", "/auth/dev/login", 8) == {403: 5, 429: 3}
        assert _statuses(api, "POST", "/ops/jobs/1/replay", 14) == {401: 10, 429: 4}


def test_a_valkey_that_hangs_holds_nobody_up_for_long() -> None:
    """The first request waits a quarter of a second at most; those after it, for a second, do not ask at all."""

    async def ask(limiter: Limiter) -> list[Verdict | None]:
        return [await limiter.take(_count(1)) for _ in range(20)]

    with _valkey() as (url, process):
        process.send_signal(signal.SIGSTOP)
        assert _with(url, ask, Limits()) == [None] * 20
