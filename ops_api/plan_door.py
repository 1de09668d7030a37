"""Where days are planned: one of an organization at a time, few at once, and in no transaction."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

from ops_api.answers import Refusal
from pipeline.core.plans import Problem
from pipeline.ports import RoutePlanner
from pipeline.runtime import planning
from pipeline.runtime.planning import Outcome

#: Plans at once in one API process: each has a child that uses the cores it finds.
_AT_ONCE = 2
_RUNNING = "your organization's last plan is still being made; wait for it, or ask again in a minute"
_BUSY = "other plans are being made; ask again in a minute"
_LATER = {"Retry-After": "30"}


class PlanDoor:
    """Plans days; safe to call from many threads."""

    def __init__(self, planner: RoutePlanner) -> None:
        self._planner, self._guard = planner, threading.Lock()
        self._planned: set[UUID] = set()

    @contextmanager
    def turn(self, org_id: UUID) -> Iterator[None]:
        """Hold an organization's turn to plan. Refuses with 409 while it has it, with 503 while others have all."""
        with self._guard:
            if org_id in self._planned:
                raise Refusal(409, _RUNNING, code="PLAN_RUNNING", headers=_LATER)
            if len(self._planned) >= _AT_ONCE:
                raise Refusal(503, _BUSY, headers=_LATER)
            self._planned.add(org_id)
        try:
            yield
        finally:
            with self._guard:
                self._planned.discard(org_id)

    def solve(self, problem: Problem, limit: timedelta) -> Outcome:
        """Return the best plan that is found within little more than a limit."""
        return planning.solve(problem, self._planner, limit)
