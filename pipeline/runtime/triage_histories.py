"""Recorded cases with what was found to be true of them, as histories that policies are replayed over.

Of a report is read what triage counts: source, time and status; not what it says. A recorded case stands for itself:
what was reported of its asset in other cases is no part of it, and of one that was real something was to be repaired
from its first bad news on, until somebody comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import SignalSource, SignalStatus
from pipeline.core.case_metrics import CRITICAL_FROM
from pipeline.core.histories import History, Report, Trouble, TroubleKind
from pipeline.core.scoring import Signal, priority, settled

#: Cases read in one go, and at most; signals of one case that are read, the oldest: more decide nothing new.
_PAGE, MOST, _SIGNALS = 500, 100_000, 1_000
#: Cases that signals belong to are those that led when they came.
_CASES = text("""
    SELECT c.id, c.code, c.is_real FROM cases c
     WHERE c.org_id = :org AND c.id > :after AND c.created_at >= :since AND c.created_at < :until
       AND c.is_real IS NOT NULL AND EXISTS (SELECT 1 FROM signals s WHERE s.case_id = c.id)
     ORDER BY c.id LIMIT :page
""")
_UNKNOWN = text("""
    SELECT count(*) FROM cases c
     WHERE c.org_id = :org AND c.created_at >= :since AND c.created_at < :until AND c.is_real IS NULL
       AND EXISTS (SELECT 1 FROM signals s WHERE s.case_id = c.id)
""")
_SIGNALS_OF = text("""
    SELECT w.case_id, s.id, s.external_id, s.source, s.reporter, s.at, s.status
      FROM unnest(CAST(:cases AS uuid[])) AS w(case_id)
     CROSS JOIN LATERAL (
           SELECT * FROM signals n WHERE n.case_id = w.case_id ORDER BY n.at, n.id LIMIT :most) AS s
""")
_NO_ID = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was read: the history of cases with a known truth, how many those are, and of how many nothing is known.

    `is_whole`: False when there were more than are read at most; then the oldest were read.
    """

    history: History
    real: int
    not_real: int
    unknown: int
    is_whole: bool

    @property
    def known(self) -> int:
        """How many cases have a known truth."""
        return self.real + self.not_real


def read(connection: Connection, org_id: UUID, since: datetime, until: datetime, *, most: int = MOST) -> Recorded:
    """Read the cases that were opened from `since` until before `until`."""
    where = {"org": org_id, "since": since, "until": until}
    unknown = connection.execute(_UNKNOWN, where).scalar_one()
    reports: list[Report] = []
    troubles: list[Trouble] = []
    count = 0
    for page in _pages(connection, where, most + 1):
        taken = page[: most - count]
        count += len(page)
        signals = _signals(connection, taken)
        for case in taken:
            told, found = _one(case, signals.get(case.id, ()), len(troubles) + 1)
            reports += told
            troubles += found
    known = min(count, most)
    history = History.of(reports, troubles, until)
    return Recorded(history, len(troubles), known - len(troubles), unknown, count <= most)


def _pages(connection: Connection, where: dict[str, Any], most: int) -> Iterator[Sequence[Row[Any]]]:
    after, left = _NO_ID, most
    while left > 0:
        page = list(connection.execute(_CASES, {**where, "after": after, "page": min(_PAGE, left)}))
        if not page:
            return
        yield page
        after, left = page[-1].id, left - len(page)


def _signals(connection: Connection, cases: Sequence[Row[Any]]) -> dict[UUID, list[Row[Any]]]:
    found: dict[UUID, list[Row[Any]]] = {}
    for row in connection.execute(_SIGNALS_OF, {"cases": [case.id for case in cases], "most": _SIGNALS}):
        found.setdefault(row.case_id, []).append(row)
    return found


def _one(case: Row[Any], rows: Iterable[Row[Any]], number: int) -> tuple[list[Report], list[Trouble]]:
    """Return the reports of a recorded case, and the one trouble of one that was real."""
    signals = settled(_signal(row, case.code) for row in rows)
    bad = [signal.at for signal in signals if signal.status is not SignalStatus.ONLINE]
    if not case.is_real or not signals:
        return [Report(signal.at, signal) for signal in signals], []
    began = min(bad, default=signals[0].at)
    is_critical = priority(signals) >= CRITICAL_FROM
    trouble = Trouble(number, case.code, TroubleKind.FAULT, began, None, down_from=began if is_critical else None)
    told = [
        Report(signal.at, signal, during=None if signal.status is SignalStatus.ONLINE else number) for signal in signals
    ]
    return told, [trouble]


def _signal(row: Row[Any], code: str) -> Signal:
    source = f"{row.source}:{row.reporter}" if row.source == SignalSource.MAIL else row.source
    return Signal(row.external_id or str(row.id), source, row.at, code, SignalStatus(row.status))
