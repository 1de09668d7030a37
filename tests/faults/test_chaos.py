"""Chaos in short: every kind of fault once, in an order drawn by a seed, among real servers, processes and people."""

from __future__ import annotations

import pytest

from tests.faults import soak
from tests.faults.chaos import SHORT, Outcome
from tests.faults.chaos_kinds import KINDS, Record

#: What one draw of each kind makes happen.
_INJECTED = (
    *("F-02", "F-12", "F-13", "F-14", "F-16", "F-17", "F-19", "F-20", "F-22", "F-23", "F-25", "F-26", "F-30", "F-31"),
    *("F-40", "F-41", "F-43", "F-51", "F-52", "F-55", "F-57"),
)


@pytest.mark.fault(*_INJECTED)
@pytest.mark.parametrize("seed", [1, *(pytest.param(number, marks=pytest.mark.soak) for number in range(2, 8))])
def test_every_kind_of_fault_at_once_loses_and_doubles_nothing(seed: int) -> None:
    found = soak.run(seed, SHORT)
    soak.say_seed(found, f"python -m tests.faults.soak --short --seeds 1 --first-seed {seed}")
    assert found.broken == []
    assert found.messages >= SHORT.files
    assert {record.kind for record in found.records} >= KINDS.keys() - {"disk_full"}


def test_a_report_tells_of_what_was_broken_and_how_fast_it_went_on() -> None:
    records = [Record("kill_worker", 0.0, is_busy=True), Record("flush_broker", 1.0, is_busy=True)]
    good = Outcome(1, messages=5_000, seconds=50, records=records, recoveries={"flush_broker": [0.1, 0.2, 0.3]})
    bad = Outcome(2, messages=5_000, seconds=50, broken=["support@x: id was never seen: x"])
    said = soak.report([good, bad], 100)
    assert "2 seeds, 10,000 messages, 2 faults" in said
    assert "lost 1, doubled 0, broken in all 1; seeds that broke something: 2" in said
    assert "| flush_broker | 1 | 0.20 | 0.30 | 0.30 |" in said
    assert "| kill_worker | 1 |  |  |  |" in said


def test_arguments_that_make_no_sense_are_refused() -> None:
    with pytest.raises(SystemExit) as ended:
        soak.main(["--seeds", "0"])
    assert ended.value.code == 2
