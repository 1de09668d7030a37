"""Reports of programs for tests: kept and assessed as a run of triage does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from models.enums import AssessedBecause, SignalStatus
from pipeline.core.scoring import Signal
from pipeline.runtime import case_rows, signal_rows
from pipeline.runtime.case_rows import Assessed
from pipeline.runtime.db import Database


def tell(
    db: Database, org_id: UUID, asset: str, statuses: str, *, days: int = 0, sources: Sequence[str] = ("ugc",)
) -> list[Assessed]:
    """Have an asset reported a minute apart, the last time now (or some days ago); return its leading case."""
    with db.begin() as connection:
        now: datetime = connection.execute(text("SELECT now()")).scalar_one()
        words = statuses.split()
        signals = [
            Signal(
                f"{asset}/{days}/{number}",
                sources[number % len(sources)],
                now - timedelta(days=days, minutes=len(words) - number),
                asset,
                SignalStatus(word),
                "the card reader is dark",
            )
            for number, word in enumerate(words)
        ]
        touched = signal_rows.report(connection, org_id, signal_rows.look(connection, org_id, signals))
        return case_rows.assess_locked(connection, touched, AssessedBecause.SIGNALS)
