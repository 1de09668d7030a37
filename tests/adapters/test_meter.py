"""The meter in front of Gmail's quota: full use without refusals, rests without calls, and slots across processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from models.enums import Lane
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.gmail import GmailSource
from pipeline.adapters.gmail_credentials import load, project_of
from pipeline.adapters.meter import Meter, Meters
from pipeline.adapters.slot_keeper import SlotKeeper
from pipeline.ports import Fetched, Listed, Missed
from pipeline.runtime.budgets import Account
from pipeline.runtime.db import Database
from pipeline.runtime.errors import (
    CursorExpired,
    Forbidden,
    Gone,
    NeedsAuthorization,
    OutOfBudget,
    PageExpired,
    Permanent,
    Reach,
    Suspended,
    Throttled,
    Transient,
)
from tests.adapters.mail import StepClock, letter
from tests.factories import rows, value
from tests.gmail_server import FaultKind, GmailServer, Mailbox

ADDRESS = "support@example.org"
#: A quota minute of the server takes two seconds.
SPEED = 30
MINUTE = timedelta(seconds=60 / SPEED)
GET = 20


class Processes:
    """One mailbox at a server with enforced quotas, read by what could be several processes."""

    def __init__(self, server: GmailServer, db: Database, folder: Path) -> None:
        self.server, self.db = server, db
        self.box: Mailbox = server.mailbox(ADDRESS)
        self.mailbox_id = uuid4()
        self.file = server.authorized_user_file(folder / "user.json", ADDRESS)
        self.calls: list[tuple[str, str]] = []
        self._stack = ExitStack()

    def process(self, lane: Lane = Lane.BACKFILL, patience: timedelta | None = None) -> GmailSource:
        """Return a source as another process would open it: with a keeper, a meter and connections of its own."""
        meters = Meters(self.db, SystemClock(), MINUTE)
        self._stack.callback(meters.close)
        source = GmailSource(
            ADDRESS,
            load(json.loads(self.file.read_text())),
            self.server.url,
            meter=meters.meter(self.mailbox_id, "acme", lane, patience),
            on_call=lambda method, status, _: self.calls.append((method, status)),
        )
        self._stack.callback(source.close)
        return source

    def mails(self, count: int) -> list[Listed]:
        """Let mails arrive."""
        return [Listed(self.box.add(letter(number))) for number in range(count)]

    def statuses(self, method: str = "messages.get") -> dict[str, int]:
        """Return what the server answered."""
        calls: Any = self.server.stats()["calls"]
        return dict(calls.get(method, {}))

    def total(self) -> int:
        """Return how many calls the server has seen."""
        calls: Any = self.server.stats()["calls"]
        return sum(sum(counts.values()) for method, counts in calls.items() if method != "token")

    def end_rests(self) -> None:
        """Let every rest be over."""
        rows(self.db, "UPDATE budgets SET rest_until = now() WHERE rest_until > now()")
        rows(self.db, "UPDATE budgets SET bytes_rest_until = now() WHERE bytes_rest_until > now()")

    def close(self) -> None:
        """End all processes."""
        self._stack.close()


@pytest.fixture
def office(db: Database, tmp_path: Path) -> Iterator[Processes]:
    with GmailServer(speed=SPEED) as server:
        server.quota.enforce = True
        found = Processes(server, db, tmp_path)
        yield found
        found.close()


def got(outcomes: Any) -> int:
    return sum(isinstance(each, Fetched) for each in outcomes)


def reasons(outcomes: Any) -> set[type[Exception]]:
    return {type(each.error) for each in outcomes if isinstance(each, Missed)}


def fetch_all(source: GmailSource, items: list[Listed]) -> int:
    """Fetch as the pump would let go: again and again what was put back."""
    rounds = 0
    while items:
        try:
            outcomes = source.fetch(items[:20])
        except OutOfBudget:
            continue
        assert reasons(outcomes) <= {OutOfBudget}
        items = [one for one, each in zip(items, outcomes, strict=False) if isinstance(each, Missed)] + items[20:]
        rounds += 1
    return rounds


@pytest.mark.fault("F-37")
def test_several_processes_use_the_quota_of_a_mailbox_and_are_never_refused(office: Processes) -> None:
    items = office.mails(900)
    live, live_items = office.process(Lane.LIVE), [Listed(office.box.add(letter(5000 + n))) for n in range(30)]
    began = office.server.clock.now()
    with ThreadPoolExecutor(4) as pool:
        parts = [pool.submit(fetch_all, office.process(), items[number::3]) for number in range(3)]
        parts.append(pool.submit(lambda: [fetch_all(live, [one]) for one in live_items]))
        for part in parts:
            part.result()
    minutes = (office.server.clock.now() - began) / 60
    assert office.statuses() == {"200": 930}
    assert minutes > 2.9  # 18,600 units, 6,000 a minute: the wall was met
    stats: Any = office.server.stats()
    assert stats["peak_units_per_minute"][ADDRESS] <= 6_000
    assert value(office.db, "SELECT day_units FROM budgets WHERE scope LIKE 'mailbox:%'") >= 930 * GET


def test_while_units_are_short_a_call_waits_a_little_and_then_steps_aside_without_being_made(office: Processes) -> None:
    rows(office.db, "INSERT INTO projects (name, units_per_user_minute) VALUES ('acme', 1000)")
    source = office.process(patience=timedelta(milliseconds=50))
    items = office.mails(60)
    outcomes = source.fetch(items)
    assert 0 < got(outcomes) < 60
    (missed,) = reasons(outcomes)
    assert missed is OutOfBudget
    assert office.statuses() == {"200": got(outcomes)}


@pytest.mark.parametrize("told", [{"retry_after": 3600.0}, {"retry_time_in_message": 3600.0}])
@pytest.mark.fault("F-37")
def test_one_refusal_rests_the_mailbox_for_every_process_lane_and_method(
    office: Processes, told: dict[str, float]
) -> None:
    items = office.mails(5)
    live, other = office.process(Lane.LIVE), office.process()
    assert got(live.fetch(items[:1])) == 1
    assert got(other.fetch(items[:1])) == 1
    fault = office.server.faults.add(FaultKind.RATE_LIMIT_403, times=1, **told)
    with pytest.raises(Throttled):
        live.changes("1", None)
    before = office.total()
    for attempt in (
        lambda: live.changes("1", None),
        lambda: other.list_page(None, limit=10),
        live.profile,
        lambda: live.watch("projects/acme/topics/mail"),
    ):
        with pytest.raises(OutOfBudget) as refused:
            attempt()
        assert timedelta(seconds=115) < refused.value.retry_after <= timedelta(seconds=121)
    assert reasons(other.fetch(items)) == {OutOfBudget}
    assert office.total() == before
    assert office.server.faults.hits(fault) == 1


def test_after_a_rest_one_call_of_all_processes_probes(office: Processes) -> None:
    items = office.mails(1)
    sources = [office.process(Lane.LIVE, timedelta(milliseconds=10)) for _ in range(4)]
    for source in sources:
        assert got(source.fetch(items)) == 1
    fault = office.server.faults.add(FaultKind.RATE_LIMIT_429, retry_after=3600)
    with pytest.raises(Throttled):
        sources[0].profile()
    for deadline in range(2, 5):
        office.end_rests()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda source: _try(source.profile), sources))
        assert office.server.faults.hits(fault) == deadline
    office.server.faults.clear()
    office.end_rests()
    sources[3].profile()
    assert value(office.db, "SELECT rest_until IS NULL AND refusals = 0 FROM budgets WHERE scope LIKE 'mailbox:%'")


def test_a_probe_without_an_answer_leaves_the_next_call_to_probe(office: Processes) -> None:
    source = office.process(Lane.LIVE)
    source.profile()
    office.server.faults.add(FaultKind.RATE_LIMIT_429, times=1, retry_after=3600)
    with pytest.raises(Throttled):
        source.profile()
    office.end_rests()
    office.server.faults.add(FaultKind.RESET, times=1)
    source.profile()
    assert value(office.db, "SELECT rest_until IS NULL FROM budgets WHERE scope LIKE 'mailbox:%'")


def test_bandwidth_rests_mail_while_listing_and_history_go_on(office: Processes) -> None:
    items = office.mails(3)
    source = office.process(Lane.LIVE)
    cursor = source.profile().cursor
    assert cursor is not None
    office.server.faults.add(FaultKind.BANDWIDTH_429, method="messages.get", times=1, retry_after=7200)
    outcomes = source.fetch(items)
    assert got(outcomes) < 3
    with pytest.raises(OutOfBudget) as refused:
        _raise_first(source.fetch(items))
    assert refused.value.reach is Reach.BYTES
    assert len(source.list_page(None, limit=10).items) == 3
    source.changes(cursor, None)


def test_bytes_of_the_day_are_counted_before_the_provider_counts_them(office: Processes) -> None:
    rows(office.db, "INSERT INTO projects (name, bytes_per_user_day) VALUES ('acme', 20000)")
    items = [Listed(office.box.add(letter(number, "x" * 10_000))) for number in range(4)]
    source = office.process()
    assert got(source.fetch(items[:2])) == 2
    assert reasons(source.fetch(items[2:])) == {OutOfBudget}
    assert 26_000 < value(office.db, "SELECT day_bytes FROM budgets WHERE scope LIKE 'mailbox:%'") < 30_000
    assert len(source.list_page(None, limit=10).items) == 4


def test_too_many_calls_at_once_halve_those_of_every_process(office: Processes) -> None:
    items = office.mails(8)
    source, other = office.process(), office.process()
    for each in (source, other):
        each.profile()
    office.server.faults.add(FaultKind.CONCURRENT_429, method="messages.get", times=1)
    source.fetch(items)
    assert value(office.db, "SELECT concurrency FROM budgets WHERE scope LIKE 'mailbox:%'") < 3
    office.server.quota.latency = 1
    office.server.reset_stats()
    fetch_all(other, items)
    stats: Any = office.server.stats()
    assert stats["peak_concurrency"][ADDRESS] == 1  # of two, the first is kept for live mail
    for _ in range(5):
        fetch_all(other, items)
    assert value(office.db, "SELECT concurrency IS NULL FROM budgets WHERE scope LIKE 'mailbox:%'")


def test_processes_together_make_no_more_calls_at_once_than_allowed_and_live_mail_always_has_one(
    office: Processes,
) -> None:
    items = office.mails(60)
    office.server.quota.latency = 3
    live, others = office.process(Lane.LIVE), [office.process() for _ in range(3)]
    for source in (live, *others):
        source.profile()
    with ThreadPoolExecutor(5) as pool:
        parts = [pool.submit(fetch_all, source, items[number::3]) for number, source in enumerate(others)]
        parts += [pool.submit(fetch_all, live, items[:2])]
        for part in parts:
            part.result()
    stats: Any = office.server.stats()
    assert stats["peak_concurrency"][ADDRESS] <= 4
    assert "429" not in office.statuses()


def test_slots_of_a_process_that_died_are_free(office: Processes, db: Database) -> None:
    meters = Meters(db, SystemClock(), MINUTE)
    dead = meters.meter(office.mailbox_id, "acme", Lane.LIVE)
    other = Meters(db, SystemClock(), MINUTE)
    alive = other.meter(office.mailbox_id, "acme", Lane.LIVE, timedelta(milliseconds=20))
    with dead.slots(4) as count:
        assert count == 4
        with pytest.raises(OutOfBudget), alive.slots(1):
            pass
        rows(
            db, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
        )
        with alive.slots(4) as now_free:
            assert now_free == 4
    meters.close()
    other.close()


@pytest.fixture
def meters(db: Database) -> Iterator[Meters]:
    found = Meters(db, SystemClock())
    yield found
    found.close()


@pytest.mark.parametrize("reach", [Reach.MAILBOX, Reach.PROJECT])
def test_a_refusal_that_one_meter_hears_of_stops_every_meter_of_the_process(meters: Meters, reach: Reach) -> None:
    mine = uuid4()
    live, backfill = meters.meter(mine, "acme", Lane.LIVE), meters.meter(mine, "acme", Lane.BACKFILL)
    elsewhere = meters.meter(uuid4() if reach is Reach.PROJECT else mine, "acme", Lane.LIVE)
    for each in (live, elsewhere):
        each.pay("history.list", 10)
    refused = backfill.pay("messages.get")
    backfill.tell(refused, Throttled("in an hour", timedelta(hours=1), reach), is_told=True)
    for each in (live, elsewhere):
        with pytest.raises(OutOfBudget, match="in an hour"):
            each.pay("history.list", 10)


def test_units_drawn_in_advance_pay_for_a_moment_only_and_go_back(db: Database) -> None:
    clock = StepClock(SystemClock().now())
    meter = Meter(db, clock, SlotKeeper(db), Account(uuid4(), "acme"), is_live=True, patience=MINUTE)

    def drawn() -> Any:
        return value(db, "SELECT min(day_units) FROM budgets")

    meter.pay("messages.list", 10)
    meter.pay("messages.list", 9)
    assert drawn() == 50
    clock.wait(timedelta(milliseconds=200))
    meter.pay("messages.list", 3)
    assert drawn() == 25  # two that were made, one that is, two in advance
    clock.wait(timedelta(seconds=5))
    meter.pay("messages.list", 1)
    assert drawn() == 30


ANSWERS = [None, Gone("x"), CursorExpired("x"), PageExpired("x"), Permanent("x")]
NO_ANSWERS = [NeedsAuthorization("x"), Forbidden("x"), Suspended("x"), Transient("x"), ValueError("x")]


@pytest.mark.parametrize(
    ("error", "is_over"), [*((each, True) for each in ANSWERS), *((each, False) for each in NO_ANSWERS)]
)
def test_a_rest_is_over_only_when_the_provider_has_said_so(
    db: Database, meters: Meters, error: Exception | None, *, is_over: bool
) -> None:
    meter = meters.meter(uuid4(), "acme", Lane.LIVE)
    meter.tell(meter.pay("watch"), Throttled("no", timedelta(hours=1), Reach.PROJECT), is_told=True)
    rows(db, "UPDATE budgets SET rest_until = now() WHERE rest_until IS NOT NULL")
    probe = meter.pay("watch")
    assert probe.is_probe
    meter.tell(probe, error)
    assert value(db, "SELECT rest_until IS NULL FROM budgets WHERE scope = 'project:acme'") is is_over
    assert meter.pay("history.list").is_probe is not is_over


def test_a_burst_of_too_many_at_once_halves_once_whoever_hears_it(db: Database, meters: Meters) -> None:
    mine, other = uuid4(), Meters(db, SystemClock())
    crowd = [each.meter(mine, "acme", lane) for each in (meters, other) for lane in (Lane.LIVE, Lane.BACKFILL)]
    paid = []
    for each in crowd:
        with each.slots(1):
            paid.append(each.pay("messages.list"))
    for each, one in zip(crowd * 2, paid * 2, strict=True):
        each.tell(one, Throttled("too many concurrent requests", timedelta(seconds=2), Reach.CALLS))
    assert value(db, "SELECT concurrency FROM budgets WHERE scope LIKE 'mailbox:%'") == 2
    other.close()


def test_a_budget_that_somebody_does_not_let_go_of_is_left_alone_for_a_second(db: Database, meters: Meters) -> None:
    meter = meters.meter(uuid4(), "acme", Lane.LIVE)
    meter.pay("watch")
    with db.begin() as stopped:
        stopped.exec_driver_sql("SELECT FROM budgets WHERE scope = 'project:acme' FOR UPDATE")
        with pytest.raises(OutOfBudget, match="does not let go") as refused:
            meter.pay("watch")
    assert refused.value.retry_after == timedelta(seconds=1)
    meter.pay("watch")


def test_no_meter_is_made_while_the_database_is_away(database_url: str) -> None:
    away = Database(database_url.replace("test_", "no_such_"), "test")
    with pytest.raises(OutOfBudget, match="does not answer"):
        Meters(away, SystemClock()).meter(uuid4(), "acme", Lane.LIVE)
    away.close()


def test_with_the_database_away_no_call_is_made(office: Processes, database_url: str) -> None:
    away = Database(database_url.replace("test_", "no_such_"), "test")
    meter = Meter(away, SystemClock(), SlotKeeper(away), Account(uuid4(), "acme"), is_live=True, patience=MINUTE)
    with pytest.raises(OutOfBudget, match="does not answer"):
        meter.pay("messages.get")
    with pytest.raises(OutOfBudget, match="does not answer"), meter.slots(1):
        pass
    away.close()


def test_the_project_that_pays_is_read_from_the_credentials() -> None:
    assert project_of({"type": "service_account", "project_id": "acme-mail", "client_id": "1"}) == "acme-mail"
    assert project_of({"type": "authorized_user", "quota_project_id": "acme", "client_id": "12-x"}) == "acme"
    assert project_of({"type": "authorized_user", "client_id": "12345-abc.apps.example"}) == "12345"
    assert project_of({"type": "authorized_user", "client_id": "own-client.apps.example"}) == "own-client"
    assert project_of({}) == "unknown"


def _try(call: Callable[[], object]) -> None:
    try:
        call()
    except Throttled:
        return


def _raise_first(outcomes: Any) -> None:
    raise next(each.error for each in outcomes if isinstance(each, Missed))
