"""Hours without quota: one call per deadline, nothing buried, and everything fetched by itself when it is over."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.flow.gmail_box import LONG_AGO, GmailBox
from tests.flow.imports import mailbox_letters
from tests.gmail_server.faults import FaultKind
from tests.gmail_server.server import GmailServer
from tests.worker_process import until, worker_processes

_SEED = 4712
_HOUR = 3600
#: Six hours of the server take so many seconds.
_SIX_HOURS = 5
_SPEED = 6 * _HOUR / _SIX_HOURS


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        # A header counts whole seconds.
        pytest.param({"retry_after": 1.0 * _HOUR}, 1.0, id="by header"),
        pytest.param({"retry_time_in_message": 1.0 * _HOUR}, _SIX_HOURS / 6, id="in the message"),
    ],
)
@pytest.mark.fault("F-37")
def test_six_hours_of_refusals_cost_one_call_per_deadline_and_bury_nothing(
    db: Database, settings: Settings, tmp_path: Path, told: dict[str, float], seconds: float
) -> None:
    print(f"seed {_SEED}")
    patient = settings.model_copy(update={"quota_minute_seconds": 1.0})
    with GmailServer(seed=_SEED, speed=_SPEED) as server, worker_processes(patient, tmp_path) as workers:
        gmail = GmailBox(server, db, patient, tmp_path)
        gmail.arrive(150, Random(_SEED), at=LONG_AGO)
        workers.keep(1)
        gmail.backfill()
        until(lambda: gmail.value("SELECT count(*) FROM occurrences WHERE state = 'routed'"), "the first mails")
        fault = server.faults.add(FaultKind.RATE_LIMIT_403, **told)
        gmail.arrive(50, Random(_SEED))
        until(lambda: server.faults.hits(fault), "the first refusal")
        # Calls that were under way are refused together.
        until(lambda: gmail.value("SELECT count(*) FROM budgets WHERE rest_until > now()"), "the rest")
        until(lambda: not gmail.value("SELECT count(*) FROM jobs WHERE state = 'running'"), "the calls under way")
        server.reset_stats()
        hits = _hits(server, fault, _SIX_HOURS)

        assert all(later - earlier > seconds * 0.95 for earlier, later in pairwise(hits))
        assert len(hits) >= _SIX_HOURS / (seconds + 1)
        assert server.stats()["calls_during_wait"] == {}
        assert mailbox_letters(db) == {}
        assert gmail.value("SELECT coalesce(max(failures), 0) FROM jobs") == 0

        server.faults.clear()
        gmail.settle()
        until(lambda: not gmail.pending(), "the end of all jobs")
        assert gmail.violations() == []
        assert mailbox_letters(db) == {}


def _hits(server: GmailServer, fault: int, seconds: float) -> list[float]:
    """Return when calls were refused within some time; several at the same moment are as many entries."""
    found: list[float] = []
    before, end = server.faults.hits(fault), time.monotonic() + seconds
    while time.monotonic() < end:
        now = server.faults.hits(fault)
        found += [time.monotonic()] * (now - before)
        before = now
        time.sleep(0.005)
    return found
