"""A failure at every failpoint, each in a fresh worker: nothing is lost, nothing is doubled, and none is left out."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adapters.local_blobs import PARTS, STALE, LocalBlobs
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.faults import failpoints
from tests.faults.crashes import Crashes, again
from tests.faults.failpoints import STEPS, WORKER_STEPS, Action, Fate, Plan, points
from tests.faults.forked import Forked, forked
from tests.faults.office import Office
from tests.fcm_server import FcmServer
from tests.gmail_server.server import GmailServer

pytestmark = pytest.mark.faults

#: Every failpoint of a worker belongs to the first group that names it; deaths within a send have a test of their own
#: (tests/faults/test_sending.py), which looks at what left.
_GROUPS = {
    "reading": ("stage.backfill", "stage.history", "stage.reconcile", "stage.watch", "stage.fetch", "blobs", "gmail"),
    "understanding": ("stage.parse", "stage.index", "stage.stitch", "stage.reprocess", "dlq.bury", "broker"),
    "deciding": ("stage.routing", "stage.triage", "stage.retriage", "stage.acknowledge", "stage.dispatch"),
    "administering": ("stage.clocks", "stage.lapse", "stage.invite", "stage.erase", "stage.forget", "stage.notify"),
    "working": ("stage.push", "stage.judge", "stage.resume", "stage.settle"),
    "keeping": ("sweeper", "schedule", "holdings", "dlq.advance", "runner.fail", "runner.follow"),
    "running": ("runner",),
}
_ELSEWHERE = ("stage.send",)


def _points(group: str) -> list[str]:
    return [point for point in points(WORKER_STEPS) if _group(point) == group]


def _group(point: str) -> str | None:
    return next((group for group, names in _GROUPS.items() if point.startswith(names)), None)


@pytest.fixture
def quick(relayed: Settings) -> Settings:
    """Settings under which schedules come round each second."""
    return relayed.model_copy(update={"history_schedule": "* * * * * *"})


@pytest.fixture
def children(quick: Settings, tmp_path: Path) -> Iterator[Forked]:
    """Return no processes yet; those that the test starts end with it."""
    with forked(quick, tmp_path) as found:
        yield found


@pytest.fixture
def office(db: Database, quick: Settings, fcm: FcmServer, tmp_path: Path) -> Iterator[Office]:
    """A company of this test's own, at a Gmail of its own."""
    with GmailServer(seed=1) as server:
        yield Office(server, db, quick, tmp_path, pushes=fcm)


@pytest.mark.fault("F-01", "F-02", "F-03", "F-04", "F-05", "F-06", "F-07", "F-08", "F-10")
@pytest.mark.parametrize("group", _GROUPS)
def test_a_death_at_every_failpoint_loses_and_doubles_nothing(
    office: Office, children: Forked, tmp_path: Path, group: str
) -> None:
    crashes = Crashes(office, children, tmp_path)
    crashes.happen(_points(group))
    crashes.finish()
    assert office.violations() == [], again(Action.KILL, *crashes.hit)
    assert crashes.hit == _points(group)


@pytest.mark.soak
@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("group", _GROUPS)
def test_any_failure_at_every_failpoint_loses_and_doubles_nothing(
    office: Office, children: Forked, tmp_path: Path, group: str, action: Action
) -> None:
    crashes = Crashes(office, children, tmp_path, action, mails=20)
    crashes.happen(_points(group))
    crashes.finish()
    assert office.violations() == [], again(action, *crashes.hit)


def test_no_failpoint_is_left_out() -> None:
    without = [point for point in points(WORKER_STEPS) if _group(point) is None]
    assert all(point.startswith(_ELSEWHERE) for point in without)
    assert sum(len(_points(group)) for group in _GROUPS) == len(points(WORKER_STEPS)) - len(without)


def test_every_step_of_the_table_is_a_function_of_the_product() -> None:
    for step in STEPS.values():
        assert callable(failpoints.present(step.place)), step


def test_without_a_plan_nothing_is_replaced_and_no_module_of_the_product_knows_the_tests() -> None:
    """Hooks that are off cost nothing, because there are none."""
    said = subprocess.run(
        [sys.executable, "-c", _UNTOUCHED], capture_output=True, text=True, timeout=120, check=False, cwd=_CHECKOUT
    )
    assert (said.stdout, said.returncode) == (f"{len(STEPS)} steps\n", 0), said.stderr


_CHECKOUT = Path(__file__).resolve().parents[2]
#: What the product's own worker and API hold is compared with what they hold after an empty plan.
_UNTOUCHED = """
import sys
import actors.worker, ops_api.app
assert not [name for name in sys.modules if name == "tests" or name.startswith("tests.")]
from tests.faults import failpoints
before = {name: failpoints.present(step.place) for name, step in failpoints.STEPS.items()}
failpoints.install(failpoints.Plan())
assert all(failpoints.present(step.place) is before[name] for name, step in failpoints.STEPS.items())
assert not [name for name, found in before.items() if found.__module__.startswith("tests")]
print(len(before), "steps")
"""


def test_a_plan_is_read_as_it_is_written_and_an_unknown_failpoint_is_refused() -> None:
    fates = {"runner.put.after": Fate(Action.KILL), "blobs.put.before": Fate(Action.DELAY, hit=3, seconds=0.5)}
    plan = Plan(fates, ("quick_sweeps",), Path("flag"), 7)
    assert Plan.of(str(plan)) == plan
    with pytest.raises(ValueError, match=r"there is no failpoint runner\.nothing\.after"):
        Plan.of('{"at": {"runner.nothing.after": "kill"}}')


@pytest.mark.fault("F-05")
def test_what_a_death_left_half_written_is_removed_when_it_is_stale(tmp_path: Path) -> None:
    parts = tmp_path / "blobs" / PARTS
    parts.mkdir(parents=True)
    now = time.time()
    for name, age in (("old", STALE.total_seconds() + 60), ("young", STALE.total_seconds() - 60)):
        (parts / name).write_bytes(b"half")
        os.utime(parts / name, (now - age, now - age))
    LocalBlobs(tmp_path / "blobs")
    assert [one.name for one in parts.iterdir()] == ["young"]
