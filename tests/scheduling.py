"""Which tests of a parallel run go to one process together, and which begin first (`--dist loadgroup`).

The mark `xdist_group` of pytest-xdist 3.8 groups nothing with pytest 9.2: it writes the group behind a test's id, by an
attribute that pytest does not read any more. What went wrong then was only told by the clock: all three processes
waited at the same time for the deaths of workers, while a core was idle. So who goes with whom is said here by place.
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

#: What waits more than it works goes to one process each, from the first moment on, beside those that work; in pieces
#: of a few minutes, so that none is left alone at the end (a run of 12 minutes once waited 3 for its last chain).
_WAITING = {
    "reading": ("tests/flow/",),
    "failpoints": ("tests/faults/test_failpoints.py",),
    "starting": ("tests/deploy/", "tests/bench/"),
    "dying": tuple(f"tests/faults/test_{letter}" for letter in "bcdfi"),
    "killed": ("tests/faults/",),
    "commanded": ("tests/cli/",),
}
#: What stands on one service that is costly to start.
_TOGETHER = {"conformance": ("tests/conformance/",)}
#: So long that its parts go to whoever is free.
APART = ("tests/flow/test_mailbox_life.py", "tests/ops_api/test_fuzz.py")
ALONG = _WAITING | _TOGETHER
_FIRST = tuple(ALONG)


class ByPlace(LoadScopeScheduling):
    """Gives out whole files, so that what a module sets up is set up once; the longest waits first."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def _assign_work_unit(self, node: object) -> None:
        first = min(self.workqueue, key=_turn)
        self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)  # type: ignore[arg-type]


def unit_of(nodeid: str) -> str:
    """Return what a test goes with: of two places that it lies in, the longer one counts."""
    path = nodeid.partition("::")[0]
    if path in APART:
        return nodeid
    found = [(place, unit) for unit, places in ALONG.items() for place in places if path.startswith(place)]
    return max(found, key=lambda one: len(one[0]))[1] if found else path


def _turn(unit: str) -> int:
    return _FIRST.index(unit) if unit in _FIRST else len(_FIRST)
