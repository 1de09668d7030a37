"""What cases are made of: the signals of locked assets, their open cases, and the policies that judge them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import SignalSource, SignalStatus, TaskResult, TriageMode
from pipeline.core.scoring import Signal, Verdict, asset_key, case_id
from pipeline.core.triage_policy import TriagePolicy
from pipeline.runtime import locks, triage_policies
from pipeline.runtime.triage_policies import Judging

_OPEN = text("""
    SELECT c.id, c.asset_id, c.mode, c.number, c.verified_result, c.verified_at,
           EXISTS (SELECT FROM verification_tasks v WHERE v.case_id = c.id AND v.status = 'open') AS is_asked
      FROM cases c WHERE c.asset_id = ANY(CAST(:ids AS uuid[])) AND c.state = 'open'
""")
#: Signals of the open cases, and those of no case yet, as far back from the newest as evidence counts; without an open
#: case only if there is bad news among them: what is well is told of every few minutes. Which assets that are is asked
#: once for all: asked for each, a plan may read what is loose of all of them every time.
_EVIDENCE = text("""
    WITH w AS MATERIALIZED (
        SELECT a.asset_id, newest.at - a.reach AS oldest_at, newest.at AS newest_at
          FROM unnest(CAST(:assets AS uuid[]), CAST(:reaches AS interval[]), CAST(:open AS bool[]))
            AS a(asset_id, reach, is_open)
         CROSS JOIN LATERAL (
               SELECT n.at FROM signals n WHERE n.asset_id = a.asset_id ORDER BY n.at DESC LIMIT 1) AS newest
         WHERE a.is_open OR a.asset_id IN (
               SELECT b.asset_id FROM signals b
                WHERE b.asset_id = ANY(CAST(:assets AS uuid[])) AND b.case_id IS NULL AND b.status <> 'online'
                  AND b.at >= (SELECT n.at FROM signals n WHERE n.asset_id = b.asset_id ORDER BY n.at DESC LIMIT 1)
                              - CAST(:furthest AS interval))
    )
    SELECT s.id, s.external_id, s.asset_id, s.case_id, s.source, s.reporter, s.at, s.status, s.text, w.newest_at
      FROM w JOIN signals s ON s.asset_id = w.asset_id AND s.at >= w.oldest_at
     WHERE s.case_id IS NULL OR s.case_id = ANY(CAST(:cases AS uuid[]))
""")
#: From before slugs were kept, or entered by hand; those at hand elsewhere are named there.
_UNNAMED = text("""
    SELECT id, tag FROM assets WHERE org_id = ANY(CAST(:orgs AS uuid[])) AND slug IS NULL
     ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
""")
_NAME = text("""
    UPDATE assets SET slug = n.slug FROM unnest(CAST(:ids AS uuid[]), CAST(:slugs AS text[])) AS n(id, slug)
     WHERE assets.id = n.id
""")
#: The first number beyond an asset's own that makes a code nobody has: assets whose tags are spelled nearly alike share
#: their codes, and an asset that is called otherwise now keeps those that it had. LIMIT keeps plans from reading all.
_NUMBERS = text("""
    SELECT w.asset_id, free.number, w.is_shared
      FROM (SELECT u.*, coalesce((SELECT max(top.number)
                                    FROM (VALUES ('baseline'), ('certainty')) AS m(mode)
                                   CROSS JOIN LATERAL (
                                         SELECT c.number FROM cases c
                                          WHERE c.asset_id = u.asset_id AND c.mode = m.mode
                                          ORDER BY c.number DESC LIMIT 1) AS top), 0) AS most,
                   (SELECT true FROM assets a
                      JOIN assets t ON t.org_id = a.org_id AND t.slug = a.slug AND t.id <> a.id
                     WHERE a.id = u.asset_id LIMIT 1) AS is_shared
              FROM unnest(CAST(:ids AS uuid[]), CAST(:orgs AS uuid[]), CAST(:codes AS text[]))
                AS u(asset_id, org_id, code)) AS w
     CROSS JOIN LATERAL (
           WITH RECURSIVE tried AS (
               SELECT w.most AS number, true AS is_taken
                UNION ALL
               SELECT t.number + 1, (
                          SELECT true FROM cases k
                           WHERE k.org_id = w.org_id AND k.mode IN ('baseline', 'certainty')
                             AND k.code = w.code || CASE WHEN t.number = 0 THEN '' ELSE '__' || (t.number + 1) END
                           LIMIT 1) IS NOT NULL
                 FROM tried t WHERE t.is_taken
           )
           SELECT number FROM tried WHERE NOT is_taken) AS free
""")
_ALONE = text("""
    SELECT pg_advisory_xact_lock(:kind, name) FROM (
        SELECT hashtext(code) AS name FROM unnest(CAST(:codes AS text[])) AS t(code) ORDER BY name) AS names
""")


@dataclass(slots=True)
class Evidence:
    """Signals of one asset; the ids of those that belong to no case yet, and the cases of the others."""

    #: Of all that was ever said of it.
    newest_at: datetime | None = None
    signals: list[Signal] = field(default_factory=list)
    loose: list[UUID] = field(default_factory=list)
    cases: set[UUID] = field(default_factory=set)
    #: Older signals, which only the policy in the shadow reaches.
    beyond: list[Signal] = field(default_factory=list)

    def within(self, reach: timedelta) -> Evidence:
        """Return the same with the signals that a policy reaches from the newest one; the others are beyond."""
        assert self.newest_at is not None
        oldest = self.newest_at - reach
        told = [signal for signal in self.signals if signal.at >= oldest]
        beyond = [signal for signal in self.signals if signal.at < oldest]
        return replace(self, signals=told, beyond=beyond)


@dataclass(frozen=True, slots=True)
class Asset:
    """A locked asset with what its cases are made of; `number` is that of the open case, or of the next one."""

    row: Row[Any]
    judging: Judging
    policies: Mapping[TriageMode, TriagePolicy]
    evidence: Evidence
    open_cases: Mapping[TriageMode, Row[Any]]
    number: int

    @property
    def lead(self) -> TriageMode:
        """Which mode decides."""
        return self.judging.active.policy.mode

    @property
    def verdict(self) -> Verdict | None:
        """What was found last about any of its open cases."""
        said = [(row.verified_at, row.verified_result) for row in self.open_cases.values() if row.verified_at]
        if not said:
            return None
        at, result = max(said)
        return Verdict(TaskResult(result), at)

    @property
    def is_case(self) -> bool:
        """Whether there is one, or must be: good news alone opens none (seed-behaviours, 4.6 no. 8)."""
        return bool(self.open_cases) or any(one.status is not SignalStatus.ONLINE for one in self.evidence.signals)


def read(connection: Connection, rows: Sequence[Row[Any]]) -> list[Asset]:
    """Return the assets of locked rows (id, org_id, tag) that have a case, or must have one."""
    ids = [row.id for row in rows]
    judges = triage_policies.judging(connection, [row.org_id for row in rows])
    policies = {org_id: judging.active.policy.in_modes() for org_id, judging in judges.items()}
    open_cases: dict[UUID, dict[TriageMode, Row[Any]]] = {}
    for row in connection.execute(_OPEN, {"ids": ids}):
        open_cases.setdefault(row.asset_id, {})[TriageMode(row.mode)] = row
    evidence = _evidence(connection, rows, judges, open_cases)
    found = [
        Asset(
            row,
            judges[row.org_id],
            policies[row.org_id],
            evidence.get(row.id) or Evidence(),
            open_cases.get(row.id, {}),
            max((one.number for one in open_cases.get(row.id, {}).values()), default=0),
        )
        for row in rows
    ]
    cases = [asset for asset in found if asset.is_case]
    numbers = _next_numbers(connection, [asset.row for asset in cases if not asset.open_cases])
    return [replace(asset, number=numbers.get(asset.row.id, asset.number)) for asset in cases]


def _next_numbers(connection: Connection, rows: Sequence[Row[Any]]) -> dict[UUID, int]:
    """Return the number of each asset's next case; two of one slug never have the same, whoever opens them at once."""
    if not rows:
        return {}
    codes = {row.id: case_id(row.tag) for row in rows}
    unnamed = connection.execute(_UNNAMED, {"orgs": sorted({row.org_id for row in rows})}).all()
    if unnamed:
        values = {"ids": [row.id for row in unnamed], "slugs": [asset_key(row.tag) for row in unnamed]}
        connection.execute(_NAME, values)
    values = {"ids": list(codes), "orgs": [row.org_id for row in rows], "codes": list(codes.values())}
    known = connection.execute(_NUMBERS, values).all()
    if shared := {codes[row.asset_id] for row in known if row.is_shared}:
        # Their assets are several, so that no lock on one of them keeps the others off.
        connection.execute(_ALONE, {"kind": locks.CASE_CODES, "codes": list(shared)})
        known = connection.execute(_NUMBERS, values).all()
    free = {row.asset_id: row.number for row in known}
    given: dict[tuple[UUID, str], int] = {}
    numbers = {}
    for row in rows:
        place = (row.org_id, codes[row.id])
        numbers[row.id] = given[place] = max(free[row.id], 1 + given.get(place, 0))
    return numbers


def _evidence(
    connection: Connection,
    rows: Sequence[Row[Any]],
    judges: Mapping[UUID, Judging],
    open_cases: Mapping[UUID, Mapping[TriageMode, Row[Any]]],
) -> dict[UUID, Evidence]:
    tags = {row.id: row.tag for row in rows}
    values = {
        "assets": list(tags),
        "reaches": [judges[row.org_id].reach for row in rows],
        "furthest": max((judges[row.org_id].reach for row in rows), default=timedelta()),
        "open": [asset_id in open_cases for asset_id in tags],
        "cases": [one.id for found in open_cases.values() for one in found.values()],
    }
    found: dict[UUID, Evidence] = {}
    for row in connection.execute(_EVIDENCE, values):
        row_id, external_id, asset_id, case_id, source, reporter, at, status, said, newest_at = row
        one = found.setdefault(asset_id, Evidence(newest_at))
        # Several people who write are several sources: the mailbox they share is only the way it came.
        whose = f"{source}:{reporter}" if source == SignalSource.MAIL else source
        one.signals.append(Signal(external_id or str(row_id), whose, at, tags[asset_id], SignalStatus(status), said))
        if case_id is None:
            one.loose.append(row_id)
        else:
            one.cases.add(case_id)
    reaches = {row.id: judges[row.org_id].active.policy.evidence.reach for row in rows}
    is_further = {row.id: judges[row.org_id].reach > reaches[row.id] for row in rows}
    return {asset: one.within(reaches[asset]) if is_further[asset] else one for asset, one in found.items()}
