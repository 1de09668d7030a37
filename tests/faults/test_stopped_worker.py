"""A worker asked to stop in the middle of its work: out in time, and nothing is charged."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from pipeline.table import STAGES
from tests.faults.crashes import GRANTED, Crashes, again
from tests.faults.failpoints import Action, Fate, Plan
from tests.faults.forked import Forked, forked
from tests.faults.office import Office
from tests.fcm_server import FcmServer
from tests.gmail_server.server import GmailServer
from tests.worker_process import until

pytestmark = pytest.mark.faults


@pytest.fixture
def children(relayed: Settings, tmp_path: Path) -> Iterator[Forked]:
    """Return no processes yet; those that the test starts end with it."""
    with forked(relayed, tmp_path) as found:
        yield found


@pytest.fixture
def office(db: Database, relayed: Settings, fcm: FcmServer, tmp_path: Path) -> Iterator[Office]:
    """A company of this test's own, at a Gmail of its own."""
    with GmailServer(seed=1) as server:
        yield Office(server, db, relayed, tmp_path, pushes=fcm)


@pytest.mark.fault("F-14")
def test_a_stop_in_the_work_of_any_stage_ends_in_time_and_charges_nothing(
    office: Office, children: Forked, tmp_path: Path
) -> None:
    crashes = Crashes(office, children, tmp_path, Action.TERMINATE)
    for stage in STAGES:
        crashes.happen([f"stage.{stage}.work.before"])
        assert (office.charged(), office.running()) == (0, 0), again(Action.TERMINATE, *crashes.hit)
    crashes.finish()
    assert office.violations() == [], again(Action.TERMINATE, *crashes.hit)


@pytest.mark.fault("F-14")
@pytest.mark.parametrize(("signals", "changes"), [(2, ()), (1, ("short_shutdown",))])
def test_a_second_signal_and_a_stop_that_runs_out_of_time_charge_nothing(
    office: Office, children: Forked, tmp_path: Path, signals: int, changes: tuple[str, ...]
) -> None:
    flag = tmp_path / "flag"
    slow = {"stage.parse.work.before": Fate(Action.DELAY, seconds=1.0)}
    child = children.follow(Plan(slow, ("quick_sweeps", *changes), flag))
    until(office.is_listed, "the first listing")
    flag.touch()
    office.arrive()
    until(lambda: not flag.exists(), "a worker in the middle of its work")
    for _ in range(signals):
        child.send_signal(signal.SIGTERM)
    assert child.wait(GRANTED) == 0, children.words()
    # Without the time to finish it was given back.
    assert bool(office.value("SELECT count(*) FROM jobs WHERE stage = 'parse'")) == bool(changes)
    assert (office.charged(), office.running()) == (0, 0)
    children.follow(Plan())
    office.finish()
    assert office.violations() == []
