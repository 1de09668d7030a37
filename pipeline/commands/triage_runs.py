"""Triage of what programs report: signals in, the cases of their assets out (contract 003)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from models.enums import AssessedBecause, TriageMode
from models.permissions import Permission
from models.queries import cases
from pipeline.command import Ask, Command, Effect, Locked, Target
from pipeline.commands.case_arguments import Run
from pipeline.core import case_answers, scoring
from pipeline.core.refusing import Because, Refusal
from pipeline.core.scoring import Signal, asset_key
from pipeline.runtime import case_rows, signal_rows

#: A clock that is this far ahead is wrong: what it reported would make everything else look old.
_AHEAD = timedelta(days=1)
_PART_ONLY = Refusal("FORBIDDEN", "this is for people who reach the whole organization", Because.FORBIDDEN)


@dataclass(frozen=True, slots=True)
class Place:
    """The organization that is reported to, and what is reported as it stands."""

    seen: signal_rows.Seen


def _organization(connection: Connection, ask: Ask[Run]) -> Locked[Place]:
    """Lock nothing: assets are locked by the effect, those that are reported about."""
    org_id, is_whole = ask.principal.org_id, ask.principal.scope.is_whole
    told = scoring.settled(one.signal() for one in ask.arguments.signals) if is_whole else []
    seen = signal_rows.look(connection, org_id, told)
    return Locked(str(org_id), Place(seen), 0, is_whole, trace_id=ask.trace_id)


def not_of_the_future(ask: Ask[Run], place: Place) -> Refusal | None:
    """Refuse reports of times that have not come."""
    latest = place.seen.now + _AHEAD
    for number, one in enumerate(ask.arguments.signals):
        if one.timestamp > latest:
            said = f"signals.{number}.timestamp: it is more than a day ahead; the reporter's clock is wrong"
            return Refusal("INVALID_REQUEST", said, Because.INVALID, {"fields": {f"signals.{number}.timestamp": said}})
    return None


def _run(connection: Connection, ask: Ask[Run], place: Place) -> Effect:
    told, mode = place.seen.signals, ask.arguments.mode
    assets = signal_rows.report(connection, ask.principal.org_id, place.seen)
    assessed = case_rows.assess_locked(connection, assets, AssessedBecause.SIGNALS)
    jobs = case_rows.dispatch_steps(assessed, ask.trace_id or secrets.token_hex(16))
    rows = _of_payload(connection, told, [one.id for one in assets], mode)
    details = {"mode": mode.value, "signals": len(told), "assets": len(assets), "cases": len(rows)}
    is_asking = any(one.case.verification_required for one in assessed)
    return Effect(case_answers.envelope(_answer(connection, rows, mode, is_asking)), jobs=jobs, details=details)


def _of_payload(
    connection: Connection, told: Sequence[Signal], asset_ids: Sequence[UUID], mode: TriageMode
) -> list[Row[Any]]:
    """Return the cases of the assets that are named; a report that moved leaves another asset touched, too."""
    keys = {asset_key(signal.asset) for signal in told}
    return [row for row in cases.of_assets(connection, asset_ids, mode) if asset_key(row.charger_id) in keys]


def _answer(connection: Connection, rows: Sequence[Row[Any]], mode: TriageMode, is_asking: bool) -> Mapping[str, Any]:
    found = {"cases": case_answers.cases(rows)}
    if mode is TriageMode.BASELINE:
        return found
    # Cases that do not need an answer have no question that is open.
    tasks = cases.open_tasks(connection, [row.id for row in rows]) if is_asking else []
    return {**found, "verification_tasks": [case_answers.task(row, row.case_code) for row in tasks]}


ORGANIZATION: Target[Any, Place] = Target("organization", _organization, _PART_ONLY, _PART_ONLY)
RUN = Command(
    name="triage.run",
    about="Takes reports about assets in, and assesses the cases they make, in both modes.",
    arguments=Run,
    permission=Permission.CASES_TRIAGE,
    target=ORGANIZATION,
    effect=_run,
    gates=(not_of_the_future,),
)
#: What `pipeline.table` finds here.
COMMANDS = (RUN,)
