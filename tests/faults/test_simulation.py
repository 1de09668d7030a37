"""Many orders in which claims, effects, deaths, sweeps and replays may follow each other: none breaks a promise.

A failure prints its seed and its steps; `python -m tests.faults.simulation --seed N` runs them again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.faults.simulation import Simulation, own_database, run_many, simulated

#: In the normal run; beside others on a small machine these take some seconds.
_ORDERS = 60
_LONG = 20_000


@pytest.fixture(scope="module")
def simulation() -> Iterator[Simulation]:
    """Return a simulation on a PostgreSQL of its own: no test of this folder may stop that one."""
    with own_database() as engine, simulated(engine) as found:
        yield found


@pytest.mark.fault("F-02", "F-06", "F-10", "F-11", "F-13", "F-25", "F-26", "F-33", "F-34")
def test_no_order_of_the_first_ones_breaks_a_promise(simulation: Simulation) -> None:
    """The seeds are the same each time, so that breaking the product is noticed each time."""
    print(run_many(simulation, 0, _ORDERS))


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.fault("F-02", "F-06", "F-10", "F-11", "F-13", "F-25", "F-26", "F-33", "F-34")
def test_no_order_of_many_thousand_breaks_a_promise(simulation: Simulation) -> None:
    seed = random.randrange(10**9)
    print(f"seed {seed}")
    print(run_many(simulation, seed, _LONG))


def test_an_order_is_the_same_each_time(simulation: Simulation) -> None:
    assert simulation.run(7) == simulation.run(7)
    assert simulation.run(7) != simulation.run(8)
