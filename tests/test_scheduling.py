"""How tests are dealt out to processes: what waits begins at once and in one process each, files stay whole."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import scheduling
from tests.scheduling import ByPlace, unit_of

ROOT = Path(__file__).resolve().parents[1]


def test_every_place_that_is_named_is_there() -> None:
    named = [place for places in scheduling.ALONG.values() for place in places] + list(scheduling.APART)
    assert [place for place in named if not list(ROOT.glob(f"{place.rstrip('/')}*"))] == []


@pytest.mark.parametrize(
    ("nodeid", "unit"),
    [
        ("tests/core/test_xp.py::test_a[x::y]", "tests/core/test_xp.py"),
        ("tests/faults/test_clocks.py::test_a", "dying"),
        ("tests/faults/test_failpoints.py::test_a[running]", "failpoints"),
        ("tests/faults/test_poison.py::test_a", "killed"),
        ("tests/conformance/test_reading.py::test_a[tests/faults/]", "conformance"),
        ("tests/ops_api/test_fuzz.py::test_a[1]", "tests/ops_api/test_fuzz.py::test_a[1]"),
    ],
)
def test_a_test_goes_with_its_place(nodeid: str, unit: str) -> None:
    assert unit_of(nodeid) == unit


class _Process:
    """A process of pytest-xdist, as far as its scheduler knows it."""

    shutting_down = False

    def __init__(self, name: str) -> None:
        self.gateway, self.given = SimpleNamespace(id=name), list[int]()

    def send_runtest_some(self, numbers: list[int]) -> None:
        self.given += numbers

    def shutdown(self) -> None:
        self.shutting_down = True


def test_what_waits_is_given_out_first_and_each_file_to_one_process() -> None:
    ids = [
        *(f"tests/core/test_xp.py::test_{number}" for number in range(9)),
        *(f"tests/deploy/test_{name}.py::test_{number}" for name in ("files", "backup") for number in range(2)),
        *(f"tests/faults/test_{name}.py::test_{number}" for name in ("broker", "poison") for number in range(2)),
        *(f"tests/runtime/test_{name}.py::test_{number}" for name in ("rules", "slots") for number in range(4)),
    ]
    config: Any = SimpleNamespace(getvalue=lambda _: ["3*popen"], option=SimpleNamespace(loadscopereorder=True))
    dealer, processes = ByPlace(config), [_Process(name) for name in ("one", "two", "three")]
    for process in processes:
        dealer.add_node(process)  # type: ignore[arg-type]
        dealer.add_node_collection(process, ids)  # type: ignore[arg-type]
    dealer.schedule()
    given = [[ids[number] for number in process.given] for process in processes]
    assert given[0][:4] == [one for one in ids if "/deploy/" in one]
    assert given[1][:2] == [one for one in ids if "/faults/test_b" in one]
    assert given[2][:2] == [one for one in ids if "/faults/test_p" in one]
    # The largest of the rest comes next, and stays together.
    assert ids[:9] in (given[0][4:], given[1][2:], given[2][2:])
